"""What becomes of single executions and batches, each fate by itself.

``test_lives.py`` mixes all of these at random; here each of them is told apart, so that a failure
has a name. After every one: nothing runs at Groq, what was paid for is delivered, there is a final
report and exactly one row for each request.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.groq.decoding import batch_of
from groq_batch.groq.errors import AccountError
from local import asl
from local.groq_simulator.answers import success_row
from local.state_machine.machine import Machine, UnknownFeatureError
from tests.harness.invocations import FUNCTIONS, Die, Hold, Invocation, LoseAnswer, Refuse, Trouble
from tests.harness.jobs import (
    Upload,
    check_bucket,
    check_end,
    check_groq,
    good_lines,
    lines_of_models,
    put,
    report_of,
)
from tests.harness.scripts import SMALL_SHARDS
from tests.harness.world import (
    DEFINITION,
    RECONCILE_SECONDS,
    START,
    SUBSTITUTIONS,
    World,
)

HOUR = 3_600.0
DAY = 24 * HOUR
ENVIRONMENT = {"MAX_REQUESTS_PER_BATCH": "2"}
WHILE_BATCHES_RUN = 60.0


def later(act: Callable[[], Any]) -> Iterator[float]:
    """Do something as a step of the world."""
    act()
    yield from ()


def answered(world: World, path: str = "a.jsonl") -> set[str]:
    """Return the ids of the requests that have an answer in the results."""
    data = world.s3.read(f"output/{path}") or b""
    rows = [json.loads(line) for line in data.splitlines()]
    return {row["custom_id"] for row in rows if (row["response"] or {}).get("status_code") == 200}


def paid(world: World, upload: Upload) -> set[str]:
    """Return the ids of the requests that Groq has answered."""
    counted = world.simulator.requests(upload.job_id(world.s3.bucket))
    return {custom_id for custom_id, one in counted.items() if one["succeeded"]}


def check(world: World, upload: Upload, *, files_may_be_left: bool = False) -> dict[str, Any]:
    """Check the end of a job, and that everything that was paid for is delivered."""
    (report,) = check_end(world, upload, files_may_be_left=files_may_be_left)
    assert answered(world, upload.path) == paid(world, upload)
    return report


# -- fates of batches ----------------------------------------------------------------------------


def test_a_batch_that_runs_beyond_its_window_is_cancelled_and_its_rest_sent_again() -> None:
    with World() as world:
        world.simulator.add_fate(end="stuck", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(DAY - HOUR)
        assert report_of(world, "a.jsonl")["status"] == "running"
        assert world.simulator.batches()[0]["status"] == "in_progress"
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert [(one["status"], one["requests"], one["succeeded"]) for one in report["batches"]] == [
        ("cancelled", 4, 2),
        ("completed", 2, 2),
    ]


def test_a_batch_that_cannot_even_be_cancelled_is_given_up_a_day_later() -> None:
    with World() as world:
        world.simulator.add_fate(end="stuck", done=0.5, times=1)
        world.simulator.add_fault("cancel", status=500, times=None)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(2 * DAY - HOUR)
        assert report_of(world, "a.jsonl")["status"] == "running"
        world.run_for(2 * HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "failed"
        assert report["errors"][0]["code"] == "timed_out"
        world.simulator.clear_faults()
        world.settle()
        # What Groq had done by then is in no file that could be read.
        check_end(world)
        data = world.s3.read("output/a.jsonl") or b""
        ids = [json.loads(line)["custom_id"] for line in data.splitlines()]
        assert ids == [line.custom_id for line in job.lines]


@pytest.mark.parametrize(
    ("fate", "status", "succeeded", "batches"),
    [
        ({"end": "fail"}, "succeeded", 4, 2),
        ({"end": "fail", "errors_shape": "array"}, "succeeded", 4, 2),
        # What is said of a line that was not sent is said of none.
        ({"end": "fail", "errors": [{"code": "odd", "line": 99}]}, "succeeded", 4, 2),
        ({"end": "fail", "errors": [{"code": "invalid_method", "line": 4}]}, "partial", 3, 2),
        ({"end": "expire", "done": 0.5}, "succeeded", 4, 2),
        ({"end": "expire", "done": 0.5, "unfinished": "missing"}, "succeeded", 4, 2),
        ({"end": "expire", "done": 0.0}, "succeeded", 4, 2),
        # What an ended batch did not come to is told by lines, instead of by rows.
        (
            {
                "end": "expire",
                "done": 0.5,
                "unfinished": "missing",
                "errors": [{"code": "batch_expired", "line": line} for line in (3, 4)],
            },
            *("succeeded", 4, 2),
        ),
        ({"end": "cancel", "done": 0.5}, "succeeded", 4, 2),
        ({"status": "paused", "status_seconds": 5_000.0}, "succeeded", 4, 1),
        ({"status": "paused", "batch_seconds": 5_000.0}, "succeeded", 4, 1),
        ({"no_files": True, "all_requests": "missing"}, "succeeded", 4, 2),
        ({"all_requests": "fail"}, "partial", 0, 1),
        ({"all_requests": "error_in_output"}, "partial", 0, 1),
        ({"all_requests": "duplicated"}, "succeeded", 4, 1),
        ({"all_requests": "foreign"}, "succeeded", 4, 1),
        ({"errors": [{"code": "odd", "message": "m", "line": None}]}, "succeeded", 4, 1),
        ({"empty_error_file": True}, "succeeded", 4, 1),
        ({"override": {"error_file_id": {}}}, "succeeded", 4, 1),
    ],
    ids=str,
)
def test_fate_of_a_batch(fate: dict[str, Any], status: str, succeeded: int, batches: int) -> None:
    with World() as world:
        world.simulator.add_fate(times=1, **fate)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
    assert report["status"] == status
    assert report["requests"]["succeeded"] == succeeded
    assert len(report["batches"]) == batches


def test_a_model_that_is_withdrawn_while_batches_wait() -> None:
    """Half is answered; the other half, sent again for want of capacity, meets a model gone."""
    with World() as world:
        late = {"custom_id": ["r2", "r3"]}
        world.simulator.add_rule("capacity_exhausted", match=late, times=1)
        world.simulator.add_rule({"kind": "http_error", "status": 404}, match=late)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        sendings = world.simulator.requests(job.job_id("bucket"))
    assert report["status"] == "partial"
    assert report["requests"]["succeeded"] == 2
    # Such an answer stands: nothing is sent a third time.
    assert [sendings[f"r{number}"]["sent"] for number in range(4)] == [1, 1, 2, 2]
    assert [batch["attempt"] for batch in report["batches"]] == [1, 2]


def test_a_model_that_is_withdrawn_refuses_the_next_batch_as_a_whole() -> None:
    with World() as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        world.simulator.add_fate(
            end="fail",
            errors=[{"code": "model_decommissioned", "message": "gone", "line": None}],
            times=None,
        )
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
    assert report["status"] == "partial"
    assert report["requests"]["succeeded"] == 2
    # Such a refusal may pass, so that it is met in every attempt that is left.
    assert [one["status"] for one in report["batches"]] == ["expired", "failed", "failed"]


# -- fates of executions: stops ------------------------------------------------------------------


def cannot_read_the_secret_at_first(world: World) -> None:
    """Let the first reading of the secret fail, as while a stack is deployed."""
    readable, failures = world.groq._key, iter([True])

    def key(*, refresh: bool = False) -> str:
        if next(failures, False):
            raise AccountError("The secret cannot be read.", code="secret_unreadable")
        return readable(refresh=refresh)

    world.groq._key = key  # type: ignore[method-assign]


def long_job(world: World) -> Upload:
    """Upload a job with three shards and two attempts that meets trouble that passes."""
    cannot_read_the_secret_at_first(world)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    world.simulator.add_fault("upload", status=429, headers={"Retry-After": "7"}, times=1)
    world.simulator.add_fault("content", status=503, times=9)
    world.simulator.add_fault("file_delete", status=503, times=9)
    return put(world, "input/a.jsonl", good_lines(5))


def divided_job(world: World) -> Upload:
    """Upload a job whose input is prepared range by range."""
    return put(world, "input/a.jsonl", good_lines(40))


def only_job(world: World) -> Upload:
    """Upload a job of one shard that meets the same trouble."""
    return long_job(world)


DIVIDED = {**SMALL_SHARDS, "MAX_REQUESTS_PER_BATCH": "20", "MAX_BYTES_PER_RANGE": "1000"}

JOBS: list[tuple[Callable[[World], Upload], dict[str, str]]] = [
    (long_job, SMALL_SHARDS),
    (divided_job, DIVIDED),
    (only_job, {**SMALL_SHARDS, "MAX_REQUESTS_PER_BATCH": "100"}),
]


def states_entered(script: Callable[[World], Upload], environment: dict[str, str]) -> list[str]:
    """Return the states that a job enters, each once, in order."""
    entered: dict[str, None] = {}
    with World(environment) as world:
        world.on_visit = lambda _, state: entered.setdefault(state)
        job = script(world)
        world.settle()
        check(world, job)
    return list(entered)


def stop_in(world: World, state: str) -> list[str]:
    """Let a user stop the first execution that enters a state; returns it once it is stopped."""
    stopped: list[str] = []

    def stop(execution: str, entered: str) -> None:
        if entered == state and not stopped:
            stopped.append(execution)
            world.spawn(later(lambda: act(execution)), after=0.1)

    def act(execution: str) -> None:
        world.simulator.clear_faults()
        world.stop(execution)

    world.on_visit = stop
    return stopped


@pytest.mark.parametrize(
    ("script", "environment"), JOBS, ids=[script.__name__ for script, _ in JOBS]
)
@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "unheard"])
def test_stop_in_each_state(
    script: Callable[[World], Upload], environment: dict[str, str], is_heard: bool
) -> None:
    states = states_entered(script, environment)
    for state in states:
        with World(environment) as world:
            stopped = stop_in(world, state)
            world.tells_ends = lambda _: is_heard
            job = script(world)
            world.settle()
            assert stopped, state
            # A job that has ended is no longer looked at; only the event tells of such a stop.
            report = check(world, job, files_may_be_left=state in _LAST and not is_heard)
            expected = ("cancelled", "succeeded") if state in _LAST else ("cancelled",)
            assert report["status"] in expected, state
    print(f"{script.__name__}: stopped in {len(states)} states")


_LAST = ("FinishJob", "IsTidy", "WaitToTidyUp", "JobDone")
"""States in which the end of the job may stand before it is stopped."""


def test_all_states_of_a_job_are_stopped_in() -> None:
    entered = {
        state for script, environment in JOBS for state in states_entered(script, environment)
    }
    entered |= {
        # Reached only by failures: the tests below, and the scripts of test_crashes.py.
        "AfterFailure",
        "StopJob",
        "ExecutionFailed",
        "LeaveSubmitToJob",
        "LeaveDownloadToJob",
        # Reached after a deadline alone: test_deadline.py.
        "AnswerRequests",
    }
    assert entered == {state.name for state in asl.states_of(asl.machine())}


# -- fates of executions: time-outs and failures -------------------------------------------------


def job_name(world: World, upload: Upload) -> str:
    return upload.job_id(world.s3.bucket)


@pytest.mark.parametrize("is_heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 30.0, WHILE_BATCHES_RUN, 101.0])
def test_an_execution_that_reaches_its_time_limit(seconds: float, is_heard: bool) -> None:
    with World(ENVIRONMENT) as world:
        world.tells_ends = lambda execution: is_heard or execution.status != "TIMED_OUT"
        job = put(world, "input/a.jsonl", good_lines(4))
        world.time_limits[job_name(world, job)] = seconds
        world.settle()
        report = check(world, job)
        assert world.executions[job_name(world, job)].status == "TIMED_OUT"
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "timed_out"


def test_the_time_limit_is_the_machines() -> None:
    machine = Machine.load(DEFINITION, SUBSTITUTIONS, arn="arn")
    assert machine.timeout == json.loads(DEFINITION.read_text("utf-8"))["TimeoutSeconds"]
    with pytest.raises(UnknownFeatureError):
        Machine({"StartAt": "A", "States": {}}, arn="arn")


def failing_in(
    world: World, executions: Sequence[str], function: str, error: str
) -> Callable[[Invocation], Sequence[Trouble]]:
    """Return a director that lets a function never run for some executions."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        running = [name for name, one in world.executions.items() if one.status == "RUNNING"]
        is_meant = bool(running) and running[-1] in executions
        if invocation.function == function and is_meant and world.clock() > START + 100:
            return (Refuse(error=error),)
        return ()

    return director


STATUS_AFTER_FAILURES = {"check_status": "failed", "finish_job": "succeeded"}
"""Status of a job whose executions all fail in a function: when the last one fails, every request
has its answer, and only the delivery is late."""


@pytest.mark.parametrize("function", ["check_status", "finish_job"])
@pytest.mark.parametrize("collectors", [1, 2])
def test_a_collecting_execution_that_fails_is_followed_by_another(
    function: str, collectors: int
) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        name = job_name(world, job)
        failing = [name, *(f"{name}-c{number}" for number in range(1, collectors + 1))]
        world.director = failing_in(world, failing, function, "Runtime.ImportModuleError")
        world.settle()
        report = check(world, job)
        statuses = [one.status for one in world.executions.values()]
        assert statuses == ["FAILED"] * (len(statuses) - 1) + ["SUCCEEDED"]
        assert len(statuses) == collectors + 2
    assert report["status"] == STATUS_AFTER_FAILURES[function]
    assert report["errors"] == [] or report["errors"][0]["code"] == "internal_error"
    assert report["requests"]["succeeded"] == 4


@pytest.mark.parametrize("function", ["check_status", "finish_job"])
def test_when_all_collecting_executions_fail_the_rows_are_fetched_at_last(function: str) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        name = job_name(world, job)
        everything = [name, *(f"{name}-c{number}" for number in range(1, 9))]
        world.director = failing_in(world, everything, function, "Runtime.ImportModuleError")
        world.settle()
        report = check(world, job)
        # They cannot go round for ever.
        assert len(world.executions) == 4
        assert {one.status for one in world.executions.values()} == {"FAILED"}
    assert report["status"] == STATUS_AFTER_FAILURES[function]
    assert report["requests"]["succeeded"] == 4


def test_without_groq_the_last_resort_says_that_answers_are_lost() -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        name = job_name(world, job)
        everything = [name, *(f"{name}-c{number}" for number in range(1, 9))]
        world.director = failing_in(world, everything, "check_status", "States.TaskFailed")
        world.simulator.add_fault("content", status=503, times=None)
        world.run_for(2 * DAY)
        report = report_of(world, job.path)
        data = world.s3.read("output/a.jsonl") or b""
        rows = [json.loads(line) for line in data.splitlines()]
    assert report["status"] == "failed"
    assert [row["custom_id"] for row in rows] == ["r0", "r1", "r2", "r3"]
    assert {row["error"]["code"] for row in rows} == {"missing"}
    assert all("could not be fetched" in row["error"]["message"] for row in rows)


ONCE = (
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "Sandbox.Timedout",
    "States.Timeout",
    "States.TaskFailed",
    "Runtime.ImportModuleError",
)
STEPS = tuple(one for one in FUNCTIONS if one not in ("start_job", "cancel_job", "answer_requests"))
"""What every job runs; answer_requests is called after a deadline alone, see test_deadline.py."""


@pytest.mark.parametrize("makes", [Refuse, LoseAnswer])
@pytest.mark.parametrize("error", ONCE)
@pytest.mark.parametrize("function", STEPS)
def test_an_error_of_lambda_is_survived(
    function: str, error: str, makes: Callable[..., Trouble]
) -> None:
    """The function did not run, or it ran and Step Functions never heard of it; twice in a row."""
    struck: Counter[str] = Counter()

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function != function or struck[function] == 2:
            return ()
        struck[function] += 1
        return (makes(error=error),)

    with World(ENVIRONMENT, director=director) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        assert struck[function] == 2
        assert len(world.executions) == 1
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 2


@pytest.mark.parametrize("seconds", [10 * 60.0, 30 * 60.0])
@pytest.mark.parametrize("function", STEPS)
def test_a_lambda_service_out_of_reach_costs_nothing_but_time(
    function: str, seconds: float
) -> None:
    begun: list[float] = []

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == function and not begun:
            begun.append(world.clock())
        if begun and world.clock() < begun[0] + seconds:
            return (Refuse(error="Lambda.ServiceException"),)
        return ()

    with World(ENVIRONMENT) as world:
        world.director = director
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        assert len(world.executions) == 1
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 2


def out_of_memory(*, only_for_results: bool) -> Callable[[Invocation], Sequence[Trouble]]:
    """Let the second shard's download die each time: of its results, or whatever it does."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        is_second = str(invocation.payload.get("shard_key")).endswith("/00002.jsonl")
        if invocation.function != "download_results" or not is_second:
            return ()
        if only_for_results:
            return (Die(at="groq.content #0"),)
        return (Refuse(error="Runtime.ExitError"),)

    return director


@pytest.mark.parametrize("only_for_results", [True, False])
def test_results_that_cannot_be_stored_for_want_of_memory(only_for_results: bool) -> None:
    with World(ENVIRONMENT, director=out_of_memory(only_for_results=only_for_results)) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(2 * DAY - HOUR)
        # There is time to give the function more memory.
        assert report_of(world, job.path)["status"] == "running"
        world.settle()
        check_end(world)
        report = report_of(world, job.path)
        data = world.s3.read("output/a.jsonl") or b""
        rows = [json.loads(line) for line in data.splitlines()]
        assert [row["custom_id"] for row in rows] == ["r0", "r1", "r2", "r3"]
        # The other shard is not held back by it; where another function can do the work, it does.
        expected = {"r0", "r1"} if only_for_results else {"r0", "r1", "r2", "r3"}
        assert answered(world) == expected
        assert world.clock() - START < 4 * DAY
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "internal_error"
    assert "DownloadResultsFunction" in report["errors"][0]["message"]


def test_more_memory_in_time_brings_all_results() -> None:
    with World(ENVIRONMENT, director=out_of_memory(only_for_results=True)) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(DAY)
        world.director = lambda _: ()
        world.settle()
        report = check(world, job)
        assert len(world.executions) == 1
    assert report["status"] == "succeeded"


def test_a_function_whose_time_runs_out_during_an_upload_is_followed_by_another() -> None:
    """Step Functions waits no longer, or Lambda kills it; the lease runs out, a look finds out."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "submit_batch" and len(invocation.world.invocations) < 5:
            return (Hold(at="groq.upload #0", seconds=840.0, lost="States.Timeout"),)
        return ()

    with World(ENVIRONMENT, director=director) as world:
        job = put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 1


# -- fates of executions: redrives ---------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 0.5, 2.0, 10.0, 30.0, 60.0])
def test_a_redrive_before_the_collector_has_delivered(after: float) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(6))
        name = job_name(world, job)
        world.run_for(WHILE_BATCHES_RUN)
        world.stop(name)
        world.spawn(later(lambda: world.redrive(name)), after=after)
        world.settle()
        report = check(world, job)
        assert world.executions[name].redrives == 1
        assert len(world.simulator.batches()) == 3
    assert report["status"] in ("cancelled", "succeeded")


def test_a_redrive_after_the_collector_has_delivered_changes_nothing() -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(6))
        name = job_name(world, job)
        world.run_for(WHILE_BATCHES_RUN)
        world.stop(name)
        world.settle()
        before = check(world, job)
        output, ends = world.s3.history("output/a.jsonl"), len(world.events.published)
        assert world.redrive(name)
        world.settle()
        assert check(world, job) == before
        assert world.s3.history("output/a.jsonl") == output
        assert len(world.events.published) == ends
        assert world.executions[name].status == "SUCCEEDED"
        assert len(world.simulator.batches()) == 3


@pytest.mark.parametrize("state", ["PrepareInput", "SubmitShards", "CheckStatus", "FinishJob"])
def test_a_redrive_in_each_step_after_everything_has_been_delivered(state: str) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(6))
        name = job_name(world, job)
        stop_in(world, state)
        world.settle()
        before = check(world, job)
        batches, ends = len(world.simulator.batches()), len(world.events.published)
        assert world.redrive(name)
        world.settle()
        assert check(world, job) == before
        assert len(world.events.published) == ends
        assert len(world.simulator.batches()) == batches


# -- what changes around a job -------------------------------------------------------------------


def test_the_key_is_rotated_while_batches_run() -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        world.simulator.set_keys({"gsk_rotated": "paid"})
        world.run_for(10 * HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        assert report["errors"][0]["code"] == "invalid_api_key"
        world.groq.key = "gsk_rotated"
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert report["errors"] == []


def test_the_key_is_rotated_between_two_attempts() -> None:
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
        rotated: list[bool] = []

        def director(invocation: Invocation) -> Sequence[Trouble]:
            key = invocation.payload.get("shard_key", "")
            is_second = invocation.function == "submit_batch" and "/attempt-2/" in key
            if is_second and not rotated:
                rotated.append(True)
                world.simulator.set_keys({"gsk_rotated": "paid"})
                world.spawn(later(lambda: setattr(world.groq, "key", "gsk_rotated")), after=HOUR)
            return ()

        world.director = director
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        assert world.groq.key == "gsk_rotated"
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 3


@pytest.mark.parametrize("moment", [0.5, 30.0, WHILE_BATCHES_RUN])
@pytest.mark.parametrize("is_overwritten", [True, False], ids=["overwritten", "deleted"])
def test_the_input_changes_while_its_job_runs(moment: float, is_overwritten: bool) -> None:
    with World(ENVIRONMENT) as world:
        older = put(world, "input/a.jsonl", good_lines(4, "old"))
        world.run_for(moment)
        uploads = [older]
        if is_overwritten:
            older.keeps_path = False
            uploads.append(put(world, "input/a.jsonl", good_lines(3, "new")))
        else:
            world.delete("input/a.jsonl")
        world.settle()
        reports = check_end(world, *uploads)
    assert [one["status"] for one in reports] == ["succeeded"] * len(uploads)


@pytest.mark.parametrize("moment", [0.5, 10.0, WHILE_BATCHES_RUN, 5_000.0])
def test_an_event_of_an_end_that_is_lost_is_made_up_for(moment: float) -> None:
    with World(ENVIRONMENT, simulator={"batch_seconds": 10_000.0}) as world:
        world.tells_ends = lambda execution: False
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(2 + moment)
        assert world.stop(job_name(world, job))
        stopped = world.clock()
        world.settle()
        report = check(world, job)
        assert world.clock() - stopped < 2 * RECONCILE_SECONDS + 600
    assert report["status"] == "cancelled"


# -- lost answers --------------------------------------------------------------------------------


@pytest.mark.parametrize("shows_after", [0.0, 30.0, 55.0])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 504},
        {"status": 502, "body": "<html>bad gateway</html>"},
        {"status": 408},
        {"answer": "reset"},
        {"answer": "half_close"},
        {"answer": "stall"},
        {"answer": "garbage"},
        {"answer": "cut", "fraction": 0.5},
        {"answer": "cut", "fraction": 0.0},
    ],
    ids=str,
)
def test_a_batch_whose_answer_is_lost_is_found_though_it_shows_late(
    fault: dict[str, Any], shows_after: float
) -> None:
    with World() as world:
        world.simulator.add_foreign_batches(60)
        world.simulator.add_fault("create", act=True, visible_after=shows_after, times=1, **fault)
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        report = check(world, job)
        assert world.simulator.stats()["creates"] == 1
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 1


@pytest.mark.parametrize("answer", ["reset", "half_close", "stall"])
@pytest.mark.parametrize("act", [True, False])
def test_a_file_whose_answer_is_lost_is_used_or_sent_again(answer: str, act: bool) -> None:
    with World() as world:
        world.simulator.add_fault("upload", answer=answer, act=act, times=1)
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 1


# -- a year later --------------------------------------------------------------------------------


def test_an_upload_is_never_run_twice_not_even_a_year_later() -> None:
    """Outputs and reports are tidied up, working files and names of executions are forgotten."""
    with World() as world:
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        check(world, job)
        world.delete(*world.s3.keys("output/"), *world.s3.keys("reports/"), *world.s3.keys("work/"))
        world.states.executions.clear()
        world.run_for(400 * DAY)
        for _ in range(2):
            world.sweep()
            world.deliver("start_job", {"key": "input/a.jsonl"}, 1.0)
            world.deliver("start_job", _event_of(job), 2.0)
        world.settle(days=500)
        assert world.simulator.stats()["creates"] == 1
        assert world.states.executions == {}
        assert world.s3.keys("output/") == []


def _event_of(upload: Upload) -> dict[str, Any]:
    detail = {"key": upload.key, "size": 1, "etag": "", "version-id": upload.version_id}
    return {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "bucket"}, "object": detail},
    }


# -- random deaths -------------------------------------------------------------------------------

SHARDS = 20
MAX_DEATHS = 3
"""How often in a row one step of one shard dies; Step Functions tries it again as often."""


@pytest.mark.parametrize("seed", range(20))
def test_twenty_shards_whose_functions_die_at_random(seed: int) -> None:
    choice = random.Random(seed)
    deaths: Counter[str] = Counter()

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function in ("start_job", "cancel_job"):
            return ()
        step = f"{invocation.function} {invocation.payload.get('shard_key')}"
        if deaths[step] == MAX_DEATHS or choice.random() > 0.4:
            return ()
        deaths[step] += 1
        return (Die(at=choice.randrange(25), after=choice.random() < 0.5),)

    with World({"MAX_REQUESTS_PER_BATCH": "2"}, director=director, seed=seed) as world:
        world.simulator.add_rule("capacity_exhausted", match={"regex": "^r1[0-9]$"}, times=1)
        job = put(world, "input/a.jsonl", good_lines(2 * SHARDS))
        world.settle()
        report = check(world, job)
        died = sum(one.dead for one in world.invocations)
    print(f"{died} of {len(world.invocations)} invocations died")
    assert died >= SHARDS / 4
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == SHARDS + 5


# Uploads that are removed for good


@pytest.mark.parametrize("status", ["cancelled", "succeeded", None])
def test_job_in_whose_running_report_a_user_changes_the_status_ends_as_others(
    status: str | None,
) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        changed = json.dumps({**report_of(world, job.path), "status": status})
        key = "reports/a.jsonl.json"
        world.s3.client().put_object(Bucket=world.s3.bucket, Key=key, Body=changed.encode())
        world.settle(days=1)
        report = check(world, job)
    assert report["status"] == "succeeded"


def remove_working_files(world: World, *names: str) -> None:
    """Remove the working files of all jobs, as a user or a lifecycle rule may do.

    Args:
        world: The world.
        names: Folders and files of each job; empty for all.
    """
    keys = world.s3.keys("work/")
    world.delete(*(key for key in keys if not names or key.split("/")[2] in names))


@pytest.mark.parametrize(("shards", "succeeded"), [((1,), 2), ((1, 2), 0)], ids=["one", "all"])
def test_job_whose_stored_rows_are_removed_ends_and_says_so(
    shards: tuple[int, ...], succeeded: int
) -> None:
    with World(ENVIRONMENT) as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while not world.s3.keys(keys.submissions(2)):
            world.run_for(1.0)
        world.delete(*(keys.results(1, number) for number in shards))
        world.settle(days=3)
        report = report_of(world, job.path)
        check_groq(world)
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "internal_error"
    assert f"the rows of {len(shards)} of its 2 shards" in report["errors"][0]["message"]
    assert report["requests"]["succeeded"] == succeeded
    assert report["requests"]["failed"] == 4 - succeeded


@pytest.mark.parametrize("seconds", [3.0, WHILE_BATCHES_RUN])
def test_job_whose_working_files_are_all_removed_cancels_its_batches_and_names_them(
    seconds: float,
) -> None:
    with World(ENVIRONMENT) as world:
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(seconds)
        remove_working_files(world)
        world.settle(days=3)
        report = report_of(world, job.path)
        batches = {batch["id"]: batch["status"] for batch in world.simulator.batches()}
        files = world.simulator.stats()["files"]
    assert report["status"] == "failed"
    assert "they may have been billed" in report["errors"][0]["message"]
    assert set(batches.values()) == {"cancelled"}
    assert {batch["id"] for batch in report["batches"]} == set(batches)
    # The answers, if there are any, are nowhere else.
    assert files


def test_job_whose_record_is_removed_reports_the_rows_that_it_had_collected() -> None:
    with World(ENVIRONMENT) as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while not world.s3.keys(keys.submissions(2)):
            world.run_for(1.0)
        remove_working_files(world, "job.json")
        world.settle(days=3)
        report = report_of(world, job.path)
    assert report["status"] == "failed"
    assert report["requests"] == {"total": 4, "succeeded": 3, "failed": 1, "invalid": 0}


def test_job_whose_plan_of_a_division_is_removed_ends_with_the_rows_that_it_had() -> None:
    with World() as world:
        world.simulator.add_refusal(at="validation", match={"model": "m1"}, status=400, times=None)
        job = put(world, "input/a.jsonl", lines_of_models(2, 2), max_attempts="2")
        keys = object_keys.WorkKeys(job.job_id(world.s3.bucket))
        while len(world.s3.keys(keys.shards(2))) < 2:
            world.run_for(1.0)
        remove_working_files(world, "attempts")
        world.settle(days=4)
        report = report_of(world, job.path)
        check_bucket(world)
        results = world.s3.read(f"output/{job.path}") or b""
        ids = [json.loads(line)["custom_id"] for line in results.splitlines()]
    assert report["status"] == "failed"
    assert ids == [line.custom_id for line in job.lines]


NO_REPORTS = (
    b"",
    b"hello",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"[" * 100_000,
    b'{"input": null}',
    b'{"job_id": "a", "input": []}',
)


@pytest.mark.parametrize("data", NO_REPORTS, ids=lambda data: repr(data[:20]))
@pytest.mark.parametrize("seconds", [0.0, WHILE_BATCHES_RUN])
def test_job_where_a_user_puts_something_else_in_place_of_its_report(
    data: bytes, seconds: float
) -> None:
    key = "reports/a.jsonl.json"
    with World(ENVIRONMENT) as world:
        user = world.s3.client()
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(seconds)
        user.put_object(Bucket=world.s3.bucket, Key=key, Body=data)
        world.settle(days=1)
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert data in world.s3.history(key)


def test_a_job_whose_upload_is_removed_for_good_delivers_at_its_path() -> None:
    with World(ENVIRONMENT) as world:
        put(world, "input/a.jsonl", good_lines(2, "old"))
        world.settle()
        world.run_for(HOUR)
        upload = put(world, "input/a.jsonl", good_lines(2, "new"))
        world.run_for(WHILE_BATCHES_RUN)
        # What stands first among the versions of the key is now an upload from before this one.
        world.s3.remove_version(upload.key, upload.version_id)
        world.settle()
        assert check(world, upload)["status"] == "succeeded"
        assert answered(world) == {"new0", "new1"}


def test_a_job_whose_upload_is_removed_for_good_gives_way_to_a_newer_one() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(2, "old"))
        world.run_for(WHILE_BATCHES_RUN)
        newer = put(world, "input/a.jsonl", good_lines(2, "new"))
        world.s3.remove_version(upload.key, upload.version_id)
        upload.keeps_path = False
        world.settle()
        check_end(world, upload, newer)
        assert answered(world) == {"new0", "new1"}


def test_a_stopped_job_does_not_give_batches_up_for_a_404_of_a_moment() -> None:
    with World(ENVIRONMENT, simulator={"batch_seconds": 600}) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        # They answer half of what they are asked, and cannot be cancelled for a while.
        for batch in world.simulator.batches():
            world.simulator.change_batch(batch["id"], end="stuck", done=0.5)
        world.simulator.add_fault("cancel", status=500, times=None)
        assert world.stop(upload.job_id("bucket"))
        world.run_for(800)
        for route in ("list_by_ids", "retrieve"):
            world.simulator.add_fault(route, status=404, body="<html>no</html>", times=None)
        world.run_for(300)
        world.simulator.clear_faults()
        world.settle()
        check(world, upload)
        assert len(answered(world)) == 2


# Results that come cut


@pytest.mark.parametrize("counts", [{}, {"override": {"request_counts": None}}])
@pytest.mark.parametrize("times", [3, None])
def test_results_that_were_cut_on_the_way_are_not_asked_for_and_paid_again(
    times: int | None, counts: dict[str, Any]
) -> None:
    with World({}) as world:
        world.simulator.add_fate(**counts)
        # What cuts it makes its length fit, so that nothing is missing by the look of it.
        row = success_row("r0", {}, "Echo: r0", row_id=f"{1:024d}", now=0)
        world.simulator.add_fault("content", status=200, body=json.dumps(row) + "\n", times=times)
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        assert len(world.simulator.batches()) == 1
        assert len(paid(world, upload)) == 3
        report = report_of(world, "a.jsonl")
        if times is not None:
            assert (report["status"], answered(world)) == ("succeeded", {"r0", "r1", "r2"})
            return
        assert (report["status"], answered(world)) == ("partial", {"r0"})
        assert [one["code"] for one in report["errors"]] == ["missing", "missing"]
        assert "could not be fetched" in report["errors"][0]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"output_file_id": None, "error_file_id": None, "request_counts": None},
        {"output_file_id": None, "error_file_id": None},
        # The file of the errors comes first.
        {"output_file_id": None},
    ],
    ids=["no counts", "no files", "errors only"],
)
def test_a_batch_whose_files_appear_after_its_end_is_not_sent_again(
    changes: dict[str, Any],
) -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r2"})
        upload = put(world, "input/a.jsonl", good_lines(3))
        while not world.simulator.stats()["creates"]:
            world.run_for(1.0)
        (batch,) = world.simulator.batches()
        world.clock.advance_to(world.clock() + 150.0)
        ended = world.groq.client().retrieve_batch(batch["id"])
        assert ended.status == "completed"
        told = {**world.simulator.batches()[0], **changes}
        world.simulator.add_fault("list_by_ids", body={"data": [told]}, status=200, times=1)
        world.simulator.add_fault("retrieve", body=told, status=200, times=2)
        world.settle()
        report = check(world, upload)
        assert world.simulator.stats()["creates"] == 1
    assert (report["status"], report["requests"]["succeeded"]) == ("partial", 2)


@pytest.mark.parametrize("created_at", [1_700_000_000, 2_000_000_000])
@pytest.mark.parametrize("has_end", [True, False])
def test_batches_with_dates_of_another_year_are_neither_expired_nor_left_for_days(
    monkeypatch: pytest.MonkeyPatch, created_at: int, has_end: bool
) -> None:
    dates = {"created_at": created_at, "expires_at": created_at + int(DAY) if has_end else None}

    def with_other_dates(data: object) -> Batch | None:
        found = batch_of(data)
        return replace(found, **dates) if found is not None else None

    monkeypatch.setattr("groq_batch.groq.decoding.batch_of", with_other_dates)
    monkeypatch.setattr("groq_batch.groq.client.batch_of", with_other_dates)
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, upload)
        assert world.simulator.calls("cancel") == []
    assert report["status"] == "succeeded"
    timing = report["timing"]
    assert timing["seconds"] < 150
    assert timing["started_at"] <= timing["submitted_at"]


def test_a_create_whose_outcome_is_never_known_is_not_told_to_be_unsent() -> None:
    with World() as world:
        world.simulator.add_fault("create", answer="reset", act=True, times=1)
        world.simulator.add_fault("list", status=404, times=None)
        put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        report = report_of(world, "a.jsonl")
        rows = [json.loads(line) for line in (world.s3.read("output/a.jsonl") or b"").splitlines()]
    assert (report["status"], report["errors"][0]["code"]) == ("failed", "timed_out")
    assert [row["error"]["code"] for row in rows] == ["outcome_unknown"] * 2
    assert "may have been billed" in rows[0]["error"]["message"]


# What nobody should do


def by_hand(world: World, function: str, payload: dict[str, Any]) -> Invocation:
    """Call a function; return the invocation when it has ended."""
    invocation = Invocation(world, function, payload, len(world.invocations) + 1)
    world.invocations.append(invocation)
    invocation.run()
    return invocation


def test_a_job_that_is_finished_by_hand_while_its_batches_run_goes_on() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(WHILE_BATCHES_RUN)
        call = by_hand(world, "finish_job", {"job_id": upload.job_id("bucket")})
        assert "0 of its 2 shards" in str(call.exception)
        world.invocations.remove(call)
        world.settle()
        report = check(world, upload)
    assert report["status"] == "succeeded"


def test_shards_that_are_collected_by_hand_before_they_have_a_batch_are_collected_later() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        keys = object_keys.WorkKeys(upload.job_id("bucket"))
        world.simulator.add_fault("create", status=429, times=None)
        while world.s3.read(keys.batches(1)) is None:
            world.run_for(60.0)
        for number in (1, 2):
            event = {"job_id": keys.job, "shard_key": keys.shard(1, number)}
            assert by_hand(world, "download_results", event).answer["outcome"] == "deferred"
        world.simulator.clear_faults()
        world.settle()
        report = check(world, upload)
    assert report["status"] == "succeeded"


def test_a_job_whose_record_is_removed_does_not_ask_to_be_started_again() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.run_for(WHILE_BATCHES_RUN)
        world.delete(f"work/{upload.job_id('bucket')}/job.json")
        world.settle()
        report = report_of(world, "a.jsonl")
    assert (report["status"], report["errors"][0]["code"]) == ("failed", "internal_error")
    assert "before you send the file again" in report["errors"][0]["message"]


# Batches that vanish


def test_a_batch_that_vanishes_is_told_and_given_up_when_the_job_is_stopped() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN / 2)
        lost = world.simulator.batches()[1]["id"]
        world.simulator.forget_batch(lost)
        world.run_for(DAY)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        assert report["errors"][0]["code"] == "batch_not_found"
        assert lost in report["errors"][0]["message"]
        assert "stop the job's execution" in report["errors"][0]["message"]
        assert world.stop(upload.job_id("bucket"))
        world.run_for(300)
        report = report_of(world, "a.jsonl")
        assert "does not know it 10 minutes after" in report["errors"][0]["message"]
        world.run_for(HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "cancelled"
        assert len(answered(world)) == 2
        world.settle()
        assert len(world.simulator.batches()) == 1
