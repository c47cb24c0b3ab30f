"""How long every state is tried again after every error: long enough, or short enough.

What emulators shorten or leave out (``MaxDelaySeconds``, jitter, Lambda's own errors) is computed
from the state machine's text instead. Averages count: with full jitter half of the longest time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from groq_batch.records.submission import LEASE_SECONDS
from local.asl import MACHINE, UNCATCHABLE
from local.retry_schedules import (
    DEATHS,
    FAILURES,
    MAP_ERRORS,
    SERVICE_ERRORS,
    schedule,
    states_with_retries,
)

STATES = states_with_retries()
TASKS = {name: state for name, state in STATES.items() if state["Type"] == "Task"}
MAPS = {name: state for name, state in STATES.items() if state["Type"] == "Map"}

MINUTE = 60.0
HOUR = 60 * MINUTE

LONGEST_FUNCTION_SECONDS = 900.0

DISPENSABLE = ("ReadModels",)
"""States that a job goes on without."""

NEEDED = [name for name in TASKS if name not in DISPENSABLE]

NOT_SENT_YET = ("PrepareInput", "PrepareRange")
"""States whose failure ends a job of which nothing has been sent."""


def average(state: Mapping[str, Any], error: str) -> float:
    return schedule(state["Retry"], error).expected_seconds


def test_every_task_is_looked_at() -> None:
    assert set(TASKS) == {
        "ReadModels",
        "PrepareInput",
        "PrepareRange",
        "SubmitBatch",
        "SubmitOnlyShard",
        "CheckStatus",
        "DownloadShard",
        "DownloadOnlyShard",
        "AnswerRequests",
        "StopJob",
        "FinishJob",
    }


# -- the computation -----------------------------------------------------------------------------


def test_delays_grow_up_to_the_longest() -> None:
    retrier = {
        "ErrorEquals": ["A"],
        "IntervalSeconds": 10,
        "BackoffRate": 2,
        "MaxAttempts": 4,
        "MaxDelaySeconds": 30,
    }
    assert schedule([retrier], "A").delays == (10, 20, 30, 30)
    assert schedule([retrier], "A").seconds == 90
    assert schedule([retrier], "A").expected_seconds == 45


def test_defaults_are_those_of_step_functions() -> None:
    assert schedule([{"ErrorEquals": ["A"]}], "A").delays == (1, 2, 4)


@pytest.mark.parametrize(
    ("errors", "error", "is_named"),
    [
        (["A"], "A", True),
        (["A"], "B", False),
        (["States.TaskFailed"], "B", True),
        (["States.TaskFailed"], "States.Timeout", False),
        (["States.ALL"], "States.Timeout", True),
        (["States.ALL", "States.Runtime"], "States.Runtime", False),
        (["States.ALL"], "States.DataLimitExceeded", False),
    ],
)
def test_what_names_what(errors: list[str], error: str, is_named: bool) -> None:
    assert bool(schedule([{"ErrorEquals": errors}], error).tries) is is_named


def test_the_first_retrier_that_names_an_error_decides() -> None:
    retriers = [
        {"ErrorEquals": ["A"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 9},
    ]
    assert schedule(retriers, "A").tries == 0
    assert schedule(retriers, "B").tries == 9


# -- long enough ---------------------------------------------------------------------------------


@pytest.mark.parametrize("error", SERVICE_ERRORS)
@pytest.mark.parametrize("name", TASKS)
def test_a_lambda_service_out_of_reach_is_waited_for(name: str, error: str) -> None:
    """Nothing is wrong with the job, and nothing costs anything while it waits."""
    assert average(TASKS[name], error) >= 45 * MINUTE


@pytest.mark.parametrize("error", [*SERVICE_ERRORS, *DEATHS, *FAILURES])
def test_a_check_that_fails_gives_running_batches_hours(error: str) -> None:
    """The state that stands between running batches and their cancellation is the most patient."""
    assert average(TASKS["CheckStatus"], error) >= 1.75 * HOUR


@pytest.mark.parametrize("error", DEATHS)
@pytest.mark.parametrize("name", NEEDED)
def test_a_process_that_dies_gets_a_few_more_after_a_while(name: str, error: str) -> None:
    """A host that is lost, a spike of memory: over within minutes, if it is that."""
    found = schedule(TASKS[name]["Retry"], error)
    assert found.tries >= 3
    assert found.expected_seconds >= 5 * MINUTE


@pytest.mark.parametrize("error", FAILURES)
@pytest.mark.parametrize("name", NEEDED)
def test_a_function_that_fails_gets_a_quarter_of_an_hour(name: str, error: str) -> None:
    """An S3 that answers 503, a role that is being replaced."""
    assert average(TASKS[name], error) >= 15 * MINUTE


@pytest.mark.parametrize("error", ["States.ItemReaderFailed", "States.ResultWriterFailed"])
@pytest.mark.parametrize("name", MAPS)
def test_a_map_that_cannot_read_or_write_is_tried_for_hours(name: str, error: str) -> None:
    assert average(MAPS[name], error) >= 1.75 * HOUR


@pytest.mark.parametrize("name", ["IsSubmitted", "IsDownloaded"])
def test_a_busy_shard_is_waited_for_an_hour(name: str) -> None:
    limit = re.search(rf'"{name}".*?tries < (\d+)', MACHINE.read_text("utf-8"), re.DOTALL)
    assert limit is not None
    assert int(limit[1]) * LEASE_SECONDS >= 60 * MINUTE


@pytest.mark.parametrize("error", [*DEATHS, *FAILURES])
@pytest.mark.parametrize("name", DISPENSABLE)
def test_a_step_that_a_job_goes_on_without_is_tried_some_times(name: str, error: str) -> None:
    """A process that dies once leaves no job without it; one that cannot run costs no minute."""
    found = schedule(TASKS[name]["Retry"], error)
    assert found.tries == 3
    assert found.seconds <= MINUTE


# -- short enough --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOT_SENT_YET)
def test_an_input_that_takes_too_long_is_given_up_within_a_workday(name: str) -> None:
    """Each try of a function that is too slow takes all of its time."""
    found = schedule(TASKS[name]["Retry"], "Sandbox.Timedout")
    assert found.seconds + (found.tries + 1) * LONGEST_FUNCTION_SECONDS <= 2 * HOUR


@pytest.mark.parametrize("name", NOT_SENT_YET)
@pytest.mark.parametrize("error", [*DEATHS, *FAILURES])
def test_a_job_that_cannot_be_prepared_is_told_within_the_hour(name: str, error: str) -> None:
    assert schedule(TASKS[name]["Retry"], error).seconds <= HOUR


@pytest.mark.parametrize("name", TASKS)
def test_no_error_of_the_account_is_tried_again_by_a_retrier(name: str) -> None:
    """A wrong key, a plan, a missing secret are answers of the steps, never their failures.

    ``tests/workflow/test_outages.py`` shows that such a job ends within a minute.
    """
    named = {error for one in TASKS[name]["Retry"] for error in one["ErrorEquals"]}
    assert named <= {*SERVICE_ERRORS, *DEATHS, "States.TaskFailed", "States.Timeout"}


@pytest.mark.parametrize("error", UNCATCHABLE)
@pytest.mark.parametrize("name", STATES)
def test_what_nothing_can_catch_is_not_tried_again(name: str, error: str) -> None:
    """The execution ends, its event (or the reconciler) starts one that collects."""
    assert schedule(STATES[name]["Retry"], error).tries == 0
    assert error not in json.dumps(STATES[name])


@pytest.mark.parametrize("name", MAPS)
def test_a_map_whose_children_fail_is_not_run_over(name: str) -> None:
    assert MAP_ERRORS[-1] == "States.ExceedToleratedFailureThreshold"
    assert schedule(MAPS[name]["Retry"], MAP_ERRORS[-1]).tries == 0
