"""How a job stands, in words: what its report says, as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.jobs import parse_timestamp
from groq_batch_cli.text import batches, counted, dollars, duration, one_line, share

Report = Mapping[str, Any]

RUNNING = "running"
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
    """Return the style that a status is shown in."""
    return _STYLES.get(status, "cyan")


def is_final(report: Report | None) -> bool:
    """Tell whether a report says how its job ended."""
    return report is not None and report["status"] != RUNNING


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is.

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
    """Return what a job is doing at the moment, in a word or two."""
    if report is None:
        return "starting" if has_job else "waiting"
    if report["status"] != RUNNING:
        return str(report["status"])
    if not report["progress"]["total"]:
        return "checking"
    if not report["batches"]:
        return "sending"
    attempt = max(batch["attempt"] for batch in report["batches"])
    if _is_collecting(report, attempt):
        return "collecting"
    return RUNNING if attempt == 1 else f"attempt {attempt}"


def _is_collecting(report: Report, attempt: int) -> bool:
    ended = {"completed", "failed", "expired", "cancelled"}
    return all(
        batch["status"] in ended for batch in report["batches"] if batch["attempt"] == attempt
    )


def cost_so_far(report: Report | None) -> str:
    """Return what a job has cost; while it runs an estimate of it, marked as such."""
    if report is None:
        return ""
    cost = report["cost_usd"]
    if cost["actual"] is not None:
        return dollars(cost["actual"])
    if cost["estimated"] is None or report["status"] != RUNNING:
        return ""
    progress = Progress.of(report)
    part = cost["estimated"] * progress.done / progress.total if progress.total else 0.0
    return f"~{dollars(part)} of ~{dollars(cost['estimated'])}"


def time_left(progress: Progress, rate: float) -> str:
    """Return how long the rest takes at a rate, in requests per second."""
    if rate <= 0 or progress.done >= progress.total:
        return ""
    seconds = (progress.total - progress.done) / rate
    return f"{duration(seconds)} left" if seconds >= 1 else ""


def headline(report: Report) -> str:
    """Return what became of a job, or what it is doing, in one sentence."""
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
            return f"{counts['succeeded']:,} of {requests} answered until then"
        case "failed":
            return reason(report) or "the report names no reason"
    progress = Progress.of(report)
    if not progress.total:
        return "the file is being checked"
    return (
        f"{progress.done:,} of {counted(progress.total, 'request')} done "
        f"({share(progress.done, progress.total)})"
    )


def reason(report: Report) -> str | None:
    """Return the sentence of a job that failed, was stopped, or waits for Groq."""
    if report["status"] == RUNNING and not report["batches"]:
        return None
    first = next(
        (e for e in report["errors"] if e["line"] is None and e["custom_id"] is None), None
    )
    return one_line(first["message"]) if first else None


def seconds_of(report: Report, now: datetime) -> float:
    """Return how long a job took, or has taken until now."""
    if report["timing"]["seconds"] is not None:
        return float(report["timing"]["seconds"])
    return (now - parse_timestamp(report["timing"]["started_at"])).total_seconds()


def batch_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row for each attempt: what was sent, and what has come back."""
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
