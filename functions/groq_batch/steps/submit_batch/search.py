"""Search Groq for the file and the batch that an earlier invocation may have created."""

from __future__ import annotations

from groq_batch.domain.batch import Batch
from groq_batch.records.submission import CLOCK_MARGIN_SECONDS
from groq_batch.steps.submit_batch.leased_attempt import LeasedAttempt


def first_batch(leased: LeasedAttempt) -> Batch | None:
    """Return the oldest batch of a shard attempt in Groq's list, searched as far as needed.

    None can be older than the record of the shard attempt.

    Raises:
        GroqApiError: The list could not be read.
    """
    metadata = leased.metadata
    file_id = leased.held.record.file_id
    begun_at = leased.held.record.begun_at
    since = None if begun_at is None else begun_at - CLOCK_MARGIN_SECONDS
    candidates = [
        batch
        for batch in leased.client.batches_since(since)
        if metadata.items() <= (batch.metadata or {}).items()
        or (file_id is not None and batch.input_file_id == file_id)
    ]
    return min(candidates, key=lambda batch: (batch.created_at or 0, batch.id), default=None)


def uploaded_file(leased: LeasedAttempt) -> str | None:
    """Return the id of the file with a shard attempt's requests; None if Groq has none.

    Raises:
        GroqApiError: The list could not be read.
    """
    name, size = leased.file_name, leased.size()
    for file in leased.client.list_files():
        if file.filename == name and file.bytes in (size, None):
            return file.id
    return None
