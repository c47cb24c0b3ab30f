"""Downloads an object and makes sure that all of it, and nothing else, has arrived."""

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
"""Is told the name and the size in bytes of a file before it is downloaded; returns what is then
told the number of bytes of each piece."""


def _broken_off() -> tuple[type[Exception], ...]:
    """Return the errors of a download that came to no end, or not to its own."""
    # boto3 takes longer to import than most commands take.
    import s3transfer.exceptions  # noqa: PLC0415
    from boto3.exceptions import RetriesExceededError  # noqa: PLC0415

    # Another range than the one that was asked for; older versions of the library do not look.
    other_range = getattr(s3transfer.exceptions, "S3ValidationError", RetriesExceededError)
    return RetriesExceededError, other_range


@dataclass(frozen=True, slots=True)
class Deliverable:
    """One file to fetch.

    Attributes:
        key: The object.
        target: The file.
        head: What S3 tells of the object.
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
    """Download a file; one of the same name is replaced when all of the new one is there.

    First in several parts at once, which is fast; if what arrives is not the object, for a proxy or
    another S3 that does not answer ranges as asked, once more in one piece.

    Args:
        storage: The bucket.
        one: The file.
        rows: How many rows it has to have; None when that is not known.
        begin: See ``Begin``.
        warn: Is told when a file is downloaded once more, and why.

    Raises:
        BrokenDownloadError: What arrives is not the object; the file is left as it was.
    """
    draft = one.target.with_name(f".groq-batch-{secrets.token_hex(8)}.part")
    try:
        fault = _in_parts(storage, one, draft, begin) or _fault(one, draft, rows)
        if fault is not None:
            warn(f"{one.target.name} {fault}. Fetching it once more, in one piece.")
            _in_one_piece(storage, one, draft, begin)
            fault = _fault(one, draft, rows)
        if fault is not None:
            raise BrokenDownloadError(
                f"{storage.url(one.key)} could not be fetched whole: what arrived {fault}, twice. "
                f"{one.target} was not written. Look at the object in the S3 console; if it is "
                f"whole there, something between it and this machine changes it."
            )
        draft.replace(one.target)
    except OSError as error:
        # Not the name of the draft, which nobody has chosen.
        error.filename = str(one.target)
        raise
    finally:
        # Where the folder is no folder there is nothing to remove either.
        with contextlib.suppress(OSError):
            draft.unlink()


def _in_parts(storage: Storage, one: Deliverable, draft: Path, begin: Begin) -> str | None:
    """Download several ranges at once; returns what is wrong when that breaks off."""
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
    # The version that was looked at, and none that is written meanwhile.
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
    """Return what is wrong with what has arrived; None when it is the object."""
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
    """Return the number of lines of a file; the last one may have no line end.

    Raises:
        NotGzipError: It is to be gzip, and is not, or is damaged.
    """
    with path.open("rb") as stream:
        chunks: Iterable[bytes] = iter(lambda: stream.read(_CHUNK_BYTES), b"")
        ends, last = 0, b"\n"
        for chunk in decompress(chunks) if is_gzip else chunks:
            ends += chunk.count(b"\n")
            last = chunk[-1:]
    return ends + (last != b"\n")


def all_rows(rows: Iterable[bytes], expected: int, name: str) -> Iterator[bytes]:
    """Yield the rows of an object; at their end it turns out whether they were all.

    Args:
        rows: The rows as they come.
        expected: How many there are.
        name: What messages call the object.

    Raises:
        BrokenDownloadError: They are more or fewer.
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
