"""What an upload tells of the rows that its requests were made of.

A program that is started anew knows the rows, but not how their requests were made; the upload
does: its metadata have the column with the ids, and its requests the schema of their answers.
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
"""User metadata with the column of the ids, as a part of a URL has it."""

_LONGEST_ID = 500
"""S3 takes 2 KB of user metadata in all."""


def id_metadata(column: str | None) -> dict[str, str]:
    """Return the metadata about the column with the ids; none for the row's number."""
    value = quote(column, safe="") if column is not None else ""
    return {ID_METADATA: value} if 0 < len(value) <= _LONGEST_ID else {}


def recorded_id(storage: Storage, job: FoundJob) -> str | None:
    """Return the column with the ids; None for the row's number, or when it is not recorded."""
    key, version = _input_of(job)
    head = storage.head(key, version_id=version)
    value = head.metadata.get(ID_METADATA) if head is not None else None
    return unquote(value) if value else None


def recorded_schema(storage: Storage, job: FoundJob) -> AnswerSchema | None:
    """Return the schema of the answers; None without one, or when the requests are gone."""
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
