"""Draw a job's timeline: preparation, batches, delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec

from groq_batch.domain.times import parse_timestamp
from groq_batch.reports.page import charts, wording

_MAX_ROWS = 24
_MAX_STEPS = 4
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86_400 * days for days in (1, 2, 5, 10, 20, 50, 100)),
)
BATCH_STYLES = {
    "completed": "good",
    "failed": "bad",
    "expired": "invalid",
    "cancelled": "idle",
    "cancelling": "idle",
}
"""Styles of batches by status; others are running."""


class Timeline(msgspec.Struct, frozen=True):
    """The drawing, and the labels of its rows."""

    labels: Sequence[str]
    drawing: str


class _Stretch(msgspec.Struct, frozen=True):
    """A period, in seconds since the job's start."""

    label: str
    start: float
    end: float
    style: str
    meaning: str


def draw_timeline(report: Mapping[str, Any], *, as_of: datetime) -> Timeline | None:
    """Draw the timeline; None for a job that has sent nothing."""
    started = parse_timestamp(report["timing"]["started_at"])
    finished = report["timing"]["finished_at"]
    whole = (parse_timestamp(finished) if finished else as_of) - started
    length = max(whole.total_seconds(), 1.0)

    def seconds(stamp: str | None) -> float | None:
        # Groq's clock differs from AWS's: times outside the job are moved to its start or end.
        if stamp is None:
            return None
        return min(max((parse_timestamp(stamp) - started).total_seconds(), 0.0), length)

    batches = [
        _of_batch(batch, seconds(batch["created_at"]), seconds(batch["ended_at"]), length)
        for batch in report["batches"]
    ]
    if not batches:
        return None
    submitted = min(stretch.start for stretch in batches)
    ended = max(stretch.end for stretch in batches)
    rows = [_Stretch("Check", 0.0, submitted, "step", "checking the input and sending it")]
    rows += _attempts(report["batches"], batches)
    if finished:
        done = "collecting and delivering"
        if (report.get("on_demand") or {"requests": 0})["requests"]:
            done = "ordinary calls after the deadline, collecting and delivering"
        rows.append(_Stretch("Deliver", ended, length, "step", done))
    return Timeline(
        labels=[row.label for row in rows],
        drawing=charts.timeline(
            [[_span(row, length)] for row in rows],
            _marks(length),
            title=f"From the upload on, {wording.duration(length)} in all: "
            + "; ".join(f"{row.label}: {row.meaning}" for row in rows),
        ),
    )


def _of_batch(
    batch: Mapping[str, Any], created: float | None, ended: float | None, length: float
) -> _Stretch:
    start = created if created is not None else 0.0
    end = max(ended if ended is not None else length, start)
    status = wording.text(batch["status"], most=40)
    return _Stretch(
        label=f"Attempt {batch['attempt']}, shard {batch['shard']}",
        start=start,
        end=end,
        style=BATCH_STYLES.get(batch["status"], "running"),
        meaning=f"{status}, {wording.whole(batch['requests'])} requests, "
        f"{wording.duration(end - start)}",
    )


def _attempts(batches: Sequence[Mapping[str, Any]], drawn: Sequence[_Stretch]) -> list[_Stretch]:
    """Return one row per batch, or several batches per row if there are many."""
    if len(drawn) <= _MAX_ROWS:
        return list(drawn)
    pairs = list(zip(batches, drawn, strict=True))
    attempts = [list(group) for _, group in groupby(pairs, key=lambda pair: pair[0]["attempt"])]
    rows_of_attempt = max(_MAX_ROWS // len(attempts), 1)
    rows: list[_Stretch] = []
    for attempt in attempts:
        size = -(-len(attempt) // rows_of_attempt)
        rows += [_together(attempt[index : index + size]) for index in range(0, len(attempt), size)]
    return rows


def _together(pairs: Sequence[tuple[Mapping[str, Any], _Stretch]]) -> _Stretch:
    """Combine several batches of an attempt into one row."""
    first, last = pairs[0][0], pairs[-1][0]
    styles = [stretch.style for _, stretch in pairs]
    many = f"shards {first['shard']} to {last['shard']}"
    shards = f"shard {first['shard']}" if len(pairs) == 1 else many
    requests = sum(batch["requests"] for batch, _ in pairs)
    start = min(stretch.start for _, stretch in pairs)
    end = max(stretch.end for _, stretch in pairs)
    worst = next((style for style in ("bad", "invalid", "running", "idle") if style in styles), "")
    return _Stretch(
        label=f"Attempt {first['attempt']}, {shards}",
        start=start,
        end=end,
        style=worst or "good",
        meaning=f"{len(pairs)} batches, {wording.whole(requests)} requests, "
        f"{wording.duration(end - start)}",
    )


def _span(stretch: _Stretch, length: float) -> charts.Span:
    return charts.Span(
        start=stretch.start / length,
        end=stretch.end / length,
        style=stretch.style,
        title=f"{stretch.label}: {stretch.meaning}",
    )


def _marks(length: float) -> list[charts.Mark]:
    step = next((one for one in _STEPS if length / one <= _MAX_STEPS), _STEPS[-1])
    count = min(int(length // step), 2 * _MAX_STEPS)
    return [
        charts.Mark(index * step / length, wording.duration(index * step) if index else "0")
        for index in range(count + 1)
    ]
