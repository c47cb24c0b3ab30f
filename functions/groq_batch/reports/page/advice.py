"""Say on a job's page how the job stands, what to do next, and by which commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.times import parse_timestamp
from groq_batch.reports.page import wording
from groq_batch.reports.page.data import PageData

_REASON_CHARACTERS = 600


class Command(msgspec.Struct, frozen=True):
    """A command to copy, and its purpose."""

    label: str
    text: str


def times_of(report: Mapping[str, Any], as_of: datetime) -> str:
    """Return when the job started, and how long it has run or took."""
    timing = report["timing"]
    started = parse_timestamp(timing["started_at"])
    if timing["finished_at"] is None:
        running = max((as_of - started).total_seconds(), 0)
        return (
            f"Started {wording.moment(started)} · as of {wording.moment(as_of)}, "
            f"after {wording.duration(running)}"
        )
    return f"Started {wording.moment(started)} · took {wording.duration(timing['seconds'] or 0)}"


def advice_of(report: Mapping[str, Any]) -> str:
    """Return the recommended next action, in a sentence or two."""
    requests, progress = report["requests"], report["progress"]
    status, outputs = report["status"], report["outputs"]
    failed, invalid = requests["failed"], requests["invalid"]
    if status == RUNNING:
        if reason_of(report) is not None:
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
        if reason_of(report) is not None:
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


def reason_of(report: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return code and message of the error that concerns the whole job."""
    if report["status"] in ("succeeded", "rejected") or not report["errors"]:
        return None
    first = report["errors"][0]
    if first["line"] is not None or first["custom_id"] is not None:
        return None
    return (
        wording.text(first["code"], most=wording.NAME_CHARACTERS),
        wording.text(first["message"] or "", most=_REASON_CHARACTERS),
    )


def canary_of(report: Mapping[str, Any], page_data: PageData) -> str:
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


def ordinary_calls_of(report: Mapping[str, Any]) -> str:
    """Return the result of ordinary calls after a deadline; empty if none was made."""
    calls = report.get("on_demand")
    if not calls or not calls["requests"]:
        return ""
    requests, answered = wording.whole(calls["requests"]), wording.whole(calls["succeeded"])
    cost = "The cost of the answers is not known."
    if calls["cost_usd"] is not None:
        cost = f"The answers cost {wording.money(calls['cost_usd'])}, at the on-demand price."
    return f"{requests} requests were sent as ordinary calls; {answered} have an answer. {cost}"


def commands_of(report: Mapping[str, Any]) -> list[Command]:
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
    reason = reason_of(report)
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
    return shlex.quote(wording.text(word, most=wording.KEY_CHARACTERS))
