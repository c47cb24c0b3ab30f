"""Step Functions' client in memory: starting and describing executions of one state machine.

What runs an execution is not here: whoever makes the double is told of every new one, and says
later how it ended.
"""

# ruff: noqa: N803 (arguments are spelled as those of boto3)

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from tests.fakes.calls import Call, Wire, plain_wire

MACHINE_ARN = "arn:aws:states:us-east-1:000000000000:stateMachine:BatchJob"
RUNNING = "RUNNING"

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

_MAX_INPUT_BYTES = 262_144
_NAME = re.compile(r"[0-9A-Za-z_-]{1,80}")


class _StatesError(ClientError):
    def __init__(self, operation: str, message: str) -> None:
        answer: Any = {
            "Error": {"Code": type(self).__name__, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": 400, "RetryAttempts": 0},
        }
        super().__init__(answer, operation)


class ExecutionAlreadyExists(_StatesError):  # noqa: N818
    """An execution of the name exists, with another input or ended."""


class ExecutionDoesNotExist(_StatesError):  # noqa: N818
    """There is no execution of the ARN."""


class StateMachineDoesNotExist(_StatesError):  # noqa: N818
    """There is no state machine of the ARN."""


class InvalidName(_StatesError):  # noqa: N818
    """The name has characters that no execution may have, or too many."""


class _Exceptions:
    ExecutionAlreadyExists = ExecutionAlreadyExists
    ExecutionDoesNotExist = ExecutionDoesNotExist
    StateMachineDoesNotExist = StateMachineDoesNotExist
    InvalidName = InvalidName


@dataclass(slots=True)
class ExecutionRecord:
    """What Step Functions tells of one execution.

    Attributes:
        arn: Its ARN.
        name: Its name.
        input: The input as it was sent.
        started_at: When it was started, in seconds since 1970.
        status: ``RUNNING``, ``SUCCEEDED``, ``FAILED``, ``TIMED_OUT`` or ``ABORTED``.
        error: The error that it ended with, if any.
        changed_at: When the status last changed.
        status_before: The status before that.
        redrives: How often it was redriven.
    """

    arn: str
    name: str
    input: str
    started_at: float
    status: str = RUNNING
    error: str | None = None
    changed_at: float = 0.0
    status_before: str = RUNNING
    redrives: int = 0

    def change(self, status: str, error: str | None, now: float) -> None:
        """Take note of a new status; an execution that runs again was redriven."""
        if status == RUNNING != self.status:
            self.redrives += 1
        self.status_before, self.status = self.status, status
        self.error = error
        self.changed_at = now


class FakeStepFunctions:
    """The executions of one state machine.

    Args:
        machine_arn: The state machine.
        on_start: Called with every new execution.
        clock: Seconds since 1970.

    Attributes:
        executions: All executions by ARN.
        lag_seconds: For how long after a change ``describe_execution`` and ``list_executions`` tell
            what was before; their answers are eventually consistent.
    """

    def __init__(
        self,
        *,
        machine_arn: str = MACHINE_ARN,
        on_start: Callable[[ExecutionRecord], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.machine_arn = machine_arn
        self.executions: dict[str, ExecutionRecord] = {}
        self.lag_seconds = 0.0
        self._on_start = on_start
        self._clock = clock
        self._lock = threading.RLock()

    def client(self, wire: Wire = plain_wire) -> FakeStepFunctionsClient:
        """Return a client whose calls go through ``wire``."""
        return FakeStepFunctionsClient(self, wire)

    def arn(self, name: str) -> str:
        """Return the ARN of an execution."""
        return f"{self.machine_arn.replace(':stateMachine:', ':execution:')}:{name}"

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> dict[str, Any]:  # noqa: A002
        """Start an execution, or tell of the one that runs with the same name and input."""
        operation = "StartExecution"
        if stateMachineArn != self.machine_arn:
            raise StateMachineDoesNotExist(operation, stateMachineArn)
        if not _NAME.fullmatch(name):
            raise InvalidName(operation, f"Invalid Name: '{name}'")
        if len(input.encode()) > _MAX_INPUT_BYTES:
            raise ValueError("The input of an execution is longer than 256 KiB")
        json.loads(input)
        with self._lock:
            arn = self.arn(name)
            known = self.executions.get(arn)
            if known is None:
                known = ExecutionRecord(arn, name, input, self._clock(), changed_at=self._clock())
                self.executions[arn] = known
                self._on_start(known)
            elif known.status != RUNNING or known.input != input:
                raise ExecutionAlreadyExists(operation, f"Execution Already Exists: '{arn}'")
            return {"executionArn": arn, "startDate": datetime.fromtimestamp(known.started_at, UTC)}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        """Tell of an execution."""
        with self._lock:
            found = self.executions.get(executionArn)
            now = self._clock()
            if found is None or now < found.started_at + self.lag_seconds:
                message = f"Execution Does Not Exist: '{executionArn}'"
                raise ExecutionDoesNotExist("DescribeExecution", message)
            is_old = now < found.changed_at + self.lag_seconds
            answer: dict[str, Any] = {
                "executionArn": found.arn,
                "stateMachineArn": self.machine_arn,
                "name": found.name,
                "status": found.status_before if is_old else found.status,
                "startDate": datetime.fromtimestamp(found.started_at, UTC),
                "input": found.input,
                "redriveCount": found.redrives - (is_old and found.status == RUNNING),
            }
            if found.error is not None and not is_old:
                answer["error"] = found.error
            return answer

    def list_executions(
        self,
        *,
        stateMachineArn: str,
        statusFilter: str,
        maxResults: int = DEFAULT_PAGE,
        nextToken: str | None = None,
    ) -> dict[str, Any]:
        """Tell of the executions of a status, the newest first."""
        if stateMachineArn != self.machine_arn:
            raise StateMachineDoesNotExist("ListExecutions", stateMachineArn)
        if not 0 <= maxResults <= LARGEST_PAGE:
            raise ValueError(f"A page of ListExecutions has at most {LARGEST_PAGE} executions")
        with self._lock:
            now = self._clock()
            found = [
                {"executionArn": one.arn, "name": one.name, "status": statusFilter}
                for one in reversed(self.executions.values())
                if now >= one.started_at + self.lag_seconds
                and statusFilter
                == (one.status_before if now < one.changed_at + self.lag_seconds else one.status)
            ]
        start = int(nextToken or 0)
        answer: dict[str, Any] = {"executions": found[start : start + maxResults]}
        if start + maxResults < len(found):
            answer["nextToken"] = str(start + maxResults)
        return answer


class FakeStepFunctionsClient:
    """The boto3 client, as far as the code uses it."""

    exceptions = _Exceptions

    def __init__(self, server: FakeStepFunctions, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    def start_execution(self, **arguments: Any) -> dict[str, Any]:
        call = Call("states", "start_execution", arguments["name"], arguments)
        answer: dict[str, Any] = self._wire(call, lambda: self._server.start_execution(**arguments))
        return answer

    def describe_execution(self, **arguments: Any) -> dict[str, Any]:
        name = arguments["executionArn"].rsplit(":", 1)[-1]
        call = Call("states", "describe_execution", name, arguments)
        answer: dict[str, Any] = self._wire(
            call, lambda: self._server.describe_execution(**arguments)
        )
        return answer

    def get_paginator(self, name: str) -> FakePaginator:
        assert name == "list_executions"
        return FakePaginator(self._server, self._wire)


class FakePaginator:
    """Lists executions page by page, each with a call of its own."""

    def __init__(self, server: FakeStepFunctions, wire: Wire) -> None:
        self._server = server
        self._wire = wire

    def paginate(
        self, *, PaginationConfig: Mapping[str, int] | None = None, **arguments: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the pages."""
        if PaginationConfig is not None:
            arguments["maxResults"] = PaginationConfig["PageSize"]
        while True:
            given = dict(arguments)
            call = Call("states", "list_executions", given["statusFilter"], given)
            page = self._wire(call, lambda given=given: self._server.list_executions(**given))
            yield page
            if "nextToken" not in page:
                return
            arguments["nextToken"] = page["nextToken"]
