"""Deliver a job's objects so that an older upload never replaces what a newer one wrote.

The jobs of one key are ordered by their upload (the order of the object's versions) and, for runs
of one upload, by their start. A job that begins takes over its path and deletes the earlier job's
objects there. A superseded job delivers below ``superseded/<job_id>/``. Every delivered object
names its job, and is written only if no object exists at its key.

Users can write below ``reports/`` too. What is not a report there is replaced, like the report of
an earlier job: it must neither stop nor hold up a job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError, UnreadableObjectError, UnwritableObjectError
from groq_batch.bucket.storage import JOB_METADATA, ObjectHead, Storage, Stored
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch.domain.job_status import RUNNING
from groq_batch.domain.times import seconds_of
from groq_batch.records.closed import is_closed
from groq_batch.records.job import JobRequest
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import ReportPages
from groq_batch.telemetry.plain_log import logger

_TRIES = 8


class SupersededError(Exception):
    """A newer job has written at this job's path in the meantime."""


class PlacedReport(NamedTuple):
    """A report, and the path under which it is stored."""

    report: dict[str, Any]
    path: str


class Delivery:
    """The objects that one job delivers."""

    def __init__(self, storage: Storage, request: JobRequest) -> None:
        """Prepare the delivery for the job of ``request``."""
        self._storage = storage
        self._request = request
        # An upload rejected for its key may have a path that belongs to other jobs.
        self._owns_path = check_key(request.key) is None
        self.metadata = {JOB_METADATA: request.job_id}
        self._pages = ReportPages(storage, request.job_id)
        self.unreadable_report: str | None = None
        """Key of an unreadable report that blocks this job's path; set by ``path``."""

    # -- order -----------------------------------------------------------------------------------

    def is_superseded(self) -> bool:
        """Tell whether a newer upload of the key, or a later run of the same one, exists.

        A scheduled run of a recurring file has its own path, which no other job uses.
        """
        if not self._shares_path():
            return False
        return self._newer_upload_exists() or self._is_of_later_run(
            self._readable_report(self._request.path)
        )

    def _shares_path(self) -> bool:
        """Tell whether other jobs may deliver under this one's path."""
        return self._request.path == object_keys.input_path(self._request.key)

    def _is_of_later_run(self, found: Stored[dict[str, Any]] | None) -> bool:
        """Tell whether the report at the path belongs to a later run of the same upload."""
        return found is not None and self._is_later_run(found.value)

    def _newer_upload_exists(self) -> bool:
        mine = self._request
        if mine.version_id is None:
            return False
        newest = None
        for version in self._storage.versions(mine.key):
            if version.key != mine.key:
                break
            if version.version_id == mine.version_id:
                return newest is not None
            if newest is None and not version.is_delete_marker:
                newest = version
        # This job's version was permanently deleted, and with it its place in the order.
        begun = seconds_of(mine.started_at)
        return newest is not None and newest.modified_at >= math.floor(begun)

    def _is_later_run(self, report: dict[str, Any]) -> bool:
        mine = self._request
        source = _part(report, "input")
        if (source.get("key"), source.get("version_id")) != (mine.key, mine.version_id):
            return False
        started_at, job_id = _part(report, "timing").get("started_at"), report.get("job_id")
        return (str(started_at or ""), str(job_id or "")) > (mine.started_at, mine.job_id)

    def _is_mine(self, report: Mapping[str, Any]) -> bool:
        """Tell whether a report is this job's."""
        return bool(report.get("job_id") == self._request.job_id)

    def _has_written(self, head: ObjectHead) -> bool:
        """Tell whether this job has written an object."""
        return head.metadata.get(JOB_METADATA) == self._request.job_id

    def _is_of_my_key(self, report: dict[str, Any]) -> bool:
        return bool(_part(report, "input").get("key") == self._request.key)

    # -- the report ------------------------------------------------------------------------------

    def announce(self, report: dict[str, Any]) -> None:
        """Write the first report if there is none, for a job that cannot take over its path yet.

        The caller has checked that the job is not closed. Whether it has been superseded is not
        checked: then its report remains until the newer job begins, or this one ends.

        Args:
            report: The report of the running job.
        """
        key = object_keys.delivery_keys(self._request.path).report
        try:
            self._storage.put_json(key, report, over=None, metadata=self.metadata)
        except ConflictError:
            return
        except UnwritableObjectError:
            # When the job begins it meets the same lock, and fails.
            logger.warning("The report is locked", extra={"kind": "permission"})

    def begin(self, report: dict[str, Any]) -> None:
        """Write the first report and delete the objects that the earlier job delivered.

        An upload rejected for its key changes nothing of other jobs at its path. If S3 does not
        return the report at the path, its job is unknown, and this job uses a path of its own.

        Args:
            report: The report of the running job.

        Raises:
            ConflictError: Other invocations kept writing the report at the same time.
        """
        mine = self._request.job_id
        path = self._request.path
        for _ in range(_TRIES):
            keys = object_keys.delivery_keys(path)
            try:
                found = self._report_at(path)
            except UnreadableObjectError:
                logger.warning("An earlier report cannot be read", extra={"kind": "permission"})
                path = self._aside
                continue
            # Checked after that read: a job that takes over the path later makes the write below
            # fail.
            if (
                path == self._request.path
                and self._shares_path()
                and (self._newer_upload_exists() or self._is_of_later_run(found))
            ):
                path = self._superseded
                continue
            is_mine = found is not None and self._is_mine(found.value)
            if found is not None and not (
                is_mine or self._owns_path or self._is_of_my_key(found.value)
            ):
                path = mine
                continue
            if found is None or not is_mine:
                if is_closed(self._storage, object_keys.WorkKeys(mine)):
                    return
                try:
                    self._storage.put_json(
                        keys.report,
                        report,
                        over=found.etag if found else None,
                        metadata=self.metadata,
                    )
                except ConflictError:
                    continue
            elif _is_final(found.value):
                return
            self._pages.write(keys)
            if self._owns_path:
                self._remove_earlier(keys)
            return
        raise ConflictError(object_keys.delivery_keys(path).report)

    def _remove_earlier(self, keys: object_keys.DeliveryKeys) -> None:
        """Delete the objects that the earlier job delivered, and nothing else.

        An invocation that was presumed dead may run this long after this job, or a newer one, has
        delivered. So objects that name this job are kept, and everything written since it was
        checked.
        """
        for key in (keys.results, keys.failed, keys.invalid):
            try:
                head = self._storage.head(key)
                if head is None or self._has_written(head):
                    continue
                if self.is_superseded():
                    return
                self._storage.delete_unchanged(key, head.etag)
            except (UnreadableObjectError, UnwritableObjectError):
                # At its end the job meets the same lock, delivers to another path and says so.
                logger.warning("An earlier result is locked", extra={"kind": "permission"})

    def write_running(self, report: dict[str, Any]) -> None:
        """Update the report of the running job; a final report is never changed.

        A report that lists fewer batches than the stored one comes from an invocation that was
        presumed dead, so it is older, and is not written.
        """
        for path in self._request.report_paths:
            keys = object_keys.delivery_keys(path)
            found = self._readable_report(path)
            if found is None:
                continue
            current = found.value
            if not self._is_mine(current):
                continue
            if _is_final(current) or _batch_count(current) > _batch_count(report):
                return
            if current != report:
                try:
                    self._storage.put_json(
                        keys.report, report, over=found.etag, metadata=self.metadata
                    )
                except ConflictError:
                    # Another invocation wrote a newer one; the next check reports the same again.
                    return
                except UnwritableObjectError:
                    # Unreported progress is no reason to give up batches running at Groq; the end
                    # of the job meets the same lock.
                    logger.warning("The report is locked", extra={"kind": "permission"})
                    return
                self._pages.write(keys, requests=report["requests"]["total"])
            return

    def told_batches(self) -> list[dict[str, Any]]:
        """Return the batches that this job's stored report lists."""
        reports = (self._readable_report(path) for path in self._request.report_paths)
        mine = (found.value for found in reports if found and self._is_mine(found.value))
        lists = (report.get("batches") for report in mine)
        return next((told for told in lists if told and isinstance(told, list)), [])

    def stored_final_report(self) -> PlacedReport | None:
        """Return this job's final report, if it still exists at its path."""
        for path in self._request.report_paths:
            found = self._readable_report(path)
            if found is None or not self._is_mine(found.value):
                continue
            if _is_final(found.value):
                return PlacedReport(found.value, path)
        return None

    def write_page(self, page_data: PageData) -> None:
        """Write the page of this job's final report next to the report; raises what goes wrong.

        Args:
            page_data: Data for the page that the report does not contain.
        """
        for path in self._request.report_paths:
            found = self._readable_report(path)
            if found is not None and self._is_mine(found.value):
                self._pages.write_final(object_keys.delivery_keys(path), page_data)
                return

    def path(self) -> str:
        """Return the path to deliver under.

        It is the path of the job's report, unless the job has been superseded since, or S3 does not
        return the report at the upload's path (then ``unreadable_report`` is its key).
        """
        reported_at, refused = None, None
        for path in self._request.report_paths:
            try:
                found = self._report_at(path)
            except UnreadableObjectError as error:
                refused = str(error)
                continue
            if found is not None and self._is_mine(found.value):
                reported_at = path
                break
        if reported_at in (None, self._request.path) and self.is_superseded():
            return self._superseded
        if refused is not None and not self.is_superseded():
            self.unreadable_report = refused
            return reported_at or self._aside
        return reported_at or self._request.path

    def write_final(self, report: Mapping[str, Any], path: str) -> None:
        """Write the final report under ``path``, replacing this job's running report.

        Raises:
            ConflictError: Another invocation has written there meanwhile; read the report again.
            SupersededError: A newer job has begun at this path; nothing was written.
        """
        key = object_keys.delivery_keys(path).report
        found = self._readable_report(path)
        is_mine = found is not None and self._is_mine(found.value)
        if found is not None:
            if is_mine and _is_final(found.value):
                raise ConflictError(key)
            if not is_mine and (self.is_superseded() or not self._owns_path):
                raise SupersededError(key)
        self._storage.put_json(
            key,
            report,
            over=found.etag if found else None,
            metadata=self.metadata,
        )

    def withdraw_running_report(self) -> None:
        """Delete the running report of a job whose final one is below ``superseded/``."""
        keys = object_keys.delivery_keys(self._request.path)
        try:
            head = self._storage.head(keys.report)
        except UnreadableObjectError:
            return  # It may be another job's.
        if head is None or not self._has_written(head):
            return
        if self._storage.delete_unchanged(keys.report, head.etag):
            self._pages.remove(keys.page)

    @property
    def _superseded(self) -> str:
        """The path used if the job has been superseded."""
        return object_keys.superseded_path(self._request.job_id, self._request.path)

    @property
    def _aside(self) -> str:
        """The path used if the job may not change the objects at its upload's path."""
        return self._superseded if self._owns_path else self._request.job_id

    def _report_at(self, path: str) -> Stored[dict[str, Any]] | None:
        """Read the report at a path with its ETag; None if there is none.

        Raises:
            UnreadableObjectError: S3 denies access, and another job may have written it.
        """
        key = object_keys.delivery_keys(path).report
        if path in (self._superseded, self._request.job_id):
            return self._storage.get_json(key)
        return self._storage.get_foreign_json(key)

    def _readable_report(self, path: str) -> Stored[dict[str, Any]] | None:
        """Read the report at a path like ``_report_at``, but None if S3 denies access."""
        try:
            return self._report_at(path)
        except UnreadableObjectError:
            return None

    # -- the objects -----------------------------------------------------------------------------

    def deliver(self, key: str, write: Callable[[ObjectWriter], None] | None) -> bool:
        """Write one deliverable, unless this job has written it before.

        Args:
            key: Its key.
            write: Writes the content; None if the job has nothing to deliver there, so that an
                older job's object is deleted.

        Returns:
            Whether the object exists now.

        Raises:
            SupersededError: A newer job's object exists there.
            UnwritableObjectError: S3 denies writing or deleting this key.
        """
        for _ in range(_TRIES):
            head = self._storage.head(key)
            if head is not None and self._has_written(head):
                return True
            if head is not None:
                if not self._owns_path:
                    return False
                if self.is_superseded():
                    raise SupersededError(key)
                self._storage.delete_unchanged(key, head.etag)
            if write is None:
                return False
            writer = ObjectWriter(
                self._storage, key, content_type=_content_type(key), metadata=self.metadata
            )
            try:
                write(writer)
                writer.commit(over=None)
            except ConflictError:
                continue
            except BaseException:
                writer.abort()
                raise
            return True
        raise SupersededError(key)

    def check_path(self, path: str) -> None:
        """Delete this job's objects at a path if a newer job has begun there since.

        An invocation that was presumed dead may deliver after the newer job has deleted the objects
        it found, and even after its end. A job that begins after this check deletes them itself.

        Raises:
            SupersededError: A newer job has begun at this path; no object of this one remains
                there.
        """
        found = self._readable_report(path)
        if found is None or self._is_mine(found.value):
            return
        if not (self._owns_path and self.is_superseded()):
            return
        keys = object_keys.delivery_keys(path)
        for key in (keys.results, keys.failed, keys.invalid):
            head = self._storage.head(key)
            if head is not None and self._has_written(head):
                self._storage.delete_unchanged(key, head.etag)
        raise SupersededError(keys.report)


def _is_final(report: Mapping[str, Any]) -> bool:
    """Tell whether a report is a final one, and not a running one whose status a user changed."""
    is_dated = isinstance(_part(report, "timing").get("finished_at"), str)
    return is_dated and report.get("status") != RUNNING


def _batch_count(report: Mapping[str, Any]) -> int:
    """Return the number of batches that a report lists."""
    batches = report.get("batches")
    return len(batches) if isinstance(batches, list) else 0


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within a report; an empty one if there is none."""
    part = report.get(name)
    return part if isinstance(part, dict) else {}


def _content_type(key: str) -> str:
    return "application/gzip" if object_keys.is_gzip(key) else "application/x-ndjson"
