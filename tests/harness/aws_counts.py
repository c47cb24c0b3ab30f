"""Counts what jobs ask of AWS, for the model in ``bench/aws_model``.

The jobs run in the world of these tests: the shipped state machine, the real handlers, virtual
time. ``python -m tests.harness.aws_counts`` writes what the model reads; ``test_aws_model.py``
counts again and compares.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bench.aws_model.counts import COUNTS, DURATIONS, LINE_BYTES, SIZES, Size
from groq_batch.domain import object_keys
from tests.harness.invocations import Invocation, handlers_in_place
from tests.harness.jobs import Line, good_line, put
from tests.harness.world import World

_SMALL_BYTES = 200
_FULL_SHARD = 24_990
"""Requests that come just below the 100 MB of a shard."""
_SHOWN_STATES = 40
"""States of an execution that are kept: all of those of a short batch."""
_RANGES = 4
_WORKERS = 4
"""Threads of a pool; most have more."""
"""How many a file of the largest size is prepared in: one for each GiB."""


def counted_jobs() -> dict[str, dict[str, Any]]:
    """Return what every size of job counts to, by size and duration of its batches."""
    return {
        name: {duration: count(size, seconds) for duration, seconds in DURATIONS.items()}
        for name, size in SIZES.items()
    }


def counted_sizes() -> dict[str, dict[str, int]]:
    """Return the calls that a shard of full size makes more than one of few requests."""
    full = _world_counts(Size(requests=_FULL_SHARD, shards=1), 100.0, LINE_BYTES)
    few = _world_counts(Size(requests=5, shards=1), 100.0, LINE_BYTES)
    found: dict[str, dict[str, int]] = {}
    for step in (full, few):
        for one in step["steps"]:
            calls = found.setdefault(one["function"], {})
            for name, number in one["calls"].items():
                sign = 1 if step is full else -1
                calls[name] = calls.get(name, 0) + sign * number * one["times"]
    kept = ("prepare_input", "submit_batch", "download_results", "finish_job")
    return {
        function: {name: number for name, number in sorted(found[function].items()) if number > 0}
        for function in kept
    }


def count(size: Size, batch_seconds: float) -> dict[str, Any]:
    """Run a job and count it.

    A file of many shards has few requests in each: what their size adds is counted apart.
    """
    is_whole = size.shards == 1
    return _world_counts(size, batch_seconds, LINE_BYTES if is_whole else _SMALL_BYTES)


def _world_counts(size: Size, batch_seconds: float, line_bytes: int) -> dict[str, Any]:
    requests = size.requests if size.shards == 1 else size.shards * size.counted_requests
    lines = list(_lines(requests, line_bytes))
    settings = {}
    if size.shards > 1:
        settings["MAX_REQUESTS_PER_BATCH"] = str(size.counted_requests)
        total = sum(len(line.data) + 1 for line in lines)
        settings["MAX_BYTES_PER_RANGE"] = str(total // _RANGES + 1)
    visits: Counter[str] = Counter()
    with World(settings, simulator={"batch_seconds": batch_seconds}) as world:
        world.on_visit = lambda _, state: visits.update([state])
        put(world, "input/a.jsonl", lines)
        world.settle()
        found = world.s3.keys(object_keys.WORK_PREFIX)
        maps = [key for key in found if "/maps/" in key and key.endswith("manifest.json")]
        events = _bucket_events(world)
        return {
            "requests": size.requests,
            "shards": size.shards,
            "transitions": dict(sorted(visits.items())),
            "map_runs": len(maps),
            "bucket_events": events,
            "path": next(iter(world.executions.values())).visits[:_SHOWN_STATES],
            "waits": list(_waits(world, visits)),
            "calls_before_results": _calls_before_results(world),
            "steps": list(_steps(world)),
        }


def _lines(requests: int, line_bytes: int) -> Iterator[Line]:
    bare = len(good_line("r0000000", "").data)
    text = "x" * max(line_bytes - bare, 1)
    return (good_line(f"r{number:07d}", text) for number in range(requests))


def _waits(world: World, visits: Counter[str]) -> Iterator[int]:
    """Yield the seconds of every visit of the state that waits for the batches."""
    for one in world.invocations:
        is_step = one.function == "submit_batch" and visits["SubmitOnlyShard"]
        if is_step or _decision(one) == "wait":
            yield one.answer["wait_seconds"]


def _calls_before_results(world: World) -> int:
    """Return how many calls finish_job makes up to the one that puts the results in place."""
    finish = next(one for one in world.invocations if one.function == "finish_job")
    writes = ("s3.put_object output/", "s3.complete_multipart_upload output/")
    return next(n for n, label in enumerate(finish.trace, start=1) if label.startswith(writes))


def _bucket_events(world: World) -> int:
    """Return how many objects and delete markers the job has made; S3 tells of each."""
    private = (object_keys.INPUT_PREFIX,)
    keys = [key for key in world.s3._keys if not key.startswith(private)]
    return sum(len(world.s3.history(key)) for key in keys)


def _steps(world: World) -> Iterator[dict[str, Any]]:
    """Yield what the invocations did, in order; those in a row that are alike as one."""
    found = [
        (one.function, _decision(one), tuple(sorted(_calls(one).items())), _waited(one))
        for one in world.invocations
        if one.function != "cancel_job"
    ]
    for (function, decision, calls, waited), alike in itertools.groupby(found):
        yield {
            "function": function,
            "decision": decision,
            "times": len(list(alike)),
            "calls": dict(calls),
            "waited": list(waited),
        }


def _waited(invocation: Invocation) -> tuple[int, int]:
    """Return how many calls of AWS, and of Groq, an invocation waits for one after the other.

    Of the tasks of a pool, which go on side by side, the longest counts.
    """
    is_groq = [label.startswith("groq.") for label in invocation.trace]
    pooled = {place for places in invocation.pooled.values() for place in places}
    groq = sum(one for place, one in enumerate(is_groq) if place not in pooled)
    aws = len(is_groq) - len(pooled) - groq
    for pool in {pool for pool, _ in invocation.pooled}:
        tasks = [places for (one, _), places in invocation.pooled.items() if one == pool]
        aws += _rounds([sum(not is_groq[place] for place in places) for places in tasks])
        groq += _rounds([sum(is_groq[place] for place in places) for places in tasks])
    return aws, groq


def _rounds(tasks: list[int]) -> int:
    """Return the calls that are waited for, of tasks with so many each."""
    return max([*tasks, -(-sum(tasks) // _WORKERS)])


def _decision(invocation: Invocation) -> str | None:
    answer = invocation.answer
    return answer.get("decision") if isinstance(answer, Mapping) else None


def _calls(invocation: Invocation) -> Counter[str]:
    """Return the calls of an invocation by service and operation, as AWS names them."""
    found: Counter[str] = Counter()
    for label in invocation.trace:
        service, _, operation = label.split(" ")[0].partition(".")
        if service != "groq":
            operation = "".join(word.title() for word in operation.split("_"))
        found[f"{service}.{operation}"] += 1
    return found


def main() -> int:
    """Write the counts anew."""
    with handlers_in_place():
        data = {"jobs": counted_jobs(), "full_shard": counted_sizes()}
    text = json.dumps(data, indent=1)
    COUNTS.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
