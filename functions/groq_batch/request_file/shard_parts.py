"""Divide a shard that the API refuses as a whole, by URL and model.

The API may refuse a batch because of a model that it no longer has or a URL that it does not serve,
without naming a line. Requests for the same URL and model are accepted or refused together. A shard
with several of them is therefore sent again in parts, one for each, so that a part that cannot run
does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import msgspec

from groq_batch.request_file.request_rules import ALLOWED_URLS

MAX_PARTS = 100
"""Most parts of one shard. Each costs an upload and a batch, and a shard may name thousands of
models that do not exist. The last part has all other requests, and is divided if it is refused."""
AUDIO_URLS = tuple(url for url in ALLOWED_URLS if url.startswith("/v1/audio/"))
"""URLs of request lines that may be the endpoint of a batch instead of the chat URL."""
_DIGEST_BYTES = 16


class _Body(msgspec.Struct, gc=False):
    model: str


class _Request(msgspec.Struct, gc=False):
    url: str
    body: _Body


_decode = msgspec.json.Decoder(_Request).decode


@dataclass(slots=True)
class ShardContents:
    """URLs and models of a shard's requests.

    Attributes:
        counts: Number of request lines by digest of URL and model, in order of first occurrence.
            Digests limit the memory, because the name of a model may have any length.
        urls: The URLs.
    """

    counts: dict[bytes, int] = field(default_factory=dict)
    urls: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, lines: Iterable[bytes]) -> Self:
        """Read the request lines of a shard."""
        contents = cls()
        for line in lines:
            request = _decode(line)
            contents.urls.add(request.url)
            key = _key(request)
            contents.counts[key] = contents.counts.get(key, 0) + 1
        return contents

    @property
    def parts(self) -> int:
        """Number of parts to divide the shard into; 1 if all requests are for one URL and model."""
        return min(len(self.counts), MAX_PARTS)

    @property
    def audio_url(self) -> str | None:
        """The URL if all lines have the same audio URL, else None."""
        return next(iter(self.urls)) if len(self.urls) == 1 and is_audio(self.urls) else None

    def places(self) -> dict[bytes, int]:
        """Return the index of the part of each URL and model; those with most lines come first."""
        by_size = sorted(self.counts, key=lambda key: -self.counts[key])
        return {key: min(place, MAX_PARTS - 1) for place, key in enumerate(by_size)}


def part_key(line: bytes) -> bytes:
    """Return the digest of a request line's URL and model, as in ``ShardContents.counts``."""
    return _key(_decode(line))


def is_audio(urls: Iterable[str]) -> bool:
    """Tell whether any of the URLs is an audio URL."""
    return any(url in AUDIO_URLS for url in urls)


def common_audio_url(lines: Iterable[bytes]) -> str | None:
    """Return the audio URL if all lines have it, else None; read no more than needed."""
    found: str | None = None
    for line in lines:
        url = _decode(line).url
        if url not in AUDIO_URLS or found not in (None, url):
            return None
        found = url
    return found


def _key(request: _Request) -> bytes:
    text = f"{request.url}\0{request.body.model}"
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
