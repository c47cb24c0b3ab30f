"""What a job costs at AWS: pure arithmetic on what was counted and on list prices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench import prices

GB = 1e9
FULL_CORE_MB = 1769
"""Memory of a function that has one core for itself; others have less or more in proportion."""

FREE_DISK_GB = 0.5

S3_BYTES_PER_SECOND = 50e6
"""What one function gets from S3, or puts there: less than is usually seen, to be safe."""

GROQ_BYTES_PER_SECOND = 20e6
"""What one function gets through the internet to Groq, likewise."""

CALLS_OF_A_MAP = 6
"""Calls to S3 that Step Functions makes itself for a Distributed Map, on the safe side: a list of
its items, and the files of its results.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html"""

DAYS_OF_REMOVED = 1.5
"""How long what was removed stays as a version: a day, and until the next midnight.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""

CALL_SECONDS = 0.03
"""A call to AWS or Groq and its answer, bytes of objects aside."""

_WRITES = frozenset(
    {
        "CompleteMultipartUpload",
        "CopyObject",
        "CreateMultipartUpload",
        "ListObjectVersions",
        "ListObjectsV2",
        "PutObject",
        "UploadPart",
        "UploadPartCopy",
    }
)
_FREE = frozenset({"AbortMultipartUpload", "DeleteObject", "DeleteObjects"})


@dataclass(frozen=True, slots=True)
class Size:
    """What a function gets from the template.

    Attributes:
        memory_mb: Its memory.
        disk_gb: Its ephemeral storage.
    """

    memory_mb: int
    disk_gb: float = FREE_DISK_GB


@dataclass(slots=True)
class Work:
    """What all invocations of one function do in a job.

    Attributes:
        invocations: How many there are.
        cpu_seconds: What they compute, on one core.
        calls: Calls to AWS, by service and operation.
        s3_bytes: Bytes of objects that pass between them and S3.
        groq_bytes: Bytes that pass between them and Groq.
        log_bytes: What they log.
    """

    invocations: float = 0.0
    cpu_seconds: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    s3_bytes: float = 0.0
    groq_bytes: float = 0.0
    log_bytes: float = 0.0

    def plus(self, other: Work, times: float = 1) -> Work:
        """Return this work and some times another."""
        calls: Counter[str] = Counter(self.calls)
        for name, count in other.calls.items():
            calls[name] += count * times  # type: ignore[assignment]
        return Work(
            invocations=self.invocations + other.invocations * times,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds * times,
            calls=calls,
            s3_bytes=self.s3_bytes + other.s3_bytes * times,
            groq_bytes=self.groq_bytes + other.groq_bytes * times,
            log_bytes=self.log_bytes + other.log_bytes * times,
        )


def billed_seconds(work: Work, size: Size) -> float:
    """Return how long the invocations take at AWS, as if nothing of it happened at the same time.

    Computing goes at the share of a core that the memory brings, at most one; bytes and calls go
    one after the other.
    """
    share = min(size.memory_mb / FULL_CORE_MB, 1.0)
    return (
        work.cpu_seconds / share
        + work.s3_bytes / S3_BYTES_PER_SECOND
        + work.groq_bytes / GROQ_BYTES_PER_SECOND
        + sum(work.calls.values()) * CALL_SECONDS
    )


def s3_usd(calls: Mapping[str, float]) -> tuple[float, float]:
    """Return the price of S3's calls: of those billed like PUT, and of those billed like GET."""
    writes = reads = 0.0
    for name, count in calls.items():
        service, _, operation = name.partition(".")
        if service != "s3" or operation in _FREE:
            continue
        if operation in _WRITES:
            writes += count
        else:
            reads += count
    return writes * prices.S3_WRITE_USD, reads * prices.S3_READ_USD


def storage_usd(size_bytes: float, days: float) -> float:
    """Return the price of keeping bytes for some days."""
    return size_bytes / GB * days / 30 * prices.S3_GB_MONTH_USD


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the bill."""

    name: str
    amount: str
    usd: float


def bill(
    work: Mapping[str, Work],
    sizes: Mapping[str, Size],
    *,
    transitions: float,
    maps: int,
    stored_bytes: float,
    days: float,
    removed_bytes: float,
) -> list[Part]:
    """Return what a job costs, part by part.

    Args:
        work: What each function does in it.
        sizes: What each function gets from the template.
        transitions: States entered.
        maps: Distributed Maps among them.
        stored_bytes: Bytes of objects that stand in the bucket while the job runs.
        days: How long that is.
        removed_bytes: Bytes of objects that are removed at its end.
    """
    seconds = {name: billed_seconds(item, sizes[name]) for name, item in work.items()}
    gb_seconds = {name: seconds[name] * sizes[name].memory_mb / 1024 for name in work}
    disk = sum(max(sizes[name].disk_gb - FREE_DISK_GB, 0) * seconds[name] for name in work)
    invocations = sum(item.invocations for item in work.values())
    calls = _sum(item.calls for item in work.values())
    writes_usd, reads_usd = s3_usd(calls)
    log_bytes = sum(item.log_bytes for item in work.values())
    parts = [
        Part(
            "Step Functions", f"{transitions:,.0f} transitions", transitions * prices.TRANSITION_USD
        )
    ]
    for name in work:
        amount = f"{seconds[name]:,.0f} s, {gb_seconds[name]:,.0f} GB-s"
        parts.append(Part(f"Lambda {name}", amount, gb_seconds[name] * prices.LAMBDA_GB_SECOND_USD))
    events = calls["eventbridge.PutEvents"] + calls["events.PutEvents"]
    secrets = calls["secrets-manager.GetSecretValue"] + calls["secretsmanager.GetSecretValue"]
    return [
        *parts,
        Part("Lambda calls", f"{invocations:,.0f}", invocations * prices.LAMBDA_REQUEST_USD),
        Part("Lambda disk", f"{disk:,.0f} GB-s", disk * prices.LAMBDA_DISK_GB_SECOND_USD),
        Part(
            "S3 writes and lists",
            f"{writes_usd / prices.S3_WRITE_USD:,.0f} calls",
            writes_usd,
        ),
        Part(
            "S3 calls of the Maps",
            f"{maps * CALLS_OF_A_MAP} calls",
            maps * CALLS_OF_A_MAP * prices.S3_WRITE_USD,
        ),
        Part("S3 reads", f"{reads_usd / prices.S3_READ_USD:,.0f} calls", reads_usd),
        Part(
            f"S3 storage, {days:g} day",
            f"{stored_bytes / GB:,.1f} GB",
            storage_usd(stored_bytes, days),
        ),
        Part(
            f"S3 storage, {DAYS_OF_REMOVED:g} days after",
            f"{removed_bytes / GB:,.1f} GB",
            storage_usd(removed_bytes, DAYS_OF_REMOVED),
        ),
        Part(
            "Events, secret",
            f"{events + secrets:,.0f} calls",
            events * prices.EVENT_USD + secrets * prices.SECRET_CALL_USD,
        ),
        Part("Logs", f"{log_bytes / 1e6:,.2f} MB", log_bytes / GB * prices.LOG_GB_USD),
    ]


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total
