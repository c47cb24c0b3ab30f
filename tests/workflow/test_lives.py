"""Random lives of a stack: files, fates, faults, deaths, stops and second deliveries, all at once.

A life is drawn by Hypothesis: what is uploaded and when, what becomes of each request and each
batch, which calls of Groq fail and how, which invocations die or are held or are seen to fail,
which events are lost or come twice, what users stop, start again or remove. The world lives through
it until nothing is left to happen. Then everything of ``jobs.py`` must hold: one row out for each
row in, in order; nothing paid twice; nothing sent before everything is checked; what may be tried
again is tried again; every job ends with a report, an event and a closed door.

``make test`` runs the same lives every time. For more of them, other ones each time::

    WORKFLOW_LIVES=20000 .venv/bin/python -m pytest tests/workflow/test_lives.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from groq_batch.domain import object_keys
from groq_batch.domain.job_id import job_id_of_execution
from local.groq_simulator import DEFAULT_KEY
from tests.fakes.s3 import client_error
from tests.harness.invocations import (
    FUNCTIONS,
    Break,
    Die,
    Hold,
    Invocation,
    LoseAnswer,
    Refuse,
    Repeat,
    Trouble,
)
from tests.harness.jobs import (
    MODEL,
    OTHER_MODEL,
    SPEECH_MODEL,
    TRANSCRIPTIONS_URL,
    Line,
    Upload,
    audio_line,
    bad_line,
    check_end,
    file_of,
    good_line,
    json_line,
)
from tests.harness.world import World

# A dead function closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

LIVES = int(os.environ.get("WORKFLOW_LIVES", "0"))

KEYS = ("input/a.jsonl", "input/a.jsonl", "input/team/b é+'.jsonl", "input/c.jsonl.gz")
"""Few, so that uploads meet at a key."""

LOST_SIGHT = ("Lambda.SdkClientException", "Lambda.ClientExecutionTimeoutException")
DEATHS = ("Runtime.ExitError", "Sandbox.Timedout")
REFUSALS = (
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Runtime.ImportModuleError",
    "Runtime.ImportModuleError",
)

MAX_HELD_SECONDS = 840.0
"""No function runs longer."""

QUARANTINE_SECONDS = 60.0
"""For so long a batch may be missing in lists after it was made."""


# -- what is drawn -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """Something that happens to the n-th invocation of a function, and to some after it."""

    function: str
    number: int
    trouble: Trouble
    span: int = 1

    def is_for(self, function: str, number: int) -> bool:
        """Tell whether an invocation is meant."""
        return function == self.function and 0 <= number - self.number < self.span


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a user, or the world, does some seconds after a file was uploaded."""

    delay: float
    file: int
    name: str
    argument: Any = None


@dataclass(frozen=True, slots=True)
class File:
    """A file to upload."""

    moment: float
    key: str
    lines: tuple[Line, ...]
    blanks: int
    ending: bytes
    delays: tuple[float, ...]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Life:
    """Everything that happens."""

    environment: dict[str, str]
    simulator: dict[str, Any]
    files: tuple[File, ...]
    rules: tuple[dict[str, Any], ...]
    fates: tuple[dict[str, Any], ...]
    refusals: tuple[dict[str, Any], ...]
    faults: tuple[dict[str, Any], ...]
    troubles: tuple[Placed, ...]
    actions: tuple[Action, ...]
    lost_ends: tuple[bool, ...]
    lag: float
    seed: int


PROMPTS = st.text(max_size=12)
IDS = st.one_of(
    st.integers(0, 9).map(lambda number: f"r{number}"),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=4),
)


@st.composite
def lines(draw: st.DrawFn) -> tuple[Line, ...]:
    """Draw the lines of a file: good ones, bad ones, and ids that come twice."""
    drawn: list[Line] = []
    used: set[str] = set()
    custom_ids = draw(st.one_of(st.lists(IDS, max_size=7), st.just([f"r{n}" for n in range(6)])))
    for custom_id in custom_ids:
        if custom_id in used and draw(st.booleans()):
            continue
        if custom_id in used:
            line = good_line(custom_id)
            drawn.append(Line(line.data, custom_id, "duplicate_custom_id"))
            continue
        used.add(custom_id)
        kind = draw(st.integers(0, 24))
        if kind == 0:
            drawn.append(bad_line(custom_id))
        elif kind == 1:
            drawn.append(Line(b'{"custom_id": ', None, "invalid_json"))
            used.remove(custom_id)
        elif kind == 2:
            drawn.append(Line(b"\xff\xfe", None, "invalid_encoding"))
            used.remove(custom_id)
        elif kind <= 4:
            drawn.append(audio_line(custom_id))
        # An ordinary call is known by its prompt.
        elif kind <= 8:
            drawn.append(json_line(custom_id, f"{custom_id}|{draw(PROMPTS)}"))
        else:
            model = OTHER_MODEL if kind <= 14 else MODEL
            drawn.append(good_line(custom_id, f"{custom_id}|{draw(PROMPTS)}", model=model))
    return tuple(drawn)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "on-invalid-line": st.sampled_from(["skip", "skip", "reject"]),
        "max-attempts": st.integers(1, 3).map(str),
        "completion-window": st.sampled_from(["24h", "48h"]),
        "batch-deadline": st.sampled_from(["1m", "20m", "90m", "6h"]),
        "deadline-max-usd": st.sampled_from(["0", "0.0004", "1", "1", "1"]),
        "retry-invalid-output": st.sampled_from(["true", "true", "false"]),
        "canary-requests": st.sampled_from(["0", "1", "1", "2", "4"]),
        "canary-max-failed-percent": st.sampled_from(["0", "50", "100"]),
    },
)

MOMENTS = st.one_of(
    st.integers(0, 60).map(float),
    st.integers(0, 2_000).map(float),
    st.integers(0, 200_000).map(float),
)

FILES = st.builds(
    File,
    moment=MOMENTS,
    key=st.sampled_from(KEYS),
    lines=lines(),
    blanks=st.integers(0, 2),
    ending=st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\r\n"]),
    delays=st.sampled_from([(1.0,), (1.0,), (1.0,), (1.0, 1.0), (1.0, 90.0), (1.0, 5000.0), ()]),
    metadata=OPTIONS,
)

ENVIRONMENTS = st.fixed_dictionaries(
    {
        "MAX_REQUESTS_PER_BATCH": st.sampled_from(["1", "2", "3", "50000"]),
        "MAX_BYTES_PER_BATCH": st.sampled_from(["600", "100000000"]),
        "MAX_BYTES_PER_RANGE": st.sampled_from(["600", *["1073741824"] * 5]),
        "MAX_ATTEMPTS": st.sampled_from(["1", "2", "3"]),
        "ON_INVALID_LINE": st.sampled_from(["reject", "skip", "skip"]),
        "POLL_MIN_SECONDS": st.sampled_from(["30", "300"]),
        "POLL_MAX_SECONDS": st.sampled_from(["900", "3600"]),
    }
)

SIMULATORS = st.fixed_dictionaries(
    {
        "batch_seconds": st.sampled_from([1.0, 60.0, 600.0, 20_000.0]),
        "cancel_seconds": st.sampled_from([1.0, 60.0, 600.0]),
        "page_size": st.sampled_from([1, 3, 20]),
        "list_order": st.sampled_from(["newest", "oldest"]),
        "last_page": st.sampled_from(["null", "empty", "absent"]),
        "unknown_ids": st.sampled_from(["omit", "error"]),
        "bad_line": st.sampled_from(["fail_batch", "fail_row", "report_only"]),
        "errors_shape": st.sampled_from(["list", "array"]),
        "endpoint_rule": st.sampled_from(["chat", "chat", "own_at_create", "own_at_validation"]),
    }
)

OUTCOMES = st.sampled_from(
    [
        "fail",
        "capacity_exhausted",
        "request_timeout",
        "status_zero",
        "missing",
        "duplicated",
        "foreign",
        "unicode_separators",
        "crlf",
        "blank_line",
        "json_validate_failed",
        "error_in_output",
        "error_with_200",
        "invalid_json",
        "not_an_object",
        "body_not_object",
        "not_json",
        "not_as_schema",
        "cut_short",
        {"kind": "http_error", "status": 503},
        {"kind": "http_error", "status": 429},
        {"kind": "capacity_exhausted", "response": "missing"},
    ]
)

RULES = st.builds(
    lambda outcome, regex, times: {"outcome": outcome, "match": {"regex": regex}, "times": times},
    OUTCOMES,
    st.sampled_from(["", "^r[0-4]$", "^r[5-9]$", "[^r]"]),
    st.sampled_from([1, 1, 2, None]),
)

FATES = st.builds(
    lambda fate, nth: {"match": {} if nth is None else {"nth": nth}, "fate": fate, "times": 1},
    st.one_of(
        st.builds(
            lambda end, done, unfinished: {"end": end, "done": done, "unfinished": unfinished},
            st.sampled_from(["expire", "cancel", "stuck", "complete"]),
            st.sampled_from([0.0, 0.5, 1.0]),
            st.sampled_from(["error", "missing"]),
        ),
        st.sampled_from(
            [
                {"end": "fail"},
                {"end": "fail", "errors": [{"code": "capacity_exceeded", "message": "full"}]},
                {"end": "fail", "errors": [{"code": "invalid_method", "line": 1}]},
                {"status": "paused", "status_seconds": 500.0},
                {"status": "paused"},
                {"empty_error_file": True},
                {"counts": {"failed": 99}},
                {"override": {"errors": {}}},
                {"batch_seconds": 100_000.0},
                {"batch_seconds": 0.0},
            ]
        ),
    ),
    st.sampled_from([None, 1, 2, 3]),
)

REFUSALS_WITHOUT_A_LINE = st.builds(
    lambda at, match, status, times: {"at": at, "match": match, "status": status, "times": times},
    st.sampled_from(["create", "validation"]),
    st.sampled_from(
        [
            {"model": MODEL},
            {"model": OTHER_MODEL},
            {"model": SPEECH_MODEL},
            {"url": TRANSCRIPTIONS_URL},
            {},
        ]
    ),
    st.sampled_from([400, 404, 422]),
    st.sampled_from([1, 2, None]),
)

ROUTES = (
    "upload",
    "upload",
    "create",
    "create",
    "create",
    "list",
    "list_by_ids",
    "retrieve",
    "content",
    "cancel",
    "files_list",
    "file_delete",
    "chat",
    "chat",
    "transcriptions",
    "*",
)


def _fault(route: str, fault: dict[str, Any], times: int, skip: int) -> dict[str, Any]:
    """Return a fault of a route.

    An ordinary call that is answered with such a status is made again, as Groq asks: if it was
    billed all the same, it is paid twice, which nothing on this side can see.
    """
    if route in {"chat", "transcriptions", "*"} and "status" in fault:
        fault = {name: value for name, value in fault.items() if name != "act"}
    return {"route": route, "times": times, "skip": skip, **fault}


FAULTS = st.builds(
    _fault,
    st.sampled_from(ROUTES),
    st.sampled_from(
        [
            {"status": 500},
            {"status": 503, "body": "<html>busy</html>"},
            {"status": 504, "act": True},
            {"status": 504, "act": True, "visible_after": 50.0},
            {"status": 429, "headers": {"Retry-After": "7"}},
            {"status": 429, "headers": {"Retry-After": "400"}},
            {"status": 429},
            {"status": 498},
            {"status": 409},
            {"status": 408},
            {"status": 408, "act": True},
            {"answer": "reset"},
            {"answer": "reset", "act": True},
            {"answer": "reset", "act": True, "visible_after": 55.0},
            {"answer": "half_close"},
            {"answer": "half_close", "act": True},
            {"answer": "stall"},
            {"answer": "garbage"},
            {"answer": "cut"},
            {"answer": "cut", "fraction": 0.0},
            {"answer": "normal", "visible_after": 50.0},
        ]
    ),
    st.sampled_from([1, 1, 2, 4, 9]),
    st.integers(0, 3),
)


def _slow_down() -> Exception:
    return client_error("put_object", 503, "SlowDown", "Please reduce your request rate.")


def _cut_off() -> Exception:
    return ConnectionClosedError(endpoint_url="https://s3.example")


CALLS = {
    "start_job": 5,
    "prepare_input": 24,
    "submit_batch": 22,
    "check_status": 14,
    "download_results": 16,
    "answer_requests": 16,
    "finish_job": 30,
    "cancel_job": 14,
}
"""How many calls each function makes, about."""


@st.composite
def troubles(draw: st.DrawFn) -> Placed:
    """Draw something that happens to an invocation."""
    function = draw(st.sampled_from(FUNCTIONS))
    at, after = draw(st.integers(0, CALLS[function])), draw(st.booleans())
    number = draw(st.integers(1, 4))
    kind = draw(st.integers(0, 9))
    if kind <= 2:
        error = draw(st.sampled_from(DEATHS))
        return Placed(function, number, Die(at=at, after=after, error=error))
    if kind <= 5:
        seconds = draw(st.sampled_from([5.0, 45.0, 130.0, 200.0, MAX_HELD_SECONDS]))
        lost, frozen = draw(st.sampled_from([None, *LOST_SIGHT])), draw(st.booleans())
        hold = Hold(at=at, after=after, seconds=seconds, lost=lost, frozen=frozen)
        return Placed(function, number, hold)
    if kind == 6:
        failure = draw(st.sampled_from([_slow_down, _cut_off]))
        return Placed(function, number, Break(at=at, after=after, error=failure))
    if kind == 7:
        return Placed(function, number, Repeat(at=at))
    if kind == 8:
        # Broken for a while, or for so long that Step Functions gives up.
        span = draw(st.sampled_from([1, 2, 9, 30]))
        return Placed(function, number, Refuse(error=draw(st.sampled_from(REFUSALS))), span)
    error = draw(st.sampled_from([*LOST_SIGHT, "Lambda.ServiceException"]))
    return Placed(function, number, LoseAnswer(error=error))


DELAYS = st.one_of(
    st.integers(0, 10).map(float),
    st.integers(0, 300).map(float),
    st.integers(0, 3_000).map(float),
    st.integers(0, 50_000).map(float),
)

ACTIONS = st.builds(
    lambda delay, file, named: Action(delay, file, *named),
    DELAYS,
    st.integers(0, 2),
    st.one_of(
        st.tuples(st.just("stop"), st.sampled_from([None, None, 0.5, 30.0, 3_000.0])),
        st.tuples(st.sampled_from(["redrive", "again", "start"])),
        st.tuples(st.sampled_from(["sweep", "remove outputs", "refuse events", "blind maps"])),
        st.tuples(
            st.just("switch off"),
            st.tuples(
                st.sampled_from(["reachable", "key"]), st.sampled_from([30.0, 500.0, 9_000.0])
            ),
        ),
    ),
)

LIFE = st.builds(
    Life,
    environment=ENVIRONMENTS,
    simulator=SIMULATORS,
    files=st.lists(FILES, min_size=1, max_size=3).map(tuple),
    rules=st.lists(RULES, max_size=3).map(tuple),
    fates=st.lists(FATES, max_size=3).map(tuple),
    refusals=st.lists(REFUSALS_WITHOUT_A_LINE, max_size=2).map(tuple),
    faults=st.lists(FAULTS, max_size=4).map(tuple),
    troubles=st.lists(troubles(), max_size=4).map(tuple),
    actions=st.lists(ACTIONS, max_size=3).map(tuple),
    lost_ends=st.lists(st.booleans(), max_size=3).map(tuple),
    lag=st.sampled_from([0.0, 0.0, 3.0]),
    seed=st.integers(0, 3),
)


# -- living --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Living:
    """A world in which a life takes place, and what is known of it from outside."""

    life: Life
    world: World
    uploads: list[Upload] = field(default_factory=list)
    run_again: set[str] = field(default_factory=set)
    has_removed: bool = False
    is_calm: bool = False
    _seen: dict[str, int] = field(default_factory=dict)
    _ends: int = 0

    def direct(self, invocation: Invocation) -> Sequence[Trouble]:
        """Hand out the troubles of an invocation."""
        number = self._seen[invocation.function] = self._seen.get(invocation.function, 0) + 1
        if self.is_calm:
            return ()
        return [
            one.trouble for one in self.life.troubles if one.is_for(invocation.function, number)
        ]

    def tell_end(self, _: Any) -> bool:
        """Tell whether the event of an execution's end arrives."""
        self._ends += 1
        lost = self.life.lost_ends
        return self._ends > len(lost) or not lost[self._ends - 1]

    def run(self) -> None:
        """Live through everything, then come to rest."""
        world = self.world
        world.director = self.direct
        world.tells_ends = self.tell_end
        world.states.lag_seconds = self.life.lag
        world.simulator.set_rules(self.life.rules)
        world.simulator.set_fates(self.life.fates)
        world.simulator.set_refusals(self.life.refusals)
        world.simulator.set_faults(self.life.faults)
        begun = world.clock()
        files = self.life.files
        plan: list[tuple[float, File | Action]] = [(file.moment, file) for file in files]
        plan += [
            (files[one.file % len(files)].moment + one.delay, one) for one in self.life.actions
        ]
        for moment, one in sorted(plan, key=lambda pair: pair[0]):
            world.run_until(begun + moment)
            if isinstance(one, File):
                self.upload(one)
            else:
                self.act(one)
        # Whatever was broken works again, and the schedule fires once more.
        world.run_for(10_000)
        self.is_calm = True
        world.sweep()
        world.settle()

    def upload(self, file: File) -> None:
        """Put a file; the jobs of older uploads of its key need not stand any more."""
        data = file_of(
            [Line(b"", None)] * file.blanks + list(file.lines),
            packed=file.key.endswith(".gz"),
            ending=file.ending,
        )
        for other in self.uploads:
            if other.key == file.key:
                other.keeps_path = False
        default = self.world.settings.default_options
        option = file.metadata.get("on-invalid-line")
        upload = Upload(
            key=file.key,
            lines=file.lines,
            skips=default.skip_invalid_lines if option is None else option == "skip",
            metadata=file.metadata,
        )
        # Lambda may repeat the start of one more run so late that it runs this upload again.
        upload.keeps_path = file.key not in self.run_again
        upload.version_id = self.world.upload(
            file.key, data, delays=file.delays, metadata=file.metadata
        )
        self.uploads.append(upload)

    def act(self, action: Action) -> None:
        """Do what a user does."""
        world = self.world
        file = self.life.files[action.file % len(self.life.files)]
        uploads = [one for one in self.uploads if one.key == file.key]
        jobs = [one.job_id(world.s3.bucket) for one in uploads]
        names = [name for name in world.executions if job_id_of_execution(name) in jobs]
        if action.name == "stop" and names:
            if world.stop(names[-1]) and action.argument is not None:
                world.spawn(self.redrive(names[-1]), after=action.argument)
        elif action.name == "redrive" and names:
            world.redrive(names[-1])
        elif action.name in ("again", "start") and uploads:
            self.start(uploads[-1], again=action.name == "again")
        elif action.name == "sweep":
            world.sweep()
        elif action.name == "remove outputs":
            self.has_removed = True
            world.delete(*world.s3.keys("output/"), *world.s3.keys("reports/"), "output/none")
        elif action.name == "refuse events":
            world.events.refusals += 2
        elif action.name == "blind maps":
            world.reader_failures += 1
        elif action.name == "switch off":
            self.switch_off(*action.argument)

    def redrive(self, name: str) -> Any:
        """Redrive an execution that was stopped a while ago."""
        self.world.redrive(name)
        yield from ()

    def start(self, upload: Upload, *, again: bool) -> None:
        """Start an upload's key by hand; one more run of it takes its path over."""
        if again:
            self.run_again.add(upload.key)
            for other in self.uploads:
                if other.key == upload.key:
                    other.keeps_path = False
        self.world.deliver("start_job", {"key": upload.key, "again": again}, 0.0)

    def switch_off(self, name: str, seconds: float) -> None:
        """Make Groq unreachable, or its key a wrong one, for some seconds."""
        groq = self.world.groq
        right = {"reachable": True, "key": DEFAULT_KEY}
        setattr(groq, name, {"reachable": False, "key": "gsk_wrong"}[name])

        def back() -> Any:
            setattr(groq, name, right[name])
            yield from ()

        self.world.spawn(back(), after=seconds)


def check(living: Living) -> None:
    """Check the end of a life."""
    world = living.world
    uploads = [] if living.has_removed else living.uploads
    check_end(
        world,
        *uploads,
        doubles_may_be_cancelled=_may_double(living),
        files_may_be_left=_may_leave_files(living),
    )
    started = {
        key.removeprefix(object_keys.JOBS_PREFIX) for key in world.s3.keys(object_keys.JOBS_PREFIX)
    }
    for upload in living.uploads:
        assert upload.job_id(world.s3.bucket) in started, f"{upload.key} never had a job"


def _may_leave_files(living: Living) -> bool:
    """Tell whether a job may end while files of it stand at Groq.

    It tidies up for an hour and a half. If its key is wrong or Groq is out of reach for longer,
    what was refused stays, and so does the file of a sender that stood still while the job was
    stopped.
    """
    off = [one.argument for one in living.life.actions if one.name == "switch off"]
    refused_stay = bool(living.life.refusals) and ("key", 9_000.0) in off
    return refused_stay or (_may_double(living) and ("reachable", 9_000.0) in off)


def _may_double(living: Living) -> bool:
    """Tell whether an invocation stood still, which no lease can do anything about."""
    return any(isinstance(one.trouble, Hold) for one in living.life.troubles)


@pytest.fixture(autouse=True, scope="module")
def _same_lives_everywhere() -> Iterator[None]:
    """Keep Hypothesis from drawing the constants of whatever modules have been imported by now."""
    with pytest.MonkeyPatch.context() as patch:
        if not LIVES:
            patch.setattr(providers, "_get_local_constants", Constants)
        providers.CONSTANTS_CACHE.cache.clear()
        yield
        providers.CONSTANTS_CACHE.cache.clear()


@settings(
    max_examples=LIVES or 240,
    derandomize=not LIVES,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
@given(LIFE)
def test_random_life(life: Life) -> None:
    with World(life.environment, seed=life.seed, simulator=life.simulator) as world:
        living = Living(life, world)
        try:
            living.run()
            check(living)
        except BaseException:
            note(world.describe())
            raise
