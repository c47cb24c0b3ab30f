"""Rerun failed requests, under a path that names the original job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, tee
from pathlib import Path

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch_client.downloads import all_rows
from groq_batch_client.errors import JobError
from groq_batch_client.found_jobs import FoundJob, file_stem, job_of_path
from groq_batch_client.job_files import key_of
from groq_batch_client.job_view import is_final
from groq_batch_client.line_io import packed, stored_lines
from groq_batch_client.merge import MergeCounts, NamedRows, merge
from groq_batch_client.output import output
from groq_batch_client.retry_selection import Leftovers, leftovers
from groq_batch_client.text import counted, one_line
from groq_batch_client.uploads import Upload, uploaded

RETRIES_FOLDER = "retries/"
"""Folder for retries if a job's own folder accepts no uploads (``recurring/``, ``superseded/``)."""

LEFT_OUT_METADATA = "groq-batch-left-out"
"""User metadata with the number of lines that a retry skipped."""

AFTER_METADATA = "groq-batch-after-retry"
"""User metadata with the number of the earlier retry whose answers a later retry counted."""

_RETRY = re.compile(r"(.+)\.retry(?:-[0-9]+)?")


def retry_path(path: str, number: int) -> str:
    """Return the path of a retry; the first retry of a job has number 1."""
    ending = _ending(path)
    suffix = ".retry" if number == 1 else f".retry-{number}"
    folder = RETRIES_FOLDER if path.startswith(object_keys.RESERVED_FOLDERS) else ""
    return folder + path.removesuffix(ending) + suffix + ending


def parent_path(path: str) -> str | None:
    """Return the path of the job that a path retries; None if it is not a retry."""
    ending = _ending(path)
    found = _RETRY.fullmatch(path.removesuffix(ending))
    if found is None:
        return None
    parent, aside = found[1], found[1].removeprefix(RETRIES_FOLDER)
    if aside.startswith(object_keys.RESERVED_FOLDERS) and not _RETRY.fullmatch(aside):
        parent = aside
    return parent + ending


def _ending(path: str) -> str:
    return object_keys.GZIP_ENDING if object_keys.is_gzip(path) else object_keys.PLAIN_ENDING


def failed_key(job: FoundJob) -> str:
    """Return the object with the failed lines of a job.

    Raises:
        JobError: There are none.
    """
    name = one_line(job.path)
    report = job.report
    if job.is_replaced:
        raise JobError(
            f"A newer run of {name} has replaced {job.job_id}. Fetch its files, and run the failed "
            f"lines under another name: groq-batch results {job.job_id}"
        )
    if report is None or not is_final(report):
        raise JobError(f"{name} has not ended yet. Follow it: groq-batch status {name} --watch")
    counts = report["requests"]
    url = report["outputs"]["failed"]
    if report["status"] == "rejected":
        raise JobError(
            f"{name} was rejected, and nothing of it was sent. Repair the file and run it: "
            f"groq-batch run"
        )
    if url is None and report["outputs"]["results"] is None:
        raise JobError(
            f"{name} ended as {report['status']} before anything was sent, so there are no failed "
            f"lines. When the cause is repaired, run the file again: {job.run_again}"
        )
    if url is None:
        raise JobError(f"Nothing of {name} has failed; it ended as {report['status']}.")
    if not counts["failed"]:
        raise JobError(
            f"The only failures of {name} are {counted(counts['invalid'], 'bad line')}, which "
            f"would fail again. `groq-batch results {name}` fetches their problems."
        )
    return key_of(url)


@dataclass(frozen=True, slots=True)
class Retry:
    """A retry of a job.

    Attributes:
        number: Its number; the first retry of a job has number 1.
        job: The retry itself.
        left_out: How many unanswered lines it skipped.
    """

    number: int
    job: FoundJob
    left_out: int


def existing_retry(storage: Storage, path: str) -> tuple[Retry | None, int]:
    """Return the newest usable retry of a path, and the first free number for another one.

    A retry is usable if it is running or has answers.
    """
    useful = None
    for number in count(1):
        candidate = retry_path(path, number)
        job = job_of_path(storage, candidate)
        if job is None:
            return useful, number
        if not is_final(job.report) or (job.report and job.report["requests"]["succeeded"]):
            useful = Retry(number, job, _number_of(storage, candidate, LEFT_OUT_METADATA))
    raise AssertionError("unreachable")  # pragma: no cover


def _number_of(storage: Storage, path: str, name: str) -> int:
    """Return a number from the metadata of an upload; 0 if it or the upload is missing."""
    head = storage.head(object_keys.INPUT_PREFIX + path)
    text = head.metadata.get(name, "") if head is not None else ""
    return int(text) if text.isdecimal() else 0


def choose(
    storage: Storage,
    job: FoundJob,
    earlier: Sequence[FoundJob],
    *,
    everything: bool,
    progress: Callable[[int], None] | None = None,
) -> Leftovers:
    """Decide which failed lines of a job to send again.

    Args:
        storage: The bucket.
        job: The job.
        earlier: Retries of it whose answers count.
        everything: Whether to send final errors and unknown outcomes too.
        progress: Called with the number of bytes of each piece of the job's results.

    Raises:
        JobError: The job has no results, or ``earlier`` has other jobs than its retries.
    """
    rows = stored_lines(storage, _results_key(job), progress)
    if not earlier:
        return leftovers(((row, row) for row in rows), everything=everything)
    first, second = tee(rows)
    merged, _ = merge(
        NamedRows(one_line(job.path), second), [_stored_rows(storage, one) for one in earlier]
    )
    return leftovers(zip(first, merged, strict=True), everything=everything)


def results_size(storage: Storage, job: FoundJob) -> int | None:
    """Return the size of the results of a job in bytes; None if they are gone.

    Raises:
        JobError: The job has no results.
    """
    head = storage.head(_results_key(job))
    return head.size if head is not None else None


def begin_retry(
    storage: Storage,
    job: FoundJob,
    *,
    everything: bool,
    again: bool,
    metadata: Mapping[str, str],
    send_anyway: str,
    progress: Callable[[int], None] | None = None,
) -> tuple[Retry, Leftovers | None]:
    """Upload the requests of a job that are worth retrying, unless a usable retry exists.

    Args:
        storage: The bucket.
        job: The job.
        everything: Whether to send final errors and unknown outcomes too.
        again: Whether to upload another retry if there is one.
        metadata: The options of the upload.
        send_anyway: How a user sends everything, for the error message.
        progress: Called with the number of bytes of each piece of the job's results.

    Returns:
        The retry, and the selection of its requests; None for a retry that existed.

    Raises:
        JobError: The job has no failed lines, or none that are worth sending, or its path is too
            long for a retry.
    """
    source = failed_key(job)
    known, number = existing_retry(storage, job.path)
    earlier: list[FoundJob] = []
    after = 0
    if known is not None and not again:
        if not (everything and known.left_out and is_final(known.job.report)):
            return known, None
        # The answers of the retry count, so that only the requests that it skipped are sent.
        after = known.number
        family = lineage(storage, known.job)
        earlier = family[[one.path for one in family].index(job.path) + 1 :]
    path = retry_path(job.path, number)
    _check_accepted(storage, source, path)
    found = choose(storage, job, earlier, everything=everything, progress=progress)
    if not found.number:
        raise JobError(_nothing_to_send(one_line(job.path), found, send_anyway))
    upload = _upload(storage, source, path, found, after=after, metadata=metadata)
    retry = FoundJob(path=upload.path, job_id=upload.job_id)
    return Retry(number, retry, found.left_out), found


def _nothing_to_send(name: str, found: Leftovers, send_anyway: str) -> str:
    if not found.left_out:
        return f"{name} has no failed requests left: its retries have answered all of them."
    return (
        f"No failed request of {name} is worth sending again: {found.left_out_text}. To send "
        f"them anyway: {send_anyway}"
    )


def _check_accepted(storage: Storage, source: str, path: str) -> None:
    """Check that the pipeline accepts a retry's path, which is longer than that of its job.

    Raises:
        JobError: It does not. Its report would stand where nobody waits for it.
    """
    key = object_keys.INPUT_PREFIX + path
    if check_key(key) is not None:
        raise JobError(
            f"The name of the retry, {one_line(path)}, would be longer than the "
            f"{object_keys.MAX_KEY_BYTES} bytes that a key may have. Copy {storage.url(source)} "
            f"to a shorter name below input/, with on-invalid-line=skip in its metadata."
        )


def _upload(
    storage: Storage,
    source: str,
    path: str,
    found: Leftovers,
    *,
    after: int,
    metadata: Mapping[str, str],
) -> Upload:
    """Upload the chosen lines of ``source``; the answers of the retry ``after`` were counted."""
    if found.are_all:
        # S3 copies the object itself; no bytes pass through this machine.
        return _copy(storage, source, path, metadata)
    more = {LEFT_OUT_METADATA: str(found.left_out)}
    if after:
        more[AFTER_METADATA] = str(after)
    key = object_keys.INPUT_PREFIX + path
    writer = ObjectWriter(storage, key, metadata={**metadata, **more})
    lines = _chosen_lines(storage, source, found)
    try:
        for piece in packed(lines) if object_keys.is_gzip(path) else lines:
            writer.write(piece)
        writer.commit()
    except BaseException:
        writer.abort()
        raise
    return _uploaded_now(storage, key)


def _chosen_lines(storage: Storage, source: str, found: Leftovers) -> Iterator[bytes]:
    """Yield the chosen lines with their line ends."""
    number = 0
    for number, line in enumerate(stored_lines(storage, source), start=1):
        if number > len(found.chosen):
            break
        if found.chosen[number - 1]:
            yield line + b"\n"
    if number != len(found.chosen):
        raise JobError(
            f"The lines of {storage.url(source)} do not match the failures in the job's results. "
            f"Was a file changed? The bucket keeps the original as an older version."
        )


def _copy(storage: Storage, source: str, path: str, metadata: Mapping[str, str]) -> Upload:
    key = object_keys.INPUT_PREFIX + path
    storage.s3.copy(
        {"Bucket": storage.bucket, "Key": source},
        storage.bucket,
        key,
        ExtraArgs={"Metadata": dict(metadata), "MetadataDirective": "REPLACE"},
    )
    return _uploaded_now(storage, key)


def _uploaded_now(storage: Storage, key: str) -> Upload:
    head = storage.head(key)
    if head is None or head.version_id is None:
        raise JobError(f"{storage.url(key)} was removed right after it was made.")
    return uploaded(storage, key, head.version_id)


def lineage(storage: Storage, job: FoundJob) -> list[FoundJob]:
    """Return the jobs whose answers belong together, from the original to this retry."""
    jobs = [job]
    while True:
        path = jobs[0].path
        parent = parent_path(path)
        if parent is None:
            return jobs
        # A retry that counted the answers of an earlier one comes after it.
        after = _number_of(storage, path, AFTER_METADATA)
        before = job_of_path(storage, retry_path(parent, after) if after else parent)
        if before is None or before.report is None:
            return jobs
        jobs.insert(0, before)


def _stored_rows(storage: Storage, job: FoundJob) -> NamedRows:
    """Return the result rows of a job, and check their number against the report."""
    key = _results_key(job)
    rows = stored_lines(storage, key)
    if job.report is not None:
        rows = all_rows(rows, int(job.report["requests"]["total"]), storage.url(key))
    return NamedRows(one_line(job.path), rows)


def write_merged(storage: Storage, jobs: list[FoundJob], folder: Path) -> tuple[Path, MergeCounts]:
    """Write the results of a job, merged with those of its retries.

    Args:
        storage: The bucket.
        jobs: The job and its retries, each a retry of the one before.
        folder: The output directory.

    Returns:
        The file, and the counts of the merge.

    Raises:
        JobError: They do not belong together, or have no results.
    """
    target = folder / f"{file_stem(jobs[0].path)}.merged{jobs[0].ending}"
    rows, counts = merged_rows(storage, jobs)
    write_rows(rows, target)
    return target, counts


def merged_rows(storage: Storage, jobs: Sequence[FoundJob]) -> tuple[Iterable[bytes], MergeCounts]:
    """Return the rows of a job, merged with those of its retries, and the counts.

    Args:
        storage: The bucket.
        jobs: The job and its retries, each a retry of the one before.

    Raises:
        JobError: They have no results or, while reading the rows, do not belong together.
    """
    original, *others = [_stored_rows(storage, job) for job in jobs]
    return merge(original, others)


def write_rows(rows: Iterable[bytes], target: Path | None) -> None:
    """Write rows to a file, or to standard output for None."""
    with output(target) as stream:
        for row in rows:
            stream.write(row + b"\n")


def _results_key(job: FoundJob) -> str:
    url = job.report["outputs"]["results"] if job.report else None
    if url is None:
        raise JobError(f"{one_line(job.path)} has no results to merge.")
    return key_of(url)
