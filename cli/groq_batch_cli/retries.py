"""Runs what has failed again, under a name that says what it is a retry of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

from groq_batch import layout
from groq_batch.storage import Storage
from groq_batch_cli.errors import CommandError
from groq_batch_cli.fetching import key_of
from groq_batch_cli.job_lookup import FoundJob, file_stem, job_of_path
from groq_batch_cli.job_view import is_final
from groq_batch_cli.lines import stored_lines
from groq_batch_cli.merging import MergeCounts, NamedRows, merge
from groq_batch_cli.text import counted, one_line
from groq_batch_cli.uploads import Upload, uploaded
from groq_batch_client.output import output

_RETRY = re.compile(r"(.+)\.retry(?:-[0-9]+)?")


def retry_path(path: str, number: int) -> str:
    """Return the path of a job's retry, the first being number 1."""
    ending = layout.GZIP_ENDING if layout.is_gzip(path) else layout.PLAIN_ENDING
    suffix = ".retry" if number == 1 else f".retry-{number}"
    return path.removesuffix(ending) + suffix + ending


def parent_path(path: str) -> str | None:
    """Return the path of the job that a path is a retry of; None when it is none."""
    ending = layout.GZIP_ENDING if layout.is_gzip(path) else layout.PLAIN_ENDING
    found = _RETRY.fullmatch(path.removesuffix(ending))
    return found[1] + ending if found else None


def failed_key(job: FoundJob) -> str:
    """Return the object with the lines to run again.

    Raises:
        CommandError: There is nothing to run again.
    """
    name = one_line(job.path)
    report = job.report
    if report is None or not is_final(report):
        raise CommandError(f"{name} has not ended yet. Follow it: groq-batch status {name} --watch")
    counts = report["requests"]
    url = report["outputs"]["failed"]
    if report["status"] == "rejected":
        raise CommandError(
            f"{name} was rejected, and nothing of it was sent. Repair the file and run it: "
            f"groq-batch run"
        )
    if url is None:
        raise CommandError(f"Nothing of {name} has failed; it ended as {report['status']}.")
    if not counts["failed"]:
        raise CommandError(
            f"What has failed of {name} are {counted(counts['invalid'], 'bad line')}, which would "
            f"fail again. `groq-batch results {name}` fetches what is wrong with them."
        )
    return key_of(url)


def existing_retry(storage: Storage, path: str) -> tuple[FoundJob | None, str]:
    """Return the newest retry of a path that is of use, and the first free path for another one.

    Of use is one that is under way or has answers.
    """
    useful = None
    for number in count(1):
        candidate = retry_path(path, number)
        job = job_of_path(storage, candidate)
        if job is None:
            return useful, candidate
        if not is_final(job.report) or (job.report and job.report["requests"]["succeeded"]):
            useful = job
    raise AssertionError("unreachable")  # pragma: no cover


def copy_failed(storage: Storage, source: str, path: str, *, metadata: Mapping[str, str]) -> Upload:
    """Upload failed lines under another path, without fetching them."""
    key = layout.INPUT_PREFIX + path
    storage.s3.copy(
        {"Bucket": storage.bucket, "Key": source},
        storage.bucket,
        key,
        ExtraArgs={"Metadata": dict(metadata), "MetadataDirective": "REPLACE"},
    )
    head = storage.head(key)
    if head is None or head.version_id is None:
        raise CommandError(f"{storage.url(key)} was removed right after it was made.")
    return uploaded(storage, key, head.version_id)


def lineage(storage: Storage, job: FoundJob) -> list[FoundJob]:
    """Return the jobs that a retry goes back to, the original one first, the retry last.

    Raises:
        CommandError: One of them does not exist any more.
    """
    jobs = [job]
    while (path := parent_path(jobs[0].path)) is not None:
        parent = job_of_path(storage, path)
        if parent is None or parent.report is None:
            break
        jobs.insert(0, parent)
    return jobs


def write_merged(storage: Storage, jobs: list[FoundJob], folder: Path) -> tuple[Path, MergeCounts]:
    """Write the results of a job with those of its retries in place.

    Args:
        storage: The bucket.
        jobs: The job and its retries, each of what the one before had left.
        folder: Where the file goes.

    Returns:
        The file, and what was merged into it.

    Raises:
        CommandError: They do not belong together, or have no results.
    """
    target = folder / f"{file_stem(jobs[0].path)}.merged{jobs[0].ending}"
    original, *others = [
        NamedRows(one_line(job.path), stored_lines(storage, _results_key(job))) for job in jobs
    ]
    rows, counts = merge(original, others)
    write_rows(rows, target)
    return target, counts


def write_rows(rows: Iterable[bytes], target: Path | None) -> None:
    """Write rows to a file, or to standard output for None."""
    with output(target) as stream:
        for row in rows:
            stream.write(row + b"\n")


def _results_key(job: FoundJob) -> str:
    url = job.report["outputs"]["results"] if job.report else None
    if url is None:
        raise CommandError(f"{one_line(job.path)} has no results to merge.")
    return key_of(url)
