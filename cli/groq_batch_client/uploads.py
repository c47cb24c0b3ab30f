"""Upload requests, which starts their job, and derive the name of the job."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch_client.errors import JobError, RequestsError
from groq_batch_client.found_jobs import FoundJob, job_of_path
from groq_batch_client.job_view import is_final
from groq_batch_client.request_files import RequestFile, new_digest
from groq_batch_client.stack import Stack
from groq_batch_client.text import one_line, shorten

DIGEST_METADATA = "groq-batch-digest"
"""User metadata with the hash of the uploaded file, to recognize the same file later."""

_MAX_ANSWER_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload, which determines its job even before that has started.

    Attributes:
        key: The key of the object.
        job_id: The name of its job.
    """

    key: str
    job_id: str

    @property
    def path(self) -> str:
        """The path of the job's files below each folder."""
        return object_keys.input_path(self.key)


@dataclass(frozen=True, slots=True)
class StandingUpload:
    """The newest upload of a key.

    Attributes:
        digest: The hash of its bytes; None if another program uploaded it.
        job: Its job.
        metadata: Its user metadata.
        job_id: The name that its job has or will have; None if it has no version.
    """

    digest: str | None
    job: FoundJob
    metadata: Mapping[str, str] = field(default_factory=dict)
    job_id: str | None = None

    @property
    def is_worth_keeping(self) -> bool:
        """Whether its job is running, or has answers that were paid for."""
        report = self.job.report
        return not is_final(report) or (report is not None and report["requests"]["succeeded"] > 0)


def standing_upload(storage: Storage, key: str) -> StandingUpload | None:
    """Return the newest upload of a key; None if there is none."""
    head = storage.head(key)
    job = job_of_path(storage, object_keys.input_path(key)) if head is not None else None
    if head is None or job is None:
        return None
    job_id = None
    if head.version_id is not None:
        job_id = uploaded(storage, key, head.version_id).job_id
    return StandingUpload(head.metadata.get(DIGEST_METADATA), job, head.metadata, job_id)


def upload(
    storage: Storage,
    file: RequestFile,
    key: str,
    *,
    metadata: Mapping[str, str],
    digest: str,
    progress: Callable[[int], None],
) -> Upload:
    """Upload a file.

    Args:
        storage: The bucket.
        file: The file.
        key: Its key.
        metadata: Its options.
        digest: The hash of its bytes at the time of the check.
        progress: Called with the number of bytes of each chunk.

    Raises:
        RequestsError: It cannot be read, or has changed since the check.
    """
    hashed = new_digest()
    writer = ObjectWriter(storage, key, metadata={**metadata, DIGEST_METADATA: digest})
    try:
        with file.chunks(progress) as chunks:
            for chunk in chunks:
                hashed.update(chunk)
                writer.write(chunk)
        _check_unchanged(file, hashed.hexdigest(), digest)
        etag = writer.commit()
    except BaseException:
        writer.abort()
        raise
    return uploaded(storage, key, _version(storage, key, etag))


def _check_unchanged(file: RequestFile, now: str, before: str) -> None:
    if now != before:
        raise RequestsError(
            f"{file.shown} was changed after it had been checked. Nothing was uploaded; run it "
            f"again when it is complete."
        )


def uploaded(storage: Storage, key: str, version_id: str) -> Upload:
    """Return the upload for a version of a key."""
    job_id = upload_job_id(bucket=storage.bucket, key=key, version_id=version_id)
    return Upload(key=key, job_id=job_id)


def _version(storage: Storage, key: str, etag: str) -> str:
    """Return the version of the object that was just uploaded.

    Raises:
        RequestsError: It is already gone.
    """
    head = storage.head(key)
    if head is not None and head.etag == etag and head.version_id is not None:
        return head.version_id
    # Another upload replaced it before this check.
    for version in storage.versions(key):
        if version.key == key and version.etag == etag.strip('"'):
            return version.version_id
    raise RequestsError(f"{storage.url(key)} was removed right after its upload.")


def start_by_hand(stack: Stack, key: str) -> dict[str, Any]:
    """Invoke the start function for an upload; an upload that has a job keeps it.

    Returns:
        The response: the name of the job, the location of its report, and whether it ``exists``
        or was ``started``.

    Raises:
        JobError: The function rejects the call or fails.
    """
    return _invoke(stack, stack.client("lambda"), {"key": key})


def start_anew(stack: Stack, key: str) -> dict[str, Any]:
    """Invoke the start function to run a recurring file once, or an upload again.

    Each call starts, and pays for, another job, so the call is not retried.

    Returns:
        The response, as for ``start_by_hand``.

    Raises:
        JobError: The function rejects the call or fails.
    """
    client = stack.client_that_calls_once("lambda")
    return _invoke(stack, client, {"key": key, "again": True})


def _invoke(stack: Stack, client: Any, payload: Mapping[str, Any]) -> dict[str, Any]:
    key = str(payload["key"])
    answer = client.invoke(FunctionName=stack.start_function, Payload=json.dumps(payload).encode())
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        message = one_line(str(result.get("errorMessage", "no reason given")))
        raise JobError(
            f"The start function could not start {one_line(key)}: "
            f"{shorten(message, _MAX_ANSWER_CHARACTERS)}"
        )
    return result
