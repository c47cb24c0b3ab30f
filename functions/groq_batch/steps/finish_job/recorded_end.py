"""Record the one end of a job, with its final report at its path."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.records.closed import is_closed
from groq_batch.records.end import End
from groq_batch.reports.delivery import Delivery, SupersededError
from groq_batch.reports.report import final_report
from groq_batch.steps.finish_job.ending_job import EndingJob
from groq_batch.steps.finish_job.final_status import final_status
from groq_batch.steps.finish_job.placing import Placing

_TRIES = 8


def record_end(
    storage: Storage, delivery: Delivery, placing: Placing, known: EndingJob, *, now: datetime
) -> End | None:
    """Return the job's one end. Its final report is then at its path.

    Args:
        storage: The bucket.
        delivery: The objects that the job delivers.
        placing: Where the job's results are placed.
        known: The records of the job.
        now: End time of the job, unless it ended before.

    Returns:
        The end; None if the job is closed, so that its end has already been published.

    Raises:
        ConflictError: Other invocations kept writing the end at the same time.
    """
    keys = known.keys
    for _ in range(_TRIES):
        if is_closed(storage, keys):
            return None
        found = End.load(storage, keys)
        if found is not None and found.value.is_report_written:
            return found.value
        with contextlib.suppress(ConflictError):
            over = found.etag if found else None
            return _decide(storage, delivery, placing, known, now=now, over=over)
    raise ConflictError(keys.end)


def _decide(
    storage: Storage,
    delivery: Delivery,
    placing: Placing,
    known: EndingJob,
    *,
    now: datetime,
    over: str | None,
) -> End:
    """Record how the job ended, write the report, record that the report is written.

    Args:
        storage: The bucket.
        delivery: The objects that the job delivers.
        placing: Where the job's results are placed.
        known: The records of the job.
        now: End time of the job.
        over: ETag of an existing end whose report is not written yet; None without one.

    Raises:
        ConflictError: Another invocation interfered; the caller must start over.
    """
    keys, models = known.keys, known.models
    stored_report = delivery.stored_final_report()
    if stored_report is not None:
        report, path = stored_report
    else:
        if placing.path is None:
            placing.place()
        if placing.path is None:
            raise ConflictError(keys.end)
        report, path = _report(delivery, placing, known, now), placing.path
        end = End(report=report, is_report_written=False, models=models)
        over = end.write(storage, keys, over=over)
        try:
            delivery.write_final(report, path)
        except SupersededError:
            # The report contains the location of the results, so superseded/ needs a new report.
            placing.give_way()
            raise ConflictError(keys.end) from None
    if path != known.request.path:
        delivery.withdraw_running_report()
    end = End(report=report, is_report_written=True, models=models)
    end.write(storage, keys, over=over)
    return end


def _report(
    delivery: Delivery, placing: Placing, known: EndingJob, now: datetime
) -> dict[str, Any]:
    """Build the final report of a job whose results are placed."""
    # Without the working files, the running report alone has the ids to look for at Groq.
    is_unknown = known.job is None and not known.states
    told = delivery.told_batches() if is_unknown else []
    status, reason = final_status(
        known,
        was_sent=bool(known.states or told),
        denied=placing.denied,
        unreadable=delivery.unreadable_report,
    )
    report = final_report(
        known.request,
        known.job,
        status=status,
        reason=reason,
        states=known.states,
        summaries=known.summaries,
        outputs=placing.outputs,
        finished_at=now,
    )
    report["batches"] = report["batches"] or told
    return report
