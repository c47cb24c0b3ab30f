"""Read and write the job's records: JSON objects in the bucket, one for each record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain.json_data import from_json_data, to_json_data

SCHEMA_VERSION = 1
"""The form of the records. Fields are only added; whatever else changes has a higher number."""

_Record = TypeVar("_Record")


class MissingRecordError(ValueError):
    """A step needs a record of its job that does not exist (any more)."""


class NewerRecordError(Exception):
    """A record has a form that this version of the code does not know."""


def to_record(record: object) -> dict[str, Any]:
    """Return a record as JSON data, with the version of its form."""
    return {"schema_version": SCHEMA_VERSION, **to_json_data(record)}


def from_record(data: dict[str, Any], kind: type[_Record], *, key: str = "a record") -> _Record:
    """Read a record from JSON data.

    Raises:
        NewerRecordError: A later version of the stack has written it in another form.
        ValueError: The data is no such record.
    """
    check_version(data, key=key)
    return from_json_data(data, kind)


def check_version(data: Mapping[str, Any], *, key: str = "a record") -> None:
    """Check that this version of the code knows the form of a record.

    Raises:
        NewerRecordError: A later version of the stack has written it in another form.
    """
    version = data.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerRecordError(
            f"{key} has schema_version {version}, but this version of the code reads up to "
            f"{SCHEMA_VERSION}. Deploy the version that has written it, or a later one."
        )


def load(storage: Storage, key: str, kind: type[_Record]) -> _Record | None:
    """Read a record; None if there is none.

    Raises:
        NewerRecordError: A later version of the stack has written it in another form.
    """
    found = load_with_etag(storage, key, kind)
    return found.value if found else None


def load_with_etag(storage: Storage, key: str, kind: type[_Record]) -> Stored[_Record] | None:
    """Read a record with its ETag; None if there is none.

    Raises:
        NewerRecordError: A later version of the stack has written it in another form.
    """
    found = storage.get_json(key)
    if found is None:
        return None
    return Stored(from_record(found.value, kind, key=key), found.etag, found.written_at)


def put(storage: Storage, key: str, record: object, *, over: str | None) -> str:
    """Write a record and return its ETag.

    Args:
        storage: The bucket.
        key: The record's key.
        record: The record.
        over: ETag of the one that it replaces; None if there must be none.

    Raises:
        ConflictError: Another one is there.
    """
    return storage.put_json(key, to_record(record), over=over)


def swap(storage: Storage, key: str, record: object, *, over: str | None) -> str:
    """Write a record like ``put``, also if S3 has the write of a first try whose response was lost.

    The SDK repeats such a write and is refused because of its own one.

    Raises:
        ConflictError: Another record is there.
    """
    try:
        return put(storage, key, record, over=over)
    except ConflictError:
        found = load_with_etag(storage, key, type(record))
        if found is not None and found.value == record:
            return found.etag
        raise


def put_once(storage: Storage, key: str, record: _Record) -> _Record:
    """Write a record unless there is one already; return the one that is there.

    Raises:
        ConflictError: S3 refused the write, and there is none.
    """
    data = to_record(record)
    found = put_json_once(storage, key, data)
    return record if found is data else from_record(found, type(record), key=key)


def put_json_once(storage: Storage, key: str, data: dict[str, Any]) -> dict[str, Any]:
    """Write JSON data unless there is some already; return what is there.

    Raises:
        ConflictError: S3 refused the write, and there is none.
    """
    try:
        storage.put_json(key, data, over=None)
    except ConflictError:
        # It may be this data, if the response to the first of two tries was lost.
        found = storage.get_json(key)
        if found is None:
            raise
        return found.value
    return data
