"""The whole of AWS and Groq around the pipeline, in one process and in virtual time.

The world has a bucket, a simulated Groq, Step Functions that runs the shipped state machine, the
event rules of the template, and a clock that jumps from one moment at which something happens to
the next. Handlers are the real ones; they run to their end in no time, unless a test holds them.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from groq_batch.domain import object_keys
from groq_batch.settings import Settings
from local.asl import MACHINE as DEFINITION
from local.function_environment import PARAMETER_DEFAULTS
from local.groq_simulator.control import ControlOperations
from local.state_machine.definition import Machine
from local.state_machine.machine import Execution, Pause, TaskError
from tests.fakes.event_bridge import FakeEventBridge
from tests.fakes.groq import FakeGroq
from tests.fakes.s3 import FakeS3
from tests.fakes.step_functions import MACHINE_ARN, ExecutionRecord, FakeStepFunctions
from tests.harness.invocations import (
    Hold,
    Invocation,
    LoseAnswer,
    Refuse,
    Trouble,
    current_job,
    time_ahead,
)
from tests.harness.virtual_time import VirtualClock

MADE_UP_MODELS: dict[str, dict[str, Any]] = {f"m{number}": {} for number in range(4)}
"""Models that the account lists besides those that there are, for files of several models."""

START = 1_800_000_000.0
RECONCILE_SECONDS = 900.0
INVOKE_SECONDS = 0.25
"""Virtual time between the scheduling of a function and its first line."""

ASYNCHRONOUS_RETRIES = (60.0, 120.0)
"""After how long Lambda repeats an event whose handler failed."""

ENDS = ("FAILED", "TIMED_OUT", "ABORTED")
"""The ends of executions that the template's rule passes on."""

DEFAULT_ENVIRONMENT = {
    "BUCKET_NAME": "bucket",
    "GROQ_BASE_URL": "http://127.0.0.1:9/openai/v1",
    "GROQ_API_KEY_SECRET_NAME": "groq/api-key",
    **PARAMETER_DEFAULTS,
    "STATE_MACHINE_ARN": MACHINE_ARN,
}

SUBSTITUTIONS = {
    "Partition": "aws",
    "PrepareInputFunctionArn": "prepare_input",
    "SubmitBatchFunctionArn": "submit_batch",
    "CheckStatusFunctionArn": "check_status",
    "DownloadResultsFunctionArn": "download_results",
    "AnswerRequestsFunctionArn": "answer_requests",
    "FinishJobFunctionArn": "finish_job",
    "CancelJobFunctionArn": "cancel_job",
}

Director = Callable[[Invocation], Sequence[Trouble]]
"""Decides what happens to an invocation, before it begins."""


def no_trouble(invocation: Invocation) -> Sequence[Trouble]:
    """Let everything pass."""
    return ()


_machine: list[Machine] = []


def shipped_machine() -> Machine:
    """Return the machine that the template ships, compiled once."""
    if not _machine:
        _machine.append(Machine.load(DEFINITION, SUBSTITUTIONS, arn=MACHINE_ARN))
    return _machine[0]


@dataclass(slots=True, order=True)
class _Entry:
    """Something that goes on at a moment; ``is_background`` does not keep the world going."""

    moment: float
    order: int
    steps: Pause = field(compare=False)
    is_background: bool = field(compare=False, default=False)


@dataclass(slots=True)
class _Running:
    """An execution that is under way."""

    execution: Execution
    steps: Pause


class World:
    """Everything around one stack.

    Args:
        environment: Variables of the functions that differ from the defaults.
        director: Decides what happens to invocations.
        seed: Seed of the jitter of retries.
        versioned: Whether the bucket's versioning is enabled; otherwise each upload is of the
            version ``null`` and replaces the one before.
        simulator: Settings of the Groq simulator.
        machine: The state machine, if it is another than the shipped one.

    Attributes:
        machine: The state machine.
        clock: The world's clock.
        s3: The bucket.
        groq: Groq.
        states: Step Functions.
        events: EventBridge's default bus.
        invocations: All invocations, in order.
        executions: All executions by name.
        dead_letters: Events whose function failed three times.
        reader_failures: How many times the next Maps cannot read their items.
        on_held: Called with an invocation when it is held.
        tells_ends: Tells whether the event of an execution's end arrives; it is best effort.
        denies: Tells whether a policy denies an operation of S3 on a key.
        on_visit: Called with the names of an execution and of the state that it, or a child of it,
            enters.
        time_limits: Time limits, in seconds, of executions by name that differ from the machine's.
        calls: How many calls were made in all.
        call_seconds: How long an ordinary call of Groq takes.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        director: Director = no_trouble,
        seed: int = 0,
        versioned: bool = True,
        simulator: Mapping[str, Any] | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.machine = machine or shipped_machine()
        self.clock = VirtualClock(START)
        self.settings = Settings.from_env({**DEFAULT_ENVIRONMENT, **(environment or {})})
        self.s3 = FakeS3(self.settings.bucket, versioned=versioned, clock=self.clock)
        self.groq = FakeGroq(
            clock=lambda: self.clock() + time_ahead(),
            **{
                "batch_seconds": 100.0,
                "cancel_seconds": 20.0,
                "models": MADE_UP_MODELS,
                **(simulator or {}),
            },
        )
        self.groq.job = current_job
        self.states = FakeStepFunctions(on_start=self._on_start, clock=self.clock)
        self.events = FakeEventBridge()
        self.director = director
        self.invocations: list[Invocation] = []
        self.executions: dict[str, Execution] = {}
        self.dead_letters: list[tuple[str, Any]] = []
        self.reader_failures = 0
        self.on_held: Callable[[Invocation], None] = lambda _: None
        self.tells_ends: Callable[[Execution], bool] = lambda _: True
        self.denies: Callable[[str, str], bool] = lambda operation, key: False
        self.on_visit: Callable[[str, str], None] = lambda execution, state: None
        self.time_limits: dict[str, float] = {}
        self.calls = 0
        self.call_seconds = 0.0
        self._random = random.Random(seed)
        self._heap: list[_Entry] = []
        self._order = 0
        self._running: dict[str, _Running] = {}
        self._user = self.s3.client()
        self.spawn(self._reconcile_for_ever(), is_background=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for invocation in self.invocations:
            if not invocation.ended:
                invocation.release(dead=True)
        self.groq.close()

    @property
    def simulator(self) -> ControlOperations:
        """The control of the Groq simulator."""
        return self.groq.control

    # -- what users do ---------------------------------------------------------------------------

    def upload(
        self,
        key: str,
        data: bytes,
        *,
        delays: Sequence[float] = (1.0,),
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Put an object; returns its version.

        Args:
            key: Its key.
            data: Its bytes.
            delays: When its event is delivered, in seconds from now; once for each.
            metadata: The options that it brings.
        """
        answer = self._user.put_object(
            Bucket=self.s3.bucket, Key=key, Body=data, Metadata=dict(metadata or {})
        )
        version_id = str(answer.get("VersionId", "null"))
        event = {
            "detail-type": "Object Created",
            "detail": {
                "bucket": {"name": self.s3.bucket},
                "object": {
                    "key": key,
                    "size": len(data),
                    "etag": answer["ETag"].strip('"'),
                    "version-id": version_id,
                },
            },
        }
        if key.startswith((object_keys.INPUT_PREFIX, object_keys.RECURRING_PREFIX)):
            for delay in delays:
                self.deliver("start_job", event, delay)
        return version_id

    def delete(self, *keys: str) -> None:
        """Remove objects."""
        objects = [{"Key": key} for key in keys]
        self._user.delete_objects(Bucket=self.s3.bucket, Delete={"Objects": objects})

    def stop(self, name: str) -> bool:
        """Stop an execution; tells whether it was running."""
        running = self._running.pop(name, None)
        if running is None:
            return False
        running.steps.close()  # type: ignore[attr-defined]
        if running.execution.status == "RUNNING":
            # It had not begun yet.
            running.execution.status = "ABORTED"
        self._ended(running.execution)
        return True

    def redrive(self, name: str) -> bool:
        """Redrive an execution; tells whether that was possible."""
        execution = self.executions[name]
        if name in self._running or execution.status not in ENDS:
            return False
        self.states.executions[execution.arn].change("RUNNING", None, self.clock())
        self._run_execution(execution, execution.redrive())
        return True

    def sweep(self, scheduled_time: str = "") -> None:
        """Let the schedule fire."""
        self.deliver("start_job", {"trigger": "schedule", "scheduled_time": scheduled_time}, 0.0)

    def deliver(self, function: str, event: Any, delay: float) -> None:
        """Invoke a function with an event later, as EventBridge does."""
        self.spawn(self._asynchronously(function, event), after=delay)

    # -- time ------------------------------------------------------------------------------------

    def spawn(self, steps: Pause, *, after: float = 0.0, is_background: bool = False) -> None:
        """Let something begin after some seconds."""
        self._push(self.clock() + after, steps, is_background)

    def _push(self, moment: float, steps: Pause, is_background: bool) -> None:
        self._order += 1
        heapq.heappush(self._heap, _Entry(moment, self._order, steps, is_background))

    def run_until(self, moment: float) -> None:
        """Let everything happen that happens until then."""
        while self._heap and self._heap[0].moment <= moment:
            self._step()
        self.clock.advance_to(moment)

    def run_for(self, seconds: float) -> None:
        """Let everything happen that happens within some seconds."""
        self.run_until(self.clock() + seconds)

    def settle(self, *, days: float = 60.0) -> None:
        """Let the world go on until nothing is left to happen.

        Raises:
            AssertionError: It still goes on after some days.
        """
        deadline = self.clock() + days * 86_400
        while self._is_busy():
            assert self.clock() < deadline, f"The world never comes to rest: {self.describe()}"
            self._step()

    def _is_busy(self) -> bool:
        return any(not entry.is_background for entry in self._heap) or bool(self.open_jobs())

    def _step(self) -> None:
        entry = heapq.heappop(self._heap)
        self.clock.advance_to(entry.moment)
        following = next(entry.steps, None)
        if following is not None:
            self._push(max(following, self.clock()), entry.steps, entry.is_background)

    def open_jobs(self) -> list[str]:
        """Return the jobs without a final report."""
        keys = self.s3.keys(object_keys.OPEN_JOBS_PREFIX)
        return [key.removeprefix(object_keys.OPEN_JOBS_PREFIX) for key in keys]

    def describe(self) -> str:
        """Say what is going on, for a failing test."""
        lines = [f"open jobs {self.open_jobs()}"]
        for name, execution in self.executions.items():
            lines.append(f"{name}: {execution.status} {execution.error} {execution.visits[-12:]}")
        for invocation in self.invocations[-6:]:
            failure = invocation.exception or invocation.failure
            lines.append(f"{invocation.request_id}: {invocation.answer or failure!r}"[:300])
        return "\n".join(lines)

    # -- invoking functions ----------------------------------------------------------------------

    def now(self) -> float:
        """Return the time; part of a machine's environment."""
        return self.clock()

    def jitter(self, seconds: float) -> float:
        """Return some part of a delay; part of a machine's environment."""
        return self._random.uniform(0, seconds)

    def invoke(self, function: str, payload: Any) -> Any:
        """Run a function; part of a machine's environment."""
        yield self.clock() + INVOKE_SECONDS
        invocation = Invocation(self, function, payload, len(self.invocations) + 1)
        self.invocations.append(invocation)
        # A director that fails ends the test; then nobody may wait for this invocation.
        invocation.ended = True
        invocation.troubles = tuple(self.director(invocation))
        invocation.ended = False
        for trouble in invocation.troubles:
            if isinstance(trouble, Refuse):
                invocation.ended = True
                raise TaskError(trouble.error)
        hold = invocation.held_by
        if hold is None:
            invocation.run()
        else:
            yield from self._held(invocation, hold)
        if invocation.ahead:
            yield self.clock() + invocation.ahead
        for trouble in invocation.troubles:
            if isinstance(trouble, LoseAnswer):
                raise TaskError(trouble.error)
        if invocation.failure is not None:
            raise invocation.failure
        return invocation.answer

    def _held(self, invocation: Invocation, hold: Hold) -> Pause:
        """Run an invocation beside the world for as long as it is held."""
        invocation.run_beside()
        if invocation.ended:
            return
        self.on_held(invocation)
        moment = self.clock() + hold.seconds
        if hold.lost is not None:
            self._push(moment, self._release(invocation), False)
            raise TaskError(hold.lost)
        try:
            yield moment
        except GeneratorExit:
            # Nobody waits for its answer any more, but it runs on.
            self._push(moment, self._release(invocation), False)
            raise
        invocation.release()

    def _release(self, invocation: Invocation) -> Pause:
        invocation.release()
        yield from ()

    def _asynchronously(self, function: str, event: Any) -> Pause:
        for pause in (*ASYNCHRONOUS_RETRIES, None):
            try:
                yield from self.invoke(function, event)
            except TaskError:
                if pause is None:
                    self.dead_letters.append((function, event))
                    return
                yield self.clock() + pause
            else:
                return

    def _reconcile_for_ever(self) -> Pause:
        event = {"trigger": "reconcile", "state_machine_arn": MACHINE_ARN}
        while True:
            yield self.clock() + RECONCILE_SECONDS
            if self.open_jobs():
                yield from self._asynchronously("cancel_job", event)

    # -- executions ------------------------------------------------------------------------------

    def _on_start(self, record: ExecutionRecord) -> None:
        execution = Execution.begin(
            self.machine,
            self,
            name=record.name,
            arn=record.arn,
            given=json.loads(record.input),
        )
        execution.timeout = self.time_limits.get(record.name, execution.timeout)
        execution.on_visit = lambda state: self.on_visit(record.name, state)
        self.executions[record.name] = execution
        self._run_execution(execution, execution.run())

    def _run_execution(self, execution: Execution, steps: Pause) -> None:
        self._running[execution.name] = _Running(execution, steps)
        self.spawn(self._follow(execution, steps))

    def _follow(self, execution: Execution, steps: Pause) -> Pause:
        yield from steps
        running = self._running.get(execution.name)
        if running is not None and running.steps is steps:
            del self._running[execution.name]
            self._ended(execution)

    def _ended(self, execution: Execution) -> None:
        record = self.states.executions[execution.arn]
        record.change(execution.status, execution.error, self.clock())
        if execution.status in ENDS and self.tells_ends(execution):
            detail = {
                "executionArn": execution.arn,
                "stateMachineArn": MACHINE_ARN,
                "name": execution.name,
                "status": execution.status,
                "input": None,
                "inputDetails": {"included": False},
                "redriveCount": execution.redrives,
            }
            event = {"detail-type": "Step Functions Execution Status Change", "detail": detail}
            self.deliver("cancel_job", event, 1.0)

    # -- the Maps --------------------------------------------------------------------------------

    def list_objects(self, bucket: str, prefix: str) -> list[dict[str, Any]]:
        """Return the items of a Map; part of a machine's environment."""
        if self.reader_failures > 0:
            self.reader_failures -= 1
            raise TaskError("States.ItemReaderFailed")
        pages = self._user.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [
            {
                "Etag": one["ETag"],
                "Key": one["Key"],
                "LastModified": int(one["LastModified"].timestamp()),
                "Size": one["Size"],
                "StorageClass": one["StorageClass"],
            }
            for page in pages
            for one in page.get("Contents", [])
        ]

    def write_object(self, bucket: str, key: str, data: bytes) -> None:
        """Store the results of a Map; part of a machine's environment."""
        self._user.put_object(Bucket=bucket, Key=key, Body=data)
