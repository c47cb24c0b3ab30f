"""Cost of calls and bytes at AWS, and assumptions about their speed. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from bench import prices

GB = 1e9
FULL_CORE_MB = 1769
"""Memory of a function that has one core for itself; others have less or more in proportion."""

S3_BYTES_PER_SECOND = 50e6
"""What one function gets from S3, or puts there: less than is usually seen, to be safe."""

GROQ_BYTES_PER_SECOND = 20e6
"""Bandwidth of one function to Groq over the internet; also an assumption."""

CALLS_OF_A_MAP = 6
"""Calls to S3 that Step Functions makes itself for a Distributed Map, on the safe side: a list of
its items, and the files of its results.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html"""

DAYS_OF_REMOVED = 1.5
"""How long what was removed stays as a version: a day, and until the next midnight.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html"""

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
