"""How a batch runs over time: computed from the clock when somebody looks, without threads."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.answers import Rendered, render
from local.groq_simulator.batches import Batch
from local.groq_simulator.files import FileStore, StoredFile
from local.groq_simulator.input_checks import parse_line, problem, scan_input
from local.groq_simulator.outcomes import Outcome, Rules
from local.groq_simulator.settings import Settings

VALIDATING_SHARE = 0.1
FINALIZING_SHARE = 0.1
# Heavy steps (checking an input, writing results) started per call; the others wait for the next.
WORK_SECONDS_PER_CALL = 2.0


class Engine:
    """Moves batches on."""

    def __init__(
        self, settings: Settings, files: FileStore, rules: Rules, accounting: Accounting
    ) -> None:
        self._settings = settings
        self._files = files
        self._rules = rules
        self._accounting = accounting

    def advance_all(self, batches: list[Batch], now: float) -> None:
        """Brings batches up to the present; stops early when that takes long."""
        started = time.monotonic()
        for batch in batches:
            if time.monotonic() - started > WORK_SECONDS_PER_CALL:
                return
            self.advance(batch, now)

    def advance(self, batch: Batch, now: float) -> None:
        """Brings one batch up to the present."""
        if batch.foreign:
            return
        while not batch.ended and self._step(batch, now):
            pass
        if batch.status == "in_progress":
            batch.completed = self._progress(batch, now)

    def cancel(self, batch: Batch, now: float) -> bool:
        """Begins to cancel a batch; tells whether that is (still) possible."""
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
        """Makes the next change of status if its time has come; tells whether it did."""
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
        if now < due or batch.input_path is None:
            return False
        scan = scan_input(
            batch.input_path,
            max_requests=self._settings.max_requests,
            seen=lambda custom_id: self._accounting.sent(batch.metadata, custom_id),
        )
        fails = batch.fate.end == "fail"
        unusable = scan.total == 0 or scan.total > self._settings.max_requests
        strict = self._settings.bad_line == "fail_batch"
        if fails or unusable or (scan.errors and strict):
            batch.errors = scan.errors
            if fails:
                batch.errors = batch.fate.errors or [
                    problem("invalid_request", "The batch was refused (simulated).")
                ]
            batch.enter("failed", due)
            self._drop_input(batch)
            return True
        batch.errors = scan.errors
        batch.total = scan.total
        batch.bad_offsets = scan.bad
        batch.offsets = self._shuffled(batch, scan.good)
        batch.enter("in_progress", due)
        return True

    def _shuffled(self, batch: Batch, offsets: array[int]) -> array[int]:
        if not self._settings.shuffle:
            return offsets
        order = random.Random(f"{self._settings.seed}:{batch.position}")  # noqa: S311 (no secret)
        in_order = list(offsets)
        order.shuffle(offsets)
        if list(offsets) == in_order:
            offsets.reverse()
        return offsets

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
        """Returns how many requests are done at a time."""
        limit = len(batch.offsets)
        if batch.fate.end in ("expire", "cancel", "stuck"):
            limit = self._share(batch)
        elapsed = now - batch.stamps["in_progress_at"]
        seconds = self._run_seconds(batch)
        share = 1.0 if seconds <= 0 else min(1.0, max(0.0, elapsed / seconds))
        return int(limit * share)

    def _end(self, batch: Batch, status: str, now: float) -> bool:
        _ResultWriter(self._settings, self._files, self._rules, self._accounting).write(
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


class _ResultWriter:
    """Writes the result files of one batch, one row at a time."""

    def __init__(
        self, settings: Settings, files: FileStore, rules: Rules, accounting: Accounting
    ) -> None:
        self._settings = settings
        self._files = files
        self._rules = rules
        self._accounting = accounting

    def write(self, batch: Batch, status: str, now: float) -> None:
        """Writes both files and sets the batch's counts and file ids."""
        output_spool, error_spool = self._files.spool_path(), self._files.spool_path()
        batch.completed = batch.failed = 0
        with output_spool.open("wb") as output, error_spool.open("wb") as error:
            for rendered in self._rows(batch, status, int(now)):
                output.write(rendered.output)
                error.write(rendered.error)
                if rendered.completed:
                    batch.completed += 1
                else:
                    batch.failed += 1
        if status != "completed":
            # Requests that were never run are neither completed nor failed.
            batch.failed -= self._unfinished(batch)
        output_file = self._keep(output_spool, batch, "output", now)
        empty_too = batch.fate.empty_error_file
        error_file = self._keep(error_spool, batch, "error", now, even_empty=empty_too)
        batch.output_file_id = output_file.id if output_file else None
        batch.error_file_id = error_file.id if error_file else None

    @staticmethod
    def _unfinished(batch: Batch) -> int:
        done = len(batch.offsets) if batch.done is None else batch.done
        return len(batch.offsets) - done

    def _keep(
        self, spool: Path, batch: Batch, kind: str, now: float, *, even_empty: bool = False
    ) -> StoredFile | None:
        if spool.stat().st_size == 0 and not even_empty:
            spool.unlink()
            return None
        name = f"{batch.id}_{kind}.jsonl"
        return self._files.add(spool, filename=name, purpose="batch_output", now=now)

    def _rows(self, batch: Batch, status: str, now: int) -> Iterator[Rendered]:
        if batch.input_path is None:
            return
        done = len(batch.offsets) if batch.done is None else batch.done
        with batch.input_path.open("rb") as source:
            for number, offset in enumerate(batch.offsets):
                if number < done:
                    yield self._done_row(batch, source, offset, now)
                else:
                    yield self._unfinished_row(batch, source, offset, status)
            for offset in batch.bad_offsets:
                yield self._bad_row(batch, source, offset)

    def _done_row(self, batch: Batch, source: BinaryIO, offset: int, now: int) -> Rendered:
        request = parse_line(_line_at(source, offset))
        custom_id, body = request["custom_id"], request["body"]
        outcome = batch.fate.all_requests
        if outcome is None:
            hints = self._settings.honour_request_hints
            outcome = self._rules.outcome(custom_id, body, batch.metadata, hints=hints)
        if outcome.succeeds:
            self._accounting.succeeded(batch.metadata, custom_id)
        return render(outcome, custom_id, body, batch_id=batch.id, now=now)

    @staticmethod
    def _unfinished_row(batch: Batch, source: BinaryIO, offset: int, status: str) -> Rendered:
        if batch.fate.unfinished == "missing":
            return Rendered(completed=False)
        kind = "batch_expired" if status == "expired" else "batch_cancelled"
        custom_id = parse_line(_line_at(source, offset))["custom_id"]
        return render(Outcome(kind), custom_id, {}, batch_id=batch.id, now=0)

    def _bad_row(self, batch: Batch, source: BinaryIO, offset: int) -> Rendered:
        try:
            request = parse_line(_line_at(source, offset))
            custom_id = request["custom_id"]
        except (ValueError, TypeError, LookupError):
            return Rendered(completed=False)
        if self._settings.bad_line == "report_only" or not isinstance(custom_id, str):
            return Rendered(completed=False)
        return render(Outcome("http_error"), custom_id, {}, batch_id=batch.id, now=0)


def _line_at(source: BinaryIO, offset: int) -> bytes:
    source.seek(offset)
    return source.readline().removesuffix(b"\n")
