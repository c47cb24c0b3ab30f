"""Check the bytes of a line before its JSON is looked at: UTF-8 and nesting."""

from __future__ import annotations

from itertools import repeat

from groq_batch.domain.json_nesting import nests_deeper_than

MAX_NESTING = 500
"""Most brackets that may be open at once. Python's parsers fail at about 1,000, less the depth of
the call stack. Without a lower limit here, a line might pass the checks and fail later."""
_PIECE_BYTES = 64 * 1024
_ALL_BUT_OPENING = bytes(byte for byte in range(256) if byte not in b"[{")
_SHALLOW_BYTES = 2 * MAX_NESTING
"""A line of this size cannot be nested too deeply, because every bracket has to be closed."""


def utf8_error(data: bytes) -> int | None:
    """Return the position, from 1, of the first byte that is not UTF-8; None if there is none."""
    if data.isascii():
        return None
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    return None


def are_utf8(lines: list[bytes]) -> bool:
    """Tell whether all lines are UTF-8."""
    if all(map(bytes.isascii, lines)):
        return True
    return all(utf8_error(line) is None for line in lines)


def nests_too_deeply(data: bytes) -> bool:
    """Tell whether more than ``MAX_NESTING`` brackets of a line are open at once."""
    pieces = (data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES))
    if sum(map(_opening_brackets, pieces)) <= MAX_NESTING:
        return False
    return nests_deeper_than(data, MAX_NESTING)


def are_flat(lines: list[bytes]) -> bool:
    """Tell whether no line is nested too deeply."""
    # Open brackets are at least one byte apart, open braces (each with a key) at least four. If
    # there is none after these positions, too few can be open. This holds for plain prompts.
    longest = max(map(len, lines))
    if longest <= _SHALLOW_BYTES or (
        max(map(bytes.find, lines, repeat(b"["), repeat(_SHALLOW_BYTES // 4))) < 0
        and max(map(bytes.find, lines, repeat(b"{"), repeat(_SHALLOW_BYTES))) < 0
    ):
        return True
    # Prompts with code, JSON or footnotes often have brackets, but seldom this many.
    if longest <= _PIECE_BYTES and max(map(_opening_brackets, lines)) <= MAX_NESTING:
        return True
    return not any(map(nests_too_deeply, lines))


def _opening_brackets(data: bytes) -> int:
    """Count opening brackets, also those in texts. Several times as fast as ``bytes.count``."""
    return len(data.translate(None, _ALL_BUT_OPENING))
