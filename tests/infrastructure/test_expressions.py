"""Every expression of the state machine, evaluated on what the steps really answer.

On AWS an expression that comes to nothing fails its state, and in a Choice or a Wait there is no
catching it. So every expression is tried with all that a state can be given, and with the least.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from jsonata import Jsonata

from groq_batch.steps.cancel_job.close import CollectPlan
from groq_batch.steps.check_status.decision import Decision
from groq_batch.steps.outcomes import SETTLED, FinishOutcome, StepOutcome
from groq_batch.steps.prepare_input.prepare import Preparation
from groq_batch.steps.read_models import ModelsOutcome
from local.asl import states_of
from tests.infrastructure.stack import machine
from tests.samples import job_request

JOB = "requests-9d8a5b8dd38bc0d2965e"
SHARDS = f"work/{JOB}/shards/attempt-1/"

BEGUN = job_request(JOB).execution_input()
READ = ModelsOutcome(outcome="done", asked=1)
PREPARED = Preparation(accepted=True, attempt=1, shards_prefix=SHARDS)
PLAN = CollectPlan(
    mode="collect",
    job_id=JOB,
    bucket="bucket",
    accepted=True,
    attempt=1,
    shards_prefix=SHARDS,
)
DECISION = Decision(
    decision="wait", attempt=1, shards_prefix=SHARDS, wait_seconds=7, polls=3, resume_in=0
)
DIVIDED = {**BEGUN, **replace(PREPARED, accepted=False, tasks_prefix="work/x/").to_json()}
TASK = {"job_id": JOB, "task_key": f"work/{JOB}/ranges/scan/tasks/00001.json"}
CHILD = {"job_id": JOB, "shard_key": f"{SHARDS}00001.jsonl", "tries": 0}
CAUGHT = {"caught": {"Error": "States.Timeout", "Cause": "…"}}

RUNNING = [{**BEGUN, **PREPARED.to_json()}, PLAN.to_json()]
"""What the parent's states hold once the job is prepared, of both kinds of execution."""

CHECKED = [{**state, **DECISION.to_json()} for state in RUNNING]

KEY = {"shard_key": f"{SHARDS}00001.jsonl"}

ONLY = [{**state, **KEY} for state in (*RUNNING, *CHECKED)]
"""Likewise, where there is one shard to send or to collect."""

DECISIONS = ("wait", "submit", "download", "answer", "finish", "closed")

STEPPED = [
    {**state, **StepOutcome(outcome=outcome).to_json()}
    for state in ONLY
    for outcome in ("settled", "wait", "deferred")
]
"""What stands behind a step for an only shard."""


@dataclass(frozen=True)
class Given:
    """What a state may be given, and what its task may answer."""

    inputs: list[dict[str, Any]]
    answers: list[dict[str, Any]]


STATES = {
    "ChooseMode": Given(
        [
            BEGUN,
            PLAN.to_json(),
            {**PLAN.to_json(), **KEY},
            {**BEGUN, **CAUGHT, **PLAN.to_json()},
        ],
        [],
    ),
    "ReadModels": Given(
        [BEGUN, {**BEGUN, **READ.to_json(), "outcome": "wait"}],
        [READ.to_json(), replace(READ, outcome="wait").to_json()],
    ),
    "AreModelsRead": Given(
        [{**BEGUN, **replace(READ, outcome=outcome).to_json()} for outcome in ("done", "wait")], []
    ),
    "WaitToReadModels": Given([{**BEGUN, **replace(READ, outcome="wait").to_json()}], []),
    "PrepareInput": Given([BEGUN, DIVIDED], [PREPARED.to_json()]),
    "IsAccepted": Given(
        [RUNNING[0], ONLY[0], DIVIDED, {**BEGUN, **replace(PREPARED, accepted=False).to_json()}],
        [],
    ),
    "PrepareRange": Given([TASK], [{}]),
    "RangePrepared": Given([TASK], []),
    "SubmitOnlyShard": Given(ONLY, [SETTLED.to_json()]),
    "DownloadOnlyShard": Given(ONLY, [SETTLED.to_json()]),
    "CheckStatus": Given(
        [*RUNNING, *CHECKED, *STEPPED, *({**one, **CAUGHT} for one in ONLY)], [DECISION.to_json()]
    ),
    "NextStep": Given(
        [{**state, "decision": decision} for state in (*CHECKED, *ONLY) for decision in DECISIONS],
        [],
    ),
    "WaitForBatches": Given([*CHECKED, *STEPPED, *({**one, **CAUGHT} for one in CHECKED)], []),
    "AnswerRequests": Given(CHECKED, [SETTLED.to_json()]),
    "AfterFailure": Given([{**BEGUN, **CAUGHT}, *({**one, **CAUGHT} for one in RUNNING)], []),
    "StopJob": Given([{**BEGUN, **CAUGHT}, {**RUNNING[0], **CAUGHT}], [PLAN.to_json()]),
    "FinishJob": Given(
        [*RUNNING, *CHECKED, {**CHECKED[0], **FinishOutcome(outcome="wait", tries=2).to_json()}],
        [FinishOutcome(outcome="done").to_json()],
    ),
    "IsTidy": Given(
        [
            {**one, **FinishOutcome(outcome=outcome).to_json()}
            for one in RUNNING
            for outcome in ("done", "wait")
        ],
        [],
    ),
    "WaitToTidyUp": Given([{**RUNNING[0], **FinishOutcome(outcome="wait").to_json()}], []),
    "JobDone": Given(CHECKED, []),
    "ExecutionFailed": Given([{**BEGUN, **CAUGHT}, {**PLAN.to_json(), **CAUGHT}], []),
    "SubmitBatch": Given([CHILD], [StepOutcome(outcome="settled").to_json()]),
    "IsSubmitted": Given(
        [
            {**CHILD, **StepOutcome(outcome=outcome).to_json()}
            for outcome in ("settled", "wait", "deferred")
        ],
        [],
    ),
    "WaitToSubmit": Given([{**CHILD, **StepOutcome(outcome="wait").to_json()}], []),
    "DownloadShard": Given([CHILD], [StepOutcome(outcome="settled").to_json()]),
    "IsDownloaded": Given(
        [{**CHILD, **StepOutcome(outcome=outcome).to_json()} for outcome in ("settled", "wait")],
        [],
    ),
    "WaitToDownload": Given([{**CHILD, **StepOutcome(outcome="wait").to_json()}], []),
    "LeaveSubmitToJob": Given([{**CHILD, **CAUGHT}], []),
    "LeaveDownloadToJob": Given([{**CHILD, **CAUGHT}], []),
    "ShardSubmitted": Given([CHILD], []),
    "ShardDownloaded": Given([CHILD], []),
}


def all_states(states: dict[str, Any] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every state of the machine, those of the Maps' children included."""
    for state in states_of({"States": states or machine()["States"]}):
        yield state.name, state.fields


def expressions(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the expressions of a state's own fields with their place."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name != "ItemProcessor":
                yield from expressions(part, f"{place}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from expressions(part, f"{place}[{number}]")
    elif isinstance(value, str) and value.startswith("{%"):
        yield place, value[2:-2].strip()


def evaluate(expression: str, states: dict[str, Any]) -> Any:
    """Return what an expression comes to; nothing is an error, as on AWS."""
    result = Jsonata(expression).evaluate({}, {"states": states})
    assert result is not None, f"{expression} comes to nothing"
    return result


def is_asked(place: str, state_input: dict[str, Any]) -> bool:
    """Tell whether an expression is evaluated at all: a condition only when those before fail."""
    condition = re.fullmatch(r"(\w+)\.Choices\[(\d+)\]\.Condition", place)
    if condition is None:
        return True
    before = dict(all_states())[condition[1]]["Choices"][: int(condition[2])]
    return not any(evaluate(one["Condition"][2:-2], {"input": state_input}) for one in before)


def evaluate_at(place: str, expression: str, given: Given) -> Iterator[Any]:
    """Evaluate an expression on everything that its state can be given."""
    for state_input in given.inputs:
        if not is_asked(place, state_input):
            continue
        if ".Catch[" in place:
            error = {"Error": "Lambda.Unknown", "Cause": "…"}
            yield evaluate(expression, {"input": state_input, "errorOutput": error})
        elif place.endswith(".Output") and given.answers:
            for answer in given.answers:
                result = {"Payload": answer, "StatusCode": 200}
                yield evaluate(expression, {"input": state_input, "result": result})
        else:
            yield evaluate(expression, {"input": state_input})


EXPRESSIONS = [
    (name, place, expression)
    for name, state in all_states()
    for place, expression in expressions(state, name)
]


def test_every_state_is_described_here():
    maps = {name for name, state in all_states() if state["Type"] == "Map"}
    assert set(STATES) | maps == {name for name, _ in all_states()}
    assert len(EXPRESSIONS) > 40


@pytest.mark.parametrize(
    ("name", "place", "expression"), EXPRESSIONS, ids=[place for _, place, _ in EXPRESSIONS]
)
def test_expression(name: str, place: str, expression: str):
    results = list(evaluate_at(place, expression, STATES[name]))
    assert results
    for result in results:
        if place.endswith(".Condition"):
            assert isinstance(result, bool)
        elif place.endswith(".Seconds"):
            # A Wait takes whole seconds and nothing else.
            assert isinstance(result, int)
            assert result >= 1
        elif place.endswith(".Output"):
            assert isinstance(result, dict)
            assert result["job_id"] == JOB


def chosen(name: str, state_input: dict[str, Any]) -> str:
    """Return where a Choice leads."""
    state = dict(all_states())[name]
    for rule in state["Choices"]:
        if evaluate(rule["Condition"][2:-2], {"input": state_input}):
            return str(rule["Next"])
    return str(state["Default"])


@pytest.mark.parametrize(
    ("name", "state_input", "following"),
    [
        ("ChooseMode", BEGUN, "ReadModels"),
        ("AreModelsRead", {**BEGUN, **READ.to_json()}, "PrepareInput"),
        ("AreModelsRead", {**BEGUN, **READ.to_json(), "outcome": "wait"}, "WaitToReadModels"),
        ("ChooseMode", PLAN.to_json(), "SubmitShards"),
        ("ChooseMode", replace(PLAN, accepted=False).to_json(), "FinishJob"),
        ("IsAccepted", DIVIDED, "PrepareRanges"),
        ("ChooseMode", {**PLAN.to_json(), **KEY}, "SubmitOnlyShard"),
        ("IsAccepted", RUNNING[0], "SubmitShards"),
        ("IsAccepted", ONLY[0], "SubmitOnlyShard"),
        ("IsAccepted", {**ONLY[0], "accepted": False}, "FinishJob"),
        ("IsAccepted", {**RUNNING[0], "accepted": False}, "FinishJob"),
        ("NextStep", {**CHECKED[0], "decision": "wait"}, "WaitForBatches"),
        ("NextStep", {**CHECKED[0], "decision": "submit"}, "SubmitShards"),
        ("NextStep", {**CHECKED[0], "decision": "download"}, "DownloadResults"),
        ("NextStep", {**CHECKED[0], **KEY, "decision": "submit"}, "SubmitOnlyShard"),
        ("NextStep", {**CHECKED[0], **KEY, "decision": "download"}, "DownloadOnlyShard"),
        ("NextStep", {**CHECKED[0], **KEY, "decision": "wait"}, "WaitForBatches"),
        ("NextStep", {**CHECKED[0], **KEY, "decision": "finish"}, "FinishJob"),
        ("NextStep", {**CHECKED[0], "decision": "finish"}, "FinishJob"),
        ("NextStep", {**CHECKED[0], "decision": "closed"}, "JobDone"),
        ("AfterFailure", {**BEGUN, **CAUGHT}, "StopJob"),
        ("AfterFailure", {**PLAN.to_json(), **CAUGHT}, "ExecutionFailed"),
        ("IsTidy", {**BEGUN, **FinishOutcome(outcome="done").to_json()}, "JobDone"),
        ("IsTidy", {**BEGUN, **FinishOutcome(outcome="wait").to_json()}, "WaitToTidyUp"),
        ("IsSubmitted", {**CHILD, "outcome": "wait"}, "WaitToSubmit"),
        ("IsSubmitted", {**CHILD, "outcome": "wait", "tries": 1000}, "ShardSubmitted"),
        ("IsSubmitted", {**CHILD, "outcome": "settled"}, "ShardSubmitted"),
        ("IsSubmitted", {**CHILD, "outcome": "deferred"}, "ShardSubmitted"),
        ("IsDownloaded", {**CHILD, "outcome": "wait"}, "WaitToDownload"),
        ("IsDownloaded", {**CHILD, "outcome": "wait", "tries": 1000}, "ShardDownloaded"),
        ("IsDownloaded", {**CHILD, "outcome": "settled"}, "ShardDownloaded"),
    ],
)
def test_choices(name: str, state_input: dict[str, Any], following: str):
    assert chosen(name, state_input) == following


def test_a_failure_keeps_what_the_job_needs_to_be_stopped():
    state = dict(all_states())["PrepareInput"]
    (catch,) = state["Catch"]
    error = {"Error": "Sandbox.Timedout", "Cause": "…"}
    caught = evaluate(catch["Output"][2:-2], {"input": BEGUN, "errorOutput": error})
    assert caught == {**BEGUN, "caught": error}
    stop = dict(all_states())["StopJob"]
    payload = {
        name: evaluate(text[2:-2], {"input": caught})
        for name, text in stop["Arguments"]["Payload"].items()
        if name != "machine"
    }
    assert payload == {"job_id": JOB, "error": "Sandbox.Timedout"}


def test_what_reading_the_models_leaves_is_no_business_of_later_states():
    """Its tries have a name of their own: FinishJob counts its own from 0."""
    state = dict(all_states())["ReadModels"]
    payload = state["Arguments"]["Payload"]
    assert evaluate(payload["asked"][2:-2], {"input": BEGUN}) == 0
    waited = {**BEGUN, **replace(READ, outcome="wait", asked=2).to_json()}
    assert evaluate(payload["asked"][2:-2], {"input": waited}) == 2
    finish = dict(all_states())["FinishJob"]["Arguments"]["Payload"]["tries"][2:-2]
    assert evaluate(finish, {"input": waited}) == 0
    (catch,) = state["Catch"]
    error = {"Error": "Runtime.ImportModuleError", "Cause": "…"}
    caught = evaluate(catch["Output"][2:-2], {"input": BEGUN, "errorOutput": error})
    assert caught == BEGUN


def test_tries_are_counted_by_the_waits():
    for name in ("WaitToSubmit", "WaitToDownload"):
        wait = dict(all_states())[name]
        given = {**CHILD, "tries": 4}
        assert evaluate(wait["Output"][2:-2], {"input": given})["tries"] == 5
    finish = dict(all_states())["FinishJob"]["Arguments"]["Payload"]["tries"][2:-2]
    assert evaluate(finish, {"input": CHECKED[0]}) == 0
    waited = {**CHECKED[0], **FinishOutcome(outcome="wait", tries=3).to_json()}
    assert evaluate(finish, {"input": waited}) == 3
