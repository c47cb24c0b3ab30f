"""Try out the kinds of writes on which jobs rely, as jobs make them.

S3 decides by the same rules for everyone, but a bucket's policy, its Object Lock, a KMS key or the
version of boto3 in the runtime can make it decide otherwise. Emulators show none of that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from groq_batch.bucket.multipart_writer import PART_BYTES, ObjectWriter
from groq_batch.bucket.s3_errors import (
    ConflictError,
    MissingObjectError,
    UnreadableObjectError,
    UnwritableObjectError,
    error_code,
)
from groq_batch.bucket.storage import Storage
from groq_batch.bucket.write_condition import ANYTHING, Over
from groq_batch.telemetry.plain_log import logger

YES = "yes"
NO = "no"
DENIED = "AccessDenied"
_ANOTHER_ETAG = f'"{"0" * 32}"'
_LINE = b"groq-batch doctor\n"
_COPIED = 5 * 1024 * 1024 + 1
"""Bytes of the copied range, so that another part may follow it."""
_END = b"end\n"


class WriteChecks(msgspec.Struct, frozen=True, kw_only=True):
    """Results of the checks.

    Each is ``yes`` if S3 does what jobs rely on, ``no`` if it does otherwise, or the code of an
    error and the operation that failed with it.

    Attributes:
        conditional_writes: PutObject with ``If-None-Match`` and ``If-Match``.
        conditional_deletes: DeleteObject with ``If-Match``.
        multipart_uploads: Multipart uploads of sent and copied parts, and ``If-None-Match`` at
            their completion.
        is_removed: Whether the object of the checks is deleted.
    """

    conditional_writes: str
    conditional_deletes: str
    multipart_uploads: str
    is_removed: bool


def check_writes(storage: Storage, key: str) -> WriteChecks:
    """Write, copy and delete the object ``key`` in several ways, 12 MB in all.

    Args:
        storage: The bucket.
        key: A key without an object, which the caller may read, write and delete.
    """
    writes = _result(lambda: _writes_conditionally(storage, key))
    deletes = _result(lambda: _deletes_conditionally(storage, key))
    uploads = _result(lambda: _makes_multipart_uploads(storage, key))
    return WriteChecks(
        conditional_writes=writes,
        conditional_deletes=deletes,
        multipart_uploads=uploads,
        is_removed=_result(lambda: _removes(storage, key)) == YES,
    )


def _writes_conditionally(storage: Storage, key: str) -> bool:
    first = storage.put_bytes(key, _LINE, over=None)
    if not _conflicts(lambda: storage.put_bytes(key, _END, over=None)):
        return False
    storage.put_bytes(key, _LINE * 2, over=first)
    return _conflicts(lambda: storage.put_bytes(key, _END, over=first))


def _deletes_conditionally(storage: Storage, key: str) -> bool:
    etag = storage.put_bytes(key, _LINE)
    storage.delete_unchanged(key, _ANOTHER_ETAG)
    if not storage.exists(key):
        return False
    storage.delete_unchanged(key, etag)
    return not storage.exists(key)


def _makes_multipart_uploads(storage: Storage, key: str) -> bool:
    _removes(storage, key)
    # Sent as one part, and large enough to be the source of a copied range.
    large = _LINE * (PART_BYTES // len(_LINE) + 1)
    _upload(storage, key, lambda writer: writer.write(large), over=None)
    if not _conflicts(lambda: _upload(storage, key, lambda writer: writer.write(_LINE), over=None)):
        return False

    def copy_and_send(writer: ObjectWriter) -> None:
        writer.copy_part(key, first=0, length=_COPIED)
        writer.write(_END)

    _upload(storage, key, copy_and_send, over=ANYTHING)
    expected = large[:_COPIED] + _END
    # To its end, so that boto3 compares a checksum that S3 sends.
    with closing(storage.open(key)) as body:
        if body.read() != expected:
            return False
    part = b"".join(storage.chunks(key, first=_COPIED - 1, length=len(_END)))
    return part == expected[_COPIED - 1 : _COPIED - 1 + len(_END)]


def _upload(
    storage: Storage, key: str, fill: Callable[[ObjectWriter], None], *, over: Over
) -> None:
    """Write an object by a multipart upload, however small it is."""
    writer = ObjectWriter(storage, key)
    try:
        fill(writer)
        writer.seal()
        writer.commit(over=over)
    except BaseException:
        writer.abort()
        raise


def _removes(storage: Storage, key: str) -> bool:
    storage.delete([key])
    return not storage.exists(key)


def _conflicts(write: Callable[[], object]) -> bool:
    """Tell whether S3 refuses a write because its condition does not hold."""
    try:
        write()
    except ConflictError:
        return True
    return False


def _result(check: Callable[[], bool]) -> str:
    try:
        return YES if check() else NO
    except (ConflictError, MissingObjectError):
        return NO
    except (UnreadableObjectError, UnwritableObjectError) as error:
        cause = error.__cause__
        return _noted(cause if isinstance(cause, ClientError) else error)
    except (ClientError, BotoCoreError) as error:
        return _noted(error)


def _noted(error: Exception) -> str:
    """Log an error and return its code and operation."""
    logger.warning("A write failed that jobs rely on", extra={"error": str(error)})
    if not isinstance(error, ClientError):
        return type(error).__name__
    code = error_code(error)
    return f"{DENIED if code == '403' else code} at {error.operation_name}"
