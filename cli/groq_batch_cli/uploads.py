"""Uploads a file of requests, which starts its job, and tells the job's name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from groq_batch import layout
from groq_batch.options import JobOptions, parse_options
from groq_batch.storage import Storage
from groq_batch_cli.aws import Stack
from groq_batch_cli.errors import CommandError
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
        return layout.input_path(self.key)


def option_metadata(
    *,
    window: str | None,
    skip_invalid: bool,
    max_attempts: int | None,
    max_cost: float | None,
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
    return metadata


def _plain(amount: float) -> str:
    """Return an amount with all of its digits, without a sign and an exponent."""
    text = f"{Decimal(repr(abs(float(amount)))):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def options_in_force(stack: Stack, metadata: Mapping[str, str]) -> JobOptions:
    """Return the options that a job with this metadata will have.

    Raises:
        CommandError: The stack would reject the job for them.
    """
    options, problems = parse_options(
        metadata,
        defaults=stack.default_options,
        work_retention_days=stack.work_retention_days,
    )
    if problems:
        raise CommandError(" ".join(problem.message for problem in problems))
    return options


def input_key(file: RequestFile, to: str | None) -> str:
    """Return the key that a file gets in the bucket.

    Args:
        file: The file.
        to: The folder below ``input/``, or the whole path where it has a file's ending.
    """
    path = (to or "").removeprefix(layout.INPUT_PREFIX).strip("/")
    if path and layout.has_accepted_ending(path):
        return layout.INPUT_PREFIX + path
    return layout.INPUT_PREFIX + (f"{path}/" if path else "") + file.name


def same_upload(storage: Storage, key: str, digest: str) -> FoundJob | None:
    """Return the job of a key's newest upload if that was of the same bytes."""
    head = storage.head(key)
    if head is None or head.metadata.get(DIGEST_METADATA) != digest:
        return None
    return job_of_path(storage, layout.input_path(key))


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
    writer = storage.writer(key, metadata={**metadata, DIGEST_METADATA: digest})
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
    job_id = layout.upload_job_id(bucket=storage.bucket, key=key, version_id=version_id)
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


def start_by_hand(stack: Stack, key: str) -> None:
    """Have the start function start an upload's job; an upload that has a job keeps it.

    Raises:
        CommandError: The function refuses or fails.
    """
    answer = stack.client("lambda").invoke(
        FunctionName=stack.start_function, Payload=json.dumps({"key": key}).encode()
    )
    if "FunctionError" in answer:
        result = json.loads(answer["Payload"].read())
        message = one_line(str(result.get("errorMessage", "it names no reason")))
        raise CommandError(
            f"The start function could not start {one_line(key)}: "
            f"{shorten(message, _MOST_ANSWER_CHARACTERS)}"
        )
