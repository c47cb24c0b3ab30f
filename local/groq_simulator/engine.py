"""Progress of a batch over time, calculated from the clock on access, without threads."""

from __future__ import annotations

import time
from array import array
from pathlib import Path
from typing import Any

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.batches import Batch
from local.groq_simulator.fates import Fate
from local.groq_simulator.files import FileStore
from local.groq_simulator.input_checks import InputScan, problem, scan_input
from local.groq_simulator.outcomes import Rules
from local.groq_simulator.refusals import Refusals, endpoint_problems
from local.groq_simulator.results import ResultWriter, order_of_work
from local.groq_simulator.settings import Settings
from local.groq_simulator.workers import Workers

VALIDATING_SHARE = 0.1
FINALIZING_SHARE = 0.1
# Heavy steps (checking an input, writing results) started per call; the others wait for the next.
WORK_SECONDS_PER_CALL = 2.0


class Engine:
    """Advances batches."""

    def __init__(
        self,
        settings: Settings,
        files: FileStore,
        rules: Rules,
        accounting: Accounting,
        workers: Workers,
        refusals: Refusals,
    ) -> None:
        self._refusals = refusals
        self._settings = settings
        self._files = files
        self._rules = rules
        self._accounting = accounting
        self._workers = workers

    def begin(self, batch: Batch) -> None:
        """Starts to process a new batch if a worker process does that."""
        if self._rules.are_none and self._refusals.are_none:
            self._workers.begin(batch, self._settings)

    def advance_all(self, batches: list[Batch], now: float) -> None:
        """Advances batches to the current time; stops early if that takes long."""
        started = time.monotonic()
        for batch in batches:
            if time.monotonic() - started > WORK_SECONDS_PER_CALL:
                return
            self.advance(batch, now)

    def advance(self, batch: Batch, now: float) -> None:
        """Advances one batch to the current time."""
        if batch.foreign:
            return
        while not batch.ended and self._step(batch, now):
            pass
        if batch.status == "in_progress":
            batch.completed = self._progress(batch, now)

    def cancel(self, batch: Batch, now: float) -> bool:
        """Starts to cancel a batch; returns whether that is (still) possible."""
        if batch.ended:
            return False
        if batch.status != "cancelling":
            if batch.status == "validating":
                batch.done = 0
            elif batch.status == "in_progress":
                batch.done = self._progress(batch, now)
            batch.enter("cancelling", now)
        return True

    def _step(self, batch: Batch, now: float) -> bool:
        """Makes the next change of status if it is due; returns whether it was."""
        if batch.status == "validating":
            return self._leave_validating(batch, now)
        if batch.status == "in_progress":
            return self._leave_in_progress(batch, now)
        if batch.status == "finalizing":
            due = batch.stamps["finalizing_at"] + self._seconds(batch) * FINALIZING_SHARE
            return now >= due and self._end(batch, "completed", due)
        due = batch.stamps["cancelling_at"] + self._settings.cancel_seconds / self._settings.speed
        return now >= due and self._end(batch, "cancelled", due)

    def _seconds(self, batch: Batch) -> float:
        seconds = batch.fate.batch_seconds
        if seconds is None:
            seconds = self._settings.batch_seconds
        return seconds / self._settings.speed

    def _run_seconds(self, batch: Batch) -> float:
        return self._seconds(batch) * (1 - VALIDATING_SHARE - FINALIZING_SHARE)

    def _leave_validating(self, batch: Batch, now: float) -> bool:
        due = batch.created_at + self._seconds(batch) * VALIDATING_SHARE
        if now < due or batch.input_path is None or self._workers.are_busy_with(batch):
            return False
        finished = self._workers.finished(batch)
        scan = finished.scan if finished else self._scan(batch, batch.input_path)
        errors = self._errors_that_fail(batch, scan, batch.input_path)
        if errors is not None:
            batch.errors = errors
            batch.enter("failed", due)
            self._drop_input(batch)
            return True
        batch.errors = scan.errors
        batch.total = scan.total
        batch.bad_offsets = scan.bad
        batch.offsets = order_of_work(batch, scan.good, self._settings)
        batch.enter("in_progress", due)
        return True

    def _errors_that_fail(
        self, batch: Batch, scan: InputScan, path: Path
    ) -> list[dict[str, Any]] | None:
        """Returns why a batch fails at validation, None if it does not."""
        if batch.fate.end == "fail":
            return batch.fate.errors or [
                problem("invalid_request", "The batch was refused (simulated).")
            ]
        unusable = scan.total == 0 or scan.total > self._settings.max_requests
        if unusable or (scan.errors and self._settings.bad_line == "fail_batch"):
            return scan.errors
        if self._settings.endpoint_rule == "own_at_validation":
            problems = endpoint_problems(batch.endpoint, path)
            if problems:
                return problems
        refusal = self._refusals.of("validation", path)
        return [problem(refusal.code, refusal.message)] if refusal is not None else None

    def _scan(self, batch: Batch, path: Path) -> InputScan:
        return scan_input(
            path,
            max_requests=self._settings.max_requests,
            seen=lambda custom_id: self._accounting.sent(batch.metadata, custom_id),
        )

    def _leave_in_progress(self, batch: Batch, now: float) -> bool:
        fate = batch.fate
        started = batch.stamps["in_progress_at"]
        finished = started + max(self._run_seconds(batch), fate.status_seconds or 0.0)
        forever = fate.status is not None and fate.status_seconds is None
        if fate.end == "stuck" or forever:
            return False
        if fate.end == "cancel":
            return self._be_cancelled(batch, now)
        if fate.end == "expire":
            batch.done = self._share(batch)
            return now >= finished and self._end(batch, "expired", finished)
        if now < min(finished, batch.expires_at):
            return False
        if finished > batch.expires_at:
            batch.done = self._progress(batch, batch.expires_at)
            return self._end(batch, "expired", batch.expires_at)
        batch.enter("finalizing", finished)
        batch.completed = len(batch.offsets)
        return True

    def _be_cancelled(self, batch: Batch, now: float) -> bool:
        due = batch.stamps["in_progress_at"] + self._run_seconds(batch) * batch.fate.done
        if now < due:
            return False
        batch.done = self._share(batch)
        batch.enter("cancelling", due)
        return True

    def _share(self, batch: Batch) -> int:
        return round(len(batch.offsets) * batch.fate.done)

    def _progress(self, batch: Batch, now: float) -> int:
        """Returns how many requests are done at a given time."""
        limit = len(batch.offsets)
        if batch.fate.end in ("expire", "cancel", "stuck"):
            limit = self._share(batch)
        elapsed = now - batch.stamps["in_progress_at"]
        seconds = self._run_seconds(batch)
        share = 1.0 if seconds <= 0 else min(1.0, max(0.0, elapsed / seconds))
        return int(limit * share)

    def _end(self, batch: Batch, status: str, now: float) -> bool:
        finished = self._workers.finished(batch)
        is_as_begun = self._rules.are_none and batch.fate == Fate()
        if finished and status == "completed" and is_as_begun:
            self._files.adopt(finished.files)
            batch.completed, batch.failed = finished.completed, finished.failed
            batch.output_file_id = finished.output_file_id
            batch.error_file_id = finished.error_file_id
        else:
            ResultWriter(self._settings, self._files, self._rules, self._accounting).write(
                batch, status, now
            )
        batch.enter(status, now)
        self._drop_input(batch)
        return True

    @staticmethod
    def _drop_input(batch: Batch) -> None:
        if batch.input_path is not None:
            batch.input_path.unlink(missing_ok=True)
            batch.input_path = None
        batch.offsets = array("Q")
        batch.bad_offsets = array("Q")
