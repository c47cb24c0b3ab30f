"""Write the HTML page of a report next to it, on a best-effort basis.

Programs rely on the JSON report, which is always written first. If the page cannot be made or
written, this is logged and counted, and the job continues.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import JOB_METADATA, Storage
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.object_keys import DeliveryKeys
from groq_batch.domain.times import parse_timestamp, timestamp
from groq_batch.reports.page.data import PageData
from groq_batch.telemetry import metrics
from groq_batch.telemetry.plain_log import logger

CONTENT_TYPE = "text/html; charset=utf-8"
SECONDS_BETWEEN_PAGES = 300
"""Minimum seconds between two pages of a running job. A page costs more than the rest of a status
check, so a job checked every few seconds does not get a new one each time. The final page is
written immediately."""
WRITTEN_METADATA = "groq-batch-written"
"""User metadata with the time at which a page was made."""
_REQUESTS = "groq-batch-requests"
_FINAL = "groq-batch-final"
_TRIES = 4


def _now() -> datetime:
    return datetime.now(UTC)


def preload() -> None:
    """Import the libraries for pages, for functions that always make one.

    This happens while their environment starts, where no job waits for it. If an import fails, so
    does the page, which reports it then.
    """
    with suppress(Exception):
        import_module("groq_batch.reports.page.rendering")


class ReportPages:
    """The pages of one job."""

    def __init__(
        self, storage: Storage, job_id: str, *, clock: Callable[[], datetime] = _now
    ) -> None:
        """Write the pages of ``job_id``; ``clock`` returns the time in UTC."""
        self._storage = storage
        self._job_id = job_id
        self._clock = clock

    def write(self, keys: DeliveryKeys, *, requests: int | None = None) -> None:
        """Update the page of a running job from its report. Never raises because of the page.

        Args:
            keys: Keys of the report and its page.
            requests: The job's number of requests, if the report has just been written: a recent
                page with this number is kept without reading the report again.
        """
        try:
            self._write(keys, None, requests)
        except Exception as error:  # noqa: BLE001
            # The job continues whatever is wrong with the page.
            log_failure("The report page could not be written", error)

    def write_final(self, keys: DeliveryKeys, page_data: PageData) -> None:
        """Write the page of an ended job from its report; raises whatever goes wrong.

        Args:
            keys: Keys of the report and its page.
            page_data: Data for the page that the report does not contain.
        """
        self._write(keys, page_data, None)

    def remove(self, page_key: str | None) -> None:
        """Delete this job's page after its report was withdrawn; never raises because of it."""
        if page_key is None:
            return
        try:
            head = self._storage.head(page_key)
            if head is not None and head.metadata.get(JOB_METADATA) == self._job_id:
                self._storage.delete_unchanged(page_key, head.etag)
        except Exception as error:  # noqa: BLE001
            log_failure("A report page could not be removed", error)

    def _write(self, keys: DeliveryKeys, page_data: PageData | None, requests: int | None) -> None:
        now, page_key = self._clock(), keys.page
        if page_key is None:
            return  # This key belongs to the index of all jobs.
        for _ in range(_TRIES):
            head = self._storage.head(page_key)
            metadata = head.metadata if head is not None else {}
            if metadata.get(JOB_METADATA) == self._job_id and metadata.get(_FINAL) == "true":
                return
            if requests is not None and self._may_stay(metadata, requests, now):
                return
            # Read after that check: an invocation that writes another report from now on writes its
            # page after this one, or makes this write fail.
            found = self._storage.get_json(keys.report)
            if found is None or found.value.get("job_id") != self._job_id:
                return
            report = found.value
            if (report["status"] == RUNNING) != (page_data is None):
                return
            if page_data is None and self._may_stay(metadata, report["requests"]["total"], now):
                return
            try:
                self._storage.put_bytes(
                    page_key,
                    _make(report, keys.report, page_data or PageData(), now),
                    content_type=CONTENT_TYPE,
                    over=head.etag if head is not None else None,
                    metadata={
                        JOB_METADATA: self._job_id,
                        WRITTEN_METADATA: timestamp(now),
                        _REQUESTS: str(report["requests"]["total"]),
                        _FINAL: "false" if page_data is None else "true",
                    },
                )
            except ConflictError:
                continue
            return

    def _may_stay(self, metadata: Mapping[str, str], requests: int, now: datetime) -> bool:
        """Tell whether a running job's page is new enough."""
        if metadata.get(JOB_METADATA) != self._job_id:
            return False
        if metadata.get(_REQUESTS) != str(requests):
            return False  # It was made before the input was checked.
        written = parse_timestamp(metadata.get(WRITTEN_METADATA, "1970-01-01T00:00:00Z"))
        return 0 <= (now - written).total_seconds() < SECONDS_BETWEEN_PAGES


def _make(report: Mapping[str, Any], report_key: str, page_data: PageData, now: datetime) -> bytes:
    try:
        # Imported here: most functions that write reports rarely make a page.
        from groq_batch.reports.page.rendering import render  # noqa: PLC0415

        page = render(report, page_data, report_key=report_key, as_of=now)
    except Exception as error:  # noqa: BLE001
        log_failure("The report page could not be made", error)
        # The earlier job's page must be replaced in any case.
        page = _plain_page(report, report_key)
    return page.encode("utf-8", "replace")


def _plain_page(report: Mapping[str, Any], report_key: str) -> str:
    """Return a page that contains only the status and the report's key."""
    status, key = html.escape(str(report.get("status"))), html.escape(report_key)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
        f"<title>{status}</title></head>\n<body><p>This job is: {status}. Its page could not be "
        f"made; the report is <bdi>{key}</bdi>.</p></body></html>\n"
    )


def log_failure(what: str, error: Exception) -> None:
    """Log and count that a page failed.

    An error's text may contain input data; its type and location do not.

    Args:
        what: The failed action, as a sentence.
        error: The error.
    """
    logger.error(what, extra={"kind": type(error).__name__, "place": _place_of(error)})
    metrics.report_page_failed()


def _place_of(error: BaseException) -> str:
    """Return file and line at which an error was raised."""
    trace, place = error.__traceback__, "unknown"
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
