"""Describe the state of a job as text, from its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.domain.batch import TERMINAL_STATUSES
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.domain.times import parse_timestamp
from groq_batch_client.text import batches, counted, dollars, one_line, share

Report = Mapping[str, Any]

GOOD = "succeeded"
_STYLES = {
    "succeeded": "green",
    "partial": "yellow",
    "cancelled": "yellow",
    "rejected": "red",
    "failed": "red",
    "replaced": "dim",
}


def style_of(status: str) -> str:
    """Return the display style of a status."""
    return _STYLES.get(status, "cyan")


def is_final(report: Report | None) -> bool:
    """Tell whether a report is final."""
    return report is not None and report["status"] != RUNNING


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a running job.

    Attributes:
        done: Requests that have an outcome at Groq.
        total: Requests to be sent.
    """

    done: int
    total: int

    @classmethod
    def of(cls, report: Report | None) -> Progress:
        """Read it from a report."""
        if report is None:
            return cls(0, 0)
        return cls(report["progress"]["completed"], report["progress"]["total"])


def phase(report: Report | None, *, has_job: bool) -> str:
    """Return the current phase of a job in one or two words."""
    if report is None:
        return "starting" if has_job else "waiting"
    if report["status"] != RUNNING:
        return str(report["status"])
    if not report["progress"]["total"]:
        return "checking"
    if _makes_ordinary_calls(report):
        return "ordinary calls"
    if not report["batches"]:
        return "sending"
    attempt = max(batch["attempt"] for batch in report["batches"])
    if report.get("canary") and report["canary"]["passed"] is None:
        return "canary"
    if _is_collecting(report, attempt):
        return "collecting"
    return RUNNING if attempt == 1 else f"attempt {attempt}"


def _makes_ordinary_calls(report: Report) -> bool:
    return bool((report.get("on_demand") or {"requests": 0})["requests"])


def _is_collecting(report: Report, attempt: int) -> bool:
    return all(
        batch["status"] in TERMINAL_STATUSES
        for batch in report["batches"]
        if batch["attempt"] == attempt
    )


def cost_so_far(report: Report | None) -> str:
    """Return the cost of a job; while it runs, an estimate marked as such."""
    if report is None:
        return ""
    usage = ReportedUsage.of(report)
    if usage.actual_usd is not None:
        return dollars(usage.actual_usd)
    if usage.estimated_usd is None or report["status"] != RUNNING:
        return ""
    progress = Progress.of(report)
    part = usage.estimated_usd * progress.done / progress.total if progress.total else 0.0
    return f"~{dollars(part)} of ~{dollars(usage.estimated_usd)}"


def unanswered(report: Report | None) -> int | None:
    """Return how many requests of an ended job have no answer; None while it runs."""
    if report is None or not is_final(report):
        return None
    return int(report["requests"]["total"] - report["requests"]["succeeded"])


def answered_share(report: Report | None) -> str:
    """Return the share of requests done; for an ended job, the share answered."""
    if report is None:
        return ""
    if is_final(report):
        counts = report["requests"]
        return share(counts["succeeded"], counts["total"])
    progress = Progress.of(report)
    return share(progress.done, progress.total) if progress.total else ""


def first_error_code(report: Report | None) -> str | None:
    """Return the code of the first error in a report; None if there is none."""
    if report is None or not report["errors"]:
        return None
    if report["status"] == RUNNING and reason(report) is None:
        # A problem found in the file, which does not stop the job.
        return None
    code = report["errors"][0]["code"]
    return one_line(str(code)) if code is not None else None


def why(report: Report | None) -> str:
    """Return in one or two words why answers are missing, or what the job waits for."""
    code = first_error_code(report)
    if report is None or code is None or code == report["status"]:
        return ""
    first = report["errors"][0]
    if report["status"] != "partial" or first["line"] is first["custom_id"] is None:
        # The first error is that of the job, not that of a line.
        return code
    # The report has the first errors only, so they show codes but not their counts.
    codes = Counter(one_line(str(error["code"])) for error in report["errors"])
    others = len(codes) - 1
    return codes.most_common(1)[0][0] + (f" +{others}" if others else "")


def counts_text(report: Report) -> str:
    """Return the number of requests by outcome, for an ended job."""
    counts = report["requests"]
    parts = []
    if report["status"] != "rejected":
        parts.append(f"{counts['succeeded']:,} answered{_form_text(counts)}")
    missing = {"rejected": "not sent", "cancelled": "not answered", "failed": "not answered"}
    parts.append(f"{counts['failed']:,} {missing.get(report['status'], 'failed')}")
    if counts["invalid"]:
        parts.append(f"{counts['invalid']:,} invalid")
    return ", ".join(parts)


def _form_text(counts: Mapping[str, int]) -> str:
    """Return how many answers do not have, or may not have, the requested form."""
    # Reports of older versions lack both numbers.
    texts = {
        "invalid_output": "not the JSON asked for",
        "unchecked_output": "not checked against their schema",
    }
    parts = [f"{counts[name]:,} {text}" for name, text in texts.items() if counts.get(name)]
    return f" ({', '.join(parts)})" if parts else ""


def headline(report: Report) -> str:
    """Return the outcome of a job, or what it is doing, as one sentence."""
    counts = report["requests"]
    requests = counted(counts["total"], "request")
    match report["status"]:
        case "succeeded":
            return f"{requests} answered"
        case "partial":
            without = counts["total"] - counts["succeeded"]
            return f"{counts['succeeded']:,} of {requests} answered, {without:,} not"
        case "rejected":
            return f"{counted(report['errors_total'], 'problem')}, nothing was sent"
        case "cancelled":
            return f"{counts['succeeded']:,} of {requests} answered"
        case "failed":
            return reason(report) or "the report names no reason"
    progress = Progress.of(report)
    if not progress.total:
        return "the file is being checked"
    return (
        f"{progress.done:,} of {counted(progress.total, 'request')} done "
        f"({share(progress.done, progress.total)})"
    )


def canary_text(report: Report) -> str:
    """Return the outcome of the canary, the requests that were sent alone first."""
    canary = report["canary"]
    requests = counted(canary["requests"], "request")
    if canary["passed"] is None:
        return f"{requests}, {'not judged yet' if not is_final(report) else 'not judged'}"
    said = "passed" if canary["passed"] else "failed"
    cost = canary["projected_cost_usd"]
    costs = f"; at its rate the whole file costs {dollars(cost)}" if cost is not None else ""
    return f"{said}: {canary['failed']:,} of {requests} failed for good{costs}"


def on_demand_text(report: Report) -> str:
    """Return the outcome of the ordinary calls after the deadline of a job."""
    calls = report["on_demand"]
    cost = calls["cost_usd"]
    costs = f" for {dollars(cost)}" if cost is not None else ""
    asked = counted(calls["requests"], "request")
    return f"{calls['succeeded']:,} of {asked} answered by ordinary calls{costs}"


def reason(report: Report) -> str | None:
    """Return the message of a job that failed, was cancelled, or waits for Groq."""
    if report["status"] == RUNNING and not (report["batches"] or _makes_ordinary_calls(report)):
        return None
    first = next(
        (e for e in report["errors"] if e["line"] is None and e["custom_id"] is None), None
    )
    return one_line(first["message"]) if first else None


def seconds_of(report: Report, now: datetime) -> float:
    """Return how long a job took, or has taken so far."""
    if report["timing"]["seconds"] is not None:
        return float(report["timing"]["seconds"])
    return (now - parse_timestamp(report["timing"]["started_at"])).total_seconds()


def batch_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for each attempt, with the requests sent and the outcomes."""
    rows: list[tuple[str, ...]] = []
    attempts = sorted({batch["attempt"] for batch in report["batches"]})
    for attempt in attempts:
        members = [batch for batch in report["batches"] if batch["attempt"] == attempt]
        sent, succeeded, failed = (
            sum(batch[name] for batch in members) for name in ("requests", "succeeded", "failed")
        )
        statuses = Counter(batch["status"].replace("_", " ") for batch in members)
        rows.append(
            (
                f"attempt {attempt}",
                f"{sent:,} sent in {batches(len(members))}",
                f"{succeeded:,} answered",
                f"{failed:,} failed",
                ", ".join(f"{number} {status}" for status, number in statuses.items()),
            )
        )
    return rows
