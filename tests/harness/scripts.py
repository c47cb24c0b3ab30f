"""Lives of jobs that the tests of deaths and of twins go through again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.harness.invocations import Invocation, Refuse, Trouble
from tests.harness.jobs import (
    Line,
    Upload,
    audio_line,
    bad_line,
    good_line,
    good_lines,
    json_line,
    lines_of_models,
    put,
)
from tests.harness.world import World

Script = Callable[[World], list[Upload]]
"""Lives through a world and returns the uploads whose jobs must have ended well."""

FEW_CHECKS = {"POLL_MIN_SECONDS": "60"}
"""Few looks at the batches: each of them is like the one before."""

RANGES = {**FEW_CHECKS, "MAX_BYTES_PER_RANGE": "700", "MAX_REQUESTS_PER_BATCH": "4"}

SMALL_SHARDS = {**FEW_CHECKS, "MAX_REQUESTS_PER_BATCH": "2", "MAX_ATTEMPTS": "2"}


def shards_and_attempts(world: World) -> list[Upload]:
    """Three shards with a bad line between; one request succeeds the second time, one never."""
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    world.simulator.add_rule("missing", match={"custom_id": "r2"}, times=1)
    world.simulator.add_rule("fail", match={"custom_id": "r3"})
    lines: list[Line] = [*good_lines(4), bad_line("bad"), good_line("last")]
    upload = put(world, "input/team/job 1.jsonl.gz", lines, on_invalid_line="skip")
    world.settle()
    return [upload]


def invalid_output(world: World) -> list[Upload]:
    """Of answers that are not the JSON asked for one is right later, one never.

    To one the later attempt brings nothing, so that its first answer stays.
    """
    for custom_id, outcomes in {
        "j0": ["not_json"],
        "j1": ["cut_short", "not_as_schema"],
        "j3": ["not_as_schema", "missing"],
    }.items():
        for outcome in outcomes:
            world.simulator.add_rule(outcome, match={"custom_id": custom_id}, times=1)
    lines = [*(json_line(f"j{number}") for number in range(4)), good_line("last")]
    upload = put(world, "input/a.jsonl", lines, retry_invalid_output="true")
    world.settle()
    return [upload]


def only_shard(world: World) -> list[Upload]:
    """One shard, of which one request succeeds the second time: no attempt has a Map."""
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    upload = put(world, "input/a.jsonl", good_lines(2))
    world.settle()
    maps = {"SubmitShards", "DownloadResults"}
    visits = {state for one in world.executions.values() for state in one.visits}
    assert not maps & visits, "an only shard went through a Map"
    return [upload]


def divided(world: World) -> list[Upload]:
    """A large input that is prepared range by range; an id comes twice, in different ranges."""
    twice = good_line("r0")
    lines = [*good_lines(5), bad_line("bad"), *good_lines(3, "s")]
    lines += [Line(twice.data, "r0", "duplicate_custom_id"), good_line("last")]
    upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
    world.settle()
    return [upload]


def rejected(world: World) -> list[Upload]:
    """A bad line rejects the file."""
    upload = put(world, "input/a.jsonl", [*good_lines(2), bad_line("bad")])
    world.settle()
    return [upload]


def stopped(world: World) -> list[Upload]:
    """Somebody stops the execution while its batches run."""
    upload = put(world, "input/a.jsonl", good_lines(4))
    world.run_for(70)
    world.stop(upload.job_id(world.s3.bucket))
    world.settle()
    return [upload]


def stopped_unheard(world: World) -> list[Upload]:
    """The same, but the event about it is lost."""
    world.tells_ends = lambda execution: execution.status != "ABORTED"
    return stopped(world)


def failing(world: World) -> list[Upload]:
    """The first attempt's downloads cannot run; the job stops itself and collects."""
    tries = [0]

    def director(invocation: Invocation) -> Sequence[Trouble]:
        found = inner(invocation)
        if invocation.function == "check_status" and tries[0] < 21 and world.clock() > begun + 100:
            tries[0] += 1
            return (Refuse(error="Runtime.ImportModuleError"),)
        return found

    inner, world.director = world.director, director
    begun = world.clock()
    upload = put(world, "input/a.jsonl", good_lines(3))
    world.settle()
    return [upload]


def superseded(world: World) -> list[Upload]:
    """A newer upload of the same key takes the path over while the older one's batch runs."""
    older = put(world, "input/a.jsonl", good_lines(2, "old"))
    world.run_for(90)
    newer = put(world, "input/a.jsonl", good_lines(2, "new"))
    older.keeps_path = False
    world.settle()
    return [older, newer]


def repeated(world: World) -> list[Upload]:
    """A newer upload of a key whose job has ended replaces its results."""
    older = put(world, "input/a.jsonl", [*good_lines(2, "old"), good_line("more")])
    world.simulator.add_rule("fail", match={"custom_id": "more"})
    world.settle()
    newer = put(world, "input/a.jsonl", good_lines(2, "new"))
    older.keeps_path = False
    world.settle()
    return [newer]


def refused_key(world: World) -> list[Upload]:
    """The API key is refused, so that the input is not even read."""
    world.groq.key = "gsk_wrong"
    upload = put(world, "input/a.jsonl", good_lines(4))
    world.settle()
    return [upload]


def revoked_key(world: World) -> list[Upload]:
    """The API key is refused from the preparation on, so that nothing is ever sent."""
    inner = world.director

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "prepare_input":
            world.groq.key = "gsk_wrong"
        return inner(invocation)

    world.director = director
    upload = put(world, "input/a.jsonl", good_lines(4))
    world.settle()
    return [upload]


def large_results(world: World) -> list[Upload]:
    """Results that S3 joins by copying parts."""
    world.simulator.add_rule({"kind": "padding", "bytes": 5_300_000})
    upload = put(world, "input/a.jsonl", good_lines(3))
    world.settle()
    return [upload]


def refused_at_creation(world: World) -> list[Upload]:
    """Two shards of two models each, one of which no batch may hold, until the last attempt."""
    world.simulator.add_refusal(match={"model": "m1"})
    lines: list[Line] = [*lines_of_models(3, 2), bad_line("bad")]
    upload = put(world, "input/a.jsonl.gz", lines, on_invalid_line="skip")
    world.settle()
    return [upload]


def refused_at_validation(world: World) -> list[Upload]:
    """Shards of three models, which are refused twice; of their parts one has a row to ask again.

    The input is prepared range by range.
    """
    world.simulator.add_refusal(at="validation", match={"model": "m1"}, times=2)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "m0-0"}, times=1)
    upload = put(world, "input/a.jsonl", lines_of_models(2, 2, 1))
    world.settle()
    return [upload]


def refused_endpoint(world: World) -> list[Upload]:
    """Speech and chat in one shard, and an API that wants each batch's endpoint to be its URL."""
    world.simulator.configure(endpoint_rule="own_at_create")
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "s1"}, times=1)
    lines = [audio_line("s0"), *good_lines(2), audio_line("s1")]
    upload = put(world, "input/a.jsonl", lines)
    world.settle()
    return [upload]


def past_deadline(world: World) -> list[Upload]:
    """Batches that never end, a deadline, and calls some of which have to be made again.

    The budget is enough for all but one of the requests that are left.
    """
    world.call_seconds = 4.0
    world.simulator.add_fate(end="stuck", done=0.34)
    world.simulator.add_fault("chat", status=503, match={"prompt": "r2"}, times=1)
    world.simulator.add_fault(
        "chat", status=429, headers={"Retry-After": "100"}, match={"prompt": "r3"}, times=1
    )
    upload = put(
        world,
        "input/a.jsonl",
        good_lines(6, max_tokens=100),
        batch_deadline="20m",
        deadline_max_usd="0.000100",
    )
    world.settle()
    return [upload]


def canary(world: World) -> list[Upload]:
    """A canary that passes with a request to ask again, and a bad line before it and behind it."""
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r4"}, times=1)
    lines: list[Line] = [bad_line("b0"), *good_lines(2), bad_line("b1"), *good_lines(6)[2:]]
    options = {"canary_requests": "2", "on_invalid_line": "skip"}
    upload = put(world, "input/a.jsonl.gz", lines, **options)
    world.settle()
    return [upload]


def canary_past_deadline(world: World) -> list[Upload]:
    """A deadline that comes while the canary's batch hangs; the rest is asked by calls."""
    world.simulator.add_fate(end="stuck", done=0.5)
    lines: list[Line] = [*good_lines(3, max_tokens=100), bad_line("bad"), good_line("last")]
    upload = put(
        world,
        "input/a.jsonl.gz",
        lines,
        on_invalid_line="skip",
        canary_requests="2",
        batch_deadline="20m",
        deadline_max_usd="1",
    )
    world.settle()
    return [upload]


def failing_canary(world: World) -> list[Upload]:
    """A canary of which all requests fail; the input is prepared range by range."""
    world.simulator.add_rule("fail", match={"regex": "^r[01]$"})
    upload = put(world, "input/a.jsonl", good_lines(7), canary_requests="2")
    world.settle()
    return [upload]


def refused_canary(world: World) -> list[Upload]:
    """A canary that is refused once, so that it is sent again alone, and the rest in the third."""
    world.simulator.add_refusal(match={"model": "m0"}, times=1)
    lines = [*lines_of_models(1), *good_lines(2)]
    upload = put(world, "input/a.jsonl", lines, canary_requests="1")
    world.settle()
    return [upload]


def stopped_canary(world: World) -> list[Upload]:
    """Somebody stops the execution while the canary's batch runs."""
    upload = put(world, "input/a.jsonl", good_lines(5), canary_requests="2")
    world.run_for(70)
    world.stop(upload.job_id(world.s3.bucket))
    world.settle()
    return [upload]


THREE_ATTEMPTS = {**FEW_CHECKS, "MAX_REQUESTS_PER_BATCH": "3", "MAX_ATTEMPTS": "3"}

REFUSALS: list[tuple[Script, dict[str, str]]] = [
    (refused_at_creation, THREE_ATTEMPTS),
    (refused_at_validation, {**RANGES, "MAX_ATTEMPTS": "4"}),
    (refused_endpoint, {**FEW_CHECKS, "MAX_ATTEMPTS": "3"}),
]
"""Lives with refusals that name no line."""

DEADLINES: list[tuple[Script, dict[str, str]]] = [
    (past_deadline, {**FEW_CHECKS, "MAX_REQUESTS_PER_BATCH": "3"}),
    (canary_past_deadline, FEW_CHECKS),
]
"""Lives in which a deadline passes."""
CANARIES: list[tuple[Script, dict[str, str]]] = [
    (canary, SMALL_SHARDS),
    (failing_canary, RANGES),
    (refused_canary, SMALL_SHARDS),
    (stopped_canary, SMALL_SHARDS),
]
"""Lives of jobs with a canary."""

SCRIPTS: list[tuple[Script, dict[str, str]]] = [
    (shards_and_attempts, SMALL_SHARDS),
    (only_shard, FEW_CHECKS),
    (divided, RANGES),
    (invalid_output, {**FEW_CHECKS, "MAX_ATTEMPTS": "2"}),
    (rejected, FEW_CHECKS),
    (stopped, SMALL_SHARDS),
    (stopped_unheard, FEW_CHECKS),
    (failing, SMALL_SHARDS),
    (superseded, FEW_CHECKS),
    (repeated, FEW_CHECKS),
    (refused_key, SMALL_SHARDS),
    *REFUSALS,
    *DEADLINES,
    *CANARIES,
    (revoked_key, SMALL_SHARDS),
]
