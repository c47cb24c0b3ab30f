"""Name jobs and their executions."""

from __future__ import annotations

import hashlib
import re

MAX_JOB_ID_LENGTH = 64
"""Execution names have at most 80 characters; the rest is for the suffix of a collecting execution.
See https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html."""
_SLUG_LENGTH = 40
_HASH_LENGTH = 20
_COLLECTOR_NAME = re.compile(r"(.*-[0-9a-f]{20})-c([0-9]+)", re.DOTALL)


def job_id(*, bucket: str, key: str, identity: str) -> str:
    """Name a job: a readable slug of the file name and a hash that makes the name unique.

    Args:
        bucket: The bucket of the input.
        key: The input's object key.
        identity: Distinguishes the jobs of one key: the object version, the version and the id of
            a manual run, or the time of a firing.

    Returns:
        At most ``MAX_JOB_ID_LENGTH`` characters of ``a-z0-9-``, which Step Functions accepts as an
        execution name. The same arguments give the same name.
    """
    stem = key.rsplit("/", 1)[-1].removesuffix(".gz").removesuffix(".jsonl")
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower())[:_SLUG_LENGTH].strip("-") or "job"
    digest = hashlib.sha256("\0".join((bucket, key, identity)).encode("utf-8", "surrogatepass"))
    return f"{slug}-{digest.hexdigest()[:_HASH_LENGTH]}"


def upload_job_id(*, bucket: str, key: str, version_id: str) -> str:
    """Name the job of one upload (one version of one key)."""
    return job_id(bucket=bucket, key=key, identity=version_id)


def replacing_job_id(*, bucket: str, key: str, etag: str) -> str:
    """Name the job of an upload that has replaced another one in a bucket without versions."""
    return job_id(bucket=bucket, key=key, identity=f"null\0{etag}")


def again_job_id(*, bucket: str, key: str, version_id: str, run: str) -> str:
    """Name another run of an upload; ``run`` distinguishes the runs."""
    return job_id(bucket=bucket, key=key, identity=f"{version_id}\0again\0{run}")


def firing_job_id(*, bucket: str, key: str, fired_at: str) -> str:
    """Name the job of one scheduled run of a recurring file.

    It does not depend on the version, so that a scheduled time delivered twice is one job.
    """
    return job_id(bucket=bucket, key=key, identity=f"fired\0{fired_at}")


def job_id_of_execution(name: str) -> str:
    """Return the job of an execution's name: the name itself, or the part before ``-c<number>``."""
    match = _COLLECTOR_NAME.fullmatch(name)
    return match[1] if match else name


def collector_number(name: str) -> int:
    """Return the number of the collecting execution with this name; 0 for the job's own one."""
    match = _COLLECTOR_NAME.fullmatch(name)
    return int(match[2]) if match else 0


def collector_name(job: str, number: int) -> str:
    """Name the collecting execution ``number`` (from 1) of a job."""
    return f"{job}-c{number}"
