"""Progress of a job in words: the progress line, and the changes between two reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from groq_batch_client.text import batches, counted, dollars

_BAR_CELLS = 20
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

Report = Mapping[str, Any]


def bar(done: int, total: int, *, unicode: bool = True) -> str:
    """Return a bar that shows the share ``done`` of ``total``."""
    filled = _BAR_CELLS * min(done, total) // total if total else 0
    full, empty = ("█", "░") if unicode else ("#", ".")
    return full * filled + empty * (_BAR_CELLS - filled)


def progress_text(report: Report | None, *, unicode: bool = True) -> str:
    """Return the progress of a running job.

    Args:
        report: Its report; None when there is none yet.
        unicode: Whether the terminal can show more than ASCII.
    """
    if report is None:
        return "Waiting for the upload's job to start"
    total = report["progress"]["total"]
    if not total:
        is_checked = report["input"]["lines"] > 0
        return "Writing the report" if is_checked else "Checking every line of the file"
    if not report["batches"]:
        return f"Sending {counted(total, 'request')} to Groq"
    done = report["progress"]["completed"]
    filled = bar(done, total, unicode=unicode)
    return f"{filled} {done:,} of {counted(total, 'request')} done, {_attempt_text(report)}"


def _attempt_text(report: Report) -> str:
    """Return the state of the last attempt's batches."""
    attempt = max(batch["attempt"] for batch in report["batches"])
    statuses = Counter(
        batch["status"].replace("_", " ")
        for batch in report["batches"]
        if batch["attempt"] == attempt
    )
    return f"attempt {attempt}: " + ", ".join(
        f"{batches(number)} {status}" for status, number in statuses.items()
    )


def news(before: Report | None, after: Report | None) -> list[str]:
    """Return the changes between two reports of one job, one sentence each."""
    if after is None:
        return []
    return [*_checks(before, after), *_batch_news(before, after), *_outage(before, after)]


def _checks(before: Report | None, after: Report) -> Iterator[str]:
    was_checked = before is not None and before["input"]["lines"]
    if was_checked or not after["input"]["lines"]:
        return
    counts = after["requests"]
    text = f"Checked {counted(counts['total'], 'request')}"
    if counts["invalid"]:
        yield f"{text}: {counts['invalid']:,} cannot be sent"
    elif after["errors_total"]:
        yield f"{text}: the file cannot be run"
    else:
        cost = after["cost_usd"]["estimated"]
        yield f"{text}: all good, estimated cost {dollars(cost)}"


def _batch_news(before: Report | None, after: Report) -> Iterator[str]:
    known = {batch["id"]: batch for batch in (before["batches"] if before else ())}
    attempts = sorted({batch["attempt"] for batch in after["batches"]})
    for attempt in attempts:
        of_attempt = [batch for batch in after["batches"] if batch["attempt"] == attempt]
        sent = [batch for batch in of_attempt if batch["id"] not in known]
        if sent:
            requests = counted(sum(batch["requests"] for batch in sent), "request")
            what = "sent" if attempt == 1 else "sent again"
            yield f"Attempt {attempt}: {requests} {what} in {batches(len(sent))}"
        for batch in of_attempt:
            was = known.get(batch["id"], {}).get("status")
            if batch["status"] in _ENDED and was not in _ENDED:
                name = "batch" if len(of_attempt) == 1 else f"batch {batch['shard']}"
                yield f"Attempt {attempt}: {name} {_end_of(batch)}"


def _end_of(batch: Mapping[str, Any]) -> str:
    counts = [f"{batch['succeeded']:,} answered"]
    if batch["failed"]:
        counts.append(f"{batch['failed']:,} failed")
    return f"{batch['status']}, {', '.join(counts)}"


def _outage(before: Report | None, after: Report) -> Iterator[str]:
    """Return news about an error that the job waits for, and about its end."""
    was, now = _waits_for(before), _waits_for(after)
    if now != was and after["status"] == "running":
        yield f"The job waits: {now}" if now else "The job continues"


def _waits_for(report: Report | None) -> str | None:
    """Return the error that a report begins with when Groq refuses the account for the moment.

    Only a job that has batches waits; without any, such an error is a problem of the file.
    """
    errors = report["errors"] if report and report["batches"] else ()
    first = next((e for e in errors if e["line"] is None and e["custom_id"] is None), None)
    return first["message"] if first else None
