"""Recognise valid requests of the usual form many at a time, which is fast.

Each line is decoded once into a typed struct, which skips the prompt. All other checks are loops in
C over all lines of a block. A line that is not recognised may still be valid: ``request_rules``
decides.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import repeat
from operator import sub
from typing import Annotated, Literal

import msgspec

from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.cost import ModelEstimate, ModelEstimates
from groq_batch.request_file.body_sizes import Shortened, estimated_bytes, without_long_texts
from groq_batch.request_file.line_bytes import are_flat, are_utf8, nests_too_deeply, utf8_error
from groq_batch.request_file.lines import RareBytes
from groq_batch.request_file.request_rules import MAX_OUTPUT_TOKENS, RequestUrl

_USUAL_END = b"}}\n"
_BYTES_AFTER_BODY = len(b"}\n")

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Tokens = Annotated[int, msgspec.Meta(gt=0, le=MAX_OUTPUT_TOKENS)]


class _Message(msgspec.Struct, gc=False):
    """A message, whose fields are not checked."""


class UsualBody(msgspec.Struct, gc=False):
    """The body of a request of the usual form; other fields are ignored."""

    model: _Text
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)] | None = None
    url: str | None = None
    file: None = None
    stream: bool | None = None
    service_tier: None = None
    max_tokens: _Tokens | None = None
    max_completion_tokens: _Tokens | None = None


class UsualRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A request line of the usual form."""

    custom_id: _Text
    method: Literal["POST"]
    url: RequestUrl
    body: UsualBody


_decode_request = msgspec.json.Decoder(UsualRequest).decode


def usual_requests(lines: list[bytes], rare: RareBytes) -> tuple[list[UsualRequest], list[int]]:
    """Decode lines up to the first that is not certainly a valid request of the usual form.

    Args:
        lines: The lines, with line ends.
        rare: Which rare bytes they may have.

    Returns:
        The requests, and the size of each body for the cost estimate (see ``body_sizes``), which
        includes the two bytes after the body: ``estimates`` subtracts them for all at once.
    """
    if not (
        all(map(bytes.startswith, lines, repeat(b"{")))
        and all(map(bytes.endswith, lines, repeat(_USUAL_END)))
    ):
        lines = _until_unusual(lines)
    if not lines:
        return [], []
    shortened = without_long_texts(lines) if rare.backslashes else Shortened(lines, {}, [])
    lines = shortened.lines
    if not (are_flat(lines) and (not rare.non_ascii or are_utf8(lines))):
        lines = _until_unusual(lines)
    requests: list[UsualRequest] = []
    with suppress(msgspec.DecodeError, RecursionError):
        # The requests before the line that fails stay in the list.
        requests.extend(map(_decode_request, lines))
    # A brace in the id would be taken for the beginning of the body.
    unusual = [
        index
        for index, request in enumerate(requests)
        if request.body.stream
        or not (request.body.messages if request.url == CHAT_URL else request.body.url)
        or "{" in request.custom_id
    ]
    if unusual:
        del requests[unusual[0] :]
    return requests, _body_sizes(shortened, len(requests), rare)


def estimates(requests: list[UsualRequest], sizes: list[int]) -> dict[str, ModelEstimate]:
    """Return number and sizes of requests by model.

    Args:
        requests: The requests.
        sizes: The size of each body, as ``usual_requests`` returns it.
    """
    bodies = [request.body for request in requests]
    names = {body.model for body in bodies}
    if len(names) == 1:
        tokens = sum([body.max_completion_tokens or body.max_tokens or 0 for body in bodies])
        size = sum(sizes) - len(sizes) * _BYTES_AFTER_BODY
        return {names.pop(): ModelEstimate(len(bodies), size, tokens)}
    models = ModelEstimates()
    for body, size in zip(bodies, sizes, strict=True):
        tokens_of_body = body.max_completion_tokens or body.max_tokens
        models[body.model].add(size - _BYTES_AFTER_BODY, tokens_of_body)
    return models


def _until_unusual(lines: list[bytes]) -> list[bytes]:
    """Return the lines before the first one that does not look usual."""
    return lines[: next(index for index, line in enumerate(lines) if not _looks_usual(line))]


def _looks_usual(line: bytes) -> bool:
    return (
        line.startswith(b"{")
        and line.endswith(_USUAL_END)
        and utf8_error(line) is None
        and not nests_too_deeply(line)
    )


def _body_sizes(shortened: Shortened, count: int, rare: RareBytes) -> list[int]:
    """Return the estimated sizes of the first bodies, each with the two bytes after the body."""
    # Such a line has exactly four keys, and only the body has braces: it begins at the first brace
    # after that of the line, and ends with the last one before that of the line.
    lines = shortened.lines[:count]
    starts = [*map(bytes.index, lines, repeat(b"{"), repeat(1))]
    sizes = [*map(sub, map(len, lines), starts)]
    # Bodies with escapes, or perhaps with a data URL, do not count all their bytes.
    measured = {index for index in shortened.escaped if index < count}
    if rare.semicolons:
        measured.update(index for index, line in enumerate(lines) if b";" in line)
    for index in measured:
        body = lines[index][starts[index] : -_BYTES_AFTER_BODY]
        sizes[index] = estimated_bytes(body) + _BYTES_AFTER_BODY
    for index, size in shortened.texts.items():
        if index < count:
            sizes[index] += size
    return sizes
