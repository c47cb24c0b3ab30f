"""Find Arrow types for JSON values, and build arrays.

A column becomes a column of JSON texts if no single type fits its values, or if Parquet lacks the
type (an object without keys, a list that is always empty, a number of more than 64 bits).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow
from pyarrow import types

from groq_batch_client.tables.json_lines import JsonBatch, text_of

_LARGEST_EXACT = 2**53
"""Largest integer up to which float64, the type of columns with fractions, is exact."""

_DEEPEST = 32
"""Maximum nesting of a column type. Parquet readers accept 100, and a list counts as two."""

_decode = msgspec.json.Decoder().decode


class _Column:
    """The type of a column so far; None before the first value, ``is_text`` if no type fits."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.is_text = False
        self.largest = 0

    def add(self, values: Sequence[msgspec.Raw | None]) -> None:
        """Widen the type to fit more values."""
        if self.is_text:
            return
        try:
            found = [None if one is None else _decode(one) for one in values]
            self.largest = max(self.largest, *(_largest(one) for one in found))
            kind = pyarrow.array(found).type
            if _has_floats(kind) and not all(_keeps(one, kind) for one in found):
                self.is_text = True
                return
            self.kind = kind if self.kind is None else _both(self.kind, kind)
        except (
            pyarrow.ArrowException,
            msgspec.DecodeError,
            OverflowError,
            RecursionError,
            ValueError,
        ):
            self.is_text = True

    @property
    def result(self) -> Any:
        """The type of the column's array."""
        if self.is_text or self.kind is None or not _can_be_stored(self.kind):
            return pyarrow.string()
        if self.largest > _LARGEST_EXACT and _has_floats(self.kind):
            return pyarrow.string()
        return self.kind


def schema_of(batches: Iterable[JsonBatch]) -> Any:
    """Return the Arrow schema that fits all rows."""
    columns: dict[str, _Column] = {}
    for batch in batches:
        for name in batch.keys:
            columns.setdefault(name, _Column()).add(batch.values(name))
    return pyarrow.schema([(name, column.result) for name, column in columns.items()])


def array_of(values: Sequence[msgspec.Raw | None], kind: Any) -> Any:
    """Return values as an array of a type from ``schema_of``."""
    if types.is_string(kind):
        return pyarrow.array([_json_text(one) for one in values], kind)
    return pyarrow.array([None if one is None else _decode(one) for one in values], kind)


def _json_text(value: msgspec.Raw | None) -> str | None:
    return None if value is None or bytes(value) == b"null" else text_of(value)


def _both(one: Any, other: Any) -> Any:
    schemas = [pyarrow.schema([("", kind)]) for kind in (one, other)]
    return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type


def _largest(value: Any) -> int:
    """Return the largest absolute integer within a value."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return abs(value)
    if isinstance(value, list):
        return max((_largest(one) for one in value), default=0)
    if isinstance(value, dict):
        return max((_largest(one) for one in value.values()), default=0)
    return 0


def _keeps(value: Any, kind: Any) -> bool:
    """Tell whether a type keeps the booleans in a value: Arrow reads true among floats as 1.0."""
    if isinstance(value, bool):
        return not types.is_floating(kind)
    if isinstance(value, list):
        return all(_keeps(one, kind.value_type) for one in value)
    if isinstance(value, dict):
        return all(_keeps(one, kind.field(name).type) for name, one in value.items())
    return True


def _leaves(kind: Any) -> list[Any]:
    if types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(field.type)] or [None]
    if types.is_list(kind):
        return _leaves(kind.value_type)
    return [kind]


def _depth(kind: Any) -> int:
    if types.is_struct(kind):
        return 1 + max((_depth(field.type) for field in kind), default=0)
    return 1 + _depth(kind.value_type) if types.is_list(kind) else 1


def _can_be_stored(kind: Any) -> bool:
    """Tell whether a type is not too deep and has values in every leaf.

    An object without keys has no leaf, and a value that is always null has no type.
    """
    return _depth(kind) <= _DEEPEST and all(
        leaf is not None and not types.is_null(leaf) for leaf in _leaves(kind)
    )


def _has_floats(kind: Any) -> bool:
    return any(leaf is not None and types.is_floating(leaf) for leaf in _leaves(kind))
