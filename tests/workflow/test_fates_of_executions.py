"""Fates of single executions: stopped, timed out, failed, redriven, killed at random."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from groq_batch.groq.errors import AccountError
from local import asl
from local.state_machine.definition import Machine
from local.state_machine.expressions import UnknownFeatureError
from tests.harness.invocations import FUNCTIONS, Die, Hold, Invocation, LoseAnswer, Refuse, Trouble
from tests.harness.jobs import Upload, check_end, good_lines, put, report_of
from tests.harness.scripts import SMALL_SHARDS
from tests.harness.world import DEFINITION, RECONCILE_SECONDS, START, SUBSTITUTIONS, World
from tests.workflow.fates import (
    DAY,
    ENVIRONMENT,
    HOUR,
    WHILE_BATCHES_RUN,
    answered,
    check,
    job_name,
    later,
)


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
