"""Upload the requests of a shard attempt to Groq."""

from __future__ import annotations

from typing import Protocol

from groq_batch.groq.errors import AccountError, GroqApiError, log_fields
from groq_batch.records.submission import LeaseLostError, Stage, Submission
from groq_batch.steps.submit_batch.leased_attempt import LeasedAttempt
from groq_batch.telemetry.log import logger

_CHECKED_UPLOAD_BYTES = 4_000_000
"""A smaller upload, in bytes, takes no longer than checking whether the account would accept it."""


class _RequestStream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountingStream:
    """Passes a stream through and counts its lines."""

    def __init__(self, stream: _RequestStream) -> None:
        self._stream = stream
        self.lines = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.lines += data.count(b"\n")
        return data


def upload_requests(leased: LeasedAttempt) -> None:
    """Upload the request lines and record the file.

    Raises:
        GroqApiError: The account or the upload failed.
        LeaseLostError: Another invocation has taken over.
    """
    size = leased.size()
    if size > _CHECKED_UPLOAD_BYTES:
        _check_account(leased)
    streams: list[_CountingStream] = []

    def open_stream() -> _CountingStream:
        streams.append(_CountingStream(leased.storage.open(leased.lines_key)))
        return streams[-1]

    # Proves that the lease is still held: an upload may take minutes and creates a file.
    if not leased.held.is_fresh:
        leased.held.update()
    file = leased.client.upload_file(filename=leased.file_name, open_stream=open_stream, size=size)
    try:
        leased.held.update(stage=Stage.UPLOADED, file_id=file.id, requests=streams[-1].lines)
    except LeaseLostError:
        _delete_if_unwanted(leased, file.id)
        raise
    logger.info("Uploaded a shard", file_id=file.id, bytes=size)


def _check_account(leased: LeasedAttempt) -> None:
    """Make a small call before the job's first upload, which may take minutes if it is large.

    This reveals a wrong key or plan within a second. Any other failure is left to the upload.

    Raises:
        AccountError: The account or its configuration is at fault.
    """
    if leased.storage.exists(leased.keys.submitted):
        return
    try:
        next(leased.client.all_batches(), None)
    except AccountError:
        raise
    except GroqApiError as error:
        logger.info("The account could not be checked", **log_fields(error))


def _delete_if_unwanted(leased: LeasedAttempt, file_id: str) -> None:
    """After a lost lease, delete our file unless the new owner has found and adopted it."""
    found = Submission.load(leased.storage, leased.record_key)
    if found and found.value.file_id == file_id:
        return
    try:
        leased.client.delete_file(file_id)
    except GroqApiError as error:
        # The end of the job deletes it, unless that has passed; Groq deletes it after 30 days
        # (https://console.groq.com/docs/batch).
        logger.warning("A file could not be deleted", file_id=file_id, **log_fields(error))
