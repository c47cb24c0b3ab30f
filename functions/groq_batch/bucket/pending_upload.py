"""Multipart uploads that are complete except for the final call, which any invocation can make.

All parts of such an upload are at S3, but the object does not exist yet. The data needed to
complete it (its id and the ETags of its parts) can be stored, so that one invocation can send the
parts and another one, after a crash, can make the object visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import NO_UPLOAD, error_code
from groq_batch.bucket.storage import Storage
from groq_batch.domain.parallel import in_parallel


class LostUploadError(Exception):
    """An upload is gone and its object does not exist, because the upload was aborted."""


class PendingUpload(msgspec.Struct, frozen=True, array_like=True):
    """A multipart upload that only needs to be completed.

    It is stored as a list of its fields, because there may be thousands of them.

    Attributes:
        key: Key of the object.
        upload_id: S3's id of the upload.
        etags: ETags of the parts, in order.
        size: Size of the object in bytes.
    """

    key: str
    upload_id: str
    etags: tuple[str, ...]
    size: int

    def complete(self, storage: Storage) -> None:
        """Make the object visible. May be repeated, even concurrently.

        Raises:
            LostUploadError: Neither the upload nor the object exists.
        """
        parts: list[Mapping[str, Any]] = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(self.etags, start=1)
        ]
        try:
            storage.s3.complete_multipart_upload(
                Bucket=storage.bucket,
                Key=self.key,
                UploadId=self.upload_id,
                MultipartUpload={"Parts": parts},
            )
        except ClientError as error:
            if error_code(error) != NO_UPLOAD:
                raise
            # It was completed before; S3 does not always answer a repeated call with success.
            head = storage.head(self.key)
            if head is None or head.size != self.size:
                raise LostUploadError(f"The upload of {self.key} no longer exists") from error

    def abort(self, storage: Storage) -> None:
        """Abort it. May be repeated, and has no effect after completion."""
        try:
            storage.s3.abort_multipart_upload(
                Bucket=storage.bucket, Key=self.key, UploadId=self.upload_id
            )
        except ClientError as error:
            if error_code(error) != NO_UPLOAD:
                raise


def abort_all(storage: Storage, uploads: Iterable[PendingUpload]) -> None:
    """Abort uploads, many at a time."""
    in_parallel(lambda upload: upload.abort(storage), uploads)


def complete_all(storage: Storage, uploads: Iterable[PendingUpload]) -> None:
    """Complete uploads, many at a time; raises like ``PendingUpload.complete``."""
    in_parallel(lambda upload: upload.complete(storage), uploads)


class PendingWriter(ObjectWriter):
    """Writes an object of any size that remains a pending upload at its end."""

    def __init__(self, storage: Storage, key: str) -> None:
        """Begin an object at ``key``."""
        super().__init__(storage, key, content_type="application/x-ndjson", metadata={})

    @property
    def upload_id(self) -> str | None:
        """S3's id of the upload; None before its first part and after ``abort``."""
        return self._upload_id

    def abort(self) -> None:
        """Abort the upload and discard its data."""
        super().abort()
        self.bytes_written = 0

    def hold(self) -> PendingUpload:
        """Finish writing and return the pending upload.

        Raises:
            ValueError: Nothing was written, or it was aborted.
        """
        if not self.bytes_written:
            raise ValueError(f"There is nothing to be held back for {self.key}")
        self.seal()
        parts = sorted(self._parts, key=lambda part: int(part["PartNumber"]))
        etags = tuple(str(part["ETag"]) for part in parts)
        return PendingUpload(self.key, str(self._upload_id), etags, self.bytes_written)
