"""Finish a job: deliver its results, clean up at Groq, write the final report, publish its end.

Every part can be repeated: what is already done is left unchanged. Nothing is deleted at Groq
before all of it is in the bucket. If the cleanup at Groq fails, it does not delay the report; it is
retried afterwards, when the ``closed`` marker prevents the job's other steps from changing
anything.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError, UnreadableObjectError, UnwritableObjectError
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.reason import Reason
from groq_batch.domain.times import timestamp_of
from groq_batch.groq.client import GroqClient
from groq_batch.records.all_attempts import load_attempts
from groq_batch.records.attempt import AttemptState
from groq_batch.records.closed import close, is_closed, unless_closed
from groq_batch.records.end import End
from groq_batch.records.job import JobRecord, JobRequest, Stop
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress, load_calls
from groq_batch.records.shard_result import ShardResult, latest_summaries
from groq_batch.records.usage import UsageOfModel, UsageRecord, usage_by_model
from groq_batch.reports.delivery import Delivery, SupersededError
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import log_failure
from groq_batch.reports.report import delivery_outputs, event_detail, final_report
from groq_batch.settings import Settings
from groq_batch.steps.groq_cleanup import clean_up_groq
from groq_batch.steps.outcomes import FinishOutcome
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

EVENT_SOURCE = "groq-batch"
EVENT_DETAIL_TYPE = "Batch Job Ended"
_IDENTIFIER = re.compile("[a-z0-9_]{1,64}")
_TRIES = 8
_DELIVERED_STATUSES = ("succeeded", "partial")
_DENIALS = (UnreadableObjectError, UnwritableObjectError)
_UNREAD = (
    "The job ended before its input was checked. Start it again; if it happens again, check the "
    "log of PrepareInputFunction."
)
_LOST = (
    "The job's working files were removed while it ran, so its batches could not be collected; "
    "those that still ran were cancelled. Groq keeps their files for up to 30 days: look for the "
    "answers in the Groq console before you send the file again, because they may have been billed."
)
_UNCOLLECTED = (
    "The job was ended before the rows of {missing} of its {all} shards were stored, or these were "
    "removed. Look for their batches in the Groq console before you send those requests again: "
    "they may have been billed."
)


class EventNotPublishedError(Exception):
    """EventBridge accepted the call but rejected the event; the call must be repeated."""


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

    def clean_up(*, is_lost: bool) -> FinishOutcome:
        return clean_up_groq(storage, client, settings, keys, tries, is_lost=is_lost)

    def clean_up_again() -> FinishOutcome:
        job = JobRecord.load(storage, keys)
        return clean_up(is_lost=job is None and bool(Delivery(storage, request).told_batches()))

    def finish() -> FinishOutcome:
        if is_closed(storage, keys):
            return clean_up_again()
        finishing = _Finishing(storage, request, gives_up_lost_rows=gives_up_lost_rows)
        if not finishing.has_report():
            finishing.check_collected()
            finishing.place()
        cleaned = clean_up(is_lost=finishing.is_lost)
        end = finishing.end(now=datetime.fromtimestamp(clock(), UTC))
        if end is not None:
            finishing.write_page()
            _record_usage(storage, finishing.usage(end))
        if end is None or is_closed(storage, keys):
            # This invocation was presumed dead: another one has finished the job.
            return cleaned
        report = end.report
        publish_end(events, report)
        if close(storage, job_id):
            _log_end(report, unasked=finishing.unasked)
        if report["status"] in _DELIVERED_STATUSES:
            _remove_bulk(storage, keys)
        return cleaned

    return unless_closed(storage, keys, finish, clean_up_again)


def _record_usage(storage: Storage, usage: UsageRecord) -> None:
    """Write the usage record; a policy that denies it does not prevent the job from finishing."""
    if not usage.write(storage):
        logger.warning("The usage record could not be written", kind="permission")


def _remove_bulk(storage: Storage, keys: object_keys.WorkKeys) -> None:
    """Delete the copies of requests and answers of a job that ended by itself.

    They would cost more than everything else that the job uses at AWS, and keep prompts longer than
    needed. Copies that cannot be deleted expire with the job's other working files.
    """
    # One listing of everything is faster than one per kind, most of which have no objects.
    everything = [found.key for found in storage.objects(keys.prefix)]
    for prefix in keys.bulk:
        try:
            storage.delete(key for key in everything if key.startswith(prefix))
        except UnwritableObjectError as error:
            logger.warning("Working files could not be removed", reason=str(error))


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


def publish_end(events: Any, report: dict[str, Any]) -> None:
    """Publish the end of a job on the default event bus.

    Raises:
        EventNotPublishedError: The bus rejected the event (reported in a successful response).
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
    """The end of one job: delivered objects and final report."""

    def __init__(self, storage: Storage, request: JobRequest, *, gives_up_lost_rows: bool) -> None:
        self.delivery = Delivery(storage, request)
        self._storage = storage
        self._request = request
        self._keys = object_keys.WorkKeys(request.job_id)
        self._job = JobRecord.load(storage, self._keys)
        self._stop = Stop.load(storage, self._keys)
        self._states, self._summaries = load_attempts(storage, self._keys)
        self._gives_up_lost_rows = gives_up_lost_rows
        if gives_up_lost_rows:
            self._summaries = [one for one in self._summaries if self._has_rows(one)]
        self._calls = _load_calls(storage, self._keys, self._job, self._states)
        self._outputs: dict[str, str | None] = delivery_outputs(
            object_keys.delivery_keys(request.path),
            storage.url,
            results=False,
            failed=False,
            invalid=False,
        )
        self._denied: Reason | None = None
        self._is_superseded = False
        self._path: str | None = None
        """Path under which everything was delivered; None before that."""

    def _has_rows(self, summary: ShardResult) -> bool:
        """Tell whether the rows of a summary are still stored."""
        place = (summary.attempt, summary.number)
        objects = [self._keys.results(*place)]
        objects += [self._keys.failed(*place)] if summary.failed_bytes else []
        if all(self._storage.exists(key) for key in objects):
            return True
        logger.warning("Stored rows were removed", attempt=summary.attempt, shard=summary.number)
        return False

    @property
    def is_lost(self) -> bool:
        """Whether the job has sent batches, but its record was removed."""
        return self._job is None and bool(self._states or self.delivery.told_batches())

    def check_collected(self) -> None:
        """Check that the rows of all shards are stored, unless the job was stopped or given up.

        Raises:
            JobStillRunningError: They are not.
        """
        job = self._job
        if job is None or not job.accepted or self._stop is not None or self._gives_up_lost_rows:
            return
        stored = len(latest_summaries(self._summaries))
        if stored < len(job.shards):
            raise JobStillRunningError(
                f"The job {self._request.job_id} has stored the rows of {stored} of its "
                f"{len(job.shards)} shards. It is finished by its execution; to stop it, stop that."
            )

    def has_report(self) -> bool:
        """Tell whether an earlier invocation has written the final report."""
        return self._has_ended() or self.delivery.stored_final_report() is not None

    def _has_ended(self) -> bool:
        """Tell whether the final report was written to its path, even if replaced since then."""
        found = End.load(self._storage, self._keys)
        return found is not None and found.value.is_report_written

    def place(self) -> None:
        """Deliver results, failed lines and problems.

        If a newer job or a lock blocks the job's path, the job's own ``superseded/`` path is used.
        Objects that cannot be written there either stay in the working files, and the report says
        so.
        """
        aside = object_keys.superseded_path(self._request.job_id, self._request.path)
        path = aside if self._is_superseded else self.delivery.path()
        if path != aside:
            try:
                self._path = self._place_or_aside(path, aside)
            except SupersededError:
                path = aside
        # If the end was published before, a newer job may have replaced it: deliver nothing again.
        if path == aside and not self._has_ended():
            self._path = self._place_or_aside(aside, aside)

    def _place_or_aside(self, path: str, aside: str) -> str:
        """Deliver under ``path``, or under ``aside`` if a lock blocks it; return the one used."""
        try:
            self._place(path)
        except _DENIALS as error:
            self._denied = _denied_writing(str(error), self._storage.url(self._keys.prefix))
            if path != aside:
                with contextlib.suppress(*_DENIALS):
                    self._place(aside)
                    return aside
            self._place(path, leaves_out_what_is_denied=True)
        return path

    def end(self, *, now: datetime) -> End | None:
        """Return the job's one end. Its final report is then at its path.

        Args:
            now: End time of the job, unless it ended before.

        Returns:
            The end; None if the job is closed, so that its end has already been published.

        Raises:
            ConflictError: Other invocations kept writing the end at the same time.
        """
        for _ in range(_TRIES):
            if is_closed(self._storage, self._keys):
                return None
            found = End.load(self._storage, self._keys)
            if found is not None and found.value.is_report_written:
                return found.value
            with contextlib.suppress(ConflictError):
                return self._decide(now, over=found.etag if found else None)
        raise ConflictError(self._keys.end)

    def _decide(self, now: datetime, *, over: str | None) -> End:
        """Record how the job ended, write the report, record that the report is written.

        Args:
            now: End time of the job.
            over: ETag of an existing end whose report is not written yet; None without one.

        Raises:
            ConflictError: Another invocation interfered; the caller must start over.
        """
        models = self._models
        stored_report = self.delivery.stored_final_report()
        if stored_report is not None:
            report, path = stored_report
        else:
            if self._path is None:
                self.place()
            if self._path is None:
                raise ConflictError(self._keys.end)
            report, path = self._report(now), self._path
            end = End(report=report, is_report_written=False, models=models)
            over = end.write(self._storage, self._keys, over=over)
            try:
                self.delivery.write_final(report, path)
            except SupersededError:
                # The report contains the location of the results, so superseded/ needs a new
                # report.
                self._is_superseded, self._path = True, None
                raise ConflictError(self._keys.end) from None
        if path != self._request.path:
            self.delivery.withdraw_running_report()
        end = End(report=report, is_report_written=True, models=models)
        end.write(self._storage, self._keys, over=over)
        return end

    def usage(self, end: End) -> UsageRecord:
        """Return the usage record of the job, based on its recorded end."""
        models = end.models if end.models is not None else self._models
        return UsageRecord.of_report(end.report, models)

    @property
    def _models(self) -> list[UsageOfModel]:
        """Usage and cost of the job's requests by model."""
        return usage_by_model(self._summaries, self._job.prices if self._job else None)

    @property
    def unasked(self) -> int:
        """Number of requests that failed because they were not sent in time."""
        return sum(
            group.count
            for summary in latest_summaries(self._summaries)
            for code, group in summary.stats.failures.items()
            if code in metrics.UNASKED_CODES
        )

    def write_page(self) -> None:
        """Write the HTML report; an error in it does not prevent the job from finishing."""
        try:
            self.delivery.write_page(PageData.of(self._job, self._summaries))
        except Exception as error:  # noqa: BLE001
            log_failure("The report page could not be written", error)

    def _report(self, now: datetime) -> dict[str, Any]:
        was_sent, told = bool(self._states), []
        if self._job is None and not was_sent:
            told = self.delivery.told_batches()
            was_sent = bool(told)
        status, reason = _end_of(self._job, self._stop, self._summaries, self._calls, was_sent)
        unreadable = self.delivery.unreadable_report
        if self._denied is not None:
            status, reason = "failed", self._denied
        elif unreadable is not None and status in _DELIVERED_STATUSES:
            status, reason = "failed", _denied_reading(unreadable)
        report = final_report(
            self._request,
            self._job,
            status=status,
            reason=reason,
            states=self._states,
            summaries=self._summaries,
            outputs=self._outputs,
            finished_at=now,
        )
        # Without the working files, the running report alone has the ids to look for at Groq.
        report["batches"] = report["batches"] or told
        return report

    def _place(self, path: str, *, leaves_out_what_is_denied: bool = False) -> None:
        keys, targets = self._keys, object_keys.delivery_keys(path)

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
        self.delivery.check_path(path)

    def _writing(self, sources: list[StoredObject]) -> Callable[[ObjectWriter], None] | None:
        return (lambda writer: join(self._storage, sources, writer)) if sources else None


def _denied_writing(key: str, work: str) -> Reason:
    """Return the reason of a job whose results S3 does not allow to be written.

    Args:
        key: Key that could not be written or deleted.
        work: URI of the job's working files.
    """
    return Reason(
        ErrorCode.PERMISSION_DENIED,
        f"S3 does not allow the functions to write or remove {key}; a policy or a lock "
        f"denies it. The addresses of the results are in outputs; results that are null there are "
        f"in the folders results and failed of {work}, one object for each shard, until that "
        f"expires. Allow the access before the next upload.",
    )


def _denied_reading(key: str) -> Reason:
    """Return the reason of a job that cannot use its path because of an unreadable report.

    Args:
        key: Key of the report that S3 does not return.
    """
    return Reason(
        ErrorCode.PERMISSION_DENIED,
        f"S3 does not allow the functions to read {key}, which an earlier job has "
        f"written; a policy denies it, or it is encrypted with a former key of the bucket. The "
        f"addresses of this job's results are in outputs. Allow the functions' roles kms:Decrypt "
        f"on that key, or remove the earlier report, before the next upload.",
    )


def _load_calls(
    storage: Storage, keys: object_keys.WorkKeys, job: JobRecord | None, states: list[AttemptState]
) -> OnDemandProgress | None:
    """Return the record of a job's ordinary calls; None if it had none."""
    if job is None or not states:
        return None
    return load_calls(storage, keys, job, states[-1].attempt)


def _deadline_passed(count: int, job: JobRecord, calls: OnDemandProgress | None) -> Reason:
    """Return the reason of a job whose deadline left requests unanswered."""
    moment = timestamp_of(job.deadline_at or 0.0)
    left = "1 request has" if count == 1 else f"{count:,} requests have"
    text = f"{left} no answer; the deadline was {moment}."
    if calls is not None and calls.ended is CallsEnd.BUDGET:
        budget = Decimal(f"{calls.budget_usd:.4g}")
        text += (
            f" The budget for ordinary calls after it was {budget:f} USD: deadline-max-usd, or "
            f"what was left of the cost cap if that was less."
        )
    elif calls is not None and calls.ended is CallsEnd.CANARY:
        text += " It passed before the canary had an answer, so nothing else was sent."
    elif calls is not None and calls.pause is not None:
        text += f" {calls.pause.message}"
    return Reason(
        ErrorCode.DEADLINE_PASSED,
        f"{text} Each row has the reason; to get the rest, run failed/ again.",
    )


def _end_of(
    job: JobRecord | None,
    stop: Stop | None,
    summaries: list[ShardResult],
    calls: OnDemandProgress | None,
    was_sent: bool,
) -> tuple[str, Reason | None]:
    """Return a job's final status, and the reason if it failed or was stopped.

    Args:
        job: The job's record; None if the preparation did not end, or the record was removed.
        stop: Why the job was stopped; None if it was not.
        summaries: The summaries of all shards and attempts.
        calls: The record of ordinary calls; None without any.
        was_sent: Whether a batch of the job is known.
    """
    if job is not None and job.failure is not None:
        return "failed", job.failure
    latest = latest_summaries(summaries)
    lost = _lost(job, latest, was_sent)
    if stop is not None and job is not None and lost is None and _came_too_late(stop, job, latest):
        stop = None
    if stop is not None and (job is None or job.accepted):
        if stop.code == ErrorCode.INTERNAL_ERROR and lost is not None:
            return stop.status, lost
        return stop.status, Reason(stop.code, stop.message)
    if job is None:
        return "failed", lost or Reason(ErrorCode.INTERNAL_ERROR, _UNREAD)
    if not job.accepted:
        return "rejected", None
    if lost is not None:
        return "failed", lost
    answered = sum(summary.succeeded for summary in latest)
    if answered == job.total:
        return "succeeded", None
    passed = sum(summary.deadline_passed for summary in latest)
    return "partial", _deadline_passed(passed, job, calls) if passed else None


def _came_too_late(stop: Stop, job: JobRecord, latest: list[ShardResult]) -> bool:
    """Tell whether a failure stopped a job only after all its requests had their outcome.

    For example, S3 could not be written to while the results were delivered. Such a job ends as it
    would have ended without the failure.

    Args:
        stop: Why the job was stopped.
        job: The job's record.
        latest: The summaries of all shards, each of its last attempt.
    """
    is_failure = stop.code in (ErrorCode.INTERNAL_ERROR, ErrorCode.TIMED_OUT)
    return (
        is_failure
        and job.accepted
        and not job.awaits_verdict
        and all(summary.is_undisturbed for summary in latest)
    )


def _lost(job: JobRecord | None, latest: list[ShardResult], was_sent: bool) -> Reason | None:
    """Return the reason of a job that lacks its record, or rows of shards; None if it has all."""
    if job is None:
        return Reason(ErrorCode.INTERNAL_ERROR, _LOST) if was_sent else None
    if len(latest) >= len(job.shards):
        return None
    text = _UNCOLLECTED.format(missing=len(job.shards) - len(latest), all=len(job.shards))
    return Reason(ErrorCode.INTERNAL_ERROR, text)
