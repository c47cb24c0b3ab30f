"""Read and write JSONL; rows keep their bytes, and new keys follow the existing ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from typing import Any, BinaryIO

import msgspec

from groq_batch.request_file.syntax_messages import syntax_cause
from groq_batch_client.errors import TableError
from groq_batch_client.tables.batches import ROWS_OF_A_BATCH, Batch, MissingColumnError
from groq_batch_client.tables.names import quoted

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_NO_JSON_NUMBER = re.compile(rb"[:\[,]\s*(NaN|-?Infinity)\b")
_A_LIST = (
    "It begins a list. A file of rows has one object on each line, without brackets and commas "
    "around them; jq -c '.[]' FILE writes a list so."
)
_SURROGATE = re.compile("[\ud800-\udfff]")

_LOOKED_AT = 64
_FEW = 8
_NULL = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode
_decode_row = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode

Row = dict[str, msgspec.Raw]


def text_of(value: msgspec.Raw) -> str:
    """Return a JSON value as text: texts unchanged, null as empty, others as written in JSON."""
    data = bytes(value)
    if data.startswith(b'"'):
        return _decode_text(data)
    return "" if data == b"null" else data.decode()


class JsonBatch(Batch):
    """Rows of JSON objects."""

    def __init__(self, lines: list[bytes], rows: list[Row], table: str) -> None:
        self._lines = lines
        self._rows = rows
        self._table = table
        self.rows = len(rows)

    def texts(self, name: str) -> list[str]:
        """Return the values of a key."""
        try:
            values = [row[name] for row in self._rows]
        except KeyError:
            place = next(place for place, row in enumerate(self._rows) if name not in row)
            raise MissingColumnError(place, list(self._rows[place])) from None
        return list(map(text_of, values))

    def cells(self, names: Sequence[str]) -> list[list[str]]:
        """Return the values of keys; a missing key gives an empty text."""
        return [[text_of(row.get(name, _NULL)) for row in self._rows] for name in names]

    def objects(self) -> list[bytes]:
        """Return the lines."""
        return self._lines

    def keys_among(self, names: frozenset[str]) -> str | None:
        """Return one of the names that is a key of a row, or None."""
        for row in self._rows:
            if not names.isdisjoint(row):
                return next(name for name in row if name in names)
        return None

    def values(self, name: str) -> list[msgspec.Raw | None]:
        """Return the values of a key as JSON; None for rows without it."""
        return [row.get(name) for row in self._rows]

    @property
    def keys(self) -> dict[str, None]:
        """The keys of all rows, in order of their first appearance."""
        keys: dict[str, None] = {}
        for row in self._rows:
            if len(row) != len(keys) or not row.keys() <= keys.keys():
                keys.update(dict.fromkeys(row))
        return keys

    def arrow(self, schema: Any) -> list[Any]:
        """Return the keys of an Arrow schema as arrays of its types."""
        from groq_batch_client.tables.json_to_arrow import array_of  # noqa: PLC0415 - pyarrow

        return [array_of(self.values(field.name), field.type) for field in schema]


def json_batches(stream: BinaryIO, table: str) -> Iterator[JsonBatch]:
    """Yield the rows of a JSONL file; skip blank lines.

    Args:
        stream: The bytes of the file.
        table: The name of the file in messages.

    Raises:
        TableError: A line is not a JSON object.
    """
    number = 0
    while raw := list(islice(stream, ROWS_OF_A_BATCH)):
        if number == 0:
            raw[0] = raw[0].removeprefix(_BOM)
        lines, rows = [], []
        for line in raw:
            number += 1
            stripped = line.strip(_BLANK)
            if stripped:
                lines.append(stripped)
                rows.append(_row_of(stripped, number, table))
        if rows:
            yield JsonBatch(lines, rows, table)


def _row_of(line: bytes, number: int, table: str) -> Row:
    try:
        # msgspec does not validate the text of values that it skips.
        line.decode()
        return _decode_row(line)
    except UnicodeDecodeError:
        raise TableError(
            f"Line {number} of {table} is not UTF-8. Save the file as UTF-8."
        ) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise TableError(_no_object(line, number, table, error)) from None


def _no_object(line: bytes, number: int, table: str, error: Exception) -> str:
    found = _NO_JSON_NUMBER.search(line)
    if found is not None:
        return (
            f"Line {number} of {table} holds {found[1].decode()}, which JSON cannot represent. "
            f"Write null instead."
        )
    column = _half_character(line)
    if column is not None:
        return (
            f"Line {number} of {table} has half of a surrogate pair in its column "
            f"{quoted(column)}, often half of an emoji that was cut. Remove it or complete it."
        )
    cause = _A_LIST if line.startswith(b"[") else syntax_cause(line, str(error))
    return (
        f"Line {number} of {table} is not a JSON object ({error}). "
        f"{cause or 'A file of rows has one on each line.'}"
    )


def _half_character(line: bytes) -> str | None:
    """Return the key with half of a surrogate pair, or None. JSON allows it, UTF-8 does not."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    for name, value in row.items() if isinstance(row, dict) else ():
        text = name + json.dumps(value, ensure_ascii=False)
        if _SURROGATE.search(text) is not None:
            return str(name)
    return None


class JsonWriter:
    """Writes rows as JSON objects with new keys appended."""

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        """Append keys with these names to each row."""
        self._stream = stream
        self._keys = [_encode(name) + b":" for name in names]

    def write(self, objects: Sequence[bytes], columns: Sequence[Sequence[Any]]) -> None:
        """Append rows.

        Args:
            objects: The rows as JSON objects.
            columns: The values of each key, as JSON values.
        """
        begin, commas = _opened(objects)
        pieces: list[Iterable[bytes]] = [begin, commas]
        constant = b""
        for key, column in zip(self._keys, columns, strict=True):
            constant += key
            if column.count(None) == len(column):
                constant += b"null,"
                continue
            pieces += [repeat(constant), _encoded(column)]
            constant = b","
        pieces.append(repeat(constant.removesuffix(b",") + b"}\n"))
        self._stream.write(b"".join(chain.from_iterable(zip(*pieces))))  # noqa: B905 - constants


def _opened(objects: Sequence[bytes]) -> tuple[list[bytes], Iterable[bytes]]:
    """Return objects without the closing brace, and the separator before new keys."""
    # An object without quotes has no keys.
    return [one[:-1] for one in objects], [b"," if b'"' in one else b"" for one in objects]


def _encoded(column: Sequence[Any]) -> list[bytes]:
    """Encode JSON values; encode each frequent text only once."""
    known: dict[str, bytes] = {}
    for one in column[:_LOOKED_AT]:
        if isinstance(one, str):
            known[one] = _encode(one)
    if len(known) > _FEW:
        return list(map(_encode, column))
    return [(known.get(one) if isinstance(one, str) else None) or _encode(one) for one in column]
