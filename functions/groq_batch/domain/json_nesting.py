"""Measure how deeply JSON is nested, without parsing it.

The regular expressions never backtrack, so time and memory are proportional to the line, whatever
it contains.
"""

from __future__ import annotations

import re

# A string, or a bracket outside of strings that opens (group 1) or closes.
_TEXT_OR_BRACKET = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])')
_OPENS = 1


def nests_deeper_than(data: bytes, most: int) -> bool:
    """Tell whether more than ``most`` brackets are open at once."""
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(data):
        if found.lastindex is not None:
            depth += 1 if found.lastindex == _OPENS else -1
        if depth > most:
            return True
    return False


def without_depths(data: bytes, most: int) -> bytes:
    """Replace by null everything within more than ``most`` brackets."""
    kept: list[bytes] = []
    depth = begin = 0
    for found in _TEXT_OR_BRACKET.finditer(data):
        if found.lastindex is None:
            continue
        if found.lastindex == _OPENS:
            depth += 1
            if depth == most + 1:
                kept += (data[begin : found.start()], b"null")
        else:
            if depth == most + 1:
                begin = found.end()
            depth -= 1
    if depth <= most:
        kept.append(data[begin:])
    return b"".join(kept)
