"""Reads what successful answers of the API hold, and tells it from what came in its place."""

from __future__ import annotations

import json
from io import SEEK_END
from typing import Any, BinaryIO

from groq_batch.batches import Batch, GroqFile, batch_of, file_of

_LARGEST_MESSAGE = 64 * 1024


class ShapeError(Exception):
    """An answer's JSON is not what it should be; the text goes on after "The answer …"."""


def read_file(data: object) -> GroqFile:
    """Read a file's description.

    Raises:
        ShapeError: It is none.
    """
    file = file_of(data)
    if file is None:
        raise ShapeError("names no file")
    return file


def read_batch(data: object, batch_id: str | None = None) -> Batch:
    """Read a batch: the one with this id, if given.

    Raises:
        ShapeError: It is none, or another one.
    """
    batch = batch_of(data)
    if batch is None or (batch_id is not None and batch.id != batch_id):
        raise ShapeError("is not about the batch asked for")
    return batch


def read_page(data: object, *, strict: bool) -> tuple[list[Any], str | None]:
    """Return the items of a list's page, and the cursor of the next page unless it is the last.

    The cursor stands in ``paging``, where Groq's documents show it, or beside the items. A page in
    the form of other APIs, which says that there are more items and not how to get at them, must
    not pass for the last one.

    Raises:
        ShapeError: It is no list, or ``strict`` and there is a next page that cannot be asked for.
    """
    items, places = data, []
    if isinstance(data, dict) and "data" in data and not data.get("error"):
        # Null is how some languages write an empty list.
        items = [] if data["data"] is None else data["data"]
        places = [place for place in (data.get("paging"), data) if isinstance(place, dict)]
    if not isinstance(items, list):
        raise ShapeError("is not a list")
    cursor = next((found for place in places if (found := place.get("next_cursor"))), None)
    if isinstance(cursor, int) and not isinstance(cursor, bool):
        cursor = str(cursor)
    if isinstance(cursor, str):
        return items, cursor
    if strict and (cursor or any(place.get("has_more") for place in places)):
        raise ShapeError("names a next page in a form that is not known")
    return items, None


def begins_with_a_row(content: BinaryIO) -> bool:
    """Tell whether the content of a result file begins with a row that can be read.

    A message that passed for a file of rows would make every request of the batch look unanswered,
    and they would all be sent, and paid for, again. A file may have broken rows, though.

    Raises:
        ShapeError: It is a message that came in the place of a file of rows.
    """
    content.seek(0)
    start = content.read(_LARGEST_MESSAGE + 1)
    content.seek(0, SEEK_END)
    rows = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_whole = len(start) <= _LARGEST_MESSAGE
    if rows[:1] not in b'{["' or (is_whole and _is_error(rows)):
        raise ShapeError("is no file of rows")
    first, line_end, _ = rows.partition(b"\n")
    if not line_end and not is_whole:
        return True
    return isinstance(_json_of(first), dict)


def _is_error(content: bytes) -> bool:
    """Tell whether a content is one error of the API, and not a row that has one."""
    data = _json_of(content)
    if not isinstance(data, dict) or data.keys() & {"custom_id", "response"}:
        return False
    return bool(data.get("error")) or data.get("object") == "error"


def _json_of(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
