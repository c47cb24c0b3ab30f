"""Download an object and check that it arrived complete and unchanged."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groq_batch.bucket.s3_errors import MissingObjectError
from groq_batch.bucket.storage import ObjectHead, Storage
from groq_batch.domain import object_keys
from groq_batch.request_file.lines import NotGzipError, decompress
from groq_batch_client.errors import BrokenDownloadError
from groq_batch_client.text import counted

_CHUNK_BYTES = 1024 * 1024

Begin = Callable[[str, int], Callable[[int], None]]
"""Called with the name and the size in bytes of a file before its download; returns a function that
is called with the number of bytes of each piece."""


def _broken_off() -> tuple[type[Exception], ...]:
    """Return the errors of a download that broke off or delivered the wrong range."""
    # boto3 takes longer to import than most commands take to run.
    import s3transfer.exceptions  # noqa: PLC0415
    from boto3.exceptions import RetriesExceededError  # noqa: PLC0415

    # The response has another range than requested; older versions of the library don't check.
    other_range = getattr(s3transfer.exceptions, "S3ValidationError", RetriesExceededError)
    return RetriesExceededError, other_range


@dataclass(frozen=True, slots=True)
class Deliverable:
    """A file to download.

    Attributes:
        key: The key of the object.
        target: The file to write.
        head: Metadata of the object from S3.
    """

    key: str
    target: Path
    head: ObjectHead


def download(
    storage: Storage,
    one: Deliverable,
    *,
    rows: int | None,
    begin: Begin,
    warn: Callable[[str], None],
) -> None:
    """Download a file; replace an existing one only when the new one is complete.

    First downloads several parts in parallel, which is fast. If the result differs from the object,
    because a proxy or another S3 handles ranges wrongly, downloads it again in one piece.

    Args:
        storage: The bucket.
        one: The file to download.
        rows: Expected number of rows; None if not known.
        begin: See ``Begin``.
        warn: Called with the reason if a file is downloaded again.

    Raises:
        BrokenDownloadError: The download differs from the object; the file stays unchanged.
    """
    draft = one.target.with_name(f".groq-batch-{secrets.token_hex(8)}.part")
    try:
        fault = _in_parts(storage, one, draft, begin) or _fault(one, draft, rows)
        if fault is not None:
            warn(f"{one.target.name} {fault}. Fetching it again, in one piece.")
            _in_one_piece(storage, one, draft, begin)
            fault = _fault(one, draft, rows)
        if fault is not None:
            raise BrokenDownloadError(
                f"{storage.url(one.key)} could not be fetched: the download {fault}, twice. "
                f"{one.target} was not written. Check the object in the S3 console; if it is "
                f"intact there, something between S3 and this machine changes it."
            )
        draft.replace(one.target)
    except OSError as error:
        # Name the target, not the temporary file, which the user did not choose.
        error.filename = str(one.target)
        raise
    finally:
        # If the folder is not a folder, there is nothing to remove.
        with contextlib.suppress(OSError):
            draft.unlink()


def _in_parts(storage: Storage, one: Deliverable, draft: Path, begin: Begin) -> str | None:
    """Download several ranges in parallel; return the problem if that breaks off."""
    try:
        storage.s3.download_file(
            storage.bucket,
            one.key,
            str(draft),
            ExtraArgs=_version(one),
            Callback=begin(one.target.name, one.head.size),
        )
    except _broken_off():
        return "broke off on the way"
    return None


def _version(one: Deliverable) -> dict[str, Any] | None:
    # Read the inspected version, even if a newer one is written in the meantime.
    return {"VersionId": one.head.version_id} if one.head.version_id else None


def _in_one_piece(storage: Storage, one: Deliverable, draft: Path, begin: Begin) -> None:
    progress = begin(one.target.name, one.head.size)
    try:
        with draft.open("wb") as stream:
            for chunk in storage.chunks(one.key, version_id=one.head.version_id):
                stream.write(chunk)
                progress(len(chunk))
    except MissingObjectError:
        raise BrokenDownloadError(
            f"{storage.url(one.key)} was removed while it was fetched. {one.target} was not "
            f"written."
        ) from None


def _fault(one: Deliverable, draft: Path, rows: int | None) -> str | None:
    """Return the problem of the downloaded file; None if it equals the object."""
    size = draft.stat().st_size
    if size != one.head.size:
        return f"has {size:,} bytes instead of {one.head.size:,}"
    if rows is None:
        return None
    try:
        found = count_rows(draft, is_gzip=object_keys.is_gzip(one.key))
    except NotGzipError:
        return "is not gzip, or is damaged"
    if found != rows:
        return f"has {counted(found, 'row')} instead of {rows:,}"
    return None


def count_rows(path: Path, *, is_gzip: bool) -> int:
    """Return the number of lines of a file; the last one may lack a line end.

    Raises:
        NotGzipError: It should be gzip, and is not or is damaged.
    """
    with path.open("rb") as stream:
        chunks: Iterable[bytes] = iter(lambda: stream.read(_CHUNK_BYTES), b"")
        ends, last = 0, b"\n"
        for chunk in decompress(chunks) if is_gzip else chunks:
            ends += chunk.count(b"\n")
            last = chunk[-1:]
    return ends + (last != b"\n")


def all_rows(rows: Iterable[bytes], expected: int, name: str) -> Iterator[bytes]:
    """Yield the rows of an object, and check their number at the end.

    Args:
        rows: The rows.
        expected: Expected number of rows.
        name: The name of the object in messages.

    Raises:
        BrokenDownloadError: There are more or fewer rows.
    """
    number = 0
    for row in rows:
        number += 1
        yield row
    if number != expected:
        raise BrokenDownloadError(
            f"{name} came with {counted(number, 'row')} instead of {expected:,}. Nothing was "
            f"written; try again."
        )
