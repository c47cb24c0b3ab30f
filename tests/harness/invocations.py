"""One run of a Lambda function in a test: the real handler, with doubles that can strike.

An invocation has clients of its own. All of its calls pass through its wire, where troubles wait
for them: a death before or after a call, a call that is held while the world goes on, an error, an
answer that is lost and asked for again by the SDK. Once dead it does nothing any more: every
further call of any of its threads ends in ``Killed``, which no handler can catch as an
``Exception``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import logging
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from groq_batch import bootstrap
from groq_batch.bucket.storage import Storage
from groq_batch.groq.client import GroqClient
from groq_batch.records import submission
from groq_batch.settings import Settings
from local.state_machine.machine import TaskError
from tests.fakes.calls import Call
from tests.fakes.groq import shared_memory
from tests.fakes.s3 import client_error
from tests.harness.virtual_time import REAL_SECONDS, VirtualClock, VirtualThreading

if TYPE_CHECKING:
    from tests.harness.world import World

FUNCTIONS = (
    "start_job",
    "prepare_input",
    "submit_batch",
    "check_status",
    "download_results",
    "answer_requests",
    "finish_job",
    "cancel_job",
)
READS = (
    "s3.get_object",
    "s3.head_object",
    "s3.list_",
    "groq.list",
    "groq.files_list",
    "groq.retrieve",
    "groq.content",
    "groq.models",
    "states.describe_",
)
"""How the labels of calls begin that change nothing outside."""

ORDINARY_CALLS = ("chat", "transcriptions", "translations")
"""The calls of Groq that are asked one by one, and take some time."""

WAITING_FUNCTIONS = ("answer_requests",)
"""Functions whose own time goes on while they wait; others go on at once."""

DEATH = "Runtime.ExitError"
"""How Step Functions calls the death of a function's process (at a time-out: Sandbox.Timedout)."""


_SHARD = re.compile(r"/[0-9]{5}\.")
_JOB = re.compile(r"[a-z0-9-]+-[0-9a-f]{20}")
_UPLOAD = re.compile(r"\b(input|output|reports)/.*(?= #)")


class Killed(BaseException):
    """The invocation is dead."""


# -- troubles ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something that happens to an invocation.

    Attributes:
        at: The call at which it happens: its number from 0, or its label.
        after: Whether it happens after the call has acted, instead of before.
    """

    at: int | str = 0
    after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Die(Trouble):
    """The process ends; Step Functions sees ``error``."""

    error: str = DEATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Trouble):
    """The call takes so many seconds, during which the world goes on.

    Attributes:
        seconds: How long.
        lost: The error that Step Functions sees meanwhile, having lost sight of the invocation;
            None when it waits.
        frozen: Whether nothing of the invocation goes on, not even the renewal of leases.
    """

    seconds: float
    lost: str | None = None
    frozen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Trouble):
    """The call ends with an exception; a request to Groq with a broken connection."""

    error: Callable[[], Exception]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat(Trouble):
    """The answer is lost and the SDK makes the call a second time; nobody does so with Groq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Trouble):
    """The invocation never runs; Step Functions sees ``error``."""

    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoseAnswer(Trouble):
    """The invocation runs to its end, but Step Functions sees ``error``."""

    error: str


# -- invocations ---------------------------------------------------------------------------------


class _Local(threading.local):
    invocation: Invocation | None = None
    task: tuple[int, int] | None = None


_local = _Local()


def time_ahead() -> float:
    """Return by how much the time of the invocation that runs is ahead of the world's."""
    return _local.invocation.ahead if _local.invocation is not None else 0.0


def current_job() -> str:
    """Return the job that the running invocation is for, as far as its payload tells."""
    payload = _local.invocation.payload if _local.invocation is not None else None
    return str(payload.get("job_id", "")) if isinstance(payload, dict) else ""


def current() -> Invocation:
    """Return the invocation that the calling thread belongs to."""
    assert _local.invocation is not None, "No handler runs in this thread"
    return _local.invocation


@dataclass(slots=True, eq=False)
class Invocation:
    """One invocation.

    Attributes:
        world: The world that it runs in.
        function: The function's folder.
        payload: The event.
        number: Its number among all invocations of the world.
        troubles: What happens to it.
        trace: Its calls by label: the call, and how often it was made before.
        pooled: The places in the trace of calls that a pool makes side by side, by pool and task.
        seen: What its calls of AWS were told, by label; those of Groq are never alike.
        answer: What it returned.
        failure: How it failed as Step Functions sees it.
        exception: The exception that the handler raised.
        dead: Whether its process is gone.
        frozen: Whether its threads stand still.
        ahead: Seconds by which its own time is ahead of the world's: it has waited, or its calls
            have taken some time. It runs at once, and its answer comes when its time has come.
    """

    world: World
    function: str
    payload: Any
    number: int
    troubles: Sequence[Trouble] = ()
    trace: list[str] = field(default_factory=list)
    pooled: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    failure: TaskError | None = None
    exception: Exception | None = None
    dead: bool = False
    frozen: bool = False
    ended: bool = False
    ahead: float = 0.0
    _made: Counter[str] = field(default_factory=Counter)
    _turn: threading.Condition = field(default_factory=threading.Condition)
    _is_held: bool = False
    _thread: threading.Thread | None = None
    _death: str = DEATH

    @property
    def request_id(self) -> str:
        """What Lambda calls the invocation."""
        return f"{self.function}-{self.number:06d}"

    @property
    def clock(self) -> VirtualClock:
        """The world's clock."""
        return self.world.clock

    def now(self) -> float:
        """Return its own time."""
        return self.clock() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Let its own time go on."""
        self.ahead += seconds

    @property
    def held_by(self) -> Hold | None:
        """The hold among its troubles."""
        return next((one for one in self.troubles if isinstance(one, Hold)), None)

    @property
    def kind(self) -> tuple[str, ...]:
        """The function and its calls, whatever shard they were for."""
        return self.function, *(_SHARD.sub("/N.", label) for label in self.trace)

    @property
    def kind_in_any_job(self) -> tuple[str, ...]:
        """The function and its calls, whatever job, upload and shard they were for."""
        return tuple(_UPLOAD.sub(r"\1/KEY", _JOB.sub("JOB", label)) for label in self.kind)

    # -- what bootstrap builds -------------------------------------------------------------------

    def storage(self) -> Storage:
        return Storage(s3=self.world.s3.client(self.wire), bucket=self.world.s3.bucket)

    def groq(self) -> GroqClient:
        return self.world.groq.client(self.wire)

    def states(self) -> Any:
        return self.world.states.client(self.wire)

    def events(self) -> Any:
        return self.world.events.client(self.wire)

    def settings(self) -> Settings:
        return self.world.settings

    # -- running ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the handler to its end, in the calling thread."""
        event, context = json.loads(json.dumps(self.payload)), _Context(self.request_id)
        self.run_with(lambda: handler(self.function)(event, context))

    def run_with(self, act: Callable[[], Any]) -> None:
        """Run something as the handler is run."""
        before, _local.invocation = _local.invocation, self
        try:
            self.answer = json.loads(json.dumps(act()))
        except Killed:
            self.failure = TaskError(self._death)
        except Exception as error:  # noqa: BLE001 (Lambda tells of every exception)
            self.exception = error
            self.failure = TaskError(type(error).__name__, str(error)[:500])
        finally:
            _local.invocation = before
            self.ended = True

    def run_beside(self) -> None:
        """Run the handler in a thread of its own until it ends or is held."""

        def target() -> None:
            self.run()
            with self._turn:
                self._turn.notify_all()

        self._thread = threading.Thread(target=target, name=self.request_id, daemon=True)
        self._thread.start()
        self._await_turn()

    def release(self, *, dead: bool = False) -> None:
        """Let a held invocation go on to its end, or die where it stands."""
        with self._turn:
            self.dead = self.dead or dead
            self.frozen = False
            self._is_held = False
            self._turn.notify_all()
        self._await_turn()

    def _await_turn(self) -> None:
        with self._turn:
            calm = self._turn.wait_for(lambda: self.ended or self._is_held, REAL_SECONDS)
        assert calm, f"{self.request_id} neither ends nor is held; last call {self.trace[-1:]}"

    # -- the wire --------------------------------------------------------------------------------

    def wire(self, call: Call, act: Callable[[], Any]) -> Any:
        """Carry a call, with whatever happens to it."""
        if self.dead:
            raise Killed
        if _local.invocation is not self:
            # A thread that renews a lease; its calls come at any time and are not numbered.
            return act()
        name = str(call)
        label = f"{name} #{self._made[name]}"
        self._made[name] += 1
        number = len(self.trace)
        self._note(label)
        self.world.calls += 1
        struck = [one for one in self.troubles if one.at in (number, label)]
        for trouble in struck:
            if not trouble.after:
                self._strike(trouble, call)
        if call.service != "groq" and any(isinstance(one, Repeat) for one in struck):
            # The first answer is lost, whatever it is.
            with contextlib.suppress(Exception):
                act()
        try:
            answer = self._answer(call, act)
        except ClientError as error:
            self.seen[label] = error.response["Error"]["Code"]
            raise
        else:
            self.seen[label] = _without_body(answer) if call.service != "groq" else object()
            return answer
        finally:
            for trouble in struck:
                if trouble.after:
                    self._strike(trouble, call)

    def _note(self, label: str) -> None:
        if _local.task is not None:
            self.pooled.setdefault(_local.task, []).append(len(self.trace))
        self.trace.append(label)

    def _answer(self, call: Call, act: Callable[[], Any]) -> Any:
        """Return the service's answer, unless a policy denies the call."""
        if call.operation in ORDINARY_CALLS:
            self.ahead += self.world.call_seconds
        if call.service != "s3":
            return act()
        if call.operation == "delete_objects":
            # Denied one by one, in an answer that is a success.
            keys = [one["Key"] for one in call.arguments["Delete"]["Objects"]]
            denied = [key for key in keys if self.world.denies(call.operation, key)]
            if denied:
                error = {"Code": "AccessDenied", "Message": "Access Denied"}
                return {"Errors": [{"Key": key, **error} for key in denied]}
        elif self.world.denies(call.operation, call.target):
            code = "403" if call.operation == "head_object" else "AccessDenied"
            raise client_error(call.operation, 403, code, "Access Denied")
        return act()

    def _strike(self, trouble: Trouble, call: Call) -> None:
        if isinstance(trouble, Die):
            self._death = trouble.error
            self.dead = True
            raise Killed
        if isinstance(trouble, Break):
            raise ConnectionResetError if call.service == "groq" else trouble.error()
        if isinstance(trouble, Hold):
            with self._turn:
                self.frozen = trouble.frozen
                self._is_held = True
                self._turn.notify_all()
                self._turn.wait_for(lambda: not self._is_held)
            if self.dead:
                raise Killed


def _without_body(answer: Any) -> Any:
    """Return an answer that can be compared; an object's tag and version stand for its bytes."""
    if not isinstance(answer, dict):
        return answer
    return {name: value for name, value in answer.items() if name != "Body"}


class _Context:
    """The context of a Lambda function, as Powertools and the handlers read it."""

    def __init__(self, request_id: str) -> None:
        self.aws_request_id = request_id
        self.function_name = "groq-batch"
        self.memory_limit_in_mb = 512
        self.invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:groq-batch"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


# -- the handlers in place -----------------------------------------------------------------------


@functools.cache
def _app(function: str) -> ModuleType:
    return importlib.import_module(f"{function}.app")


def handler(function: str) -> Callable[[Any, Any], Any]:
    """Return a function's handler."""
    found: Callable[[Any, Any], Any] = _app(function).lambda_handler
    return found


@contextmanager
def handlers_in_place(*, inline: bool = True) -> Iterator[None]:
    """Give the handlers the doubles of whatever invocation runs them, and its clock.

    Args:
        inline: Whether thread pools do their work at once and in order, which makes every run of
            a test the same; the order is one of those that threads may come to.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("settings", "storage", "groq", "states", "events"):
            patch.setattr(bootstrap, name, lambda *_, name=name: getattr(current(), name)())
        # Functions make and remove thousands of small folders.
        if folder := shared_memory():
            patch.setattr(tempfile, "tempdir", str(folder))
        for function in FUNCTIONS:
            _hand_over_time(_app(function), patch)
        threads = VirtualThreading(
            lambda: current().clock, lambda: functools.partial(_goes_on, current()), Killed
        )
        patch.setattr(submission, "threading", threads)
        if inline:
            do_pools_inline(patch)
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _goes_on(invocation: Invocation) -> bool:
    return not invocation.frozen


def _hand_over_time(app: ModuleType, patch: pytest.MonkeyPatch) -> None:
    """Make a handler pass the test's clock to its use case, which it calls without one."""
    for name, value in list(vars(app).items()):
        if not callable(value) or not getattr(value, "__module__", "").startswith("groq_batch."):
            continue
        try:
            parameters = inspect.signature(value).parameters
        except (TypeError, ValueError):
            continue
        if "clock" in parameters:
            patch.setattr(app, name, _with_time(value, parameters))


def _with_time(value: Callable[..., Any], parameters: Mapping[str, Any]) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        invocation = current()
        arguments["clock"] = invocation.clock
        if invocation.function in WAITING_FUNCTIONS:
            arguments["clock"] = invocation.now
            arguments["sleep"] = invocation.sleep
        elif "sleep" in parameters:
            arguments["sleep"] = lambda _: None
        return value(**arguments)

    return call


def do_pools_inline(patch: pytest.MonkeyPatch) -> None:
    """Let the thread pools of the functions do their work at once and in order."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("groq_batch.") and hasattr(module, "ThreadPoolExecutor"):
            patch.setattr(module, "ThreadPoolExecutor", InlineExecutor)


class InlineExecutor(Executor):
    """A pool that does its work at once, in the thread that asks for it."""

    def __init__(self, max_workers: int | None = None, **_: object) -> None:
        self.max_workers = max_workers
        self._tasks = 0

    def submit(self, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        before = _local.task
        # A pool within a task of another one is part of that task.
        _local.task = before or (id(self), self._tasks)
        self._tasks += 1
        try:
            future.set_result(fn(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 (as the real pool does)
            future.set_exception(error)
        finally:
            _local.task = before
        return future
