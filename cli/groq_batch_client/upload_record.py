"""Read from an upload how its requests were built from rows.

A restarted program has the rows, but does not know how their requests were built. The upload does:
its metadata has the column with the ids, and its requests have the schema of the answers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import msgspec

from groq_batch.bucket.s3_errors import MissingObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch_client.errors import GroqBatchError
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.line_io import stored_lines
from groq_batch_client.schemas import AnswerSchema

ID_METADATA = "groq-batch-id-column"
"""User metadata with the column of the ids, percent-encoded."""

_LONGEST_ID = 500
"""Maximum length of the encoded name, as S3 accepts 2 KB of user metadata in total."""


def id_metadata(column: str | None) -> dict[str, str]:
    """Return the metadata with the column of the ids; empty for row numbers."""
    value = quote(column, safe="") if column is not None else ""
    return {ID_METADATA: value} if 0 < len(value) <= _LONGEST_ID else {}


def recorded_id(storage: Storage, job: FoundJob) -> str | None:
    """Return the column with the ids; None for row numbers or if not recorded."""
    key, version = _input_of(job)
    head = storage.head(key, version_id=version)
    value = head.metadata.get(ID_METADATA) if head is not None else None
    return unquote(value) if value else None


def recorded_schema(storage: Storage, job: FoundJob) -> AnswerSchema | None:
    """Return the schema of the answers; None if there is none or the requests are gone."""
    key, version = _input_of(job)
    try:
        line = next(stored_lines(storage, key, version_id=version), b"")
        form: Any = msgspec.json.decode(line)["body"]["response_format"]
        if form["type"] != "json_schema":
            return None
        return AnswerSchema.of(form, "The response_format of the requests")
    except (MissingObjectError, GroqBatchError, msgspec.DecodeError, KeyError, TypeError):
        return None


def _input_of(job: FoundJob) -> tuple[str, str | None]:
    if job.report is not None:
        return job.report["input"]["key"], job.report["input"]["version_id"]
    if job.request is not None:
        return job.request.key, job.request.version_id
    return object_keys.INPUT_PREFIX + job.path, None
