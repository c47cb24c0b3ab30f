"""Count the errors of a job by code.

The report lists the first 100 errors only. The job's working files have the counts of all errors
for as long as the stack keeps them; ``invalid/`` has every problem of the input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from groq_batch.bucket.s3_errors import MissingObjectError, UnreadableObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.answer_stats import Failures
from groq_batch.domain.parallel import in_parallel
from groq_batch.records.shard_result import ShardResult
from groq_batch_client.aws_errors import is_denied
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import key_of
from groq_batch_client.line_io import stored_lines
from groq_batch_client.text import one_line

Report = Mapping[str, Any]

_MAX_SUMMARIES = 500
_MAX_PROBLEM_BYTES = 8 * 1024 * 1024
"""More than that is not fetched to count codes."""

_SUMMARY_KEY = re.compile(r"/attempt-([0-9]+)/([0-9]+)\.json$")


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """The requests or lines with one error code.

    Attributes:
        code: The code.
        count: How many there are.
        message: The message of the first; empty if there is none.
    """

    code: str
    count: int
    message: str


@dataclass(frozen=True, slots=True)
class ErrorCodes:
    """The errors of a job by code.

    Attributes:
        codes: The codes, most frequent first.
        total: All errors of the job.
    """

    codes: tuple[ErrorCode, ...]
    total: int

    @property
    def counted(self) -> int:
        """How many errors were counted; fewer than ``total`` if only the first are known."""
        return sum(code.count for code in self.codes)

    @property
    def is_complete(self) -> bool:
        """Whether all errors were counted."""
        return self.counted >= self.total

    def text(self, most: int = 5) -> str:
        """Return the counts as one line; codes beyond ``most`` are added up."""
        parts = [f"{one.count:,} {one.code}" for one in self.codes[:most]]
        others = sum(one.count for one in self.codes[most:])
        if others:
            parts.append(f"{others:,} others")
        limit = "" if self.is_complete else f" (of the first {self.counted:,})"
        return ", ".join(parts) + limit


def error_codes(storage: Storage, job: FoundJob) -> ErrorCodes:
    """Count the errors of an ended job by code.

    Args:
        storage: The bucket.
        job: The job, with its final report.
    """
    report = job.report or {}
    errors = [error for error in report["errors"] if not _is_of_the_job(error)]
    total = report["errors_total"] - (len(report["errors"]) - len(errors))
    if total > len(errors):
        found = _counted(storage, job, report)
        if found is not None:
            return _sorted(found, total)
    return _sorted(_of_rows(errors), total)


def _is_of_the_job(error: Report) -> bool:
    """Tell whether an error is about the job, not a request: failed, stopped or file rejected."""
    return error["line"] is None and error["custom_id"] is None


def _counted(storage: Storage, job: FoundJob, report: Report) -> Failures | None:
    """Count all errors in the job's working files; None if these are gone or not readable."""
    try:
        return _count(storage, job, report)
    except (MissingObjectError, UnreadableObjectError):
        return None
    except ClientError as error:
        if not is_denied(error):
            raise
        return None


def _count(storage: Storage, job: FoundJob, report: Report) -> Failures | None:
    counts = report["requests"]
    result = Failures()
    if counts["invalid"]:
        problems = _problems(storage, job, report["outputs"]["invalid"])
        if problems is None:
            return None
        result.merge(problems)
    if counts["failed"] and report["status"] != "rejected":
        rows = _rows(storage, report["job_id"])
        if rows is None or _total(rows) != counts["failed"]:
            return None
        result.merge(rows)
    return result


def _problems(storage: Storage, job: FoundJob, url: str | None) -> Failures | None:
    """Count the problems of the input file."""
    if url is None or job.is_replaced:
        return None
    key = key_of(url)
    head = storage.head(key)
    if head is None or head.size > _MAX_PROBLEM_BYTES:
        return None
    rows = (msgspec.json.decode(line) for line in stored_lines(storage, key))
    return _of_rows(row for row in rows if not _is_of_the_job(row))


def _rows(storage: Storage, job_id: str) -> Failures | None:
    """Add up the counts that each shard stored with its last rows."""
    prefix = f"{object_keys.WORK_PREFIX}{job_id}/summaries/"
    newest: dict[int, tuple[int, str]] = {}
    for item in storage.objects(prefix):
        found = _SUMMARY_KEY.search(item.key)
        if found is not None:
            number = int(found[2])
            newest[number] = max(newest.get(number, (0, "")), (int(found[1]), item.key))
            if len(newest) > _MAX_SUMMARIES:
                return None
    result = Failures()
    keys = [key for _, key in newest.values()]
    for counts in in_parallel(lambda key: ShardResult.load(storage, key), keys):
        if counts is not None:
            result.merge(counts.stats.failures)
    return result


def _of_rows(rows: Iterable[Report]) -> Failures:
    result = Failures()
    for row in rows:
        result.add(row["code"], row["line"], row["message"])
    return result


def _total(failures: Failures) -> int:
    return sum(group.count for group in failures.values())


def _sorted(failures: Failures, total: int) -> ErrorCodes:
    codes = [
        ErrorCode(one_line(code), group.count, one_line(group.message or ""))
        for code, group in failures.items()
    ]
    return ErrorCodes(tuple(sorted(codes, key=lambda one: -one.count)), total)
