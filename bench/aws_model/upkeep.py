"""What grows with the number of files: sweep, reconciler, usage and the index, in a month. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench import prices
from bench.aws_model.bill import FILES_OF_A_DAY, core_share, init_seconds
from bench.sizes import SLOWER_CORE

UPLOADS = 1_000_000
"""Uploads that there have been in all."""

SWEEPS_OF_A_MONTH = 720
RECONCILES_OF_A_MONTH = 2_880
ASKED_DAYS = 8
"""Days for which a sweep asks for the record of an upload."""

LISTED_AT_ONCE = 1_000
LOOKUPS_AT_ONCE = 16
"""Records that the sweep, or the index, asks for at the same time."""

_CALL_SECONDS = 0.08
"""A list of a thousand, or a small object among many: longer than a call by itself."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something that is done again and again.

    Attributes:
        name: What it is.
        runs: How often in a month.
        writes: Calls of a run that are billed like PUT.
        reads: Calls of a run that are billed like GET.
        seconds: How long a run takes.
        memory_mb: The memory of its function.
        init_seconds: Billed seconds for creating the environment, each time.
    """

    name: str
    runs: int
    writes: float
    reads: float
    seconds: float
    memory_mb: int
    init_seconds: float = 0.0

    @property
    def usd(self) -> float:
        """What it costs in a month."""
        gb_seconds = (self.seconds + self.init_seconds) * self.memory_mb / 1024
        return self.runs * (
            self.writes * prices.S3_WRITE_USD
            + self.reads * prices.S3_READ_USD
            + gb_seconds * prices.LAMBDA_GB_SECOND_USD
            + prices.LAMBDA_REQUEST_USD
        )


def tasks(
    sweep: Mapping[str, Mapping[str, float]],
    memory: Mapping[str, int],
    *,
    files_of_a_day: int = FILES_OF_A_DAY,
    uploads: int = UPLOADS,
    open_jobs: int,
) -> list[Task]:
    """Return the scheduled tasks at a given load.

    Args:
        sweep: The two sweeps that were measured.
        memory: Megabytes of each function.
        files_of_a_day: Uploads of a day.
        uploads: Uploads in all.
        open_jobs: Jobs under way at a time.
    """
    known, asked = sweep["known"], sweep["asked"]
    start, cancel = memory["start_job"], memory["cancel_job"]
    young = files_of_a_day * ASKED_DAYS
    listed = uploads / LISTED_AT_ONCE
    cpu = known["cpu_seconds"] / known["uploads"] * uploads
    cpu_asked = (asked["cpu_seconds"] / asked["uploads"]) * young
    each = files_of_a_day * 30 / RECONCILES_OF_A_MONTH
    days = 1.5  # Today's records, half of them on average, and yesterday's.
    return [
        Task(
            f"sweep, hourly: lists of {uploads:,} uploads",
            SWEEPS_OF_A_MONTH,
            listed,
            1,
            cpu * SLOWER_CORE / core_share(start) + listed * _CALL_SECONDS,
            start,
            init_seconds("start_job", start),
        ),
        Task(
            f"sweep, hourly: records of the {young:,} uploads of {ASKED_DAYS} days",
            SWEEPS_OF_A_MONTH,
            0,
            young,
            max(cpu_asked * SLOWER_CORE, young / LOOKUPS_AT_ONCE * _CALL_SECONDS),
            start,
        ),
        Task(
            f"reconciler, each 15 minutes: {open_jobs:,} open jobs",
            RECONCILES_OF_A_MONTH,
            max(open_jobs / LISTED_AT_ONCE, 1),
            1,
            0.5 + open_jobs / LISTED_AT_ONCE * (2 * _CALL_SECONDS + 0.2 * SLOWER_CORE),
            cancel,
            init_seconds("cancel_job", cancel),
        ),
        Task(
            f"index page, each 15 minutes: {each:,.0f} new records of usage",
            RECONCILES_OF_A_MONTH,
            2 + days * files_of_a_day / LISTED_AT_ONCE,
            each + 2 * open_jobs_shown(open_jobs) + 3,
            1.0 + (each + 2 * open_jobs_shown(open_jobs)) / LOOKUPS_AT_ONCE * _CALL_SECONDS,
            cancel,
        ),
    ]


def open_jobs_shown(open_jobs: int) -> int:
    """Return how many open jobs the index page shows, and so reads."""
    return min(open_jobs, 100)
