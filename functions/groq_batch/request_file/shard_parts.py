"""How a shard that the API refuses as a whole is divided: by what its requests ask for.

The API may refuse a batch for a model that it has withdrawn, or for a URL that it does not serve,
and name no line. Requests for the same URL and model are alike to it, so that a shard of several
is sent again in parts, one for each: what cannot run does not take the rest with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Self

import msgspec

from groq_batch.request_file.request_rules import ALLOWED_URLS

MOST_PARTS = 100
"""Parts of one shard. Each costs an upload and a batch, and a shard may name thousands of models,
most of them made up. The last part takes the rest together, and is divided when it is refused."""
AUDIO_URLS = tuple(url for url in ALLOWED_URLS if url.startswith("/v1/audio/"))
"""URLs of request lines that a batch may have as its endpoint in place of that for chat."""
_DIGEST_BYTES = 16


class _Body(msgspec.Struct, gc=False):
    model: str


class _Request(msgspec.Struct, gc=False):
    url: str
    body: _Body


_decode = msgspec.json.Decoder(_Request).decode


@dataclass(slots=True)
class ShardContents:
    """What the requests of a shard ask for.

    Attributes:
        counts: Request lines by URL and model, in the order in which these came first. Digests
            stand for them: nothing limits the length of a model's name.
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
        """Into how many parts the shard is divided; 1 when all of it is alike."""
        return min(len(self.counts), MOST_PARTS)

    @property
    def audio_url(self) -> str | None:
        """The URL of all its lines if that is one and the same of audio, else None."""
        return next(iter(self.urls)) if len(self.urls) == 1 and is_audio(self.urls) else None

    def places(self) -> dict[bytes, int]:
        """Return the place, from 0, of each URL and model's part: those with most lines first."""
        by_size = sorted(self.counts, key=lambda key: -self.counts[key])
        return {key: min(place, MOST_PARTS - 1) for place, key in enumerate(by_size)}


def part_key(line: bytes) -> bytes:
    """Return what stands for the URL and the model of a request line in ``ShardContents``."""
    return _key(_decode(line))


def is_audio(urls: Iterable[str]) -> bool:
    """Tell whether any of some URLs is one of audio."""
    return any(url in AUDIO_URLS for url in urls)


def common_audio_url(lines: Iterable[bytes]) -> str | None:
    """Return the audio URL that all request lines have, else None; reads no more than it needs."""
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
