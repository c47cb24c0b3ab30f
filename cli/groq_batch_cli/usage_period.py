"""Reads the usage records of a period."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from groq_batch.bucket.storage import Storage
from groq_batch.domain.times import parse_timestamp
from groq_batch.records.usage import UsageRecord
from groq_batch.records.usage_sums import read_records, usage_days, usage_objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The usage records of the jobs that ended since some moment.

    Attributes:
        records: The records.
        unreadable: How many others are not as the pipeline writes them.
        is_before_records: Whether the period begins before the first record of all, so that older
            jobs may have ended in it.
    """

    records: list[UsageRecord]
    unreadable: int
    is_before_records: bool


def read_period(
    storage: Storage, since: datetime, *, on_many: Callable[[int], None], many: int = 2000
) -> Period:
    """Read the usage records of the jobs that ended since ``since``.

    Args:
        storage: The bucket.
        since: The moment, with its time zone.
        on_many: Is told how many records will be read when they are more than ``many``.
        many: See there.
    """
    days = usage_days(storage)
    first = f"{since.astimezone(UTC):%Y-%m-%d}"
    objects = [item for day in days if day >= first for item in usage_objects(storage, day)]
    if len(objects) > many:
        on_many(len(objects))
    found = list(read_records(storage, objects))
    readable = [record for record in found if record is not None]
    return Period(
        records=[one for one in readable if parse_timestamp(one.finished_at) >= since],
        unreadable=len(found) - len(readable),
        is_before_records=not days or first < days[0],
    )
