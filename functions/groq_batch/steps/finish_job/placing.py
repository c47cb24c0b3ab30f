"""Place a job's results, failed lines and problems under its path, or aside if that is blocked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import UnreadableObjectError, UnwritableObjectError
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.reason import Reason
from groq_batch.records.end import End
from groq_batch.reports.delivery import Delivery, SupersededError
from groq_batch.reports.report import delivery_outputs
from groq_batch.steps.finish_job.ending_job import EndingJob
from groq_batch.steps.finish_job.final_status import denied_writing

_DENIALS = (UnreadableObjectError, UnwritableObjectError)


class Placing:
    """Places the results of one job.

    Attributes:
        path: Path under which everything was placed; None before that.
        outputs: URIs of what was placed, as in the report.
        denied: Why something could not be placed; None if everything could.
    """

    def __init__(self, storage: Storage, delivery: Delivery, known: EndingJob) -> None:
        """Prepare to place what ``known`` has, with ``delivery``."""
        self.path: str | None = None
        self.outputs: dict[str, str | None] = {}
        self.denied: Reason | None = None
        self._storage = storage
        self._delivery = delivery
        self._known = known
        self._aside = object_keys.superseded_path(known.request.job_id, known.request.path)
        self._has_given_way = False

    def place(self) -> None:
        """Place results, failed lines and problems.

        If a newer job or a lock blocks the job's path, the job's own ``superseded/`` path is used.
        Objects that cannot be written there either stay in the working files, and the report says
        so.
        """
        path = self._aside if self._has_given_way else self._delivery.path()
        if path != self._aside:
            try:
                self.path = self._place_or_aside(path)
            except SupersededError:
                path = self._aside
        # If the end was published before, a newer job may have replaced it: deliver nothing again.
        if path == self._aside and not End.is_reported(self._storage, self._known.keys):
            self.path = self._place_or_aside(path)

    def give_way(self) -> None:
        """Leave the job's path to a newer job: what is placed next is placed aside."""
        self._has_given_way, self.path = True, None

    def _place_or_aside(self, path: str) -> str:
        """Place under a path, or aside if a lock blocks it; return the path used."""
        try:
            self._place(path)
        except _DENIALS as error:
            work = self._storage.url(self._known.keys.prefix)
            self.denied = denied_writing(str(error), work)
            if path != self._aside:
                with contextlib.suppress(*_DENIALS):
                    self._place(self._aside)
                    return self._aside
            self._place(path, leaves_out_what_is_denied=True)
        return path

    def _place(self, path: str, *, leaves_out_what_is_denied: bool = False) -> None:
        targets = object_keys.delivery_keys(path)

        def deliver(key: str, sources: list[StoredObject]) -> bool:
            with contextlib.suppress(*(_DENIALS if leaves_out_what_is_denied else ())):
                return self._delivery.deliver(key, self._writing(sources))
            return False

        results, failed = self._rows()
        invalid = self._problems()
        self.outputs = delivery_outputs(
            targets,
            self._storage.url,
            results=deliver(targets.results, results),
            failed=deliver(targets.failed, failed),
            invalid=deliver(targets.invalid, invalid),
        )
        self._delivery.check_path(path)

    def _rows(self) -> tuple[list[StoredObject], list[StoredObject]]:
        """Return the objects with the result rows, and those with the failed lines."""
        keys = self._known.keys
        results: list[StoredObject] = []
        failed: list[StoredObject] = []
        for summary in self._known.latest:
            place = (summary.attempt, summary.number)
            results.append(StoredObject(keys.results(*place), summary.results_bytes))
            if summary.failed_bytes:
                failed.append(StoredObject(keys.failed(*place), summary.failed_bytes))
        return results, failed

    def _problems(self) -> list[StoredObject]:
        """Return the object with the problems of the input, if there is one."""
        job, key = self._known.job, self._known.keys.invalid
        head = self._storage.head(key) if job is not None and job.problems_total else None
        return [StoredObject(key, head.size)] if head is not None else []

    def _writing(self, sources: list[StoredObject]) -> Callable[[ObjectWriter], None] | None:
        return (lambda writer: join(self._storage, sources, writer)) if sources else None
