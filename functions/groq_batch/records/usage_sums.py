"""Sum up the usage records of the last days, without reading all of them again.

One object holds the sums by day and folder, and the jobs that ended last. Each update lists the
records of today and yesterday, a thousand per call, and reads only those that are new; once a day
it lists all days, in case a job's record came late.

The records of a day are listed by name, not by time, so new records are recognised by S3's own
date: it is later than the latest date counted. Objects written at the same time may be dated in any
order, so the last few minutes before that date are compared by name with the records counted in
them. All this is stored in the same object as the sums: an update that crashes, or collides with
another, has counted nothing.

Records that a user copies in place, to encrypt them with another key for instance, have new dates.
A day with fewer records than were counted is counted anew.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.totals import Totals
from groq_batch.records import stored
from groq_batch.records.usage import UsageRecord

DAYS = 30
"""Days for which sums are kept, including today."""
MAX_ENDED = 200
"""Number of jobs kept as those that ended last."""
OVERLAP_SECONDS = 300.0
"""How many seconds before the latest counted record another may be dated that was not listed."""
AT_ONCE = 2000
"""The sums are saved after this many records."""
_MAX_FOLDERS = 200
_MAX_FOLDER_CHARACTERS = 100
OTHER_FOLDERS = "(other folders)"
"""Catch-all for the folders of a day once the maximum number of folders is tracked."""
_DAY = re.compile(r"date=([0-9]{4}-[0-9]{2}-[0-9]{2})")
_NAME_CHARACTERS = 20
"""Length of the hash at the end of a job's name, which makes the name unique."""


@dataclass(slots=True)
class Sums(Totals):
    """Totals of some jobs.

    Attributes:
        jobs: Number of jobs.
        unsuccessful: Jobs among them that did not end ``succeeded``.
        requests: Their requests.
        succeeded: Requests with an answer.
        prompt_tokens: Prompt tokens of the answers.
        completion_tokens: Completion tokens of the answers.
        usd: Cost in US dollars of the jobs whose cost is known.
        without_cost: Number of jobs whose cost is unknown.
    """

    jobs: int = 0
    unsuccessful: int = 0
    requests: int = 0
    succeeded: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    without_cost: int = 0

    def add(self, record: UsageRecord) -> None:
        """Count a job."""
        self.merge(
            Sums(
                jobs=1,
                unsuccessful=int(record.status != "succeeded"),
                requests=record.requests,
                succeeded=record.succeeded,
                prompt_tokens=record.prompt_tokens,
                completion_tokens=record.completion_tokens,
                usd=record.actual_usd or 0.0,
                without_cost=int(record.actual_usd is None),
            )
        )


@dataclass(slots=True)
class DayOfUsage:
    """The jobs that ended on a day.

    Attributes:
        folders: Their totals by folder.
        until: Date of the latest record counted, in seconds since 1970.
        recent: Dates of the records counted in the last minutes before that, by job.
    """

    folders: dict[str, Sums] = field(default_factory=dict)
    until: float = 0.0
    recent: dict[str, float] = field(default_factory=dict)

    def has_counted(self, item: StoredObject) -> bool:
        """Tell whether a record of the day has been counted."""
        return item.modified_at < self.until - OVERLAP_SECONDS or _name_of(item) in self.recent

    def count(self, item: StoredObject, record: UsageRecord | None) -> None:
        """Count a record; one that cannot be read (None) is not read again."""
        self.until = max(self.until, item.modified_at)
        self.recent[_name_of(item)] = item.modified_at
        if record is not None:
            self._of(record.folder).add(record)

    def _of(self, folder: str) -> Sums:
        name = folder[:_MAX_FOLDER_CHARACTERS]
        if name not in self.folders and len(self.folders) >= _MAX_FOLDERS:
            name = OTHER_FOLDERS
        return self.folders.setdefault(name, Sums())

    def forget_counted(self) -> None:
        """Forget the recent records that are too old to be met again."""
        first = self.until - OVERLAP_SECONDS
        self.recent = {name: at for name, at in self.recent.items() if at >= first}


@dataclass(slots=True)
class UsageSums:
    """Totals of the usage records of the last days.

    Attributes:
        days: The days, such as ``2026-11-29``, with at least one record.
        ended: The jobs that ended last, without their totals by model.
        complete_on: The day on which all days were last listed completely; None if never.
        unreadable: Number of records that could not be read.
    """

    days: dict[str, DayOfUsage] = field(default_factory=dict)
    ended: list[UsageRecord] = field(default_factory=list)
    complete_on: str | None = None
    unreadable: int = 0

    def count(self, day: str, item: StoredObject, record: UsageRecord | None) -> None:
        """Count a record of a day; None for one that cannot be read."""
        self.days.setdefault(day, DayOfUsage()).count(item, record)
        if record is None:
            self.unreadable += 1
            return
        self.ended.append(replace(record, models=()))
        if len(self.ended) > 2 * MAX_ENDED:
            self._trim()

    def is_new(self, day: str, item: StoredObject) -> bool:
        """Tell whether a record of a day has not been counted."""
        return day not in self.days or not self.days[day].has_counted(item)

    def has_counted_more(self, day: str, new: int, listed: int) -> bool:
        """Tell whether counting new records would count more than are listed for a day."""
        folders = self.days[day].folders.values() if day in self.days else ()
        return sum(folder.jobs for folder in folders) + new > listed

    def forget_day(self, day: str) -> None:
        """Drop what was counted of a day, so that all its records are new."""
        self.days.pop(day, None)
        self.ended = [record for record in self.ended if record.day != day]

    def forget_before(self, day: str) -> None:
        """Drop the sums of all days before a given one."""
        self.days = {name: sums for name, sums in self.days.items() if name >= day}
        self._trim()

    def _trim(self) -> None:
        self.ended = heapq.nlargest(
            MAX_ENDED, self.ended, key=lambda record: (record.finished_at, record.job_id)
        )

    @classmethod
    def load(cls, storage: Storage) -> StoredSums:
        """Load the sums. If they cannot be read, everything is counted again from the records."""
        found = storage.get_json(object_keys.USAGE_SUMS_KEY)
        if found is None:
            return StoredSums(cls(), None)
        try:
            return StoredSums(stored.from_record(found.value, cls), found.etag)
        except ValueError:
            return StoredSums(cls(), found.etag)

    def save(self, storage: Storage, *, over: str | None) -> str:
        """Write the sums and return their ETag.

        Args:
            storage: The bucket.
            over: ETag of the stored sums that they replace; None if there are none.

        Raises:
            ConflictError: Another invocation has written sums meanwhile.
        """
        for day in self.days.values():
            day.forget_counted()
        return stored.put(storage, object_keys.USAGE_SUMS_KEY, self, over=over)


class StoredSums(NamedTuple):
    """Sums as loaded.

    Attributes:
        sums: The sums; empty ones if none can be read.
        etag: ETag of the stored object, which ``save`` replaces; None without one.
    """

    sums: UsageSums
    etag: str | None


def first_day(now: datetime) -> str:
    """Return the first of the days for which sums are kept."""
    return _day_text(now - timedelta(days=DAYS - 1))


def days_since(first: str, now: datetime) -> list[str]:
    """Return the UTC days from a given one until now, latest first."""
    begin = datetime.fromisoformat(first).replace(tzinfo=UTC)
    return [_day_text(now - timedelta(days=back)) for back in range((now - begin).days + 1)]


def update_sums(
    storage: Storage,
    sums: UsageSums,
    *,
    now: datetime,
    has_time: Callable[[], bool] = lambda: True,
    on_progress: Callable[[UsageSums], None] = lambda _: None,
) -> bool:
    """Count the records added since the sums were saved, latest days first.

    Args:
        storage: The bucket.
        sums: The sums so far; changed in place.
        now: The time, with its time zone.
        has_time: Tells whether there is time to read more records.
        on_progress: Called with the sums each time some records have been counted.

    Returns:
        Whether all were counted.
    """
    today = _day_text(now)
    is_first = sums.complete_on is None
    has_all_days = sums.complete_on == today
    days = days_since(_day_text(now - timedelta(days=1)), now)
    if not has_all_days:
        days = days_since(first_day(now), now)
    for day in itertools.chain(days, _earlier_days(storage, sums, days[-1]) if is_first else ()):
        listed = list(usage_objects(storage, day))
        new = [item for item in listed if sums.is_new(day, item)]
        if sums.has_counted_more(day, len(new), len(listed)):
            sums.forget_day(day)
            new = listed
        # In order of their dates, so that a record left for the next update still counts as new.
        new.sort(key=lambda item: (item.modified_at, item.key))
        for start in range(0, len(new), AT_ONCE):
            if not has_time():
                return False
            part = new[start : start + AT_ONCE]
            for item, record in zip(part, read_records(storage, part), strict=True):
                sums.count(day, item, record)
            on_progress(sums)
    sums.forget_before(first_day(now))
    if not has_all_days:
        sums.complete_on = today
        on_progress(sums)
    return True


def _earlier_days(storage: Storage, sums: UsageSums, before: str) -> Iterator[str]:
    """Yield the days before a given one, latest first, until enough jobs are known."""
    for day in sorted(usage_days(storage), reverse=True):
        if len(sums.ended) >= MAX_ENDED:
            return
        if day < before:
            yield day


def usage_days(storage: Storage) -> list[str]:
    """Return the days with usage records, earliest first."""
    names = map(_DAY.fullmatch, storage.folders(object_keys.USAGE_PREFIX))
    return sorted(name[1] for name in names if name is not None)


def usage_objects(storage: Storage, day: str) -> Iterator[StoredObject]:
    """Yield the usage records of a day, sorted by name; other objects are skipped."""
    for item in storage.objects(object_keys.usage_day_prefix(day)):
        if object_keys.is_job_id(object_keys.job_of_usage_key(item.key)):
            yield item


def read_records(storage: Storage, items: Sequence[StoredObject]) -> list[UsageRecord | None]:
    """Return records in the given order, reading many at a time; None if one cannot be read."""

    def read(item: StoredObject) -> UsageRecord | None:
        try:
            return UsageRecord.load(storage, item.key)
        except ValueError:
            return None  # It is not as the pipeline writes it.

    return in_parallel(read, items)


def _name_of(item: StoredObject) -> str:
    return object_keys.job_of_usage_key(item.key)[-_NAME_CHARACTERS:]


def _day_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"
