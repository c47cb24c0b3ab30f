"""Worker processes for batches, because the API processes many batches at a time.

Only what needs no state of the server can be done there: batches without a fate of their own,
while there are no rules, no hints and no counting of single requests. Speed is measured so.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.batches import Batch
from local.groq_simulator.fates import Fate
from local.groq_simulator.files import FileStore, StoredFile
from local.groq_simulator.input_checks import InputScan, scan_input
from local.groq_simulator.outcomes import Rules
from local.groq_simulator.results import ResultWriter, order_of_work
from local.groq_simulator.settings import Settings


@dataclass(slots=True)
class Finished:
    """The result of a batch that has run to its end.

    Attributes:
        scan: What was found in the input.
        files: The result files.
        completed: Requests with an answer.
        failed: Requests without.
        output_file_id: The file of the answers.
        error_file_id: The file of the errors.
    """

    scan: InputScan
    files: list[StoredFile] = field(default_factory=list)
    completed: int = 0
    failed: int = 0
    output_file_id: str | None = None
    error_file_id: str | None = None


class Workers:
    """The processes."""

    def __init__(self, count: int, folder: Path) -> None:
        """Starts this many processes, which work on files in `folder`; 0 means none."""
        self._folder = folder
        self._pool: ProcessPoolExecutor | None = None
        self._running: dict[str, Future[Finished]] = {}
        if count:
            # A process with threads must not be forked.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(max_workers=count, mp_context=context)
            for started in [self._pool.submit(_load) for _ in range(count)]:
                started.result()

    def begin(self, batch: Batch, settings: Settings) -> None:
        """Starts to process a batch, if a worker can do that."""
        if self._pool is None or batch.input_path is None or batch.fate != Fate():
            return
        if not (settings.account_requests or settings.honour_request_hints):
            self._running[batch.id] = self._pool.submit(
                _run, batch, batch.input_path, settings.copy(), self._folder
            )

    def are_busy_with(self, batch: Batch) -> bool:
        """Tells whether a worker processes a batch."""
        running = self._running.get(batch.id)
        return running is not None and not running.done()

    def finished(self, batch: Batch) -> Finished | None:
        """Returns what came of a batch, None when it is not worked on here; waits for its end."""
        running = self._running.get(batch.id)
        return running.result() if running is not None else None

    def wait(self) -> None:
        """Waits until all workers are idle."""
        wait(self._running.values())

    def clear(self) -> None:
        """Drops all work, and removes the files that were neither adopted nor deleted."""
        for running in self._running.values():
            for stored in running.result().files:
                stored.path.unlink(missing_ok=True)
        self._running.clear()

    def stop(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _load() -> None:
    """Does nothing: a worker that has run it has imported this module."""


def _run(batch: Batch, input_path: Path, settings: Settings, folder: Path) -> Finished:
    """Runs a batch to its end; called in a worker, on a copy of the batch."""
    scan = scan_input(input_path, max_requests=settings.max_requests, seen=lambda _custom_id: None)
    finished = Finished(scan)
    if 0 < scan.total <= settings.max_requests:
        files = FileStore(folder)
        batch.offsets = order_of_work(batch, scan.good[:], settings)
        batch.bad_offsets = scan.bad
        ResultWriter(settings, files, Rules(), Accounting(settings)).write(
            batch, "completed", batch.created_at
        )
        finished.files = files.all()
        finished.completed, finished.failed = batch.completed, batch.failed
        finished.output_file_id = batch.output_file_id
        finished.error_file_id = batch.error_file_id
    return finished
