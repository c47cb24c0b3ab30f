"""Write an object of unknown size as a multipart upload, from sent and copied parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import (
    CONFLICT_CODES,
    MISSING_CODES,
    NO_UPLOAD,
    ConflictError,
    MissingObjectError,
    UnreadableObjectError,
    UnwritableObjectError,
    error_code,
    is_denied,
)
from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_condition import ANYTHING, Over, write_condition

PART_BYTES = 6 * 1024 * 1024
"""Size of an uploaded part. S3's minimum is 5 MiB, and its 10,000 parts make 60 GB of it:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html."""
_PARTS_IN_FLIGHT = 2
"""Parts that are being sent; each of them is in memory."""
_COPIES_IN_FLIGHT = 16
"""Parts that S3 is copying. They take no memory, but time: half a second for 70 MB, by estimate,
and the results of a large job are as many parts as it has shards."""


class ObjectWriter:
    """Writes an object of any size in parts, holding a few parts in memory.

    Nothing is visible in the bucket before ``commit``. As a context manager it commits at the end
    of the block, and aborts the upload if the block fails. ``seal`` ends the writing and leaves the
    decision open: a sealed writer holds no data and waits for ``commit`` or ``abort``.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        *,
        content_type: str = "application/x-ndjson",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Begin an object.

        Args:
            storage: The bucket.
            key: Key of the object.
            content_type: Its media type.
            metadata: Its user metadata.
        """
        self.key = key
        self.bytes_written = 0
        self._storage = storage
        self._content_type = content_type
        self._metadata = dict(metadata or {})
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._in_flight: dict[Future[str], int] = {}
        self._copying: set[Future[str]] = set()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; full parts are sent in the background."""
        self._buffer += data
        self.bytes_written += len(data)
        if len(self._buffer) >= PART_BYTES:
            self._send_part()

    def seal(self) -> None:
        """Send the remaining bytes and wait until S3 has all parts."""
        if self._buffer or not (self._parts or self._in_flight):
            self._send_part()
        while self._in_flight:
            self._take_over_finished()
        self._close_pool()

    def commit(self, *, over: Over = ANYTHING) -> str:
        """Make the object visible and return its ETag.

        Args:
            over: ETag of the object that it replaces; None if there must be none. By default,
                anything is replaced.

        Raises:
            ConflictError: Another object is there, or none; the parts are discarded.
            UnwritableObjectError: S3 responds 403.
        """
        condition = write_condition(over)
        if self._upload_id is None and not self._parts:
            # Everything fits into one request.
            data, self._buffer = bytes(self._buffer), bytearray()
            return self._storage.put_bytes(
                self.key,
                data,
                content_type=self._content_type,
                metadata=self._metadata,
                over=over,
            )
        self.seal()
        self._parts.sort(key=lambda part: int(part["PartNumber"]))
        try:
            answer = self._storage.s3.complete_multipart_upload(
                Bucket=self._storage.bucket,
                Key=self.key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
                **condition,
            )
        except ClientError as error:
            if condition and error_code(error) in CONFLICT_CODES:
                self.abort()
                raise ConflictError(self.key) from error
            if error_code(error) == NO_UPLOAD:
                return self._completed_before(error, is_conditional=bool(condition))
            if is_denied(error_code(error)):
                raise UnwritableObjectError(self.key) from error
            raise
        return str(answer["ETag"])

    def _completed_before(self, error: ClientError, *, is_conditional: bool) -> str:
        """Return the ETag of the object if the upload is gone because it is complete.

        If the response to the call that completes it is lost, the SDK repeats the call, and S3 does
        not always answer that with success.

        Raises:
            ConflictError: With a condition, the object may as well be another writer's.
            ClientError: ``error``, if there is no such object.
        """
        head = self._storage.head(self.key)
        if head is None:
            raise error
        if is_conditional:
            raise ConflictError(self.key) from error
        # The ETag of a multipart object ends in the number of its parts.
        if head.size != self.bytes_written or not head.etag.endswith(f'-{len(self._parts)}"'):
            raise error
        return head.etag

    def abort(self) -> None:
        """Abort the upload and discard its data."""
        self._buffer = bytearray()
        wait(self._in_flight)
        self._in_flight.clear()
        self._copying.clear()
        self._close_pool()
        if self._upload_id is not None:
            try:
                self._storage.s3.abort_multipart_upload(
                    Bucket=self._storage.bucket, Key=self.key, UploadId=self._upload_id
                )
            except ClientError as error:
                if error_code(error) != NO_UPLOAD:  # A repeated abort finds no upload.
                    raise
            self._upload_id = None

    def copy_part(
        self, source: str, *, first: int, length: int, version_id: str | None = None
    ) -> None:
        """Append a range of another object of the bucket without reading it.

        Errors are raised here or by a later call: ``MissingObjectError`` if the object or the
        version does not exist, ``UnreadableObjectError`` if S3 responds 403.

        Args:
            source: Key of the other object.
            first: Offset of the range's first byte.
            length: Its bytes: 5 MiB to 5 GiB, from an object of more than 5 MiB.
            version_id: The version to copy from; None for the current one.
        """
        if self._buffer:
            self._send_part()
        place = {"Bucket": self._storage.bucket, "Key": source}
        if version_id is not None:
            place["VersionId"] = version_id
        self._submit(
            lambda number: self._copy(number, place, first, first + length - 1), is_copy=True
        )
        self.bytes_written += length

    def _copy(self, number: int, source: Mapping[str, str], first: int, last: int) -> str:
        try:
            answer = self._storage.s3.upload_part_copy(
                Bucket=self._storage.bucket,
                Key=self.key,
                UploadId=self._upload_id,
                PartNumber=number,
                CopySource=source,
                CopySourceRange=f"bytes={first}-{last}",
            )
        except ClientError as error:
            if error_code(error) in MISSING_CODES:
                raise MissingObjectError(source["Key"]) from error
            if is_denied(error_code(error)):
                raise UnreadableObjectError(source["Key"]) from error
            raise
        return str(answer["CopyPartResult"]["ETag"])

    def flush_part(self) -> None:
        """Send the bytes written so far as a separate part."""
        if self._buffer:
            self._send_part()

    def _send_part(self) -> None:
        # Not as bytes, which would be a copy, and which botocore sends in pieces of 128 KB.
        data, self._buffer = self._buffer, bytearray()
        self._submit(
            lambda number: str(
                self._storage.s3.upload_part(
                    Bucket=self._storage.bucket,
                    Key=self.key,
                    UploadId=self._upload_id,
                    PartNumber=number,
                    Body=data,
                )["ETag"]
            )
        )

    def _submit(self, send: Callable[[int], str], *, is_copy: bool = False) -> None:
        if self._upload_id is None:
            self._upload_id = self._begin_upload()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=_PARTS_IN_FLIGHT + _COPIES_IN_FLIGHT)
        while self._is_full(copies=is_copy):
            self._take_over_finished()
        number = len(self._parts) + len(self._in_flight) + 1
        future = self._pool.submit(send, number)
        self._in_flight[future] = number
        if is_copy:
            self._copying.add(future)

    def _is_full(self, *, copies: bool) -> bool:
        if copies:
            return len(self._copying) >= _COPIES_IN_FLIGHT
        return len(self._in_flight) - len(self._copying) >= _PARTS_IN_FLIGHT

    def _begin_upload(self) -> str:
        try:
            answer = self._storage.s3.create_multipart_upload(
                Bucket=self._storage.bucket,
                Key=self.key,
                ContentType=self._content_type,
                Metadata=self._metadata,
            )
        except ClientError as error:
            if is_denied(error_code(error)):
                raise UnwritableObjectError(self.key) from error
            raise
        return str(answer["UploadId"])

    def _take_over_finished(self) -> None:
        """Wait until a part is at S3; those that are get into the list of parts."""
        done, _ = wait(self._in_flight, return_when="FIRST_COMPLETED")
        for future in done:
            number = self._in_flight.pop(future)
            self._copying.discard(future)
            self._parts.append({"PartNumber": number, "ETag": future.result()})

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
