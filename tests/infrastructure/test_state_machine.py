"""The state machine's text: what creating it would refuse, and what would go wrong much later."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, get_args

import pytest

from groq_batch.domain import object_keys, polling
from groq_batch.domain.job_options import MAX_ATTEMPTS_LIMIT
from groq_batch.domain.machine_version import READS_MODELS
from groq_batch.domain.only_shard import MAX_CHECKS
from groq_batch.records.submission import LEASE_SECONDS, QUARANTINE_SECONDS
from groq_batch.steps.cancel_job.close import CollectPlan
from groq_batch.steps.check_status.decision import Decision, NextStep
from groq_batch.steps.check_status.reasons import GRACE_SECONDS
from groq_batch.steps.outcomes import FinishOutcome, StepOutcome
from groq_batch.steps.prepare_input.prepare import Preparation
from groq_batch.steps.read_models import ModelsOutcome
from local.asl_check import check_text
from local.stack import DEFAULT_WAIT_SCALE
from tests.infrastructure.stack import MACHINE, PROJECT, Stack, machine, source
from tests.infrastructure.test_expressions import BEGUN, all_states, expressions

STATES = dict(all_states())
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
MAPS = {name: state for name, state in STATES.items() if state["Type"] == "Map"}
SHARD_MAPS = [name for name in MAPS if name != "PrepareRanges"]
CHOICES = {name: state for name, state in STATES.items() if state["Type"] == "Choice"}
WAITS = {name: state for name, state in STATES.items() if state["Type"] == "Wait"}


YEAR_SECONDS = 365 * 86_400
MAX_EVENTS = 25_000

LAMBDA_FAULTS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
}
"""Faults of the Lambda service that say nothing about the function."""

EVENT_FILES = {
    "ReadModels": "check_status/read_models",
    "PrepareInput": "prepare_input/payload",
    "PrepareRange": "prepare_input/range_task",
    "SubmitBatch": "submit_batch/payload",
    "SubmitOnlyShard": "submit_batch/payload",
    "CheckStatus": "check_status/payload",
    "DownloadShard": "download_results/payload",
    "DownloadOnlyShard": "download_results/payload",
    "AnswerRequests": "answer_requests/payload",
    "FinishJob": "finish_job/payload",
    "StopJob": "cancel_job/from_state_machine",
}


def fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def read_fields(state: dict[str, Any], place: str = "") -> set[str]:
    """Return the fields of the state's input that its expressions read."""
    return {
        field
        for _, expression in expressions(state, place)
        for field in re.findall(r"\$states\.input\.([A-Za-z_]+)", expression)
    }


# -- what creating the machine would refuse ------------------------------------------------------


def test_text_has_no_problems():
    assert check_text(MACHINE.read_text("utf-8")) == []


def test_every_placeholder_is_filled_in(stack: Stack):
    placeholders = set(re.findall(r"\$\{([^}]*)\}", MACHINE.read_text("utf-8")))
    assert placeholders == set(stack.properties("BatchJob")["DefinitionSubstitutions"])
    assert stack.properties("BatchJob")["StateMachineType"] == "STANDARD"


def test_definition_stays_small():
    assert len(MACHINE.read_bytes()) < 100_000


def test_languages():
    """JSONPath is the machine's language: a JSONata machine could not hold a JSONPath Map.

    A state inside a Map inherits the machine's language, not the Map's.
    """
    assert "QueryLanguage" not in machine()
    for name, state in STATES.items():
        assert state.get("QueryLanguage") == (None if name in MAPS else "JSONata"), name


# -- tasks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TASKS)
def test_tasks_invoke_functions_of_the_stack(stack: Stack, name: str):
    task = TASKS[name]
    assert task["Resource"] == "arn:${Partition}:states:::lambda:invoke"
    placeholder = re.fullmatch(r"\$\{(\w+)\}", task["Arguments"]["FunctionName"])
    assert placeholder is not None
    substitutions = stack.properties("BatchJob")["DefinitionSubstitutions"]
    assert substitutions["Partition"] == "aws"
    arn = substitutions[placeholder[1]]
    assert stack.role("BatchJobRole").allows("lambda:InvokeFunction", arn)


@pytest.mark.parametrize("name", TASKS)
def test_payloads_are_those_of_the_stored_events(name: str):
    stored = json.loads((PROJECT / "events" / f"{EVENT_FILES[name]}.json").read_text("utf-8"))
    assert set(TASKS[name]["Arguments"]["Payload"]) == set(stored)


def test_every_function_is_told_which_definition_calls_it():
    """Executions outlive deployments: only the definition knows which states it has."""
    versions = {name: task["Arguments"]["Payload"]["machine"] for name, task in TASKS.items()}
    assert set(versions.values()) == {READS_MODELS}


def test_a_job_goes_on_without_a_list_whatever_happens_to_the_step_that_asks_for_it():
    state = STATES["ReadModels"]
    (catch,) = state["Catch"]
    assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], "PrepareInput")
    assert CHOICES["AreModelsRead"]["Default"] == "PrepareInput"


@pytest.mark.parametrize("name", TASKS)
def test_tasks_are_tried_again_with_care(name: str):
    task = TASKS[name]
    by_error = {error: retrier for retrier in task["Retry"] for error in retrier["ErrorEquals"]}
    assert LAMBDA_FAULTS | {
        "Lambda.TooManyRequestsException",
        "States.TaskFailed",
        # Which States.TaskFailed does not hold.
        "States.Timeout",
    } <= set(by_error)
    assert "States.ALL" not in by_error
    for retrier in task["Retry"]:
        assert retrier["JitterStrategy"] == "FULL"
        assert retrier["BackoffRate"] > 1
        assert retrier["IntervalSeconds"] < retrier["MaxDelaySeconds"] <= 900
        assert 1 <= retrier["MaxAttempts"] <= 100
    # The widest comes last: the first retrier that names an error decides.
    assert "States.TaskFailed" in task["Retry"][-1]["ErrorEquals"]
    # Small accounts run ten functions at a time: others wait for their turn, on average half of
    # the longest delay each time.
    throttled = by_error["Lambda.TooManyRequestsException"]
    assert throttled["MaxAttempts"] * throttled["MaxDelaySeconds"] / 2 >= 3_000


@pytest.mark.parametrize(
    "name",
    ["PrepareInput", "SubmitBatch", "SubmitOnlyShard", "DownloadShard", "DownloadOnlyShard"],
)
def test_what_takes_too_long_or_too_much_memory_is_not_tried_for_hours(name: str):
    retrier = next(one for one in TASKS[name]["Retry"] if "Sandbox.Timedout" in one["ErrorEquals"])
    assert set(retrier["ErrorEquals"]) == {
        "Sandbox.Timedout",
        "Lambda.Unknown",
        "Runtime.ExitError",
        # Lambda names it so in its own log, and used to say Runtime.ExitError to the caller.
        "Runtime.OutOfMemory",
    }
    assert retrier["MaxAttempts"] <= 3


@pytest.mark.parametrize("name", [*TASKS, *MAPS])
def test_every_failure_is_caught(name: str):
    if name == "PrepareRange":
        name = "PrepareRanges"  # Its failure is the Map's.
    (catch,) = STATES[name]["Catch"]
    assert catch["ErrorEquals"] == ["States.ALL"]


# -- waits and choices ---------------------------------------------------------------------------


def test_waits_are_whole_seconds_that_the_steps_ask_for():
    assert len(WAITS) == 5
    for name, state in WAITS.items():
        assert state["Seconds"] == "{% $states.input.wait_seconds %}", name
        assert "Timestamp" not in state
    for kind in (ModelsOutcome, StepOutcome, FinishOutcome, Decision):
        (field,) = (one for one in dataclasses.fields(kind) if one.name == "wait_seconds")
        assert field.type in ("int", int)


GIVEN = {
    "ChooseMode": fields(CollectPlan) & set(BEGUN) | {"accepted", "shard_key"},
    "AreModelsRead": fields(ModelsOutcome),
    "IsAccepted": fields(Preparation),
    "IsSubmitted": fields(StepOutcome) | {"tries"},
    "NextStep": fields(Decision),
    "IsDownloaded": fields(StepOutcome) | {"tries"},
    "AfterFailure": fields(CollectPlan) & set(BEGUN),
    "IsTidy": fields(FinishOutcome),
}
"""Fields that always stand before a Choice: those that the step before it answers."""


@pytest.mark.parametrize("name", CHOICES)
def test_choices_read_only_what_the_steps_answer(name: str):
    assert read_fields(CHOICES[name])
    assert read_fields(CHOICES[name]) <= GIVEN[name]
    assert "Default" in CHOICES[name]


def test_choices_know_every_decision():
    text = json.dumps(CHOICES["NextStep"])
    known = set(re.findall(r"decision = '(\w+)'", text))
    assert known | {"finish"} == set(get_args(NextStep))
    assert CHOICES["NextStep"]["Default"] == "FinishJob"


# -- maps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAPS)
def test_maps_run_over_shards_or_tasks_and_nothing_else(name: str):
    state = MAPS[name]
    reader = state["ItemReader"]
    assert reader["Resource"] == "arn:${Partition}:states:::s3:listObjectsV2"
    # Without a transformation an item is what the list says of an object, not its content.
    assert set(reader) == {"Resource", "Parameters"}
    prefix = "$.shards_prefix" if name in SHARD_MAPS else "$.tasks_prefix"
    assert reader["Parameters"] == {"Bucket.$": "$.bucket", "Prefix.$": prefix}
    config = state["ItemProcessor"]["ProcessorConfig"]
    assert config == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert re.fullmatch("[A-Za-z]{1,40}", state["Label"])
    assert isinstance(state["MaxConcurrency"], int)
    assert 1 <= state["MaxConcurrency"] <= 10


def test_labels_differ():
    assert len({state["Label"] for state in MAPS.values()}) == len(MAPS)


def test_shard_prefix_holds_shards_only_and_no_other_attempts():
    keys = object_keys.WorkKeys("a-0123")
    assert keys.shards(1).endswith("/attempt-1/")
    assert not keys.shards(10).startswith(keys.shards(1))
    assert object_keys.shard_of_key(keys.shard(1, 7)) == (1, 7)
    others = {
        keys.job_record,
        keys.stopped,
        keys.account_hold,
        keys.submitted,
        keys.closed,
        keys.invalid,
        keys.skipped_index(1),
        keys.skipped_raw(1),
        keys.submission(1, 1),
        keys.batches(1),
        keys.results(1, 1),
        keys.failed(1, 1),
        keys.summary(1, 1),
        keys.map_results,
    }
    assert not any(key.startswith(f"{keys.prefix}shards/") for key in others)


def test_task_prefix_holds_tasks_only_and_no_other_phases():
    keys = object_keys.WorkKeys("a-0123")
    assert object_keys.task_of_key(keys.task("scan", 7)) == ("scan", 7)
    others = {
        keys.division,
        keys.first_lines,
        keys.uses(1),
        keys.repeats(1),
        keys.problems(1),
        *(keys.outcome(phase, 1) for phase in ("scan", "match", "cut")),
        *(keys.task(phase, 1) for phase in ("match", "cut")),
    }
    assert not any(key.startswith(keys.tasks("scan")) for key in others)


@pytest.mark.parametrize("name", MAPS)
def test_results_of_maps_are_written_where_the_role_may(stack: Stack, name: str):
    writer = MAPS[name]["ResultWriter"]
    assert writer["Resource"] == "arn:${Partition}:states:::s3:putObject"
    assert writer["Parameters"]["Bucket.$"] == "$.bucket"
    template = re.fullmatch(
        r"States\.Format\('([^']+)', \$\.job_id(?:, \$\.attempt)?\)",
        writer["Parameters"]["Prefix.$"],
    )
    assert template is not None
    prefix = template[1].format("a-0123", 2)
    assert prefix.startswith(object_keys.WorkKeys("a-0123").map_results)
    key = f"<Bucket.Arn>/{prefix}/0f1e2d3c/SUCCEEDED_0.json"
    assert stack.role("BatchJobRole").allows("s3:PutObject", key)
    # What a Map answers is a pointer on AWS and a list elsewhere: nobody looks at it.
    assert MAPS[name]["ResultPath"] is None
    assert "ResultSelector" not in MAPS[name]


def test_maps_of_one_attempt_do_not_write_to_one_place():
    prefixes = {state["ResultWriter"]["Parameters"]["Prefix.$"] for state in MAPS.values()}
    assert len(prefixes) == len(MAPS)


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_repeated_only_for_their_own_reading_and_writing(name: str):
    """A Retry runs every child once more."""
    repeated = {error for one in MAPS[name]["Retry"] for error in one["ErrorEquals"]}
    assert repeated == {"States.ItemReaderFailed", "States.ResultWriterFailed"}
    assert all(one["JitterStrategy"] == "FULL" for one in MAPS[name]["Retry"])


@pytest.mark.parametrize("name", SHARD_MAPS)
def test_children_of_shards_never_fail(name: str):
    state = MAPS[name]
    assert state["ToleratedFailurePercentage"] == 100
    children = state["ItemProcessor"]["States"]
    assert {child["Type"] for child in children.values()} <= {"Task", "Choice", "Wait", "Succeed"}
    for child in children.values():
        for catch in child.get("Catch", []):
            assert children[catch["Next"]]["Type"] == "Succeed"


def test_a_range_that_cannot_be_prepared_fails_the_preparation():
    """As a preparation by one invocation does: without all ranges there is nothing to decide."""
    state = MAPS["PrepareRanges"]
    assert not {"ToleratedFailurePercentage", "ToleratedFailureCount"} & set(state)
    assert "Catch" not in STATES["PrepareRange"]
    assert STATES["PrepareRange"]["Retry"] == STATES["PrepareInput"]["Retry"]
    assert state["Next"] == "PrepareInput"


@pytest.mark.parametrize("name", MAPS)
def test_children_see_their_item_and_nothing_of_the_parent(name: str):
    """A child is an execution of its own: neither context nor variables are the parent's."""
    selector = {key.removesuffix(".$") for key in MAPS[name]["ItemSelector"]}
    outcomes = {"Submit": StepOutcome, "Download": StepOutcome}
    label = MAPS[name]["Label"]
    allowed = selector | (fields(outcomes[label]) if label in outcomes else set())
    for child_name, child in MAPS[name]["ItemProcessor"]["States"].items():
        text = json.dumps(child)
        assert "$states.context" not in text
        assert "$$." not in text
        assert "Assign" not in child
        named = set(re.findall(r"\$(\w+)", re.sub(r"\$\{\w+\}", "", text)))
        assert named <= {"states", "merge"}, child_name
        assert read_fields(child) <= allowed, child_name


def test_nothing_hangs_on_names_that_only_an_execution_has():
    text = MACHINE.read_text("utf-8")
    assert "$states.context" not in text
    assert re.findall(r"\$\$\.[\w.]+", text) == ["$$.Map.Item.Value.Key"] * len(MAPS)


@pytest.mark.parametrize("name", ["IsSubmitted", "IsDownloaded"])
def test_a_busy_shard_is_waited_for_long_enough(name: str):
    """Another invocation's lease ends 30 seconds after its death, in real time.

    Where waits run faster than real time the tries have to last just as well.
    """
    (rule,) = CHOICES[name]["Choices"]
    limit = re.search(r"tries < (\d+)", rule["Condition"])
    assert limit is not None
    budget = int(limit[1]) * LEASE_SECONDS
    assert budget >= 3_600
    assert budget * DEFAULT_WAIT_SCALE > LEASE_SECONDS + QUARANTINE_SECONDS


# -- time and history ----------------------------------------------------------------------------

EVENTS_OF = {"Task": 5, "Choice": 2, "Wait": 2, "Map": 6, "Succeed": 2, "Fail": 1}
"""Events that one visit of a state adds to an execution's history."""

LONGEST_WINDOW_SECONDS = 7 * 86_400


def test_machine_outlives_every_job_but_not_what_aws_allows():
    longest = MAX_ATTEMPTS_LIMIT * LONGEST_WINDOW_SECONDS + GRACE_SECONDS
    assert 2 * longest < machine()["TimeoutSeconds"] < YEAR_SECONDS
    assert isinstance(machine()["TimeoutSeconds"], int)


def test_history_has_room_for_every_check_that_the_budget_allows():
    loop = ["CheckStatus", "NextStep", "WaitForBatches"]
    assert STATES["CheckStatus"]["Next"] == "NextStep"
    assert STATES["WaitForBatches"]["Next"] == "CheckStatus"
    checking = polling.POLL_BUDGET * sum(EVENTS_OF[STATES[name]["Type"]] for name in loop)
    attempt = ["SubmitShards", "CheckStatus", "NextStep", "DownloadResults", "CheckStatus"]
    attempt += ["NextStep"]
    attempts = MAX_ATTEMPTS_LIMIT * sum(EVENTS_OF[STATES[name]["Type"]] for name in attempt)
    once = sum(EVENTS_OF[state["Type"]] for state in machine()["States"].values())
    # A look after which the step for an only shard is called again comes with its events.
    again = MAX_CHECKS * EVENTS_OF["Task"]
    # What is left is for retries (3 events each) and for rounds of shards that wait for Groq.
    assert checking + attempts + once + again < MAX_EVENTS - 4_000


@pytest.mark.parametrize(
    ("only", "child", "map_state", "following"),
    [
        ("SubmitOnlyShard", "SubmitBatch", "SubmitShards", "WaitForBatches"),
        ("DownloadOnlyShard", "DownloadShard", "DownloadResults", "CheckStatus"),
    ],
)
def test_an_only_shard_is_done_as_a_child_of_the_map_does_it(
    only: str, child: str, map_state: str, following: str
):
    """Whatever happens to it, the status check decides what comes next."""
    for field in ("Resource", "TimeoutSeconds", "Arguments", "Output", "Retry"):
        assert STATES[only][field] == STATES[child][field], field
    (catch,) = STATES[only]["Catch"]
    assert (catch["ErrorEquals"], catch["Next"]) == (["States.ALL"], "CheckStatus")
    assert STATES[only]["Next"] == following
    assert STATES[map_state]["Next"] == "CheckStatus"
    # A definition that meets code of the version before finds no shard_key, and runs the Map.
    for name in ("ChooseMode", "IsAccepted", "NextStep"):
        for rule in STATES[name]["Choices"]:
            if "shard_key" in rule["Condition"]:
                assert "$exists($states.input.shard_key)" in rule["Condition"]


def test_children_have_room_as_well():
    for name, first in (("IsSubmitted", "SubmitBatch"), ("IsDownloaded", "DownloadShard")):
        (rule,) = CHOICES[name]["Choices"]
        limit = re.search(r"tries < (\d+)", rule["Condition"])
        assert limit is not None
        loop = [first, name, rule["Next"]]
        events = sum(EVENTS_OF[STATES[one]["Type"]] for one in loop)
        retries = 3 * sum(one["MaxAttempts"] for one in STATES[first]["Retry"])
        assert int(limit[1]) * events + 10 * retries < MAX_EVENTS / 2


def test_every_loop_waits():
    """Nothing goes round without a Wait, or a Map, whose rounds the status check spaces out.

    So it does with the steps for an only shard.
    """
    following = {
        name: {
            state.get("Next"),
            state.get("Default"),
            *(rule["Next"] for rule in state.get("Choices", [])),
            *(catch["Next"] for catch in state.get("Catch", [])),
        }
        - {None}
        for name, state in machine()["States"].items()
        if state["Type"] not in ("Wait", "Map") and not name.endswith("OnlyShard")
    }
    # The way back from a stop leads into collecting, and a collecting execution does not stop.
    assert following["StopJob"] == {"ChooseMode", "ExecutionFailed"}
    following["StopJob"].discard("ChooseMode")
    done: set[str] = set()
    while True:
        ending = {name for name, targets in following.items() if targets <= done | {"JobDone"}}
        ending |= {name for name in STATES if name not in following}
        if ending == done:
            break
        done = ending
    assert set(following) <= done


def test_a_collecting_execution_that_fails_ends_as_failed():
    """Its end is what the cancel function hears of; a failure caught here would be the last."""
    assert STATES["ExecutionFailed"]["Type"] == "Fail"
    assert STATES["FinishJob"]["Catch"][0]["Next"] == "ExecutionFailed"
    assert STATES["StopJob"]["Catch"][0]["Next"] == "ExecutionFailed"
    for name in ("PrepareInput", "CheckStatus", *MAPS):
        assert STATES[name]["Catch"][0]["Next"] == "AfterFailure"


def test_states_say_what_they_are_for():
    for name, state in STATES.items():
        assert state["Comment"].endswith("."), name
    assert not any("TODO" in state["Comment"] for state in STATES.values())


def test_the_machine_in_the_template_is_this_file():
    properties = source()["Resources"]["BatchJob"]["Properties"]
    assert (PROJECT / properties["DefinitionS3Location"]) == MACHINE
    assert not {"Definition", "DefinitionString"} & set(properties)


def test_retriers_are_written_on_one_line_each():
    """So that retriers of different states can be compared at a glance, and by a search."""
    lines = [line.strip().rstrip(",") for line in MACHINE.read_text("utf-8").splitlines()]
    written = [json.loads(line) for line in lines if line.startswith('{"ErrorEquals"')]

    retriers = [retrier for state in STATES.values() for retrier in state.get("Retry", [])]
    assert sorted(written, key=str) == sorted(retriers, key=str)
