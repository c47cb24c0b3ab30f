"""The doubles of this folder are what they stand for: Groq over HTTP, Step Functions, threads."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from groq_batch.bucket.storage import Storage
from groq_batch.groq.calls import Timeouts
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError
from groq_batch.records.submission import Stage, Submission, SubmissionLease
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from local.groq_simulator.control import ControlOperations
from tests.fakes.calls import Call
from tests.fakes.event_bridge import FakeEventBridge
from tests.fakes.groq import FakeGroq
from tests.fakes.step_functions import MACHINE_ARN, FakeStepFunctions
from tests.harness.invocations import Die, Invocation, Killed
from tests.harness.jobs import file_of, good_lines
from tests.harness.world import World

# -- Groq ----------------------------------------------------------------------------------------

Server = tuple[GroqClient, ControlOperations]


def _key(*, refresh: bool = False) -> str:
    return DEFAULT_KEY


@pytest.fixture(params=["http", "double"])
def groq(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Yield a client of a simulator, over HTTP or in this process."""
    if request.param == "http":
        with GroqSimulator(batch_seconds=0.0) as simulator:
            timeouts = Timeouts(pause=0.0)
            client = GroqClient(base_url=simulator.url, api_key=_key, timeouts=timeouts)
            yield client, simulator.control
        return
    fake = FakeGroq(clock=time.time, batch_seconds=0.0)
    yield fake.client(), fake.control
    fake.close()


def transcript(client: GroqClient) -> list[Any]:
    """Do everything that the pipeline does with Groq; returns what can be compared."""
    data = file_of(good_lines(3))
    said: list[Any] = []

    def tell(step: str, act: Callable[[], Any]) -> Any:
        try:
            result = act()
        except GroqApiError as error:
            said.append((step, type(error).__name__, error.status, error.code))
            return None
        said.append((step, "ok"))
        return result

    file = tell(
        "upload",
        lambda: client.upload_file(
            filename="f.jsonl", open_stream=lambda: io.BytesIO(data), size=len(data)
        ),
    )
    batch = tell(
        "create",
        lambda: client.create_batch(
            input_file_id=file.id if file else "file_none",
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"job": "j", "shard": "1", "attempt": "1"},
        ),
    )
    listed = tell("list", lambda: list(client.all_batches())) or []
    if batch is not None:
        found = tell("by id", lambda: client.batches_by_id([batch.id, "batch_none"]))
        seen = tell("retrieve", lambda: client.retrieve_batch(batch.id))
        tell("cancel", lambda: client.cancel_batch(batch.id))
        said.append([one.status for one in found.batches.values()] if found else [])
        if seen is not None and seen.output_file_id:
            target = io.BytesIO()
            size = tell("content", lambda: client.download_file(seen.output_file_id, target))
            rows = [json.loads(row) for row in target.getvalue().splitlines()] if size else []
            said.append((size, sorted(row["custom_id"] for row in rows)))
    files = tell("files", client.list_files) or []
    said.append((len(listed), sorted((one.filename or "")[-6:] for one in files)))
    for one in files:
        tell("delete", lambda one=one: client.delete_file(one.id))
    return said


FAULTS: list[dict[str, Any]] = [
    {},
    {"status": 500},
    {"status": 503, "times": 9},
    {"status": 504, "act": True},
    {"status": 429, "headers": {"Retry-After": "7"}},
    {"status": 401, "body": {"error": {"code": "invalid_api_key", "message": "no"}}, "times": 9},
    {"status": 413},
    {"status": 418, "body": "teapot"},
    {"answer": "reset", "times": 9},
    {"answer": "reset", "act": True},
    {"answer": "half_close", "seconds": 0.0, "times": 9},
    {"answer": "half_close", "seconds": 0.0, "act": True},
    {"answer": "garbage"},
    {"answer": "cut", "times": 9},
    {"answer": "cut", "fraction": 0.0},
]
ROUTES = (
    "upload",
    "create",
    "list",
    "list_by_ids",
    "retrieve",
    "content",
    "cancel",
    "files_list",
    "file_delete",
)


@pytest.fixture(scope="module")
def heard() -> dict[str, list[Any]]:
    """Return what each fault came to with the first of the two servers."""
    return {}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_double_of_groq_answers_like_the_simulator(
    groq: Server, fault: dict[str, Any], heard: dict[str, list[Any]]
) -> None:
    client, control = groq
    said = []
    for route in ROUTES if fault else ROUTES[:1]:
        control.reset()
        if fault:
            control.add_fault(route, **fault)
        said.append((route, transcript(client), control.stats()["calls"]))
    expected = heard.setdefault(str(fault), said)
    assert said == expected


def test_unreachable_groq_gets_nothing() -> None:
    fake = FakeGroq(clock=time.time)
    fake.reachable = False
    client = fake.client()
    with pytest.raises(GroqApiError) as caught:
        client.retrieve_batch("batch_1")
    assert type(caught.value).__name__ == "NotSentError"
    assert fake.control.stats()["calls"] == {}
    fake.close()


def test_wire_of_groq_sees_every_request() -> None:
    seen: list[str] = []

    def wire(call: Call, act: Callable[[], Any]) -> Any:
        seen.append(str(call))
        return act()

    fake = FakeGroq(clock=time.time, batch_seconds=0.0)
    fake.control.add_fault("content", status=500)
    transcript(fake.client(wire))
    assert seen == [
        "groq.upload",
        "groq.create",
        "groq.list",
        "groq.list_by_ids",
        "groq.retrieve",
        "groq.retrieve",
        "groq.cancel",
        "groq.retrieve",
        "groq.content",
        "groq.content",
        "groq.files_list",
        "groq.file_delete",
        "groq.file_delete",
    ]
    fake.close()


# -- Step Functions and EventBridge --------------------------------------------------------------


def test_executions_have_names_of_their_own() -> None:
    now = [100.0]
    started = []
    server = FakeStepFunctions(on_start=started.append, clock=lambda: now[0])
    states = server.client()
    start = {"stateMachineArn": MACHINE_ARN, "name": "a", "input": '{"n": 1}'}
    arn = states.start_execution(**start)["executionArn"]
    assert states.start_execution(**start)["executionArn"] == arn
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(**{**start, "input": "{}"})
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    server.executions[arn].change("FAILED", "BrokenError", now[0])
    assert states.describe_execution(executionArn=arn)["error"] == "BrokenError"
    with pytest.raises(states.exceptions.ExecutionAlreadyExists):
        states.start_execution(**start)
    with pytest.raises(states.exceptions.ExecutionDoesNotExist):
        states.describe_execution(executionArn=server.arn("b"))
    with pytest.raises(states.exceptions.InvalidName):
        states.start_execution(**{**start, "name": "a/b"})
    assert len(started) == 1


def test_descriptions_may_be_old() -> None:
    now = [100.0]
    server = FakeStepFunctions(clock=lambda: now[0])
    server.lag_seconds = 5
    states = server.client()
    states.start_execution(stateMachineArn=MACHINE_ARN, name="a", input="{}")
    arn = server.arn("a")
    with pytest.raises(states.exceptions.ExecutionDoesNotExist):
        states.describe_execution(executionArn=arn)
    now[0] = 110.0
    server.executions[arn].change("ABORTED", None, now[0])
    assert states.describe_execution(executionArn=arn)["status"] == "RUNNING"
    now[0] = 120.0
    assert states.describe_execution(executionArn=arn)["status"] == "ABORTED"


def test_executions_are_listed_by_status_as_late_as_they_are_described() -> None:
    now = [100.0]
    server = FakeStepFunctions(clock=lambda: now[0])
    server.lag_seconds = 5
    for name in "abc":
        server.start_execution(stateMachineArn=MACHINE_ARN, name=name, input="{}")

    def listed(status: str) -> list[list[str]]:
        pages = (
            server.client()
            .get_paginator("list_executions")
            .paginate(
                stateMachineArn=MACHINE_ARN, statusFilter=status, PaginationConfig={"PageSize": 2}
            )
        )
        return [[one["name"] for one in page["executions"]] for page in pages]

    assert listed("RUNNING") == [[]]
    now[0] = 110.0
    server.executions[server.arn("b")].change("FAILED", None, now[0])
    assert listed("RUNNING") == [["c", "b"], ["a"]]
    now[0] = 120.0
    assert (listed("RUNNING"), listed("FAILED")) == ([["c", "a"]], [["b"]])


def test_events_are_refused_in_a_successful_answer() -> None:
    server = FakeEventBridge()
    server.refusals = 1
    entry = {"Source": "s", "DetailType": "t", "Detail": '{"n": 1}'}
    assert server.client().put_events(Entries=[entry, entry])["FailedEntryCount"] == 1
    assert server.published == [("s", "t", {"n": 1})]


# -- virtual time --------------------------------------------------------------------------------


@pytest.fixture
def world() -> Iterator[World]:
    with World() as made:
        yield made


def held_submission(world: World, invocation: Invocation) -> SubmissionLease:
    storage = Storage(s3=world.s3.client(invocation.wire), bucket="bucket")
    return SubmissionLease.claim(storage, "record", None, owner="me", clock=world.clock)


def in_invocation(world: World, act: Callable[[Invocation], None], **fields: Any) -> Invocation:
    """Run something as an invocation does, in this thread."""
    invocation = Invocation(world, "submit_batch", {}, 1, **fields)
    invocation.run_with(lambda: act(invocation))
    return invocation


def lease_of(world: World) -> float:
    data = world.s3.read("record")
    assert data is not None
    return float(json.loads(data)["lease_until"]) - world.clock()


def test_leases_are_renewed_in_virtual_time(world: World) -> None:
    def act(invocation: Invocation) -> None:
        with held_submission(world, invocation):
            for _ in range(10):
                world.clock.advance_to(world.clock() + 20)
                assert lease_of(world) > 20
        assert threading.active_count() == before

    before = threading.active_count()
    assert in_invocation(world, act).exception is None


def test_leases_of_what_stands_still_are_not(world: World) -> None:
    def act(invocation: Invocation) -> None:
        with held_submission(world, invocation) as held:
            invocation.frozen = True
            world.clock.advance_to(world.clock() + 31)
            assert lease_of(world) < 0
            invocation.frozen = False
            held.update(stage=Stage.UPLOADED)

    assert in_invocation(world, act).exception is None


def test_leases_of_the_dead_are_not(world: World) -> None:
    def act(invocation: Invocation) -> None:
        with held_submission(world, invocation) as held:
            held.update(stage=Stage.UPLOADED)

    invocation = in_invocation(world, act, troubles=(Die(at=1),))
    assert invocation.failure is not None
    world.clock.advance_to(world.clock() + 31)
    assert lease_of(world) < 0
    found = Submission.load(Storage(s3=world.s3.client(), bucket="bucket"), "record")
    assert found is not None
    assert found.value.stage is Stage.CLAIMED
    with pytest.raises(Killed):
        invocation.storage().exists("anything")
