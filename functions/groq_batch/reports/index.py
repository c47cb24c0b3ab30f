"""Keep the page of all jobs, ``reports/index.html``, up to date on a best-effort basis.

The reconciler writes it, from its list of open jobs and from sums that each run continues. If the
page cannot be written, this is logged and counted, and jobs are closed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.times import parse_timestamp, timestamp
from groq_batch.records.usage_sums import UsageSums, update_sums
from groq_batch.reports.page.writer import CONTENT_TYPE, WRITTEN_METADATA, log_failure


def update_index(
    storage: Storage,
    ages: Mapping[str, float],
    *,
    now: datetime,
    has_time: Callable[[], bool],
) -> None:
    """Count the jobs that ended since the last update, and write the page. Never raises.

    Args:
        storage: The bucket.
        ages: Age of each open job in seconds.
        now: The time.
        has_time: Tells whether there is time to read more usage records.
    """
    try:
        sums, is_whole = _updated_sums(storage, now, has_time)
        _write(storage, sums, ages, now=now, is_whole=is_whole)
    except Exception as error:  # noqa: BLE001
        # An error in the page must not prevent jobs from being closed.
        log_failure("The index of all jobs could not be made", error)


def _updated_sums(
    storage: Storage, now: datetime, has_time: Callable[[], bool]
) -> tuple[UsageSums, bool]:
    """Return the sums, and whether they include all records."""
    sums, etag = UsageSums.load(storage)

    def save(changed: UsageSums) -> None:
        nonlocal etag
        etag = changed.save(storage, over=etag)

    try:
        return sums, update_sums(storage, sums, now=now, has_time=has_time, on_progress=save)
    except ConflictError:
        # Another run counts at the same time. Its sums are right, and must not be combined with
        # these.
        return UsageSums.load(storage).sums, False


def _write(
    storage: Storage,
    sums: UsageSums,
    ages: Mapping[str, float],
    *,
    now: datetime,
    is_whole: bool,
) -> None:
    """Write the page unless a later one exists."""
    # Imported here: the function also closes single jobs, and then does not need it.
    from groq_batch.reports.page.index_rendering import index_page  # noqa: PLC0415

    head = storage.head(object_keys.INDEX_KEY)
    written = head.metadata.get(WRITTEN_METADATA) if head is not None else None
    if written is not None and parse_timestamp(written) > now:
        return
    oldest_first = sorted(ages, key=lambda job: -ages[job])
    page = index_page(storage, sums, oldest_first, as_of=now, is_whole=is_whole)
    with suppress(ConflictError):  # Another run has written its own page.
        storage.put_bytes(
            object_keys.INDEX_KEY,
            page,
            content_type=CONTENT_TYPE,
            over=head.etag if head is not None else None,
            metadata={WRITTEN_METADATA: timestamp(now)},
        )
