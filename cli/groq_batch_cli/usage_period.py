"""Read the usage records of a period."""

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
    """The usage records of the jobs that ended in a period.

    Attributes:
        records: The records.
        unreadable: Number of other objects, which are not valid usage records.
        is_before_records: Whether the period begins before the first record, so that jobs of
            older versions may have ended in it.
    """

    records: list[UsageRecord]
    unreadable: int
    is_before_records: bool


def read_period(
    storage: Storage,
    since: datetime,
    until: datetime,
    *,
    on_many: Callable[[int], None],
    many: int = 2000,
) -> Period:
    """Read the usage records of the jobs that ended since ``since`` and before ``until``.

    Args:
        storage: The bucket.
        since: The start of the period, with a time zone.
        until: The end of the period, with a time zone; a job that ended then is not in it.
        on_many: Called with the number of records to read if it exceeds ``many``.
        many: See ``on_many``.
    """
    days = usage_days(storage)
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (since, until))
    objects = [item for day in days if first <= day <= last for item in usage_objects(storage, day)]
    if len(objects) > many:
        on_many(len(objects))
    found = read_records(storage, objects)
    readable = [record for record in found if record is not None]
    return Period(
        records=[one for one in readable if since <= parse_timestamp(one.finished_at) < until],
        unreadable=len(found) - len(readable),
        is_before_records=not days or first < days[0],
    )
