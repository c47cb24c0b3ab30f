"""Finish a job: deliver what there is, tidy up at Groq, write the final report, tell the world.

Every part can be repeated: what is already in place is left alone. Nothing is deleted at Groq
before all of it stands in the bucket. A Groq that cannot be tidied up now does not hold up the
report; it is tidied up afterwards, when the ``closed`` marker keeps the job's other steps from
changing anything.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from groq_batch import layout, metrics
from groq_batch.batches import Batch
from groq_batch.boards import Board
from groq_batch.config import Settings
from groq_batch.cost import ModelUsages, actual_cost_usd
from groq_batch.delivery import Delivery, OvertakenError
from groq_batch.errors import GroqApiError, NotFoundError, RateLimitedError
from groq_batch.groq_api import GroqClient
from groq_batch.jobs import JobRecord, JobRequest, ShardSummary, Stop, is_closed
from groq_batch.joining import join
from groq_batch.observability import facts, logger
from groq_batch.report_page.facts import Facts
from groq_batch.report_page.pages import tell_failure
from groq_batch.reports import delivery_outputs, event_detail, final_report, latest_summaries
from groq_batch.storage import (
    ConflictError,
    ObjectWriter,
    Storage,
    StoredObject,
    UnreadableObjectError,
    UnwritableObjectError,
)
from groq_batch.stragglers import unless_ended
from groq_batch.submit import backoff_seconds
from groq_batch.summaries import load_summaries

EVENT_SOURCE = "groq-batch"
EVENT_DETAIL_TYPE = "Batch Job Ended"
_MOST_CLEANING_TRIES = 20
_IDENTIFIER = re.compile("[a-z0-9_]{1,64}")
_DELETERS = 8
_DELIVERED_STATUSES = ("succeeded", "partial")
_DENIALS = (UnreadableObjectError, UnwritableObjectError)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishOutcome:
    """What the state machine does next: ``done``, or ``wait`` to tidy up the rest at Groq later."""

    outcome: str
    wait_seconds: int = 1
    tries: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


_UNREAD = (
    "The job ended before its input was checked. Start it again; if it happens again, look at the "
    "log of PrepareInputFunction."
)
_LOST = (
    "The job's working files were removed while it ran, so what it had sent could not be "
    "collected. Look for its batches in the Groq console before you send the file again: they may "
    "be paid for."
)
_UNCOLLECTED = (
    "The job was ended before the rows of {missing} of its {all} shards were stored. Look for "
    "their batches in the Groq console before you send those requests again: they may be paid for."
)


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
    """Deliver, tidy up, report, publish, close.

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

    def tidy_up() -> FinishOutcome:
        return _tidy_up(storage, client, settings, keys, tries)

    def finish() -> FinishOutcome:
        if is_closed(storage, keys):
            return tidy_up()
        finishing = _Finishing(storage, request)
        report = finishing.delivery.standing_final_report()
        if report is None:
            path = finishing.place(finishing.delivery.path())
            tidied = tidy_up()
            report = finishing.report(path, now=datetime.fromtimestamp(clock(), UTC))
        else:
            # An invocation before this one died here: the end that it wrote stands.
            tidied = tidy_up()
        finishing.write_page()
        publish_end(events, report)
        if close(storage, job_id):
            _tell(report)
        if report["status"] in _DELIVERED_STATUSES:
            _remove_bulk(storage, keys)
        return tidied

    return unless_ended(storage, keys, finish, tidy_up)


def close(storage: Storage, job_id: str) -> bool:
    """Mark a job as ended, for its own later steps and for the reconciler.

    Returns:
        Whether it had not been marked before.
    """
    is_first = True
    try:
        storage.put_bytes(layout.WorkKeys(job_id).closed, b"", if_none_match=True)
    except ConflictError:
        logger.info("The job had been closed before")
        is_first = False
    storage.delete([layout.open_job_key(job_id)])
    return is_first


def _remove_bulk(storage: Storage, keys: layout.WorkKeys) -> None:
    """Remove the copies of requests and answers of a job that has ended by itself.

    They would cost more than all else that the job takes at AWS, and hold prompts for longer than
    anybody needs them. What cannot be removed expires with the job's other working files.
    """
    for prefix in keys.bulk:
        try:
            storage.delete(found.key for found in storage.objects(prefix))
        except UnwritableObjectError as error:
            logger.warning("Working files could not be removed", reason=str(error))


def _tell(report: dict[str, Any]) -> None:
    """Log and count the end of a job. Of its first error the code is told, never the message."""
    code = report["errors"][0]["code"] if report["errors"] else None
    logger.info(
        "Job ended",
        status=report["status"],
        code=code if code and _IDENTIFIER.fullmatch(code) else None,
        key=report["input"]["key"],
        requests=report["requests"],
        cost_usd=report["cost_usd"]["actual"],
        seconds=report["timing"]["seconds"],
    )
    metrics.job_ended(report)


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


class _Finishing:
    """The end of one job: its deliverables and its final report."""

    def __init__(self, storage: Storage, request: JobRequest) -> None:
        self.delivery = Delivery(storage, request)
        self._storage = storage
        self._request = request
        self._keys = layout.WorkKeys(request.job_id)
        self._job = JobRecord.load(storage, self._keys)
        self._stop = Stop.load(storage, self._keys)
        self._boards, self._summaries = _load_attempts(storage, self._keys)
        self._outputs: dict[str, str | None] = delivery_outputs(
            layout.delivery_keys(request.path),
            storage.url,
            results=False,
            failed=False,
            invalid=False,
        )
        self._denied: dict[str, Any] | None = None

    def place(self, path: str) -> str:
        """Put results, failed lines and problems in place; returns the path they stand under.

        Where a newer job or a lock stands in the way that is a path of this job's own. What cannot
        be written there either stays in the job's working files, and the report says so.
        """
        aside = layout.superseded_path(self._request.job_id, self._request.path)
        try:
            self._place(layout.delivery_keys(path))
        except OvertakenError:
            path = aside
            self._place(layout.delivery_keys(path))
        except _DENIALS as error:
            self._denied = _denied_writing(str(error), self._storage.url(self._keys.prefix))
            if path != aside:
                with contextlib.suppress(*_DENIALS):
                    self._place(layout.delivery_keys(aside))
                    return aside
            self._place(layout.delivery_keys(path), leaves_out_what_is_denied=True)
        return path

    def report(self, path: str, *, now: datetime) -> dict[str, Any]:
        """Write the final report, under ``path`` unless a newer job has begun there; returns it."""
        try:
            return self.delivery.write_final(self._report(now), path)
        except OvertakenError:
            path = layout.superseded_path(self._request.job_id, self._request.path)
            self._place(layout.delivery_keys(path))
            return self.delivery.write_final(self._report(now), path)

    def write_page(self) -> None:
        """Write the report for people; a page that fails does not keep the job from its end."""
        try:
            facts = Facts.of(self._job, self._summaries, _usage_by_model(self._summaries))
            self.delivery.write_page(facts)
        except Exception as error:  # noqa: BLE001
            tell_failure("The report page could not be written", error)

    def _report(self, now: datetime) -> dict[str, Any]:
        status, reason = _end_of(self._job, self._stop, self._boards, self._summaries)
        if self._denied is not None:
            status, reason = "failed", self._denied
        return final_report(
            self._request,
            self._job,
            status=status,
            reason=reason,
            boards=self._boards,
            summaries=self._summaries,
            actual_cost_usd=actual_cost_usd(
                _usage_by_model(self._summaries), self._job.prices if self._job else None
            ),
            outputs=self._outputs,
            finished_at=now,
        )

    def _place(
        self, targets: layout.DeliveryKeys, *, leaves_out_what_is_denied: bool = False
    ) -> None:
        keys = self._keys

        def deliver(key: str, write: Callable[[ObjectWriter], None] | None) -> bool:
            with contextlib.suppress(*(_DENIALS if leaves_out_what_is_denied else ())):
                return self.delivery.deliver(key, write)
            return False

        results: list[StoredObject] = []
        failed: list[StoredObject] = []
        for summary in latest_summaries(self._summaries):
            place = (summary.attempt, summary.number)
            results.append(StoredObject(keys.results(*place), summary.results_bytes))
            if summary.failed_bytes:
                failed.append(StoredObject(keys.failed(*place), summary.failed_bytes))
        has_problems = self._job is not None and self._job.problems_total > 0
        problems = self._storage.head(keys.invalid) if has_problems else None
        invalid = [StoredObject(keys.invalid, problems.size)] if problems is not None else []
        self._outputs = delivery_outputs(
            targets,
            self._storage.url,
            results=deliver(targets.results, self._writing(results)),
            failed=deliver(targets.failed, self._writing(failed)),
            invalid=deliver(targets.invalid, self._writing(invalid)),
        )

    def _writing(self, sources: list[StoredObject]) -> Callable[[ObjectWriter], None] | None:
        return (lambda writer: join(self._storage, sources, writer)) if sources else None


def _denied_writing(key: str, work: str) -> dict[str, Any]:
    """Return the reason of a job whose results S3 does not let be written.

    Args:
        key: What could not be written or removed.
        work: The address of the job's working files.
    """
    return {
        "code": "permission_denied",
        "message": f"S3 does not allow the functions to write or remove {key}; a policy or a lock "
        f"denies it. The results stand where outputs says; what is null there stands shard by "
        f"shard in the folders results and failed of {work} until that expires. Allow it before "
        f"the next upload.",
    }


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
    job: JobRecord | None, stop: Stop | None, boards: list[Board], summaries: list[ShardSummary]
) -> tuple[str, dict[str, Any] | None]:
    """Return a job's final status, and the reason of one that failed or was stopped."""
    if job is not None and job.failure is not None:
        return "failed", job.failure
    if stop is not None and (job is None or job.accepted):
        return stop.status, {"code": stop.code, "message": stop.message}
    if job is None:
        return "failed", {"code": "internal_error", "message": _LOST if boards else _UNREAD}
    if not job.accepted:
        return "rejected", None
    latest = latest_summaries(summaries)
    if len(latest) < len(job.shards):
        text = _UNCOLLECTED.format(missing=len(job.shards) - len(latest), all=len(job.shards))
        return "failed", {"code": "internal_error", "message": text}
    answered = sum(summary.succeeded for summary in latest)
    return ("succeeded" if answered == job.total else "partial"), None


def _usage_by_model(summaries: list[ShardSummary]) -> ModelUsages:
    """Return what the answers of all attempts used, by model."""
    usage = ModelUsages()
    for summary in summaries:
        usage.merge(summary.used)
    return usage


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
            files = _files_at_groq(client, boards, summaries, batches, keys.job)
            with ThreadPoolExecutor(max_workers=_DELETERS) as pool:
                list(pool.map(client.delete_file, files))
    except GroqApiError as error:
        pause = backoff_seconds(tries)
        if isinstance(error, RateLimitedError) and error.retry_after_seconds is not None:
            pause = error.retry_after_seconds
        logger.warning("Groq could not be tidied up yet", **facts(error))
        metrics.groq_failed(error)
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
