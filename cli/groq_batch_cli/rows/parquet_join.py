"""The Parquet schema of joined rows: that of the rows, and columns for the answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groq_batch_cli.joining import AnswerColumns, check_columns
from groq_batch_cli.rows.formats import arrow
from groq_batch_cli.rows.reading import Row, RowFile, as_text
from groq_batch_cli.rows.writing import RowWriter, arrow_schema_of, parquet_writer


class _AnswerTexts:
    """Writes rows; answers that have no type of their own in Parquet become JSON texts."""

    def __init__(self, writer: RowWriter, kinds: dict[str, str]) -> None:
        self._writer = writer
        self._kinds = kinds

    def write(self, row: Row) -> None:
        """Append a row."""
        for name, kind in self._kinds.items():
            row[name] = _fitting(row[name], kind)
        self._writer.write(row)


@contextlib.contextmanager
def joined_writer(rows: RowFile, out: Path, columns: AnswerColumns) -> Iterator[RowWriter]:
    """Open a Parquet file for joined rows, for the time of a ``with`` block."""
    arrow()
    import pyarrow  # noqa: PLC0415

    existing = arrow_schema_of(rows)
    check_columns(existing.names, columns.names)
    kinds = dict.fromkeys(columns.names, "string")
    for name, schema in zip(columns.names, columns.properties.values(), strict=False):
        kinds[name] = _kind(schema)
    types = {
        "string": pyarrow.string(),
        "number": pyarrow.float64(),
        "integer": pyarrow.int64(),
        "boolean": pyarrow.bool_(),
    }
    fields = [*existing, *(pyarrow.field(name, types[kind]) for name, kind in kinds.items())]
    with parquet_writer(out, pyarrow.schema(fields)) as writer:
        yield _AnswerTexts(writer, kinds)


def _kind(schema: Any) -> str:
    """Return which type a property's column has: that of the schema where it is a simple one."""
    declared = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(declared, list):
        simple = [one for one in declared if one != "null"]
        declared = simple[0] if len(simple) == 1 else None
    return declared if declared in ("number", "integer", "boolean") else "string"


def _fitting(value: Any, kind: str) -> Any:
    """Return a value as its column takes it; None when the model did not keep to the schema."""
    if value is None:
        return None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "string":
        # Half of a surrogate pair, as a model may write it, has no form in UTF-8.
        return as_text(value).encode("utf-8", "replace").decode()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind == "number":
        return float(value)
    return int(value) if value == int(value) and abs(value) < 2**63 else None
