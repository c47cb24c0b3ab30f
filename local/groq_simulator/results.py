"""Writes the results of a batch's requests."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.answers import Rendered, fits_form, render
from local.groq_simulator.batches import Batch
from local.groq_simulator.files import FileStore, StoredFile
from local.groq_simulator.input_checks import parse_line
from local.groq_simulator.ordinary_calls import fingerprint
from local.groq_simulator.outcomes import Outcome, Rules
from local.groq_simulator.settings import Settings

_BUFFER_BYTES = 256 * 1024


def order_of_work(batch: Batch, offsets: array[int], settings: Settings) -> array[int]:
    """Returns the byte offsets of a batch's requests in the order of their completion."""
    if not settings.shuffle:
        return offsets
    order = random.Random(f"{settings.seed}:{batch.position}")  # noqa: S311 (no secret)
    in_order = list(offsets)
    order.shuffle(offsets)
    if list(offsets) == in_order:
        offsets.reverse()
    return offsets


class ResultWriter:
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
        with (
            output_spool.open("wb", buffering=_BUFFER_BYTES) as output,
            error_spool.open("wb") as error,
        ):
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
        url = request["url"]
        if self._settings.account_requests:
            asked = fingerprint(url, body)
            self._accounting.held(batch.metadata, custom_id, asked)
            if outcome.succeeds:
                fits = fits_form(outcome, body)
                self._accounting.succeeded(batch.metadata, custom_id, asked, fits=fits)
        return render(outcome, custom_id, body, url=url, batch_id=batch.id, now=now)

    def _unfinished_row(self, batch: Batch, source: BinaryIO, offset: int, status: str) -> Rendered:
        request = parse_line(_line_at(source, offset))
        custom_id = request["custom_id"]
        if self._settings.account_requests:
            asked = fingerprint(request["url"], request["body"])
            self._accounting.held(batch.metadata, custom_id, asked)
        if batch.fate.unfinished == "missing":
            return Rendered(completed=False)
        kind = "batch_expired" if status == "expired" else "batch_cancelled"
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
