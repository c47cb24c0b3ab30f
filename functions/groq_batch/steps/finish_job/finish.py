"""Finish a job: deliver its results, clean up at Groq, write the final report, publish its end.

Every part can be repeated: what is already done is left unchanged. Nothing is deleted at Groq
before all of it is in the bucket. If the cleanup at Groq fails, it does not delay the report; it is
retried afterwards, when the ``closed`` marker prevents the job's other steps from changing
anything.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.groq.client import GroqClient
from groq_batch.records.all_attempts import load_attempts
from groq_batch.records.closed import close, is_closed, unless_closed
from groq_batch.records.end import End
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import load_calls
from groq_batch.records.shard_result import ShardResult
from groq_batch.records.usage import UsageRecord
from groq_batch.reports.delivery import Delivery
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import log_failure
from groq_batch.settings import Settings
from groq_batch.steps.finish_job.end_event import publish_end
from groq_batch.steps.finish_job.ending_job import EndingJob
from groq_batch.steps.finish_job.final_status import DELIVERED_STATUSES
from groq_batch.steps.finish_job.groq_cleanup import clean_up_groq
from groq_batch.steps.finish_job.placing import Placing
from groq_batch.steps.finish_job.recorded_end import record_end
from groq_batch.steps.finish_job.removal import remove_copies
from groq_batch.steps.outcomes import FinishOutcome
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

_IDENTIFIER = re.compile("[a-z0-9_]{1,64}")


class JobStillRunningError(Exception):
    """The job has shards whose rows are not stored, and nothing has stopped it.

    The state machine does not finish such a job, but a manual call of the function might, and would
    lose the answers of the batches that run.
    """


def finish_job(
    *,
    storage: Storage,
    client: GroqClient,
    events: Any,
    settings: Settings,
    job_id: str,
    tries: int = 0,
    gives_up_lost_rows: bool = False,
    clock: Callable[[], float] = time.time,
) -> FinishOutcome:
    """Deliver results, clean up at Groq, write the report, publish the end, close the job.

    Args:
        storage: The bucket.
        client: The Groq API.
        events: The client of EventBridge.
        settings: The stack's settings.
        job_id: The job.
        tries: How often the cleanup has been tried.
        gives_up_lost_rows: Whether stored rows that were removed while the job ran, by a user or a
            lifecycle rule, count as not collected. If not, they keep the job from ending.
        clock: Returns seconds since 1970.

    Raises:
        EventNotPublishedError: The event about the end could not be published.
        JobStillRunningError: It is too early.
    """
    keys = object_keys.WorkKeys(job_id)
    request = JobRequest.required(storage, job_id)
    delivery = Delivery(storage, request)

    def clean_up(*, is_lost: bool) -> FinishOutcome:
        return clean_up_groq(storage, client, settings, keys, tries, is_lost=is_lost)

    def clean_up_again() -> FinishOutcome:
        job = JobRecord.load(storage, keys)
        return clean_up(is_lost=job is None and bool(delivery.told_batches()))

    def finish() -> FinishOutcome:
        if is_closed(storage, keys):
            return clean_up_again()
        known = _read(storage, request, without_lost_rows=gives_up_lost_rows)
        placing = Placing(storage, delivery, known)
        # An earlier invocation may have written the final report.
        if not End.is_reported(storage, keys) and delivery.stored_final_report() is None:
            _check_collected(known, gives_up_lost_rows=gives_up_lost_rows)
            placing.place()
        cleaned = clean_up(is_lost=_is_lost(delivery, known))
        now = datetime.fromtimestamp(clock(), UTC)
        end = record_end(storage, delivery, placing, known, now=now)
        if end is not None:
            _write_page(delivery, known)
            _record_usage(storage, known.usage(end))
        if end is None or is_closed(storage, keys):
            # This invocation was presumed dead: another one has finished the job.
            return cleaned
        publish_end(events, end.report)
        if close(storage, job_id):
            _log_end(end.report, unasked=known.unasked)
        if end.report["status"] in DELIVERED_STATUSES:
            remove_copies(storage, keys)
        return cleaned

    return unless_closed(storage, keys, finish, clean_up_again)


def _read(storage: Storage, request: JobRequest, *, without_lost_rows: bool) -> EndingJob:
    """Read the records of a job.

    Args:
        storage: The bucket.
        request: What the job was started for.
        without_lost_rows: Whether to leave out shards whose rows were removed.
    """
    keys = object_keys.WorkKeys(request.job_id)
    job = JobRecord.load(storage, keys)
    stop = Stop.load(storage, keys)
    states, summaries = load_attempts(storage, keys)
    if without_lost_rows:
        summaries = [summary for summary in summaries if _has_rows(storage, keys, summary)]
    calls = None
    if job is not None and states:
        calls = load_calls(storage, keys, job, states[-1].attempt)
    return EndingJob(
        request=request, job=job, stop=stop, states=states, summaries=summaries, calls=calls
    )


def _has_rows(storage: Storage, keys: object_keys.WorkKeys, summary: ShardResult) -> bool:
    """Tell whether the rows of a summary are still stored."""
    place = (summary.attempt, summary.number)
    objects = [keys.results(*place)]
    objects += [keys.failed(*place)] if summary.failed_bytes else []
    if all(storage.exists(key) for key in objects):
        return True
    logger.warning("Stored rows were removed", attempt=summary.attempt, shard=summary.number)
    return False


def _check_collected(known: EndingJob, *, gives_up_lost_rows: bool) -> None:
    """Check that the rows of all shards are stored, unless the job was stopped or given up.

    Raises:
        JobStillRunningError: They are not.
    """
    job = known.job
    if job is None or not job.accepted or known.stop is not None or gives_up_lost_rows:
        return
    if not known.uncollected:
        return
    total = len(job.shards)
    raise JobStillRunningError(
        f"The job {known.request.job_id} has stored the rows of {total - known.uncollected} of its "
        f"{total} shards. It is finished by its execution; to stop it, stop that."
    )


def _is_lost(delivery: Delivery, known: EndingJob) -> bool:
    """Tell whether the job has sent batches, but its record was removed."""
    return known.job is None and bool(known.states or delivery.told_batches())


def _write_page(delivery: Delivery, known: EndingJob) -> None:
    """Write the HTML report; an error in it does not prevent the job from finishing.

    It is tried twice: no later step would replace the page that says that the job is running.
    """
    for is_last in (False, True):
        try:
            delivery.write_page(PageData.of(known.job, known.summaries))
        except Exception as error:  # noqa: BLE001
            if is_last:
                log_failure("The report page could not be written", error)
        else:
            return


def _record_usage(storage: Storage, usage: UsageRecord) -> None:
    """Write the usage record; a policy that denies it does not prevent the job from finishing."""
    if not usage.write(storage):
        logger.warning("The usage record could not be written", kind="permission")


def _log_end(report: dict[str, Any], *, unasked: int) -> None:
    """Log and count the end of a job. Of its first error the code is logged, never the message.

    Jobs that did not succeed are logged as warnings, so that a stack without info logs shows them.
    """
    code = report["errors"][0]["code"] if report["errors"] else None
    log = logger.info if report["status"] == "succeeded" else logger.warning
    log(
        "Job ended",
        status=report["status"],
        code=code if code and _IDENTIFIER.fullmatch(code) else None,
        key=report["input"]["key"],
        requests=report["requests"],
        cost_usd=report["cost_usd"]["actual"],
        seconds=report["timing"]["seconds"],
    )
    metrics.job_ended(report, unasked=unasked)
