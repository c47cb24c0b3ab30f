"""Locate the error in an invalid line, and cut out the part around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from groq_batch.domain.problem import Problem
from groq_batch_client.text import columns, printable

_BEFORE = 24
_AFTER = 48
_LONGEST_MARK = 40
_BAD_BYTE = re.compile(r"^Byte ([0-9]+) of the line")
_NEAR_BYTE = re.compile(r" near byte ([0-9]+)")
# An escape: a whole surrogate pair, half of one (the group), or any other.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
_FIELDS = {
    "invalid_custom_id": "custom_id",
    "duplicate_custom_id": "custom_id",
    "invalid_method": "method",
    "invalid_url": "url",
    "invalid_body": "body",
}
"""Codes about one field of a line, with the name of the field."""

_PARAMETERS = {
    "missing_model": ("model",),
    "invalid_messages": ("messages",),
    "missing_audio": ("file", "url"),
    "unsupported_parameter": ("stream", "service_tier"),
}
"""Codes about a field of the body. The first of these names in the message is the field."""

_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The part of a line around an error.

    Attributes:
        column: The character at which the error begins, counted from 1.
        text: The part of the line, safe to print on a terminal.
        indent: Terminal columns before the error.
        marked: Terminal columns that the error takes.
    """

    column: int
    text: str
    indent: int
    marked: int


def excerpt(problem: Problem, data: bytes) -> Excerpt | None:
    """Return the part of the line around a problem; None if it has no position.

    Args:
        problem: The problem of the line.
        data: The line, without its line end.
    """
    text = data.decode("utf-8", "replace")
    place = _place(problem, data, text)
    if place is None:
        return None
    begin, end = place
    first = max(begin - _BEFORE, 0)
    last = min(begin + _AFTER, len(text))
    head = ("…" if first else "") + printable(text[first:begin])
    marked = printable(text[begin : min(end, last)]) or " "
    tail = printable(text[min(end, last) : last]) + ("…" if last < len(text) else "")
    return Excerpt(
        column=begin + 1,
        text=(head + marked + tail).rstrip(),
        indent=columns(head),
        marked=min(max(columns(marked), 1), _LONGEST_MARK),
    )


def _place(problem: Problem, data: bytes, text: str) -> tuple[int, int] | None:
    """Return the start and end of the invalid characters."""
    if problem.code == "invalid_encoding":
        found = _BAD_BYTE.match(problem.message)
        return _at_byte(data, int(found[1]) - 1) if found else None
    if problem.code == "invalid_json":
        return _broken_json(problem, data, text)
    if problem.code == "not_an_object":
        return 0, len(text)
    if problem.code == "missing_custom_id":
        return _object_start(text)
    return _field_place(problem, text)


def _at_byte(data: bytes, place: int) -> tuple[int, int]:
    """Return the start and end of the character at a byte of a line."""
    character = len(data[:place].decode("utf-8", "replace"))
    return character, character + 1


def _broken_json(problem: Problem, data: bytes, text: str) -> tuple[int, int] | None:
    """Return the position at which a line stops being valid JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        place = error.pos
        if error.msg.startswith("Illegal trailing comma"):
            # Python 3.13 points at the comma. Older versions, like the pipeline, point after it.
            place = len(text) - len(text[place + 1 :].lstrip())
        return place, place + 1
    except RecursionError:
        return None
    # Python's parser accepts half surrogate pairs and NaN, which the pipeline rejects.
    for escape in _ESCAPE.finditer(text):
        if escape[1] is not None:
            return escape.span()
    near = _NEAR_BYTE.search(problem.message)
    return _at_byte(data, int(near[1]) - 1) if near else None


def _field_place(problem: Problem, text: str) -> tuple[int, int] | None:
    """Return the position of the field that a problem is about, or where the field is missing."""
    try:
        fields = dict(_members(text, 0))
        if problem.code in _FIELDS:
            return fields.get(_FIELDS[problem.code]) or _object_start(text)
        body, parameters = fields.get("body"), _PARAMETERS.get(problem.code)
        if body is None or parameters is None:
            return None
        words = problem.message.split()
        named = next((one for one in parameters if one in words), parameters[-1])
        return dict(_members(text, body[0])).get(named) or (body[0], body[0] + 1)
    except (ValueError, RecursionError):
        return None


def _members(text: str, begin: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the keys of the object that starts at a character, with the positions of their values.

    Raises:
        ValueError: It is not an object.
    """
    place = _after_space(text, begin)
    if text[place : place + 1] != "{":
        raise ValueError("not an object")
    place = _after_space(text, place + 1)
    while text[place : place + 1] == '"':
        key, place = _decode(text, place)
        place = _after_space(text, _after_space(text, place) + 1)
        _, end = _decode(text, place)
        yield key, (place, end)
        place = _after_space(text, _after_space(text, end) + 1)


def _after_space(text: str, place: int) -> int:
    found = _WHITE_SPACE.match(text, place)
    return found.end() if found else place


def _object_start(text: str) -> tuple[int, int]:
    begin = _after_space(text, 0)
    return begin, begin + 1
