"""How many bytes of a request's body count for the estimate of its tokens.

Those that it is written with, but for two things that say nothing about tokens: how its characters
are escaped, and how large a picture is that stands in it as a data URL.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import NamedTuple

import msgspec

DATA_URL_BYTES = 4000
"""What the content of a data URL counts: about a thousand tokens, whatever its size."""
_decode_text = msgspec.json.Decoder(str).decode
_BASE64 = b";base64,"
_BEGIN = b'"data:'
_BEHIND_A_VALUE = (b"}", b",", b"]")
_LONG_TEXT_BYTES = 256
_BACKSLASH = 0x5C
_MORE_THAN_ONE_BYTE_OFF = re.compile(rb"\\[u\\]")


def estimated_bytes(body: bytes) -> int:
    """Return what a body counts for the estimate.

    Every escape of a text counts as the UTF-8 bytes of its character, and of a text that begins
    with ``data:`` and has ``;base64,`` all that follows this counts 4,000 bytes.

    Args:
        body: Valid JSON in UTF-8, no text of which holds half of a surrogate pair.
    """
    urls = 0
    if _has_data_url(body):
        body, urls = _without_data_urls(body)
    size = _unescaped_bytes(body) if b"\\" in body else len(body)
    return size + urls * DATA_URL_BYTES


class Shortened(NamedTuple):
    """Lines without their long texts.

    Attributes:
        lines: What is left of the lines.
        texts: The sizes in UTF-8 of the texts that were taken out, by the places of their lines.
        escaped: The places of the lines that still have escapes.
    """

    lines: list[bytes]
    texts: dict[int, int]
    escaped: list[int]


def without_long_texts(lines: list[bytes]) -> Shortened:
    """Take long texts with escapes out of lines, as far as each is the only one of its line.

    Such a text is a prompt. It is decoded on its own, which tells its size, and what is left of the
    line, with an empty text in its place, is valid JSON if and only if the line is. Decoding both
    takes less time than decoding the line and then finding its escapes.

    Args:
        lines: Bytes that may be JSON.
    """
    firsts = [*map(bytes.find, lines, repeat(b"\\"))]
    if max(firsts, default=-1) < 0:
        return Shortened(lines, {}, [])
    rest, sizes = lines.copy(), {}
    # No backslash stands before the first escape and none behind the last: quotation marks there
    # begin and end texts. Nearly always both are in one text; more than one cannot be decoded so.
    begins = map(bytes.rfind, lines, repeat(b'"'), repeat(0), firsts)
    behind_lasts = map(int.__add__, map(bytes.rfind, lines, repeat(b"\\")), repeat(2))
    ends = map(bytes.find, lines, repeat(b'"'), behind_lasts)
    for place, (line, begin, end) in enumerate(zip(lines, begins, ends, strict=True)):
        behind = line[end + 1 : end + 2]
        if end - begin < _LONG_TEXT_BYTES or behind not in _BEHIND_A_VALUE:
            continue
        try:
            text = _decode_text(memoryview(line)[begin : end + 1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if not text.startswith("data:"):
            rest[place] = b"%b%b" % (line[: begin + 1], line[end:])
            sizes[place] = len(text) if text.isascii() else _utf8_bytes(text)
    escaped = [place for place, at in enumerate(firsts) if at >= 0 and place not in sizes]
    return Shortened(rest, sizes, escaped)


def _has_data_url(body: bytes) -> bool:
    # A semicolon is found, or found missing, ten times as fast as what may stand around it.
    semicolon = body.find(b";")
    return semicolon >= 0 and body.find(_BASE64, semicolon) >= 0


def _without_data_urls(body: bytes) -> tuple[bytes, int]:
    """Return a body without the contents of its data URLs, and how many there are."""
    kept: list[bytes] = []
    kept_to = at = 0
    while (found := body.find(_BEGIN, at)) >= 0:
        at = found + len(_BEGIN)
        if body[found - 1 : found] == b"\\":
            continue  # A quotation mark within a text.
        begin, at = at, _end_of_text(body, at)
        content = body.find(_BASE64, begin, at)
        if content >= 0:
            kept.append(body[kept_to : content + len(_BASE64)])
            kept_to = at
    kept.append(body[kept_to:])
    return b"".join(kept), len(kept) - 1


def _end_of_text(data: bytes, at: int) -> int:
    """Return the place of the quotation mark that ends a text, from a place within it."""
    while True:
        end = data.index(b'"', at)
        behind_backslashes = end
        while data[behind_backslashes - 1] == _BACKSLASH:
            behind_backslashes -= 1
        if (end - behind_backslashes) % 2 == 0:
            return end
        at = end + 1


def _unescaped_bytes(body: bytes) -> int:
    """Return the size of a body whose escapes count as the UTF-8 bytes of their characters."""
    backslashes = body.count(b"\\")
    if _MORE_THAN_ONE_BYTE_OFF.search(body) is None:
        # Line feeds and quotation marks: a byte for two.
        return len(body) - backslashes
    # The codec replaces \uXXXX alone, takes two backslashes for a pair as JSON does, and every
    # other byte for a character of its own, of which those beyond ASCII take two bytes in UTF-8.
    text = body.decode("raw_unicode_escape")
    beyond_ascii = 0 if body.isascii() else len(body.decode("latin-1").encode()) - len(body)
    long_escapes = (len(body) - len(text)) // len("u0000")
    short_escapes = backslashes - body.count(b"\\\\") - long_escapes
    return _utf8_bytes(text) - beyond_ascii - short_escapes


def _utf8_bytes(text: str) -> int:
    """Return the size of a text in UTF-8, in which surrogate pairs may stand as two characters."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return len(joined.encode())
