"""Uploads a file of requests, which starts its job, and tells the job's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch_cli.aws import Stack
from groq_batch_cli.bucket_folders import upload_path
from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_cli.job_lookup import FoundJob, job_of_path
from groq_batch_cli.request_files import RequestFile
from groq_batch_cli.survey import new_digest
from groq_batch_cli.text import one_line, shorten

DIGEST_METADATA = "groq-batch-digest"
"""User metadata with the hash of what was uploaded, by which the same file is known again."""

_MOST_ANSWER_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload, by which its job is known before it has started.

    Attributes:
        key: The key of the object.
        job_id: The name of its job.
    """

    key: str
    job_id: str

    @property
    def path(self) -> str:
        """What the job's deliverables mirror."""
        return object_keys.input_path(self.key)


def option_metadata(
    *,
    window: str | None,
    skip_invalid: bool,
    max_attempts: int | None,
    max_cost: float | None,
    canary: int | None = None,
    canary_max_failed_percent: int | None = None,
    deadline: str | None = None,
    deadline_max_usd: float | None = None,
    retry_invalid_output: bool = False,
) -> dict[str, str]:
    """Return the options of the command line as the metadata of an upload."""
    metadata = {}
    if window is not None:
        metadata["completion-window"] = window
    if skip_invalid:
        metadata["on-invalid-line"] = "skip"
    if max_attempts is not None:
        metadata["max-attempts"] = str(max_attempts)
    if max_cost is not None:
        metadata["max-job-cost-usd"] = _plain(max_cost)
    if canary is not None:
        metadata["canary-requests"] = str(canary)
    if canary_max_failed_percent is not None:
        metadata["canary-max-failed-percent"] = str(canary_max_failed_percent)
    if deadline is not None:
        metadata["batch-deadline"] = deadline
    if deadline_max_usd is not None:
        metadata["deadline-max-usd"] = _plain(deadline_max_usd)
    if retry_invalid_output:
        metadata["retry-invalid-output"] = "true"
    return metadata


def _plain(amount: float) -> str:
    """Return an amount with all of its digits, without a sign and an exponent."""
    text = f"{Decimal(repr(abs(float(amount)))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def options_in_force(stack: Stack, metadata: Mapping[str, str]) -> JobOptions:
    """Return the options that a job with this metadata will have.

    Raises:
        WrongUsageError: The stack would reject the job for the options of the command line.
        CommandError: It would do so for its own.
    """
    options, problems = parse_options(
        metadata,
        defaults=stack.default_options,
        work_retention_days=stack.work_retention_days,
    )
    if problems:
        kind = WrongUsageError if metadata else CommandError
        raise kind(" ".join(problem.message for problem in problems))
    return options


def input_key(file: RequestFile, to: str | None) -> str:
    """Return the key that a file gets in the bucket.

    Args:
        file: The file.
        to: The folder below ``input/``, or the whole path where it has a file's ending.

    Raises:
        BadParameter: ``to`` is no such folder.
    """
    path = upload_path(to or "")
    if path and object_keys.has_accepted_ending(path):
        return object_keys.INPUT_PREFIX + path
    return object_keys.INPUT_PREFIX + (f"{path}/" if path else "") + file.name


@dataclass(frozen=True, slots=True)
class StandingUpload:
    """The newest upload of a key.

    Attributes:
        digest: The hash of its bytes; None when it was not this program that has uploaded it.
        job: Its job.
    """

    digest: str | None
    job: FoundJob


def standing_upload(storage: Storage, key: str) -> StandingUpload | None:
    """Return the newest upload of a key; None when there is none."""
    head = storage.head(key)
    job = job_of_path(storage, object_keys.input_path(key)) if head is not None else None
    if head is None or job is None:
        return None
    return StandingUpload(head.metadata.get(DIGEST_METADATA), job)


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
        digest: The hash of its bytes when it was checked.
        progress: Is told the number of bytes of each chunk.

    Raises:
        CommandError: It cannot be read, or is not the file any more that was checked.
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
        raise CommandError(
            f"{file.shown} was changed after it had been checked. Nothing was uploaded; run it "
            f"again when it is complete."
        )


def uploaded(storage: Storage, key: str, version_id: str) -> Upload:
    """Return the upload that is this version of a key."""
    job_id = upload_job_id(bucket=storage.bucket, key=key, version_id=version_id)
    return Upload(key=key, job_id=job_id)


def _version(storage: Storage, key: str, etag: str) -> str:
    """Return the version of what was just uploaded.

    Raises:
        CommandError: It is gone already.
    """
    head = storage.head(key)
    if head is not None and head.etag == etag and head.version_id is not None:
        return head.version_id
    # Somebody else was faster than the look.
    for version in storage.versions(key):
        if version.key == key and version.etag == etag.strip('"'):
            return version.version_id
    raise CommandError(f"{storage.url(key)} was removed right after its upload.")


def start_by_hand(stack: Stack, key: str) -> dict[str, Any]:
    """Have the start function start an upload's job; an upload that has a job keeps it.

    Returns:
        What the function answers: the job's name, where its report will be, and whether it
        ``exists`` or was ``started``.

    Raises:
        CommandError: The function refuses or fails.
    """
    return _invoke(stack, stack.client("lambda"), {"key": key})


def start_anew(stack: Stack, key: str) -> dict[str, Any]:
    """Have the start function run a recurring file once, or an upload once more.

    Each call starts, and pays for, a job of its own: it is made only once.

    Returns:
        What the function answers, as for ``start_by_hand``.

    Raises:
        CommandError: The function refuses or fails.
    """
    client = stack.client_that_calls_once("lambda")
    return _invoke(stack, client, {"key": key, "again": True})


def _invoke(stack: Stack, client: Any, payload: Mapping[str, Any]) -> dict[str, Any]:
    key = str(payload["key"])
    answer = client.invoke(FunctionName=stack.start_function, Payload=json.dumps(payload).encode())
    result: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        message = one_line(str(result.get("errorMessage", "it names no reason")))
        raise CommandError(
            f"The start function could not start {one_line(key)}: "
            f"{shorten(message, _MOST_ANSWER_CHARACTERS)}"
        )
    return result
