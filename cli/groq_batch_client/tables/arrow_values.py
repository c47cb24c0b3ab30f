"""Convert Arrow arrays to texts and JSON values by type, never with Python's ``str``.

Texts are what ``cast`` writes: numbers with the digits of their own type (0.1 as float32 is 0.1),
times in ISO 8601 with all digits. JSON values are numbers, booleans, lists and objects if JSON has
them, and such texts otherwise.
"""

from __future__ import annotations

import math
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import msgspec
import pyarrow
from pyarrow import compute, types

from groq_batch_client.errors import TableError
from groq_batch_client.tables.names import quoted

_encode = msgspec.json.Encoder().encode
_UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_HALF_DIGITS = 5
_LARGEST_HALF = 65504.0
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")
_SECONDS_OF_A_DAY = 86_400
_CAST_DAYS = range(-12_687_427, 11_248_737)
"""Days since 1970 for which Arrow's ``cast`` writes dates: the years -32767 to 32767, less one day
at either end for time zones. For others it writes a sentence, or nonsense. Some databases store
infinity as the largest value."""
_EPOCH = date(1970, 1, 1)
_CYCLE_YEARS = 400
_CYCLE_DAYS = 146_097
"""Days after which the Gregorian calendar repeats."""


class _NoFormError(Exception):
    """A value or type cannot be written as text; the message says why."""


def texts_of(array: Any, column: str) -> list[str]:
    """Return an array as texts; null and NaN become ``""``.

    Raises:
        TableError: Its type or a value cannot be written as text; the message names the column.
    """
    try:
        values = _values(array)
    except _NoFormError as error:
        raise TableError(f"The column {quoted(column)} {error}.") from None
    except (pyarrow.ArrowException, OverflowError, ValueError) as error:
        raise TableError(f"The column {quoted(column)} cannot be read: {error}.") from None
    return [_text(value) for value in values]


def objects_of(array: Any, column: str) -> list[Any]:
    """Return an array as JSON values.

    Raises:
        TableError: JSON cannot represent its type or a value; the message names the column.
    """
    try:
        return _values(array)
    except _NoFormError as error:
        raise TableError(f"The column {quoted(column)} {error}.") from None
    except (pyarrow.ArrowException, OverflowError, ValueError) as error:
        raise TableError(f"The column {quoted(column)} cannot be read: {error}.") from None


def json_row(row: dict[str, Any]) -> bytes:
    """Return named JSON values as a JSON object."""
    return _encode(row)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()


def _values(array: Any) -> list[Any]:
    """Return JSON values of an array or chunked array."""
    if isinstance(array, pyarrow.ChunkedArray):
        return [value for chunk in array.chunks for value in _values(chunk)]
    for is_kind, read in _READERS:
        if is_kind(array.type):
            return read(array)
    raise _NoFormError(f"is of the type {array.type}, which cannot be written as text")


def _as_they_are(array: Any) -> list[Any]:
    return list(array.to_pylist())


def _cast(array: Any) -> list[Any]:
    return list(array.cast(pyarrow.string()).to_pylist())


def _decimals(array: Any) -> list[Any]:
    """Write decimal numbers with all their digits; as text, Python writes a zero as ``0E-9``."""
    return [None if one is None else msgspec.Raw(f"{one:f}".encode()) for one in array.to_pylist()]


def _floats(array: Any) -> list[Any]:
    """Convert floating-point numbers with the digits of their own width; NaN becomes null."""
    if types.is_float64(array.type):
        values = array.to_pylist()
    elif types.is_float32(array.type):
        values = [None if one is None else float(one) for one in _cast(array)]
    else:
        values = [None if one is None else _half(float(one)) for one in array.to_pylist()]
    return [None if one is None or not math.isfinite(one) else one for one in values]


def _half(value: float) -> float:
    """Return the shortest decimal number that rounds to this 16-bit value."""
    if not math.isfinite(value):
        return value
    for digits in range(1, _HALF_DIGITS):
        short = float(f"{value:.{digits}g}")
        # Rounded up, the largest values are beyond 16 bits, which cannot be packed.
        if abs(short) <= _LARGEST_HALF and struct.pack("e", short) == struct.pack("e", value):
            return short
    return float(f"{value:.{_HALF_DIGITS}g}")


def _bytes(array: Any) -> list[Any]:
    values = array.to_pylist()
    try:
        return [None if one is None else one.decode() for one in values]
    except UnicodeDecodeError:
        raise _NoFormError(
            "holds bytes that are not UTF-8. Decode it to text, or leave it out of the prompt and "
            "write Parquet"
        ) from None


def _dates(array: Any) -> list[Any]:
    days = array.cast(pyarrow.date32()).cast(pyarrow.int32())
    if _can_be_cast(days, 1):
        return _cast(array)
    return [
        _far_date(day) if day is not None and day not in _CAST_DAYS else one
        for one, day in zip(_cast(array), days.to_pylist(), strict=True)
    ]


def _can_be_cast(ticks: Any, day: int) -> bool:
    """Tell whether ``cast`` writes all of these times, of so many ticks a day, correctly."""
    bounds = compute.min_max(ticks).as_py().values()
    return all(one is None or one // day in _CAST_DAYS for one in bounds)


def _far_date(days: int) -> str:
    """Return a date in ISO 8601, of any year, from the days since 1970."""
    cycles, rest = divmod(days, _CYCLE_DAYS)
    near = _EPOCH + timedelta(days=rest)
    return f"{near.year + cycles * _CYCLE_YEARS:04d}-{near:%m-%d}"


def _timestamps(array: Any) -> list[Any]:
    digits = _UNITS[array.type.unit]
    day = _SECONDS_OF_A_DAY * 10**digits
    ticks = array.cast(pyarrow.int64())
    if _can_be_cast(ticks, day):
        return _near_timestamps(array)
    zone = "Z" if array.type.tz is not None else ""
    found: list[Any] = []
    for place, one in enumerate(ticks.to_pylist()):
        if one is None or one // day in _CAST_DAYS:
            found += _near_timestamps(array.slice(place, 1))
        else:
            found.append(_far_timestamp(one, digits) + zone)
    return found


def _far_timestamp(ticks: int, digits: int) -> str:
    """Return a time in ISO 8601, of any year, from fractions of a second since 1970."""
    seconds, fraction = divmod(ticks, 10**digits)
    days, second = divmod(seconds, _SECONDS_OF_A_DAY)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{_far_date(days)}T{clock}" + (f".{fraction:0{digits}d}" if digits else "")


def _near_timestamps(array: Any) -> list[Any]:
    zone = array.type.tz
    if zone is not None:
        try:
            return _iso(_cast(array))
        except pyarrow.ArrowInvalid:
            # This machine does not know the time zone; UTC gives the same point in time.
            array = array.cast(pyarrow.timestamp(array.type.unit, "UTC"))
    return _iso(_cast(array))


def _iso(values: list[Any]) -> list[Any]:
    """Write times in the extended format of ISO 8601, which wants a colon in the offset as well."""
    return [
        None if one is None else _OFFSET.sub(r"\1:\2", one.replace(" ", "T", 1)) for one in values
    ]


def _durations(array: Any) -> list[Any]:
    """Write durations in seconds in ISO 8601, such as ``PT1.5S``."""
    digits = _UNITS[array.type.unit]
    found = array.cast(pyarrow.int64()).to_pylist()
    return [None if one is None else f"PT{_decimal(one, digits)}S" for one in found]


def _decimal(value: int, digits: int) -> str:
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), 10**digits)
    fraction = f".{rest:0{digits}d}".rstrip("0").rstrip(".") if digits else ""
    return f"{sign}{whole}{fraction}"


def _lists(array: Any) -> list[Any]:
    if types.is_list_view(array.type) or types.is_large_list_view(array.type):
        # Their values may be stored in any order; reading them one by one is correct.
        return [None if not one.is_valid else _values(one.values) for one in array]
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        flat = _values(array.values[array.offset * size : (array.offset + len(array)) * size])
        return [
            flat[place * size : (place + 1) * size] if is_valid else None
            for place, is_valid in enumerate(array.is_valid().to_pylist())
        ]
    offsets = array.offsets.to_pylist()
    first = offsets[0] if offsets else 0
    flat = _values(array.values[first : offsets[-1]]) if offsets else []
    return [
        flat[offsets[place] - first : offsets[place + 1] - first] if is_valid else None
        for place, is_valid in enumerate(array.is_valid().to_pylist())
    ]


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _NoFormError(f"has objects with two fields named {quoted(twice)}")
    columns = [_values(array.field(place)) for place in range(len(names))]
    valid = array.is_valid().to_pylist()
    if not names:
        return [{} if one else None for one in valid]
    return [
        dict(zip(names, row, strict=True)) if is_valid else None
        for is_valid, row in zip(valid, zip(*columns, strict=True), strict=True)
    ]


def _maps(array: Any) -> list[Any]:
    """Convert maps to objects, or to lists of pairs if a key occurs twice, to lose nothing."""
    offsets = array.offsets.to_pylist()
    first, last = (offsets[0], offsets[-1]) if offsets else (0, 0)
    keys = [_text(one) for one in _values(array.keys[first:last])]
    items = _values(array.items[first:last])
    found: list[Any] = []
    for place, is_valid in enumerate(array.is_valid().to_pylist()):
        part = slice(offsets[place] - first, offsets[place + 1] - first)
        pairs = list(zip(keys[part], items[part], strict=True))
        as_object = dict(pairs)
        whole: Any = as_object if len(as_object) == len(pairs) else [list(one) for one in pairs]
        found.append(whole if is_valid else None)
    return found


def _dictionaries(array: Any) -> list[Any]:
    try:
        return _values(array.dictionary_decode())
    except pyarrow.ArrowNotImplementedError:
        # As for string views, which Polars uses in its categories.
        values = _values(array.dictionary)
        return [None if place is None else values[place] for place in array.indices.to_pylist()]


def _run_ends(array: Any) -> list[Any]:
    return _values(compute.run_end_decode(array))


def _extensions(array: Any) -> list[Any]:
    name = array.type.extension_name
    if name == "arrow.uuid":
        stored = array.storage.to_pylist()
        return [None if one is None else str(uuid.UUID(bytes=one)) for one in stored]
    if name == "arrow.bool8":
        return [None if one is None else bool(one) for one in array.storage.to_pylist()]
    if name == "pandas.period":
        # Stored as the number of periods since 1970, which would pass for a value.
        found = array.to_pandas().astype("string")
        return [
            None if is_missing else one for one, is_missing in zip(found, found.isna(), strict=True)
        ]
    return _values(array.storage)


def _is_binary(kind: Any) -> bool:
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_list(kind: Any) -> bool:
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


_READERS: Sequence[tuple[Callable[[Any], bool], Callable[[Any], list[Any]]]] = (
    (lambda kind: isinstance(kind, pyarrow.BaseExtensionType), _extensions),
    (types.is_null, _as_they_are),
    (_is_text, _as_they_are),
    (types.is_boolean, _as_they_are),
    (types.is_integer, _as_they_are),
    (types.is_floating, _floats),
    (types.is_decimal, _decimals),
    (types.is_date, _dates),
    (types.is_time, _cast),
    (types.is_timestamp, _timestamps),
    (types.is_duration, _durations),
    (_is_binary, _bytes),
    (types.is_dictionary, _dictionaries),
    (types.is_run_end_encoded, _run_ends),
    (_is_list, _lists),
    (types.is_struct, _structs),
    (types.is_map, _maps),
)
