"""What a job costs at AWS, part by part. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench import cost, prices
from bench.aws_model import assumptions
from bench.aws_model.counts import Counted, Step

RANGE_BYTES = 2 * 2**30
"""A file up to here is prepared by one invocation; ``MaxBytesPerRange`` is half of it."""

FILES_OF_A_DAY = 10_000
"""Jobs of a day on a busy stack."""

_ENVIRONMENTS_OF_A_READER = 2
"""Warm environments of each function that reads the key, on such a stack."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a job takes of a function.

    Attributes:
        invocations: How often it is invoked.
        seconds: Billed seconds, without initialisation.
        cold_starts: How often an environment is made for it.
        init_seconds: Billed seconds of initialisation.
    """

    invocations: int
    seconds: float
    cold_starts: float
    init_seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the bill: how many of what, and their price."""

    name: str
    amount: float
    unit: str
    usd: float


def core_share(memory_mb: int) -> float:
    """Return the share of a core that a function of some memory has, at most one."""
    return min(memory_mb / cost.FULL_CORE_MB, 1.0)


def init_seconds(function: str, memory_mb: int) -> float:
    """Return what making an environment for a function is billed, in seconds.

    Since August 2025 all of it is.
    https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/
    """
    return init_cpu_seconds(function) / core_share(memory_mb)


def init_cpu_seconds(function: str) -> float:
    """Return what making an environment for a function takes of a core, in seconds."""
    return assumptions.INIT_CPU_SECONDS[function] + assumptions.CLIENT_CPU_SECONDS


def step_seconds(step: Step, memory_mb: int) -> float:
    """Return what an invocation takes, its bytes apart."""
    return call_seconds(sum(step.calls.values()), *step.waited, memory_mb=memory_mb)


def call_seconds(made: int, aws: int, groq: int, *, memory_mb: int) -> float:
    """Return what an invocation takes that makes some calls.

    Args:
        made: How many it makes in all.
        aws: How many of AWS it waits for, one after the other.
        groq: How many of Groq.
        memory_mb: Its memory.
    """
    cpu = assumptions.INVOCATION_CPU_SECONDS + assumptions.CALL_CPU_SECONDS * made
    return (
        cpu / core_share(memory_mb)
        + aws * assumptions.CALL_SECONDS
        + groq * assumptions.GROQ_CALL_SECONDS
    )


def used(job: Counted, memory: Mapping[str, int], *, alone: bool) -> dict[str, Used]:
    """Return what a job takes of each function.

    Args:
        job: The job.
        memory: Megabytes of each function.
        alone: Whether nothing else runs on the stack, so that each function is cold at first, and
            the status check again after each long wait; else the stack is busy.
    """
    found = {}
    for name in dict.fromkeys(step.function for step in job.steps):
        steps = [step for step in job.steps if step.function == name]
        invocations = sum(step.times for step in steps)
        seconds = sum(step.times * step_seconds(step, memory[name]) for step in steps)
        more = sum(job.size_calls.get(name, {}).values())
        seconds += call_seconds(more, more, 0, memory_mb=memory[name])
        seconds -= call_seconds(0, 0, 0, memory_mb=memory[name])
        seconds += byte_seconds(job, name, memory[name])
        cold = _cold_starts(job, name) if alone else assumptions.COLD_SHARE * invocations
        found[name] = Used(invocations, seconds, cold, cold * init_seconds(name, memory[name]))
    return found


def byte_seconds(job: Counted, function: str, memory_mb: int) -> float:
    """Return what the bytes of a job take in all invocations of a function, in seconds."""
    rate = assumptions.RATES.get(function)
    if rate is None:
        return 0.0
    passes = 2 if function == "prepare_input" and job.size.input_bytes > RANGE_BYTES else 1
    share = assumptions.ANSWER_SHARE if function == "download_results" else 1.0
    return passes * rate.seconds(job.size.input_bytes * share, core_share(memory_mb))


def _cold_starts(job: Counted, function: str) -> int:
    """Return how often a function finds no environment, on a stack that runs nothing else."""
    first = 1
    if function == "check_status":
        first += sum(wait > assumptions.KEPT_WARM_SECONDS for wait in job.waits)
    if job.size.shards > 1 and function in ("prepare_input", "submit_batch", "download_results"):
        # Maps run ten children at once.
        first = min(job.size.shards, 10)
    return first


def secret_reads(job: Counted, found: Mapping[str, Used], *, alone: bool) -> float:
    """Return how often a job reads the key: once for each environment and five minutes."""
    if not alone:
        environments = len(assumptions.KEY_READERS) * _ENVIRONMENTS_OF_A_READER
        return environments * 86_400 / assumptions.SECRET_SECONDS / FILES_OF_A_DAY
    reads = sum(found[name].cold_starts for name in assumptions.KEY_READERS if name in found)
    age = 0.0
    for wait in job.waits:
        age += wait
        if wait <= assumptions.KEPT_WARM_SECONDS and age > assumptions.SECRET_SECONDS:
            reads += 1
        if age > assumptions.SECRET_SECONDS:
            age = 0.0
    return reads


def bill(
    job: Counted, memory: Mapping[str, int], *, batch_seconds: float, alone: bool
) -> list[Part]:
    """Return what a job costs, part by part.

    Args:
        job: The job.
        memory: Megabytes of each function.
        batch_seconds: How long its batches take.
        alone: Whether nothing else runs on the stack.
    """
    found = used(job, memory, alone=alone)
    calls = job.calls()
    writes_usd, reads_usd = cost.s3_usd(calls)
    of_maps = job.map_runs * cost.CALLS_OF_A_MAP
    writes = writes_usd / prices.S3_WRITE_USD + of_maps
    gb_seconds = sum(one.seconds * memory[name] / 1024 for name, one in found.items())
    init = sum(one.init_seconds * memory[name] / 1024 for name, one in found.items())
    invocations = job.invocations
    traces = assumptions.TRACES_OF_A_JOB + (_children(job) if job.map_runs else 0)
    secrets = secret_reads(job, found, alone=alone)
    # The upload itself, and the job's own event.
    events = job.bucket_events + 1 + calls["events.PutEvents"]
    logs = invocations * assumptions.LOG_BYTES_OF_AN_INVOCATION
    gb_usd = prices.LAMBDA_GB_SECOND_USD
    return [
        Part(
            "Step Functions",
            job.transitions,
            "transitions",
            job.transitions * prices.TRANSITION_USD,
        ),
        Part("Lambda", gb_seconds, "GB-s", gb_seconds * gb_usd),
        Part("Lambda, initialisation", init, "GB-s", init * gb_usd),
        Part("Lambda, requests", invocations, "calls", invocations * prices.LAMBDA_REQUEST_USD),
        Part("S3, PUT and LIST", writes, "calls", writes * prices.S3_WRITE_USD),
        Part("S3, GET and HEAD", reads_usd / prices.S3_READ_USD, "calls", reads_usd),
        Part("S3, storage", *_storage(job, batch_seconds)),
        Part("EventBridge", events, "events", events * prices.EVENT_USD),
        Part("X-Ray", traces, "traces", traces * prices.TRACE_USD),
        Part("Secrets Manager", secrets, "calls", secrets * prices.SECRET_CALL_USD),
        Part("Index of all jobs", 1, "record", assumptions.INDEX_USD_OF_A_JOB),
        Part("CloudWatch Logs", logs / 1e3, "kB", logs / cost.GB * prices.LOG_GB_USD),
    ]


def total_usd(parts: list[Part]) -> float:
    """Return the sum of a bill."""
    return sum(part.usd for part in parts)


def _children(job: Counted) -> int:
    return sum(step.times for step in _map_steps(job))


def _map_steps(job: Counted) -> Iterator[Step]:
    """Yield what the children of Maps do; a job without a Map calls these functions itself."""
    for step in job.steps:
        if step.function in ("submit_batch", "download_results"):
            yield step


def _storage(job: Counted, batch_seconds: float) -> tuple[float, str, float]:
    """Return the gigabyte-days of a job: input and shards while it runs, then the deleted versions.

    Removed objects stay as versions for a day, and until the next midnight.
    """
    days = batch_seconds / 86_400
    size = job.size.input_bytes
    running = cost.storage_usd(2 * size, days)
    removed = cost.storage_usd(size * (1 + assumptions.ANSWER_SHARE), cost.DAYS_OF_REMOVED)
    gb_days = size / cost.GB * (2 * days + (1 + assumptions.ANSWER_SHARE) * cost.DAYS_OF_REMOVED)
    return gb_days, "GB-days", running + removed
