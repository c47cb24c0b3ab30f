"""Messages for lines that cannot be read as a JSON object.

Where the first bytes or the error show what wrote the file, the message says so.
"""

from __future__ import annotations

import codecs
import re

_GZIP_MAGIC = b"\x1f\x8b"
_UTF_16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_APPLE_DOUBLE_MAGIC = b"\x00\x05\x16\x07"
_APPLE_DOUBLE = (
    "like a metadata file of macOS, whose name begins with ._ and then another file's name. Leave "
    "it out."
)
_PLACE = re.compile(r" \(byte (\d+)\)$")
_NOT_A_NUMBER = re.compile(rb"-?Infinity|NaN")
_HALF_PAIR_AT_END = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}.{0,5}\Z")


def encoding_message(position: int, beginning: bytes) -> str:
    """Return the message for a line that is not UTF-8.

    Args:
        position: Position of the first byte that is not UTF-8, from 1.
        beginning: The line's first bytes, which can show that the file has another format.
    """
    if beginning.startswith(_GZIP_MAGIC):
        return (
            "The line begins like a gzip file: the file is compressed but its name does not say "
            "so, or it is compressed twice. Upload it compressed once, under a name that ends in "
            ".jsonl.gz, or decompress it."
        )
    if beginning.startswith(_APPLE_DOUBLE_MAGIC):
        return f"The line begins {_APPLE_DOUBLE}"
    if beginning.startswith(_UTF_16_BOMS):
        return "The line begins like UTF-16 text. Save the file as UTF-8."
    return f"Byte {position} of the line is not UTF-8. Save the file as UTF-8."


def too_long_message(size: int, limit: int) -> str:
    """Return the message for a line of ``size`` bytes where ``limit`` bytes are allowed."""
    return (
        f"The line has {size} bytes, but at most {limit} bytes fit into a batch. Shorten the "
        f"request."
    )


def json_message(data: bytes, error: str) -> str:
    """Return the message for a line that is not JSON.

    Args:
        data: The line.
        error: The message of msgspec, which never has content of the line.
    """
    if data.startswith(codecs.BOM_UTF8):
        return (
            "The line begins with a byte order mark, as if files had been joined. Remove it: only "
            "the start of the file may have one."
        )
    text = error.removeprefix("JSON is malformed: ")
    place = _PLACE.search(text)
    # msgspec names the byte at which it failed or the one after it.
    where = f" near byte {int(place[1]) + 1}" if place else ""
    # At the end of a line msgspec looks for the other half, and reports that the line is truncated.
    is_cut = "truncated" in text
    is_half_pair = "surrogate" in text or (is_cut and _HALF_PAIR_AT_END.search(data) is not None)
    if is_half_pair or "hex escape" in text:
        return (
            f"A backslash-u escape{where} is incomplete or half of a surrogate pair, often half of "
            f"an emoji that was cut off. Remove it or write it completely."
        )
    reason = "it ends too early" if is_cut else _PLACE.sub("", text)
    cause = _json_cause(data, int(place[1]) if place else 0)
    return f"The line is not valid JSON: {reason}{where}{cause}"


def _json_cause(data: bytes, place: int) -> str:
    """Return what is known of the cause, and what to do.

    Args:
        data: The line.
        place: Index, from 0, of the byte at which the parser failed, or of the one after it.
    """
    if data.startswith(_APPLE_DOUBLE_MAGIC):
        return f", in what looks {_APPLE_DOUBLE}"
    if b"\0" in data:
        return (
            f". It has NUL bytes from byte {data.index(0) + 1} on, like a file that was truncated "
            f"by a crash, or UTF-16 text. Write the file again, as UTF-8."
        )
    number = _NOT_A_NUMBER.match(data, max(place - 1, 0)) or _NOT_A_NUMBER.match(data, place)
    if number is not None:
        return f", {number[0].decode()}, which JSON does not allow. Write null or a number."
    return ". Write each request as one JSON object on one line."
