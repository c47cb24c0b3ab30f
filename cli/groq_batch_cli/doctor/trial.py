"""Run a file of three requests twice, and check the results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.job_options import NO_DEADLINE
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.records.usage import UsageRecord
from groq_batch_cli.aws import Stack
from groq_batch_cli.doctor.findings import Finding, Look, to_do, well
from groq_batch_client.found_jobs import FoundJob, job_by_id
from groq_batch_client.job_view import GOOD, cost_so_far, is_final
from groq_batch_client.stored_reports import Report
from groq_batch_client.text import duration, one_line, shorten
from groq_batch_client.uploads import start_anew, start_by_hand

MODEL = "openai/gpt-oss-20b"
IDS = ("doctor-1", "doctor-2", "doctor-3")
MAX_SECONDS = 15 * 60.0
"""Maximum seconds to wait for both jobs together."""
MAX_USD = 0.001
"""Maximum cost of each job; three such answers cost about a twentieth of it."""

FIRST = "job"
SECOND = "job, again"
_FOLDER = "doctor/"
_MAX_TOKENS = 64
_MAX_SECONDS_FOR_USAGE = 60.0
"""Seconds to wait for the usage record, which follows the final report within seconds."""
_PAUSES_SECONDS = (2.0, 2.0, 2.0, 4.0, 4.0, 6.0, 10.0)
_LONGEST_TEXT = 200
_OK = 200
_PERMISSION = (
    "s3:PutObject on input/doctor/*, lambda:InvokeFunction on the function StartJobFunctionName, "
    "s3:ListBucket on the bucket, and s3:GetObject on jobs/*, reports/*, output/* and usage/*"
)


def requests() -> bytes:
    """Return the content of the file: three short requests with short answers."""
    return b"".join(_request(custom_id) for custom_id in IDS)


def _request(custom_id: str) -> bytes:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Answer with the one word: well"}],
        "max_completion_tokens": _MAX_TOKENS,
        "reasoning_effort": "low",
    }
    line = {"custom_id": custom_id, "method": "POST", "url": CHAT_URL, "body": body}
    return json.dumps(line).encode() + b"\n"


@dataclass(slots=True)
class Trial:
    """Runs the two jobs of one file.

    Attributes:
        stack: The stack.
        path: The file's path below ``input/``.
        tell: Called with a sentence that says what the command waits for.
        clock: Returns monotonic seconds.
        sleep: Waits for a number of seconds.
    """

    stack: Stack
    path: str
    tell: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _until: float = field(default=0.0, init=False)

    def run(self) -> Iterator[Finding]:
        """Run the file twice and yield the findings; stop at the first problem."""
        self._until = self.clock() + MAX_SECONDS
        for name, start in ((FIRST, self._start), (SECOND, self._start_again)):
            finding = self._look(name, start)
            yield finding
            if not finding.is_well:
                return

    def come_back(self) -> str:
        """Return how to check the job later."""
        target = self.stack.target
        return (
            "It continues by itself. Check it with "
            f"{target.command('status', self.path, '--watch')} and "
            f"{target.command('results', self.path)}"
        )

    def _look(self, name: str, start: Callable[[], Mapping[str, Any]]) -> Finding:
        def find() -> Sequence[Finding]:
            job_id = str(start()["job_id"])
            self.tell(f"{self.path}: waiting for {job_id}, 15 minutes at most")
            report = self._wait(job_id)
            if report is None:
                return [to_do(name, f"{job_id} has not ended in time", self.come_back())]
            return [judge_job(name, report, self._rows(report), self._usage(report))]

        return Look(name, _PERMISSION, find)()[0]

    def _key(self) -> str:
        return object_keys.INPUT_PREFIX + self.path

    def _start(self) -> Mapping[str, Any]:
        metadata = {
            # The lower cap of this one and the stack's applies.
            "max-job-cost-usd": f"{MAX_USD:f}",
            # A stack whose deadline comes before a batch ends, or that tries one request first and
            # alone, is in good health.
            "batch-deadline": NO_DEADLINE,
            "canary-requests": "0",
        }
        self.stack.storage.put_bytes(
            self._key(), requests(), content_type="application/x-ndjson", metadata=metadata
        )
        return start_by_hand(self.stack, self._key())

    def _start_again(self) -> Mapping[str, Any]:
        return start_anew(self.stack, self._key())

    def _wait(self, job_id: str) -> Report | None:
        """Return the final report of a job; None if the time runs out before."""
        looks = 0
        while True:
            found: FoundJob | None = job_by_id(self.stack.storage, job_id)
            if found is not None and found.report is not None and is_final(found.report):
                return found.report
            pause = _PAUSES_SECONDS[min(looks, len(_PAUSES_SECONDS) - 1)]
            if self.clock() + pause > self._until:
                return None
            self.sleep(pause)
            looks += 1

    def _usage(self, report: Report) -> UsageRecord | None:
        """Return the usage record of a job; None if there is none within a minute."""
        key = usage_key_of(report)
        until = self.clock() + _MAX_SECONDS_FOR_USAGE
        while key is not None:
            found = UsageRecord.load(self.stack.storage, key)
            if found is not None:
                return found
            if self.clock() + _PAUSES_SECONDS[0] > until:
                break
            self.sleep(_PAUSES_SECONDS[0])
        return None

    def _rows(self, report: Report) -> list[Any]:
        """Return the result rows of a job; empty if it has none."""
        if report["outputs"]["results"] is None:
            return []
        key = object_keys.delivery_keys(self.path).results
        data = b"".join(self.stack.storage.chunks(key))
        return [_loaded(line) for line in data.splitlines()]


def path_at(moment: datetime) -> str:
    """Return the path for a trial that begins at a given time."""
    return f"{_FOLDER}{object_keys.format_fired_at(moment)}{object_keys.PLAIN_ENDING}"


def usage_key_of(report: Report) -> str | None:
    """Return the key of the usage record of a job; None for a job of version 1."""
    if report.get("version") is None:
        return None
    return object_keys.usage_key(report["timing"]["finished_at"][:10], report["job_id"])


def judge_job(name: str, report: Report, rows: Sequence[Any], usage: UsageRecord | None) -> Finding:
    """Evaluate a job by its report, rows and usage record.

    Args:
        name: Name of the check.
        report: Its final report.
        rows: Its result rows.
        usage: Its usage record; None if there is none.
    """
    faults = [
        *_faults_of_report(report),
        *_faults_of_rows(rows),
        *_faults_of_usage(report, usage),
    ]
    job_id = str(report["job_id"])
    if faults:
        return to_do(
            name,
            f"{job_id}: {'; '.join(faults)}",
            "docs/operations.md explains the codes; groq-batch logs shows the log.",
        )
    seconds = report["timing"]["seconds"]
    took = f" in {duration(seconds)}" if seconds is not None else ""
    return well(
        name, f"{len(IDS)} of {len(IDS)} answered, in order,{took} for {cost_so_far(report)}"
    )


def _faults_of_report(report: Report) -> Iterator[str]:
    """Yield the problems of a report."""
    if report["status"] != GOOD:
        errors = report["errors"] or [{}]
        code, message = errors[0].get("code"), errors[0].get("message")
        text = shorten(one_line(f"{code}: {message}"), _LONGEST_TEXT) if code else "without a code"
        yield f"it ended as {report['status']} ({text})"
        return
    counts = report["requests"]
    if (counts["total"], counts["succeeded"]) != (len(IDS), len(IDS)):
        yield f"the report counts {counts['succeeded']} of {counts['total']} requests as answered"
    usage = ReportedUsage.of(report)
    if not (usage.prompt_tokens > 0 and usage.completion_tokens > 0):
        yield "the report has no tokens"
    cost = usage.actual_usd
    if cost is None:
        yield f"the cost is not known, so {MODEL} has no price"
    elif not 0 < cost < MAX_USD:
        yield f"it cost {cost:f} USD instead of less than {MAX_USD:f}"


def _faults_of_usage(report: Report, usage: UsageRecord | None) -> Iterator[str]:
    """Yield the problems of a usage record."""
    key = usage_key_of(report)
    if key is None:
        return
    if usage is None:
        yield f"it has no usage record at {key}"
        return
    of_report = UsageRecord.of_report(report, usage.models)
    for name in ("status", "requests", "prompt_tokens", "completion_tokens", "actual_usd"):
        recorded, reported = getattr(usage, name), getattr(of_report, name)
        if recorded != reported:
            yield f"its usage record says {name} {recorded}, its report {reported}"


def _faults_of_rows(rows: Sequence[Any]) -> Iterator[str]:
    """Yield the problems of the result rows."""
    found = [row.get("custom_id") if isinstance(row, dict) else None for row in rows]
    if sorted(map(str, found)) != sorted(IDS):
        yield f"{len(rows)} rows instead of one for each of {len(IDS)} requests"
    elif found != list(IDS):
        yield "the rows are not in the order of the requests"
    elif not all(_is_answered(row) for row in rows):
        yield "not every row holds an answer"


def _is_answered(row: Mapping[str, Any]) -> bool:
    response = row.get("response")
    return (
        row.get("error") is None
        and isinstance(response, dict)
        and response.get("status_code") == _OK
        and bool((response.get("body") or {}).get("choices"))
    )


def _loaded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
