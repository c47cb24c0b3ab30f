"""Read and write the bucket; the only module that calls S3 for objects.

Every decision that two invocations might make at once uses a conditional write (``If-None-Match``,
``If-Match``), which S3 answers with 412 or 409 for the one that comes second. It also does so for
the one whose first response was lost, when the SDK repeats it; so whoever handles a conflict looks
whose object is there.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from groq_batch.bucket.s3_errors import (
    BAD_REQUEST,
    CONFLICT_CODES,
    MISSING_CODES,
    RETRY_WRITE_CODES,
    VERSION_GONE_CODES,
    ConflictError,
    MissingObjectError,
    UnreadableObjectError,
    UnwritableObjectError,
    error_code,
    error_status,
    is_denied,
    is_refused,
)
from groq_batch.bucket.write_condition import ANYTHING, Over, write_condition
from groq_batch.request_file.lines import READ_BYTES

_DELETE_AT_ONCE = 1000
_BROKEN_STREAM = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""Errors of botocore's streams. As a context manager such a stream returns the one of urllib3 below
it, which has other errors and compares neither length nor checksum; hence ``closing``."""
_STREAM_TRIES = 4
_CONFLICT_PAUSES = (0.05, 0.1, 0.2)
"""Seconds between tries of a write that S3 answers with 409."""
_LARGEST_FOREIGN_BYTES = 32 * 1024 * 1024
"""Size above which an object is no report: that of 10,000 batches has about 3 MB."""
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that keys may contain but XML 1.0, which DeleteObjects uses, does not allow
(https://www.w3.org/TR/xml/#charsets)."""
JOB_METADATA = "groq-batch-job"
"""User metadata that names the job which wrote an object."""
_Value = TypeVar("_Value")


class LostPositionError(Exception):
    """A listing cannot continue at an earlier position; start it again."""


class Stored(msgspec.Struct, Generic[_Value], frozen=True):
    """The content of an object as read, and the state of the object.

    Attributes:
        value: The content.
        etag: The object's ETag, with its quotation marks: the condition for replacing it.
        written_at: When it was written, to the second.
    """

    value: _Value
    etag: str
    written_at: datetime


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing.

    ``size`` is in bytes, ``modified_at`` in seconds since 1970; 0 if it was not requested.
    """

    key: str
    size: int
    modified_at: float = field(default=0.0, compare=False)


class ObjectVersion(msgspec.Struct, frozen=True):
    """One version of a key in a listing; ``is_delete_marker`` marks a deletion.

    ``size`` is in bytes, ``modified_at`` in seconds since 1970; for a multipart upload that is the
    time of its start.
    """

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    etag: str
    size: int
    modified_at: float


class ListingPosition(msgspec.Struct, frozen=True):
    """Position at which a listing of versions continues; a key can have many pages of versions."""

    key: str
    version_id: str | None


class VersionPage(msgspec.Struct, frozen=True):
    """The result of one list call: versions by key, newest first within a key.

    ``following`` is the position of the next page; None on the last.
    """

    versions: list[ObjectVersion]
    following: ListingPosition | None


class ObjectHead(msgspec.Struct, frozen=True):
    """The result of HEAD. ``size`` is in bytes; ``metadata`` is the user metadata."""

    size: int
    etag: str
    version_id: str | None
    metadata: dict[str, str]


class Storage:
    """Reads and writes the objects of one bucket."""

    def __init__(self, *, s3: Any, bucket: str) -> None:
        """Use the S3 client ``s3`` on ``bucket``."""
        self.s3 = s3
        self.bucket = bucket

    def url(self, key: str) -> str:
        """Return the ``s3://`` URI of a key."""
        return f"s3://{self.bucket}/{key}"

    # -- whole small objects ---------------------------------------------------------------------

    def get_json(self, key: str) -> Stored[dict[str, Any]] | None:
        """Read a JSON object; None if it does not exist."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in MISSING_CODES:
                return None
            raise
        with closing(answer["Body"]) as body:
            return Stored(json.loads(body.read()), answer["ETag"], answer["LastModified"])

    def get_foreign_json(self, key: str) -> Stored[dict[str, Any]] | None:
        """Read a JSON object that another job or a user may have written, like ``get_json``.

        What a user has put there may be anything: content that is no JSON object, or is larger
        than any that the pipeline writes, is read as an empty object.

        Raises:
            UnreadableObjectError: S3 responds 400 or 403; the object may be encrypted with a former
                KMS key of the bucket, which the functions may not use any more.
        """
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in MISSING_CODES:
                return None
            if is_refused(error):
                raise UnreadableObjectError(key) from error
            raise
        return Stored(_foreign_json(answer), answer["ETag"], answer["LastModified"])

    def put_json(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        over: Over = ANYTHING,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write a JSON object and return its ETag.

        Args:
            key: Its key.
            value: Its content.
            over: ETag of the object that it replaces; None if there must be none. By default,
                anything is replaced.
            metadata: Its metadata.

        Raises:
            ConflictError: Another object is there, or none.
            UnwritableObjectError: S3 responds 403.
        """
        return self.put_bytes(
            key,
            json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"),
            content_type="application/json",
            over=over,
            metadata=metadata,
        )

    def put_bytes(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        over: Over = ANYTHING,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Write a small object and return its ETag.

        Args:
            key: Its key.
            data: Its content.
            content_type: Its media type.
            over: ETag of the object that it replaces; None if there must be none. By default,
                anything is replaced.
            metadata: Its metadata.

        Raises:
            ConflictError: Another object is there, or none; or S3 keeps responding 409.
            UnwritableObjectError: S3 responds 403.
        """
        condition = write_condition(over)
        try:
            answer = _settled(
                lambda: self.s3.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=data,
                    ContentType=content_type,
                    Metadata=dict(metadata or {}),
                    **condition,
                )
            )
        except ClientError as error:
            if condition and error_code(error) in CONFLICT_CODES | MISSING_CODES:
                raise ConflictError(key) from error
            if is_denied(error_code(error)):
                raise UnwritableObjectError(key) from error
            raise
        return str(answer["ETag"])

    def exists(self, key: str) -> bool:
        """Tell whether a key has a current object."""
        return self.head(key) is not None

    def head(self, key: str, *, version_id: str | None = None) -> ObjectHead | None:
        """Return the metadata of an object or of one version; None if it does not exist.

        Raises:
            UnreadableObjectError: S3 responds 400 or 403.
        """
        version = {"VersionId": version_id} if version_id else {}
        try:
            answer = self.s3.head_object(Bucket=self.bucket, Key=key, **version)
        except ClientError as error:
            if error_code(error) in MISSING_CODES | VERSION_GONE_CODES:
                return None
            if is_refused(error):
                raise UnreadableObjectError(key) from error
            raise
        return ObjectHead(
            size=int(answer["ContentLength"]),
            etag=answer["ETag"],
            version_id=answer.get("VersionId"),
            metadata={name.lower(): value for name, value in answer.get("Metadata", {}).items()},
        )

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; in a versioned bucket they remain as older versions.

        Raises:
            UnwritableObjectError: S3 denies deleting one; the message names it.
        """
        pending: list[str] = []
        for key in keys:
            if _NO_XML.search(key):
                self._delete_one(key)
            else:
                pending.append(key)
        for start in range(0, len(pending), _DELETE_AT_ONCE):
            answer = self.s3.delete_objects(
                Bucket=self.bucket,
                Delete={
                    "Objects": [{"Key": key} for key in pending[start : start + _DELETE_AT_ONCE]],
                    "Quiet": True,
                },
            )
            for failed in answer.get("Errors", []):
                if is_denied(str(failed.get("Code"))):
                    raise UnwritableObjectError(f"{failed.get('Key')}: {failed.get('Code')}")
                # S3 may fail for single keys (InternalError, SlowDown) in a successful response,
                # which no SDK retries (https://github.com/boto/boto3/issues/3052). A call for the
                # single key is retried like any other.
                self._delete_one(failed["Key"])

    def delete_unchanged(self, key: str, etag: str) -> bool:
        """Delete an object unless it has changed since it was read; tell whether it was deleted.

        Args:
            key: The object.
            etag: Its ETag when it was read, with its quotation marks.

        Raises:
            UnwritableObjectError: S3 denies deleting it.
        """
        try:
            # Not DeleteObjects: it is not documented whether that accepts a quoted ETag.
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
            self._delete_one(key, IfMatch=etag)
        except ClientError as error:
            if error_code(error) in CONFLICT_CODES | MISSING_CODES:
                return False
            raise
        return True

    def _delete_one(self, key: str, **condition: str) -> None:
        try:
            _settled(lambda: self.s3.delete_object(Bucket=self.bucket, Key=key, **condition))
        except ClientError as error:
            if is_denied(error_code(error)):
                raise UnwritableObjectError(f"{key}: {error_code(error)}") from error
            raise

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix in key order, 1,000 per call."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                yield StoredObject(
                    entry["Key"], int(entry["Size"]), entry["LastModified"].timestamp()
                )

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below a prefix."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/"
        )
        return [
            entry["Prefix"][len(prefix) : -1]
            for page in pages
            for entry in page.get("CommonPrefixes", [])
        ]

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Yield the versions below a prefix by key, newest first within a key.

        The order within a key is the order in which uploads were completed. Dates do not show it,
        because a multipart upload has the date of its start.
        """
        for page in self.version_pages(prefix):
            yield from page.versions

    def version_pages(
        self, prefix: str, after: ListingPosition | None = None
    ) -> Iterator[VersionPage]:
        """Yield the versions below a prefix in pages of 1,000, one call each.

        Args:
            prefix: Prefix of the keys.
            after: Position to continue at, from an earlier page; None for the beginning.

        Raises:
            LostPositionError: S3 does not accept ``after``.
        """
        position = {} if after is None else {"KeyMarker": after.key}
        if after is not None and after.version_id is not None:
            position["VersionIdMarker"] = after.version_id
        pages = iter(
            self.s3.get_paginator("list_object_versions").paginate(
                Bucket=self.bucket, Prefix=prefix, **position
            )
        )
        try:
            first = next(pages)
        except ClientError as error:
            if after is not None and error_status(error) == BAD_REQUEST:
                raise LostPositionError(after.key) from error
            raise
        for page in itertools.chain([first], pages):
            yield _version_page(page)

    # -- large objects ---------------------------------------------------------------------------

    def open(
        self, key: str, *, version_id: str | None = None, first: int = 0, length: int | None = None
    ) -> Any:
        """Open an object for reading and return botocore's stream of it (``read``, ``close``).

        If the stream breaks, reading fails; see ``chunks``. It must not be used as a context
        manager.

        Args:
            key: The object.
            version_id: The version to read; the current one when None.
            first: Offset of the first byte.
            length: Number of bytes; to the end when None.

        Raises:
            MissingObjectError: The object or the version does not exist.
            UnreadableObjectError: S3 answers 400 or 403.
        """
        return self._get(key, version_id=version_id, first=first, length=length)["Body"]

    def chunks(
        self,
        key: str,
        *,
        version_id: str | None = None,
        etag: str | None = None,
        first: int = 0,
        length: int | None = None,
    ) -> Generator[bytes]:
        """Yield an object's bytes in pieces.

        If the stream breaks, reading resumes at that point, from the very same object.

        A stream is never read beyond its last byte, which is when botocore compares checksums. For
        a range that covers all of a multipart upload, S3 sends the checksum of the parts' checksums
        without its ending, so that botocore takes it for the checksum of the bytes
        (https://github.com/boto/botocore/issues/3346).

        Args:
            key: The object.
            version_id: The version to read; the current one when None.
            etag: The object's ETag, if it must still be the same; any when None.
            first: Offset of the first byte.
            length: Number of bytes; to the end when None.

        Raises:
            MissingObjectError: The object or the version does not exist, or has another ETag.
            UnreadableObjectError: S3 answers 400 or 403.
        """
        offset, broken, expected = first, 0, etag
        end = None if length is None else first + length
        while end is None or offset < end:
            rest = None if end is None else end - offset
            try:
                answer = self._get(
                    key, version_id=version_id, first=offset, length=rest, if_match=etag
                )
                etag, left = answer["ETag"], int(answer["ContentLength"])
                with closing(answer["Body"]) as body:
                    if offset and "ContentRange" not in answer:
                        # A server may ignore a range and send everything (RFC 9110, 14.2).
                        left -= offset
                        _skip(body, offset)
                    end = offset + (left if rest is None else min(left, rest))
                    while offset < end and (piece := body.read(min(READ_BYTES, end - offset))):
                        offset += len(piece)
                        broken = 0
                        yield piece
            except ClientError as error:
                if expected is not None and error_code(error) in CONFLICT_CODES:
                    raise MissingObjectError(key) from error
                raise
            except _BROKEN_STREAM:
                broken += 1
                if broken == _STREAM_TRIES:
                    raise
            else:
                return

    def _get(
        self,
        key: str,
        *,
        version_id: str | None,
        first: int = 0,
        length: int | None = None,
        if_match: str | None = None,
    ) -> dict[str, Any]:
        extra: dict[str, str] = {"VersionId": version_id} if version_id else {}
        if first or length is not None:
            extra["Range"] = f"bytes={first}-{'' if length is None else first + length - 1}"
        if if_match is not None:
            extra["IfMatch"] = if_match
        try:
            answer: dict[str, Any] = self.s3.get_object(Bucket=self.bucket, Key=key, **extra)
        except ClientError as error:
            if error_code(error) in MISSING_CODES | VERSION_GONE_CODES:
                raise MissingObjectError(key) from error
            if is_refused(error):
                raise UnreadableObjectError(key) from error
            raise
        return answer


def _settled(write: Callable[[], Any]) -> Any:
    """Return the response to a write, repeated a few times while S3 responds 409.

    That means that another operation on the key is in progress, which may fail. Then nobody has
    written the object, so S3 asks for a retry
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html, If-None-Match).
    """
    for seconds in _CONFLICT_PAUSES:
        try:
            return write()
        except ClientError as error:
            if error_code(error) not in RETRY_WRITE_CODES:
                raise
        time.sleep(seconds)
    return write()


def _foreign_json(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Read the JSON object of a response to GetObject; an empty one if it is none."""
    with closing(answer["Body"]) as body:
        if int(answer["ContentLength"]) > _LARGEST_FOREIGN_BYTES:
            return {}
        try:
            content = json.loads(body.read())
        except (ValueError, RecursionError):
            return {}
    return content if isinstance(content, dict) else {}


def _version_page(page: Mapping[str, Any]) -> VersionPage:
    """Return a page of versions from S3's response, versions and delete markers combined."""
    entries = [(entry, False) for entry in page.get("Versions", [])]
    entries += [(entry, True) for entry in page.get("DeleteMarkers", [])]
    # Versions and markers come in two lists, each in order. The latest of a key comes first in its
    # own list; older markers of a key have no effect here.
    entries.sort(key=lambda pair: (pair[0]["Key"].encode(), not pair[0]["IsLatest"]))
    versions = [
        ObjectVersion(
            key=entry["Key"],
            version_id=entry["VersionId"],
            is_latest=bool(entry["IsLatest"]),
            is_delete_marker=is_marker,
            etag=str(entry.get("ETag", "")).strip('"'),
            size=int(entry.get("Size", 0)),
            modified_at=entry["LastModified"].timestamp(),
        )
        for entry, is_marker in entries
    ]
    following = None
    if page.get("IsTruncated") and "NextKeyMarker" in page:
        following = ListingPosition(page["NextKeyMarker"], page.get("NextVersionIdMarker"))
    return VersionPage(versions, following)


def _skip(body: Any, count: int) -> None:
    while count and (piece := body.read(min(count, READ_BYTES))):
        count -= len(piece)
