"""Build the view of a report page: every number, text and drawing, ready for the template.

User-supplied texts are truncated here and escaped by the template. Drawings are made of numbers,
and of texts that ``charts`` escapes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.answer_stats import (
    MAX_EXAMPLES,
    AnswerStats,
    FailureGroup,
    Failures,
    Histogram,
)
from groq_batch.domain.cost import JobUsage, ModelUsage, actual_cost_usd
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.pace import mean_pace
from groq_batch.domain.prices import FROM_GROQ, Prices, on_demand_usd
from groq_batch.domain.reported_usage import ReportedUsage
from groq_batch.domain.times import parse_timestamp
from groq_batch.reports.page import charts, wording
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.histograms import draw_histogram
from groq_batch.reports.page.timeline import BATCH_STYLES, Timeline, draw_timeline

_RELOAD_SECONDS = 60
"""Seconds after which the page of a running job reloads."""
_MAX_GROUPS = 30
_MAX_MODELS = 12
_MAX_BATCHES = 200
_KEY_CHARACTERS = 1100
_NAME_CHARACTERS = 120
_MESSAGE_CHARACTERS = 300
_REASON_CHARACTERS = 600
_TITLE_CHARACTERS = 90
_UNANSWERED = ("bad", "without an answer")
_STATUS_WORDS = {
    RUNNING: "Running",
    "succeeded": "Succeeded",
    "partial": "Partial",
    "rejected": "Rejected",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A highlighted number, its label, and a remark below it."""

    label: str
    value: str
    remark: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A part of the requests: its style, its name, its number, and its share."""

    style: str
    label: str
    count: str
    share: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a list: its label, its value, and the drawing."""

    label: str
    value: str
    remark: str
    drawing: str


@dataclass(frozen=True, slots=True)
class ErrorExample:
    """Location of an error, and its message if the examples differ; either may be empty."""

    line: str
    custom_id: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """The errors of one code.

    Attributes:
        code: The code.
        count: Number of errors.
        message: Their message, if all examples have the same.
        examples: The first errors.
        has_more: Whether there are more errors.
        drawing: A bar for their share.
    """

    code: str
    count: str
    message: str
    examples: Sequence[ErrorExample]
    has_more: bool
    drawing: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """Distribution of a quantity over the answers."""

    label: str
    drawing: str
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """Usage and cost of one model."""

    model: str
    prompt: str
    completion: str
    batch: str
    on_demand: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch of the job."""

    id: str
    place: str
    style: str
    status: str
    requests: str
    succeeded: str
    took: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command to copy, and its purpose."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class View:
    """All values that the template shows, in the order of the template."""

    title: str
    path: str
    folder: str
    status: str
    status_word: str
    times: str
    advice: str
    reason: tuple[str, str] | None
    commands: Sequence[Command]
    reload_seconds: int | None
    canary: str
    on_demand: str
    figures: Sequence[Figure]
    outcomes: Sequence[Outcome]
    outcome_bar: str
    timeline: Timeline | None
    distributions: Sequence[Distribution]
    finish_reasons: Sequence[Bar]
    error_groups: Sequence[ErrorGroup]
    errors_remark: str
    cost_bars: Sequence[Bar]
    cost_remark: str
    models: Sequence[ModelRow]
    batches: Sequence[BatchRow]
    batches_remark: str
    details: Sequence[tuple[str, str]]
    json_address: str


def view_of(
    report: Mapping[str, Any], page_data: PageData, *, report_key: str, as_of: datetime
) -> View:
    """Build the view of a report page.

    Args:
        report: The stored report.
        page_data: Data that the report does not contain.
        report_key: Key of the report.
        as_of: When the page is made; a running job is described as of then.
    """
    status = str(report["status"])
    source = report["input"]
    key = str(source["key"])
    folder, _, name = object_keys.input_path(key).rpartition("/")
    groups = _error_groups(report, page_data)
    return View(
        title=f"{_STATUS_WORDS.get(status, status)}: {wording.shortened_path(name, most=60)}",
        path=wording.shortened_path(name, most=_TITLE_CHARACTERS),
        folder=wording.shortened_path(folder, most=_TITLE_CHARACTERS),
        status=status if status in _STATUS_WORDS else "failed",
        status_word=_STATUS_WORDS.get(status, wording.text(status, most=20)),
        times=_times(report, as_of),
        advice=_advice(report),
        reason=_reason(report),
        commands=_commands(report),
        reload_seconds=_RELOAD_SECONDS if status == RUNNING else None,
        canary=_canary(report, page_data),
        on_demand=_on_demand(report),
        figures=_figures(report, as_of),
        outcomes=_outcomes(report),
        outcome_bar=_outcome_bar(report),
        timeline=draw_timeline(report, as_of=as_of),
        distributions=_distributions(page_data.stats),
        finish_reasons=_finish_reasons(page_data.stats),
        error_groups=groups[:_MAX_GROUPS],
        errors_remark=_errors_remark(report, page_data),
        cost_bars=_cost_bars(report),
        cost_remark=_cost_remark(report),
        models=_models(page_data),
        batches=[_batch_row(batch) for batch in report["batches"][:_MAX_BATCHES]],
        batches_remark=_batches_remark(report["batches"]),
        details=_details(report, page_data),
        json_address=wording.text(f"s3://{source['bucket']}/{report_key}", most=_KEY_CHARACTERS),
    )


# -- the top of the page -------------------------------------------------------------------------
def _times(report: Mapping[str, Any], as_of: datetime) -> str:
    timing = report["timing"]
    started = parse_timestamp(timing["started_at"])
    if timing["finished_at"] is None:
        running = max((as_of - started).total_seconds(), 0)
        return (
            f"Started {wording.moment(started)} · as of {wording.moment(as_of)}, "
            f"after {wording.duration(running)}"
        )
    return f"Started {wording.moment(started)} · took {wording.duration(timing['seconds'] or 0)}"


def _advice(report: Mapping[str, Any]) -> str:
    """Return the recommended next action, in a sentence or two."""
    requests, progress = report["requests"], report["progress"]
    status, outputs = report["status"], report["outputs"]
    failed, invalid = requests["failed"], requests["invalid"]
    if status == RUNNING:
        if _reason(report) is not None:
            return "The job continues by itself when the cause below is resolved; nothing is lost."
        if not progress["total"]:
            return "The input is being checked. Nothing has been sent yet."
        return "Nothing to do: the results arrive by themselves. A newer page replaces this one."
    if status == "succeeded":
        return f"Every request was answered.{_form_remark(requests)} Fetch the results."
    if status == "partial":
        rest = [f"{wording.whole(failed)} got no answer"] if failed else []
        rest += [f"{wording.whole(invalid)} could not be sent"] if invalid else []
        answered = f"{wording.whole(requests['succeeded'])} of {wording.whole(requests['total'])}"
        end = "Fetch the results, see the errors below, and run the rest again."
        if _reason(report) is not None:
            end = "The cause and what to do are below."
        remark = _form_remark(requests)
        return f"{answered} requests were answered; {' and '.join(rest)}.{remark} {end}"
    if status == "rejected":
        return "Nothing was sent, nothing was paid. Correct the problems below and upload it again."
    has_answers = outputs["results"] and requests["succeeded"]
    kept = " The answers received so far are in the results." if has_answers else ""
    if status == "cancelled":
        return f"The job was stopped.{kept}"
    return f"The job could not be finished; the cause and what to do are below.{kept}"


def _form_remark(counts: Mapping[str, Any]) -> str:
    """Return how many answers are not the requested JSON, if the job has checked that."""
    invalid = counts.get("invalid_output", 0)
    unchecked = counts.get("unchecked_output", 0)
    remark = ""
    if invalid:
        remark = f" {wording.whole(invalid)} of the answers are not the requested JSON."
    if unchecked:
        remark += (
            f" {wording.whole(unchecked)} could not be checked against their schema and count as "
            f"valid."
        )
    return remark


def _reason(report: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return code and message of the error that concerns the whole job."""
    if report["status"] in ("succeeded", "rejected") or not report["errors"]:
        return None
    first = report["errors"][0]
    if first["line"] is not None or first["custom_id"] is not None:
        return None
    return (
        wording.text(first["code"], most=_NAME_CHARACTERS),
        wording.text(first["message"] or "", most=_REASON_CHARACTERS),
    )


def _canary(report: Mapping[str, Any], page_data: PageData) -> str:
    """Return the result of the canary; empty without one."""
    canary = report.get("canary")
    if canary is None:
        return ""
    good = report["progress"]["total"]
    rest = wording.whole(max(good - canary["requests"], 0))
    said = [f"The first {wording.whole(canary['requests'])} requests were sent alone."]
    if canary["passed"] is None:
        end = f"The other {rest} follow if they do well."
        if report["status"] != RUNNING:
            end = f"The job ended before the other {rest} followed."
        return f"{said[0]} {end}"
    ended = "were sent then" if canary["passed"] else "were not sent"
    said.append(f"{wording.whole(canary['failed'])} failed for good; the other {rest} {ended}.")
    verdict = page_data.job.verdict if page_data.job is not None else None
    if verdict is not None and verdict.cost_usd is not None:
        said.append(f"Their answers cost {wording.money(verdict.cost_usd)}.")
    if canary["projected_cost_usd"] is not None:
        cost = wording.money(canary["projected_cost_usd"])
        said.append(f"At that rate all {wording.whole(good)} cost {cost}.")
    if verdict is not None and verdict.milliseconds is not None:
        took = wording.milliseconds(verdict.milliseconds)
        said.append(f"Half of the answered requests took {took} at most.")
    return " ".join(said)


def _on_demand(report: Mapping[str, Any]) -> str:
    """Return the result of ordinary calls after a deadline; empty if none was made."""
    calls = report.get("on_demand")
    if not calls or not calls["requests"]:
        return ""
    requests, answered = wording.whole(calls["requests"]), wording.whole(calls["succeeded"])
    cost = "The cost of the answers is not known."
    if calls["cost_usd"] is not None:
        cost = f"The answers cost {wording.money(calls['cost_usd'])}, at the on-demand price."
    return f"{requests} requests were sent as ordinary calls; {answered} have an answer. {cost}"


def _commands(report: Mapping[str, Any]) -> list[Command]:
    """Return the commands that are useful for the job's status."""
    outputs, key = report["outputs"], str(report["input"]["key"])
    ending = object_keys.GZIP_ENDING if object_keys.is_gzip(key) else object_keys.PLAIN_ENDING
    stem = key.removesuffix(ending).rsplit("/", 1)[-1]
    # With separate names: the user's request file may be in the same folder.
    commands = [
        Command(label, f"aws s3 cp {_quoted(outputs[kind])} {_quoted(f'{stem}.{kind}{ending}')}")
        for label, kind in (
            ("Fetch the results", "results"),
            ("Fetch the list of invalid lines", "invalid"),
        )
        if outputs[kind]
    ]
    reason = _reason(report)
    # Invalid lines, and requests like those of a failed canary, have to be corrected first.
    can_retry = report["requests"]["failed"] and (
        reason is None or reason[0] != ErrorCode.CANARY_FAILED
    )
    if outputs["failed"] and key.startswith(object_keys.INPUT_PREFIX) and can_retry:
        is_aside = (
            outputs["failed"]
            .removeprefix(f"s3://{report['input']['bucket']}/")
            .startswith(f"{object_keys.FAILED_PREFIX}superseded/")
        )
        path = object_keys.input_path(key)
        # A name that begins like an option would be parsed as one.
        job = report["job_id"] if is_aside or path.startswith("-") else path
        commands.append(
            Command(
                "Retry the requests without an answer, and merge the new answers into the results",
                f"groq-batch retry {_quoted(job)}",
            )
        )
    return commands


def _quoted(word: str) -> str:
    return shlex.quote(wording.text(word, most=_KEY_CHARACTERS))


def _figures(report: Mapping[str, Any], as_of: datetime) -> list[Figure]:
    requests, progress, usage = report["requests"], report["progress"], ReportedUsage.of(report)
    is_running = report["status"] == RUNNING
    done = progress["completed"] if is_running else requests["succeeded"]
    of = progress["total"] if is_running else requests["total"]
    figures = [
        Figure(
            "Requests",
            wording.whole(requests["total"]),
            f"{wording.size(report['input']['bytes'])} of input",
        ),
        Figure(
            "Done" if is_running else "Answered",
            wording.percent(done, of),
            f"{wording.whole(done)} of {wording.whole(of)}",
        ),
    ]
    pace = mean_pace(report, as_of)
    if pace is not None:
        left = wording.duration(pace[1])
        figures.append(Figure("Time left", f"~{left}", f"{_rate(pace[0])} so far"))
    if usage.total_tokens:
        figures.append(
            Figure(
                "Tokens",
                wording.short(usage.total_tokens),
                f"{wording.short(usage.prompt_tokens)} in, "
                f"{wording.short(usage.completion_tokens)} out",
            )
        )
    if usage.actual_usd is not None and not is_running and requests["succeeded"]:
        figures.append(
            Figure(
                "Cost",
                wording.money(usage.actual_usd),
                f"{wording.money(usage.all_on_demand_usd)} on demand",
            )
        )
    else:
        figures.append(
            Figure("Estimated cost", wording.money(usage.estimated_usd), "before sending")
        )
    return figures


def _rate(rate: float) -> str:
    """Format the rate of completed requests, per second or per minute."""
    return (
        f"{wording.short(rate)} a second" if rate >= 1 else f"{wording.short(60 * rate)} a minute"
    )


def _parts(report: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return style, name and number of each part of the requests."""
    requests, progress = report["requests"], report["progress"]
    if report["status"] == RUNNING:
        waiting = max(progress["total"] - progress["completed"], 0)
        parts = [
            ("running", "done", progress["completed"]),
            ("waiting", "under way", waiting),
            ("invalid", "invalid", requests["invalid"]),
        ]
    else:
        # Valid lines of a rejected file have not failed; they were not sent.
        unanswered = ("idle", "not sent") if report["status"] == "rejected" else _UNANSWERED
        parts = [
            ("good", "answered", requests["succeeded"]),
            (*unanswered, requests["failed"]),
            ("invalid", "invalid", requests["invalid"]),
        ]
    return [part for part in parts if part[2]]


def _outcomes(report: Mapping[str, Any]) -> list[Outcome]:
    parts = _parts(report)
    total = sum(count for _, _, count in parts)
    return [
        Outcome(style, name, wording.whole(count), wording.percent(count, total))
        for style, name, count in parts
    ]


def _outcome_bar(report: Mapping[str, Any]) -> str:
    parts = _parts(report)
    total = sum(count for _, _, count in parts)
    if not total:
        return ""
    title = ", ".join(f"{wording.whole(count)} {name}" for _, name, count in parts)
    return charts.stacked_bar(
        [charts.Part(style, count / total) for style, _, count in parts], title=title
    )


# -- distributions -------------------------------------------------------------------------------
def _distributions(stats: AnswerStats | None) -> list[Distribution]:
    if stats is None:
        return []
    wanted = (
        ("Prompt tokens", stats.prompt_tokens, wording.short),
        ("Completion tokens", stats.completion_tokens, wording.short),
        ("Time of the model", stats.milliseconds, wording.milliseconds),
    )
    return [
        Distribution(label, draw_histogram(histogram, label, write), _quantiles(histogram, write))
        for label, histogram, write in wanted
        if histogram.count
    ]


def _quantiles(histogram: Histogram, write: Any) -> list[tuple[str, str]]:
    values = (
        ("mean", histogram.mean),
        ("median", histogram.quantile(0.5)),
        ("90 %", histogram.quantile(0.9)),
        ("99 %", histogram.quantile(0.99)),
        ("most", histogram.most),
    )
    return [(label, write(round(value))) for label, value in values if value is not None]


def _finish_reasons(stats: AnswerStats | None) -> list[Bar]:
    if stats is None:
        return []
    total = sum(stats.finish_reasons.values())
    return [
        Bar(
            label=wording.text(name, most=_NAME_CHARACTERS),
            value=wording.whole(count),
            remark=wording.percent(count, total),
            drawing=charts.single_bar(count / total, "accent"),
        )
        for name, count in sorted(stats.finish_reasons.items(), key=lambda item: -item[1])
    ]


# -- errors --------------------------------------------------------------------------------------
def _row_errors(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the listed errors that concern lines instead of the job."""
    errors: list[Mapping[str, Any]] = list(report["errors"])
    return errors[1:] if _reason(report) is not None else errors


def _error_groups(report: Mapping[str, Any], page_data: PageData) -> list[ErrorGroup]:
    listed = _row_errors(report)
    groups = Failures()
    if page_data.failures is not None:
        groups.merge(page_data.failures)
        problems = page_data.job.problems if page_data.job is not None else ()
        for problem in problems:
            groups.add(problem.code, problem.line, problem.message)
    else:
        for error in listed:
            groups.add(error["code"], error["line"], error["message"])
    largest = max((group.count for group in groups.values()), default=0)
    ordered = sorted(groups.items(), key=lambda item: -item[1].count)
    return [_error_group(code, group, largest, listed) for code, group in ordered]


def _error_group(
    code: str, group: FailureGroup, largest: int, listed: Iterable[Mapping[str, Any]]
) -> ErrorGroup:
    shown = [
        error
        for error in listed
        if (error["code"] or "unknown") == code
        and (error["line"] is not None or error["custom_id"])
    ][:MAX_EXAMPLES]
    differ = len({error["message"] for error in shown}) > 1
    examples = [
        ErrorExample(
            _line(error["line"]),
            wording.text(error["custom_id"] or "", most=_NAME_CHARACTERS),
            wording.text((error["message"] or "") if differ else "", most=_MESSAGE_CHARACTERS),
        )
        for error in shown
    ]
    examples = examples or [ErrorExample(_line(line), "", "") for line in group.lines]
    message = "" if differ else (group.message or "")
    return ErrorGroup(
        code=wording.text(code, most=_NAME_CHARACTERS),
        count=wording.whole(group.count),
        message=wording.text(message, most=_MESSAGE_CHARACTERS),
        examples=examples,
        has_more=group.count > len(examples) > 0,
        drawing=charts.single_bar(group.count / largest, "bad"),
    )


def _line(number: int | None) -> str:
    return f"line {wording.whole(number)}" if number is not None else ""


def _errors_remark(report: Mapping[str, Any], page_data: PageData) -> str:
    total = report["errors_total"]
    if page_data.failures is not None:
        job = page_data.job
        if job is None or job.problems_total <= len(job.problems):
            return ""
        return (
            f"The first {wording.whole(len(job.problems))} of "
            f"{wording.whole(job.problems_total)} invalid lines are counted here; the list of "
            f"invalid lines has all."
        )
    if total <= len(report["errors"]):
        return ""
    return f"The first {len(report['errors'])} of {wording.whole(total)} are counted here."


# -- cost ----------------------------------------------------------------------------------------
def _cost_bars(report: Mapping[str, Any]) -> list[Bar]:
    usage = ReportedUsage.of(report)
    is_final = report["status"] != RUNNING
    amounts: list[tuple[str, float | None, str, str]] = []
    on_demand = None if usage.estimated_usd is None else on_demand_usd(usage.estimated_usd)
    if is_final and usage.actual_usd is not None and report["requests"]["succeeded"]:
        amounts.append(("Cost", usage.actual_usd, "accent", "from the tokens of the answers"))
        on_demand = usage.all_on_demand_usd
    amounts.append(("Estimate", usage.estimated_usd, "faint", "before sending"))
    if on_demand is not None:
        amounts.append(("On demand", on_demand, "faint", "the same requests"))
    largest = max((amount for _, amount, _, _ in amounts if amount is not None), default=0)
    return [
        Bar(
            label=label,
            value=wording.money(amount),
            remark=remark,
            drawing=charts.single_bar(amount / largest, style) if amount and largest else "",
        )
        for label, amount, style, remark in amounts
    ]


def _cost_remark(report: Mapping[str, Any]) -> str:
    usage, dated = ReportedUsage.of(report), _dated(report)
    if report["status"] == RUNNING or not report["requests"]["succeeded"]:
        if usage.estimated_usd is None:
            return (
                "The price of a model, or the length of the audio, is not known, so there is no "
                "estimate."
            )
        return (
            f"The estimate counts one token for every four bytes of a request, plus the token "
            f"limits that requests set for their answers. {dated}"
        )
    if usage.actual_usd is None or usage.all_on_demand_usd is None:
        return (
            "The cost is not known, because the price of a model or the usage of an answer is not "
            "known."
        )
    saved = max(usage.all_on_demand_usd - usage.actual_usd, 0.0)
    return f"The batch price saved {wording.money(saved)} compared to on-demand calls. {dated}"


def _dated(report: Mapping[str, Any]) -> str:
    """Return which prices the report's amounts are based on."""
    prices = report.get("prices")
    if prices is None:
        return ""
    source = "Groq's list" if prices["source"] == FROM_GROQ else "the table"
    return f"Prices of {source}, {prices['date']}."


def _models(page_data: PageData) -> list[ModelRow]:
    prices = page_data.job.prices if page_data.job is not None else None
    usage, total = page_data.usage, page_data.usage.total
    models = sorted(total, key=lambda model: -_amount_of_work(total[model]))
    shown, rest = models[:_MAX_MODELS], models[_MAX_MODELS:]
    rows = [_model_row(model or "not named", usage.of([model]), prices) for model in shown]
    if rest:
        rows.append(_model_row(f"{wording.whole(len(rest))} others", usage.of(rest), prices))
    if len(models) > 1:
        rows.append(_model_row("All", usage, prices))
    return rows


def _amount_of_work(used: ModelUsage) -> float:
    return used.prompt_tokens + used.completion_tokens + used.billed_seconds


def _model_row(label: str, usage: JobUsage, prices: Prices | None) -> ModelRow:
    total = usage.total
    all_in_batches = actual_cost_usd(total, prices)
    prompt = wording.whole(sum(used.prompt_tokens for used in total.values()))
    seconds = sum(used.billed_seconds for used in total.values())
    if seconds:
        audio = f"{wording.duration(seconds)} of audio"
        prompt = audio if prompt == "0" else f"{prompt} and {audio}"
    return ModelRow(
        model=wording.text(label, most=_NAME_CHARACTERS),
        prompt=prompt,
        completion=wording.whole(sum(used.completion_tokens for used in total.values())),
        batch=wording.money(usage.cost_usd(prices)),
        on_demand=wording.money(None if all_in_batches is None else on_demand_usd(all_in_batches)),
    )


# -- batches and details -------------------------------------------------------------------------
def _batch_row(batch: Mapping[str, Any]) -> BatchRow:
    created, ended = batch["created_at"], batch["ended_at"]
    took = ""
    if created is not None and ended is not None:
        seconds = (parse_timestamp(ended) - parse_timestamp(created)).total_seconds()
        took = wording.duration(max(seconds, 0))
    return BatchRow(
        id=wording.text(batch["id"], most=_NAME_CHARACTERS),
        place=f"{batch['attempt']} · {batch['shard']}",
        style=BATCH_STYLES.get(batch["status"], "running"),
        status=wording.text(batch["status"], most=40),
        requests=wording.whole(batch["requests"]),
        succeeded=wording.whole(batch["succeeded"]),
        took=took,
    )


def _batches_remark(batches: Sequence[Any]) -> str:
    if len(batches) <= _MAX_BATCHES:
        return ""
    return (
        f"The first {_MAX_BATCHES} of {wording.whole(len(batches))} batches; the JSON report lists "
        f"all."
    )


def _asked_for(options: JobOptions) -> Iterator[tuple[str, str]]:
    """Yield the options that are set only for some jobs."""
    if options.canary_requests:
        requests = wording.whole(options.canary_requests)
        percent = options.canary_max_failed_percent
        yield "Canary", f"{requests} requests, of which {percent} % may fail for good"
    if options.batch_deadline:
        most_usd = wording.money(options.deadline_max_usd)
        yield "Deadline", f"{options.batch_deadline}, then ordinary calls for at most {most_usd}"
    if options.retry_invalid_output:
        yield "Answers that are not the requested JSON", "sent again"


def _details(report: Mapping[str, Any], page_data: PageData) -> list[tuple[str, str]]:
    source = report["input"]
    details = [
        ("Job", report["job_id"]),
        ("Input", f"s3://{source['bucket']}/{source['key']}"),
        ("Version", source["version_id"] or "none"),
        ("Lines", wording.whole(source["lines"])),
    ]
    for label, name in (("Results", "results"), ("Without an answer", "failed")):
        if report["outputs"][name]:
            details.append((label, report["outputs"][name]))
    if report["outputs"]["invalid"]:
        details.append(("Invalid lines", report["outputs"]["invalid"]))
    if page_data.job is not None:
        options = page_data.job.options
        details += [
            ("Completion window", options.completion_window),
            ("Attempts at most", wording.whole(options.max_attempts)),
            ("On an invalid line", "skip it" if options.skip_invalid_lines else "reject the file"),
            ("Models", "those of the account's list" if options.check_models else "any"),
            (
                "Cost cap",
                wording.money(options.max_job_cost_usd) if options.max_job_cost_usd else "none",
            ),
            *_asked_for(options),
        ]
    return [(label, wording.text(value, most=_KEY_CHARACTERS)) for label, value in details]
