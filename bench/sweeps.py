"""Part "sweep": the cost of a scheduled run after a million uploads have run.

The start function's use case, over a client of boto3 whose wire ends in this process: every answer
is the XML of S3, signed for, parsed and looked at as on AWS. The making of the answers is counted
in, at a hundredth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.steps.start_job.start import JobStarter
from local.listed_bucket import BUCKET, ListedBucket

UPLOADS = 1_000_000
ASKED = 20_000
"""Uploads of the sweep that asks for the record of each."""

NOW = 1_800_000_000.0
_DAY = 86_400
_EVENT = {"trigger": "schedule", "scheduled_time": "2027-01-15T08:00:00Z"}

Progress = Callable[[str], None]


def measure(progress: Progress) -> dict[str, Any]:
    """Sweep a million uploads that are known, and some of which nothing is known."""
    known = _sweep(UPLOADS, {"complete_at": "2027-01-15T07:00:00Z"})
    progress(f"{UPLOADS:,} known uploads: {known['cpu_seconds']:.0f} s of a core")
    asked = _sweep(ASKED, None)
    progress(f"{ASKED:,} records asked for: {asked['cpu_seconds']:.0f} s of a core")
    return {"known": known, "asked": asked}


def _sweep(uploads: int, state: dict[str, str] | None) -> dict[str, Any]:
    bucket = ListedBucket(uploads, modified_at=NOW - 30 * _DAY)
    if state is not None:
        kept = {"begun_at": None, "position": None, **state}
        bucket.objects[object_keys.SWEEP_KEY] = json.dumps(kept).encode()
    starter = JobStarter(
        storage=Storage(s3=bucket.client(), bucket=BUCKET),
        states=None,
        state_machine_arn="",
        invocation="bench",
        clock=lambda: NOW,
    )
    begun = time.process_time()
    started = starter.handle(_EVENT)
    seconds = time.process_time() - begun
    if started.total or object_keys.SWEEP_KEY not in bucket.objects:
        raise RuntimeError("The sweep of known uploads has started jobs, or did not end")
    return {"uploads": uploads, "cpu_seconds": seconds, "calls": dict(bucket.calls)}
