"""Convert dataclasses to JSON data and back, by msgspec.

A job may run across deployments: fields that another version has added are ignored, and fields that
it did not write get their defaults.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec raises for bytes that are not JSON of its type."""

_Value = TypeVar("_Value")


def to_json_data(value: object) -> Any:
    """Return a dataclass, Struct or container as JSON data.

    A class that msgspec does not know is written by its method ``to_json``.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_write)


def from_json_data(data: object, kind: type[_Value]) -> _Value:
    """Read a value of a type from JSON data.

    A class that msgspec does not know is read by its method ``from_json``, or as what its base
    ``dict[...]`` says.

    Raises:
        msgspec.ValidationError: The data does not fit the type; it is a ``ValueError``.
    """
    return msgspec.convert(data, kind, str_keys=True, dec_hook=_read)


def _write(value: Any) -> Any:
    return value.to_json()


def _read(kind: Any, data: object) -> Any:
    if hasattr(kind, "from_json"):
        return kind.from_json(data)
    return kind(from_json_data(data, kind.__orig_bases__[0]))
