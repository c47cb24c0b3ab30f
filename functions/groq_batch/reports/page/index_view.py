"""Build the view of the index of all jobs: running jobs, cost, ended jobs and their errors.

User-supplied texts are truncated here, by their size in bytes in the page, and escaped by the
template. Drawings are made of numbers only.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from groq_batch.domain import object_keys
from groq_batch.domain.pace import mean_pace
from groq_batch.domain.times import parse_timestamp
from groq_batch.records.usage import UsageRecord
from groq_batch.records.usage_sums import DAYS, MAX_ENDED, Sums, UsageSums
from groq_batch.reports.page import charts, wording
from groq_batch.reports.running_jobs import MAX_SHOWN, RunningJob

RELOAD_SECONDS = 300
"""Seconds after which an open page reloads."""
_MAX_IN_CHART = 5
_MAX_FOLDERS = 15
_NAME_CHARACTERS = 64
_NAME_BYTES = 84
_CODE_CHARACTERS = 40
_MARK_EVERY = 7
STYLES = {
    "succeeded": "good",
    "partial": "invalid",
    "rejected": "bad",
    "failed": "bad",
    "cancelled": "idle",
}


class Tile(msgspec.Struct, frozen=True):
    """A highlighted number, its label, and a remark below it."""

    label: str
    value: str
    remark: str


class RunningRow(msgspec.Struct, frozen=True):
    """A running job: its file, its progress, its times, and its error.

    Attributes:
        folder: The folder of its file.
        name: The file's name.
        done: Requests with an outcome.
        total: Requests that are to have one; 0 while the file is being checked.
        share: The completed share, in words.
        progress: Number of completed requests, of how many.
        since: How long it has run.
        left: Estimated remaining time, if known.
        code: Code of the error that holds it up.
    """

    folder: str
    name: str
    done: int
    total: int
    share: str
    progress: str
    since: str
    left: str
    code: str


class EndedRow(msgspec.Struct, frozen=True):
    """A job that has ended.

    Attributes:
        folder: The folder of its file.
        name: The file's name.
        style: The style of its status.
        status: The status.
        ended: When it ended.
        took: Its duration.
        requests: Its requests.
        unanswered: Requests without an answer; empty if there are none.
        cost: Its cost.
        code: The code of its first error.
    """

    folder: str
    name: str
    style: str
    status: str
    ended: str
    took: str
    requests: str
    unanswered: str
    cost: str
    code: str


class FolderRow(msgspec.Struct, frozen=True):
    """Totals of a folder's jobs; ``style`` is that of its part of the chart."""

    style: str
    folder: str
    jobs: str
    unsuccessful: str
    requests: str
    tokens: str
    cost: str


class IndexView(msgspec.Struct, frozen=True):
    """All values that the template shows, in the order of the template."""

    title: str
    times: str
    reload_seconds: int | None
    figures: Sequence[Tile]
    running: Sequence[RunningRow]
    running_remark: str
    chart: str
    spend_remark: str
    folders: Sequence[FolderRow]
    ended: Sequence[EndedRow]
    ended_remark: str


def index_view(
    sums: UsageSums,
    running: Sequence[RunningJob],
    *,
    running_total: int,
    as_of: datetime,
    is_whole: bool = True,
    is_live: bool = False,
) -> IndexView:
    """Build the view of the index.

    Args:
        sums: Totals of the usage records.
        running: The jobs that have run longest, oldest first.
        running_total: Number of running jobs.
        as_of: When the page is made.
        is_whole: Whether all usage records were counted.
        is_live: Whether the page was made on request, and will not be updated.
    """
    total = _total(sums)
    by_folder = _by_folder(sums)
    chosen = [name for name, one in by_folder if one.usd > 0][:_MAX_IN_CHART]
    return IndexView(
        title=f"{wording.whole(running_total)} running, {wording.whole(total.jobs)} ended",
        times=f"As of {wording.moment(as_of)}" + ("" if is_live else " · updated every 15 minutes"),
        reload_seconds=None if is_live else RELOAD_SECONDS,
        figures=_figures(total, running_total),
        running=[_running_row(job, as_of) for job in running[:MAX_SHOWN]],
        running_remark=_running_remark(min(len(running), MAX_SHOWN), running_total),
        chart=_chart(sums, chosen, total, as_of),
        spend_remark=_spend_remark(total, sums.unreadable, is_whole=is_whole),
        folders=_folder_rows(by_folder, chosen),
        ended=[_ended_row(record) for record in _latest(sums)],
        ended_remark=f"The {MAX_ENDED} jobs that ended last."
        if len(sums.ended) >= MAX_ENDED
        else "",
    )


# -- sums ----------------------------------------------------------------------------------------
def _total(sums: UsageSums) -> Sums:
    total = Sums()
    for day in sums.days.values():
        for folder in day.folders.values():
            total.merge(folder)
    return total


def _by_folder(sums: UsageSums) -> list[tuple[str, Sums]]:
    """Return the totals of each folder, highest cost first."""
    folders: dict[str, Sums] = {}
    for day in sums.days.values():
        for name, one in day.folders.items():
            folders.setdefault(name, Sums()).merge(one)
    return sorted(folders.items(), key=lambda item: (-item[1].usd, -item[1].requests, item[0]))


def _figures(total: Sums, running_total: int) -> list[Tile]:
    return [
        Tile("Running", wording.whole(running_total), "jobs now"),
        Tile(
            "Ended",
            wording.whole(total.jobs),
            f"in {DAYS} days, {wording.whole(total.unsuccessful)} not succeeded",
        ),
        Tile(
            "Requests",
            wording.short(total.requests),
            f"{wording.percent(total.succeeded, total.requests)} answered",
        ),
        Tile("Spent", wording.money(total.usd), f"in {DAYS} days"),
    ]


# -- running jobs --------------------------------------------------------------------------------
def _running_row(job: RunningJob, as_of: datetime) -> RunningRow:
    folder, name = _shown_path(job.request.key)
    report = job.report
    seconds = max((as_of - parse_timestamp(job.request.started_at)).total_seconds(), 0)
    done, total = 0, 0
    if report is not None:
        done, total = report["progress"]["completed"], report["progress"]["total"]
    return RunningRow(
        folder=folder,
        name=name,
        done=done,
        total=total,
        share=wording.percent(done, total) if total else "",
        progress=f"{wording.whole(done)} of {wording.whole(total)}" if total else _stage(report),
        since=wording.duration(seconds),
        left=_left(job, as_of),
        code=_code(report["errors"][0]["code"])
        if report is not None and _concerns_job(report["errors"])
        else "",
    )


def _stage(report: Mapping[str, Any] | None) -> str:
    return "starting" if report is None else "being checked"


def _concerns_job(errors: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the first error concerns the whole job."""
    return bool(errors) and errors[0]["line"] is None and errors[0]["custom_id"] is None


def _left(job: RunningJob, as_of: datetime) -> str:
    if job.report is None or job.written_at is None:
        return ""
    pace = mean_pace(job.report, job.written_at)
    left = pace.seconds_left_after((as_of - job.written_at).total_seconds()) if pace else None
    return f"about {wording.duration(left)}" if left is not None else ""


def _running_remark(shown: int, total: int) -> str:
    if total <= shown:
        return ""
    return f"The {wording.whole(shown)} longest-running jobs of {wording.whole(total)}."


# -- cost ----------------------------------------------------------------------------------------
def _chart(sums: UsageSums, chosen: Sequence[str], total: Sums, as_of: datetime) -> str:
    if total.usd <= 0:
        return ""
    dates = [as_of.astimezone(UTC) - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    amounts = [_amounts(sums, f"{date:%Y-%m-%d}", chosen) for date in dates]
    highest = max(sum(parts) for parts in amounts)
    if highest <= 0:
        return ""
    stacks = [
        charts.Stack(
            parts=[
                charts.Part(_part_style(place, len(chosen)), usd / highest)
                for place, usd in enumerate(parts)
                if usd > 0
            ],
            title=f"{date.day} {date:%b}: {wording.money(sum(parts))}",
        )
        for date, parts in zip(dates, amounts, strict=True)
    ]
    marks = [
        charts.Mark((place + 0.5) / DAYS, f"{date.day} {date:%b}")
        for place, date in enumerate(dates)
        if (DAYS - 1 - place) % _MARK_EVERY == 0
    ]
    return charts.stacked_columns(
        stacks,
        marks,
        most=wording.money(highest),
        title=f"Spend of each of the last {DAYS} days by folder, {wording.money(total.usd)} in all",
    )


def _amounts(sums: UsageSums, day: str, chosen: Sequence[str]) -> list[float]:
    """Return a day's cost of each chosen folder, and of all others together."""
    found = sums.days.get(day)
    if found is None:
        return [0.0]
    parts = [found.folders[name].usd if name in found.folders else 0.0 for name in chosen]
    rest = sum(one.usd for name, one in found.folders.items() if name not in chosen)
    return [*parts, rest]


def _part_style(place: int, chosen: int) -> str:
    return f"s{place}" if place < chosen else "rest"


def _folder_rows(by_folder: Sequence[tuple[str, Sums]], chosen: Sequence[str]) -> list[FolderRow]:
    rows = [
        _folder_row(
            _fitting(name, whole=False) if name else "(top)",
            one,
            _part_style(chosen.index(name) if name in chosen else len(chosen), len(chosen)),
        )
        for name, one in by_folder[:_MAX_FOLDERS]
    ]
    others = by_folder[_MAX_FOLDERS:]
    if others:
        rest = Sums()
        for _, one in others:
            rest.merge(one)
        rows.append(_folder_row(f"{wording.whole(len(others))} others", rest, "rest"))
    return rows


def _folder_row(name: str, one: Sums, style: str) -> FolderRow:
    return FolderRow(
        style=style,
        folder=name,
        jobs=wording.whole(one.jobs),
        unsuccessful=wording.whole(one.unsuccessful) if one.unsuccessful else "",
        requests=wording.whole(one.requests),
        tokens=wording.short(one.prompt_tokens + one.completion_tokens),
        cost=wording.money(one.usd),
    )


def _spend_remark(total: Sums, unreadable: int, *, is_whole: bool) -> str:
    parts = []
    if not total.jobs:
        parts.append(f"No job has ended in the last {DAYS} days.")
    if total.without_cost:
        parts.append(f"The cost of {_jobs(total.without_cost)} is unknown and not in the sums.")
    if not is_whole:
        parts.append("Not all jobs are counted yet; the next page counts more.")
    if unreadable:
        parts.append(f"{wording.whole(unreadable)} usage records cannot be read.")
    parts.append(
        "Jobs that ended under version 1 of the stack have no usage record and are not shown."
    )
    return " ".join(parts)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{wording.whole(count)} jobs"


# -- ended jobs ----------------------------------------------------------------------------------
def _latest(sums: UsageSums) -> list[UsageRecord]:
    ordered = sorted(sums.ended, key=lambda one: (one.finished_at, one.job_id), reverse=True)
    return ordered[:MAX_ENDED]


def _ended_row(record: UsageRecord) -> EndedRow:
    folder, name = _shown_path(record.key)
    finished = parse_timestamp(record.finished_at)
    seconds = (finished - parse_timestamp(record.started_at)).total_seconds()
    unanswered = record.failed + record.invalid
    return EndedRow(
        folder=folder,
        name=name,
        style=STYLES.get(record.status, "bad"),
        status=wording.text(record.status, most=20),
        ended=f"{finished.day} {finished:%b %H:%M}",
        took=wording.duration(max(seconds, 0)),
        requests=wording.whole(record.requests),
        unanswered=wording.whole(unanswered) if unanswered else "",
        cost=wording.money(record.actual_usd),
        code=_code(record.error_code) if record.error_code else "",
    )


def _code(code: str) -> str:
    return wording.text(code, most=_CODE_CHARACTERS)


def _shown_path(key: str) -> tuple[str, str]:
    """Return folder and name of a file, truncated so that a page of many jobs stays small."""
    path = _fitting(object_keys.input_path(key), whole=True)
    folder, slash, name = path.rpartition("/")
    return folder + slash, name


def _fitting(text: str, *, whole: bool) -> str:
    """Truncate a text to fit into a row of the page, in its middle or at its end."""
    most = _NAME_CHARACTERS
    while True:
        shown = wording.shortened_path(text, most=most) if whole else wording.text(text, most=most)
        if len(html.escape(shown).encode("utf-8", "replace")) <= _NAME_BYTES:
            return shown
        most = most * 3 // 4
