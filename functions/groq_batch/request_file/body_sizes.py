"""Measure a request's body for the estimate of its tokens.

Its size is that of its bytes, except for two things that say nothing about tokens: how characters
are escaped, and how large the picture in a data URL is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

DATA_URL_BYTES = 4000
"""Size that the content of a data URL counts as: about 1,000 tokens, however large it is."""
_decode_text = msgspec.json.Decoder(str).decode
_BASE64 = b";base64,"
_BEGIN = b'"data:'
_AFTER_A_VALUE = (b"}", b",", b"]")
_LONG_TEXT_BYTES = 256
_BACKSLASH = 0x5C
_MORE_THAN_ONE_BYTE_OFF = re.compile(rb"\\[u\\]")


def estimated_bytes(body: bytes) -> int:
    """Return the size of a body for the estimate, in bytes.

    Each escape in a text counts as the UTF-8 bytes of its character. In a text that begins with
    ``data:`` and has ``;base64,`` everything after that counts as 4,000 bytes.

    Args:
        body: Valid JSON in UTF-8, without half of a surrogate pair in any text.
    """
    urls = 0
    if _has_data_url(body):
        body, urls = _without_data_urls(body)
    size = _unescaped_bytes(body) if b"\\" in body else len(body)
    return size + urls * DATA_URL_BYTES


class Shortened(NamedTuple):
    """Lines without their long texts.

    Attributes:
        lines: The lines with an empty text in place of the long one.
        texts: Sizes of the removed texts, in bytes of UTF-8, by index of the line.
        escaped: Indexes of the lines that still have escapes.
    """

    lines: list[bytes]
    texts: dict[int, int]
    escaped: list[int]


def without_long_texts(lines: list[bytes]) -> Shortened:
    """Remove a long text with escapes from each line where only one text has escapes.

    Such a text is a prompt. It is decoded alone, which gives its size. The rest of the line, with
    an empty text in place of the prompt, is valid JSON if and only if the line is. Decoding both
    is faster than decoding the line and then finding its escapes.

    Args:
        lines: Lines that may be JSON.
    """
    rest: list[bytes] = []
    sizes: dict[int, int] = {}
    escaped: list[int] = []
    for place, line in enumerate(lines):
        first = line.find(b"\\")
        if first < 0:
            rest.append(line)
            continue
        # There is no backslash before the first escape or after the last, so that the nearest
        # quotation marks there begin and end a text. Nearly always it is the same text; if not,
        # decoding fails.
        begin = line.rfind(b'"', 0, first)
        end = line.find(b'"', line.rfind(b"\\") + 2)
        text = _long_text(line, begin, end)
        if text is None:
            rest.append(line)
            escaped.append(place)
        else:
            rest.append(line[: begin + 1] + line[end:])
            sizes[place] = len(text) if text.isascii() else _utf8_bytes(text)
    return Shortened(rest, sizes, escaped)


def _long_text(line: bytes, begin: int, end: int) -> str | None:
    """Return the text between two quotation marks if it is a long value and no data URL."""
    if end - begin < _LONG_TEXT_BYTES or line[end + 1 : end + 2] not in _AFTER_A_VALUE:
        return None
    try:
        text: str = _decode_text(line[begin : end + 1])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if text.startswith("data:") else text


def _has_data_url(body: bytes) -> bool:
    # Searching for one byte is ten times as fast as searching for several.
    semicolon = body.find(b";")
    return semicolon >= 0 and body.find(_BASE64, semicolon) >= 0


def _without_data_urls(body: bytes) -> tuple[bytes, int]:
    """Return a body without the contents of its data URLs, and the number of these URLs."""
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
    """Return the index of the quotation mark that ends a text, from an index within the text."""
    while True:
        end = data.index(b'"', at)
        after_backslashes = end
        while data[after_backslashes - 1] == _BACKSLASH:
            after_backslashes -= 1
        if (end - after_backslashes) % 2 == 0:
            return end
        at = end + 1


def _unescaped_bytes(body: bytes) -> int:
    """Return the size of a body, counting escapes as the UTF-8 bytes of their characters."""
    backslashes = body.count(b"\\")
    if _MORE_THAN_ONE_BYTE_OFF.search(body) is None:
        # Each escape, such as that of a line feed, is two bytes for one.
        return len(body) - backslashes
    # The codec replaces only \uXXXX, treats two backslashes as a pair like JSON, and makes every
    # other byte one character; those beyond ASCII take two bytes in UTF-8.
    text = body.decode("raw_unicode_escape")
    beyond_ascii = 0 if body.isascii() else len(body.decode("latin-1").encode()) - len(body)
    long_escapes = (len(body) - len(text)) // len("u0000")
    short_escapes = backslashes - body.count(b"\\\\") - long_escapes
    return _utf8_bytes(text) - beyond_ascii - short_escapes


def _utf8_bytes(text: str) -> int:
    """Return the size of a text in UTF-8. It may have surrogate pairs as two characters."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        return len(joined.encode())
