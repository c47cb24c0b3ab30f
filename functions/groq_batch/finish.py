"""Finish a job: deliver what there is, write the final report, tell the world, tidy up at Groq.

Every part can be repeated: what is already in place is left alone. The ``closed`` marker comes
after the report and before the tidying, so that no later step of this job changes anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout
from groq_batch.batches import Batch
from groq_batch.boards import Board
from groq_batch.config import Settings
from groq_batch.cost import actual_cost_usd
from groq_batch.delivery import Delivery, OvertakenError
from groq_batch.errors import GroqApiError, NotFoundError, RateLimitedError
from groq_batch.groq_api import GroqClient
from groq_batch.jobs import JobRecord, JobRequest, ShardSummary, Stop, is_closed
from groq_batch.joining import join
from groq_batch.observability import logger
from groq_batch.reports import delivery_outputs, event_detail, final_report, latest_summaries
from groq_batch.storage import ConflictError, ObjectWriter, Storage, StoredObject
from groq_batch.submit import backoff_seconds
from groq_batch.summaries import load_summaries

EVENT_SOURCE = "groq-batch"
EVENT_DETAIL_TYPE = "Batch Job Ended"
_MOST_CLEANING_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishOutcome:
    """What the state machine does next: ``done``, or ``wait`` to tidy up the rest at Groq later."""

    outcome: str
    wait_seconds: int = 1
    tries: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


class EventNotPublishedError(Exception):
    """EventBridge took the call and refused the event; to be repeated."""


def finish_job(
    *,
    storage: Storage,
    client: GroqClient,
    events: Any,
    settings: Settings,
    job_id: str,
    tries: int = 0,
    clock: Callable[[], float] = time.time,
) -> FinishOutcome:
    """Deliver, report, publish, close; then delete the job's files at Groq.

    Args:
        storage: The bucket.
        client: The Groq API.
        events: The boto3 client of EventBridge.
        settings: The stack's settings.
        job_id: The job.
        tries: How often the tidying has been tried.
        clock: Seconds since 1970.

    Raises:
        EventNotPublishedError: The event of the end could not be published.
    """
    keys = layout.WorkKeys(job_id)
    request = JobRequest.load(storage, job_id)
    if request is None:
        raise ValueError(f"There is no job {job_id}: {layout.job_key(job_id)} does not exist")
    if not is_closed(storage, keys):
        report = _deliver(storage, request, datetime.fromtimestamp(clock(), UTC))
        publish_end(events, report)
        close(storage, job_id)
        logger.info("Job ended", status=report["status"], requests=report["requests"])
    return _tidy_up(storage, client, settings, keys, tries)


def close(storage: Storage, job_id: str) -> None:
    """Mark a job as ended, for its own later steps and for the reconciler."""
    try:
        storage.put_bytes(layout.WorkKeys(job_id).closed, b"", if_none_match=True)
    except ConflictError:
        logger.info("The job had been closed before")
    storage.delete([layout.open_job_key(job_id)])


def publish_end(events: Any, report: dict[str, Any]) -> None:
    """Publish the end of a job on the default event bus.

    Raises:
        EventNotPublishedError: The bus refused the event, which it tells in a successful answer.
    """
    answer = events.put_events(
        Entries=[
            {
                "Source": EVENT_SOURCE,
                "DetailType": EVENT_DETAIL_TYPE,
                "Detail": json.dumps(event_detail(report), ensure_ascii=False),
            }
        ]
    )
    if answer.get("FailedEntryCount"):
        codes = {entry.get("ErrorCode") for entry in answer.get("Entries", [])}
        raise EventNotPublishedError(f"EventBridge refused the event of the job's end: {codes}")


def _deliver(storage: Storage, request: JobRequest, now: datetime) -> dict[str, Any]:
    """Put the deliverables in place and write the final report; returns the report."""
    keys = layout.WorkKeys(request.job_id)
    job = JobRecord.load(storage, keys)
    stop = Stop.load(storage, keys)
    boards, summaries = _load_attempts(storage, keys)
    status, reason = _end_of(job, stop, summaries)
    delivery = Delivery(storage, request)

    def deliver_under(path: str) -> dict[str, Any]:
        report = final_report(
            request,
            job,
            status=status,
            reason=reason,
            boards=boards,
            summaries=summaries,
            actual_cost_usd=actual_cost_usd(_usage_by_model(summaries)),
            outputs=_place(storage, keys, delivery, path, job, summaries),
            finished_at=now,
        )
        delivery.write_final(report, path)
        return report

    try:
        return deliver_under(delivery.path())
    except OvertakenError:
        logger.info("A newer job has begun at this path")
        return deliver_under(layout.superseded_path(request.job_id, request.path))


def _load_attempts(
    storage: Storage, keys: layout.WorkKeys
) -> tuple[list[Board], list[ShardSummary]]:
    """Read the boards and summaries of all attempts, in order."""
    boards: list[Board] = []
    summaries: list[ShardSummary] = []
    while (board := Board.load(storage, keys, len(boards) + 1)) is not None:
        boards.append(board)
        summaries += load_summaries(storage, keys, board.attempt)
    return boards, summaries


def _end_of(
    job: JobRecord | None, stop: Stop | None, summaries: list[ShardSummary]
) -> tuple[str, dict[str, Any] | None]:
    """Return a job's final status, and the reason of one that failed or was stopped."""
    if job is not None and job.failure is not None:
        return "failed", job.failure
    if stop is not None and (job is None or job.accepted):
        return stop.status, {"code": stop.code, "message": stop.message}
    if job is None:
        return "failed", {
            "code": "internal_error",
            "message": "The job ended before its input was checked. Start it again; if it happens "
            "again, look at the log of PrepareInputFunction.",
        }
    if not job.accepted:
        return "rejected", None
    answered = sum(summary.succeeded for summary in latest_summaries(summaries))
    return ("succeeded" if answered == job.total else "partial"), None


def _usage_by_model(summaries: list[ShardSummary]) -> dict[str, tuple[int, int]]:
    """Return prompt and completion tokens by model over all attempts."""
    usage: dict[str, tuple[int, int]] = {}
    for summary in summaries:
        for model, (prompt, completion, _) in summary.usage.items():
            before = usage.get(model, (0, 0))
            usage[model] = (before[0] + prompt, before[1] + completion)
    return usage


def _place(
    storage: Storage,
    keys: layout.WorkKeys,
    delivery: Delivery,
    path: str,
    job: JobRecord | None,
    summaries: list[ShardSummary],
) -> dict[str, str | None]:
    """Put results, failed lines and problems in place; returns their addresses."""
    targets = layout.delivery_keys(path)
    results: list[StoredObject] = []
    failed: list[StoredObject] = []
    for summary in latest_summaries(summaries):
        results.append(
            StoredObject(keys.results(summary.attempt, summary.number), summary.results_bytes)
        )
        if summary.failed_bytes:
            failed.append(
                StoredObject(keys.failed(summary.attempt, summary.number), summary.failed_bytes)
            )
    problems = storage.head(keys.invalid) if job is not None and job.problems_total else None
    invalid = [StoredObject(keys.invalid, problems.size)] if problems is not None else []

    def writing(sources: list[StoredObject]) -> Callable[[ObjectWriter], None] | None:
        return (lambda writer: join(storage, sources, writer)) if sources else None

    return delivery_outputs(
        targets,
        storage.url,
        results=delivery.deliver(targets.results, writing(results)),
        failed=delivery.deliver(targets.failed, writing(failed)),
        invalid=delivery.deliver(targets.invalid, writing(invalid)),
    )


# -- tidying up ----------------------------------------------------------------------------------


def _tidy_up(
    storage: Storage, client: GroqClient, settings: Settings, keys: layout.WorkKeys, tries: int
) -> FinishOutcome:
    """Leave nothing of the job at Groq: no batch that runs, no file that is not wanted."""
    done = FinishOutcome(outcome="done", tries=tries)
    boards, summaries = _load_attempts(storage, keys)
    if not any(entry.stage for board in boards for entry in board.entries.values()):
        return done
    try:
        batches = _batches_at_groq(client, storage, keys, boards)
        batches = [batch if batch.is_terminal else _cancelled(client, batch) for batch in batches]
        running = any(not batch.is_terminal for batch in batches)
        if settings.delete_groq_files:
            for file_id in _files_at_groq(client, boards, summaries, batches, keys.job):
                client.delete_file(file_id)
    except GroqApiError as error:
        pause = backoff_seconds(tries)
        if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
            pause = error.retry_after_seconds
        logger.warning("Groq could not be tidied up yet", kind=type(error).__name__)
    else:
        if not running:
            return done
        pause = backoff_seconds(tries)
    if tries >= _MOST_CLEANING_TRIES:
        logger.warning("Something was left at Groq, which deletes files after 30 days")
        return done
    return FinishOutcome(outcome="wait", wait_seconds=max(1, int(pause)), tries=tries + 1)


def _batches_at_groq(
    client: GroqClient, storage: Storage, keys: layout.WorkKeys, boards: list[Board]
) -> list[Batch]:
    """Return the job's batches as last seen, and any that no record names.

    Those can exist only where an outcome was unknown or the job was stopped; only then the whole
    list is read.
    """
    batches = {
        entry.batch.id: entry.batch
        for board in boards
        for entry in board.entries.values()
        if entry.batch is not None
    }
    if any(board.has_doubts for board in boards) or storage.exists(keys.stopped):
        for batch in client.all_batches():
            if (batch.metadata or {}).get("job") == keys.job:
                batches[batch.id] = batch
    return list(batches.values())


def _cancelled(client: GroqClient, batch: Batch) -> Batch:
    """Cancel a batch that nobody waits for any more and return it as it is then."""
    try:
        return client.cancel_batch(batch.id)
    except NotFoundError:
        return replace(batch, status="cancelled")


def _files_at_groq(
    client: GroqClient,
    boards: list[Board],
    summaries: list[ShardSummary],
    batches: list[Batch],
    job_id: str,
) -> list[str]:
    """Return the ids of the job's files: those recorded, and any of its name that is not."""
    recorded = [
        *(entry.file_id for board in boards for entry in board.entries.values()),
        *(file_id for summary in summaries for file_id in summary.file_ids),
        *(batch.output_file_id for batch in batches),
        *(batch.error_file_id for batch in batches),
    ]
    prefix = layout.groq_file_prefix(job_id)
    named = [file.id for file in client.list_files() if (file.filename or "").startswith(prefix)]
    return sorted({file_id for file_id in (*recorded, *named) if file_id is not None})
