"""Where a job delivers, and how an older upload never replaces what a newer one wrote.

The jobs of one key are ordered by their upload (the order of the object's versions) and, for runs
of one upload, by their start. A job that begins takes its path over and removes what stands there;
a job that was superseded delivers below ``superseded/<job_id>/``. Every object that is
delivered names its job, and is written only where nothing stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError, UnreadableObjectError, UnwritableObjectError
from groq_batch.bucket.storage import JOB_METADATA, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch.domain.times import parse_timestamp
from groq_batch.records.closed import is_closed
from groq_batch.records.job import JobRequest
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import ReportPages
from groq_batch.reports.report import RUNNING
from groq_batch.telemetry.log import logger

_TRIES = 8


class SupersededError(Exception):
    """A newer job has written at this job's path in the meantime."""


class Delivery:
    """The deliverables of one job."""

    def __init__(self, storage: Storage, request: JobRequest) -> None:
        """Deliver for the job of ``request``."""
        self._storage = storage
        self._request = request
        # An upload that is rejected for its key may stand on the path of others.
        self._owns_path = check_key(request.key) is None
        self.metadata = {JOB_METADATA: request.job_id}
        self._pages = ReportPages(storage, request.job_id)
        self.unreadable_report: str | None = None
        """The key of the report that keeps this job from its path, once ``path`` has met one."""

    # -- order -----------------------------------------------------------------------------------

    def is_superseded(self) -> bool:
        """Tell whether a newer upload of the key, or a later run of the same one, exists.

        A firing of a recurring file has a path of its own, which nobody else delivers under.
        """
        if not self._shares_path():
            return False
        return self._newer_upload_exists() or self._is_behind(
            self._readable_report(self._request.path)
        )

    def _shares_path(self) -> bool:
        """Tell whether other jobs may deliver under this one's path."""
        return self._request.path == object_keys.input_path(self._request.key)

    def _is_behind(self, found: tuple[dict[str, Any], str] | None) -> bool:
        """Tell whether the report that stands at the path is of a later run of the same upload."""
        return found is not None and self._is_later_run(found[0])

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
        # This job's upload was removed for good, and with it the place that it had in the order.
        begun = parse_timestamp(mine.started_at).timestamp()
        return newest is not None and newest.modified_at >= math.floor(begun)

    def _is_later_run(self, report: dict[str, Any]) -> bool:
        mine = self._request
        source = report.get("input", {})
        if (source.get("key"), source.get("version_id")) != (mine.key, mine.version_id):
            return False
        theirs = (report.get("timing", {}).get("started_at") or "", report.get("job_id") or "")
        return theirs > (mine.started_at, mine.job_id)

    def _is_of_my_key(self, report: dict[str, Any]) -> bool:
        return bool(report.get("input", {}).get("key") == self._request.key)

    # -- the report ------------------------------------------------------------------------------

    def announce(self, report: dict[str, Any]) -> None:
        """Write the first report where none stands, for a job that cannot take its path over yet.

        Who announces has seen that the job is not closed, and does not ask whether it has been
        superseded. Then its report stands here until the newer job begins, or this one ends.

        Args:
            report: The report of the running job.
        """
        key = object_keys.delivery_keys(self._request.path).report
        try:
            self._storage.put_json(key, report, if_none_match=True, metadata=self.metadata)
        except ConflictError:
            return
        except UnwritableObjectError:
            # The beginning of the job meets the same lock, and fails by it.
            logger.warning("The report is locked", kind="permission")

    def begin(self, report: dict[str, Any]) -> None:
        """Write the first report and remove what the job before has delivered.

        An upload that is rejected for its key touches nothing of others at its path. Where a report
        stands that S3 does not hand out, nobody can tell whose it is: the job keeps beside it.

        Args:
            report: The report of the running job.

        Raises:
            ConflictError: Others kept writing the report at the same time.
        """
        mine = self._request.job_id
        path = self._request.path
        for _ in range(_TRIES):
            keys = object_keys.delivery_keys(path)
            try:
                found = self._report_at(path)
            except UnreadableObjectError:
                logger.warning("An earlier report cannot be read", kind="permission")
                path = self._aside
                continue
            # Asked after that read: whoever takes the path over later makes the write below fail.
            if (
                path == self._request.path
                and self._shares_path()
                and (self._newer_upload_exists() or self._is_behind(found))
            ):
                path = self._superseded
                continue
            is_mine = found is not None and found[0].get("job_id") == mine
            if found is not None and not (
                is_mine or self._owns_path or self._is_of_my_key(found[0])
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
                        if_none_match=found is None,
                        if_match=found[1] if found else None,
                        metadata=self.metadata,
                    )
                except ConflictError:
                    continue
            elif found[0].get("status") != RUNNING:
                return
            self._pages.write(keys)
            if self._owns_path:
                self._remove_earlier(keys)
            return
        raise ConflictError(object_keys.delivery_keys(path).report)

    def _remove_earlier(self, keys: object_keys.DeliveryKeys) -> None:
        """Remove what the job before has delivered, and nothing else.

        An invocation that was thought dead may come here when this job, or a newer one, has long
        delivered: what names this job stays, and so does everything that was written since it was
        looked at.
        """
        for key in (keys.results, keys.failed, keys.invalid):
            try:
                head = self._storage.head(key)
                if head is None or head.metadata.get(JOB_METADATA) == self._request.job_id:
                    continue
                if self.is_superseded():
                    return
                self._storage.delete_unchanged(key, head.etag)
            except (UnreadableObjectError, UnwritableObjectError):
                # The end of the job meets the same lock, delivers beside it and says so.
                logger.warning("An earlier result is locked", kind="permission")

    def write_running(self, report: dict[str, Any]) -> None:
        """Bring the report of the running job up to date; never touches one that is final."""
        for path in self._paths():
            keys = object_keys.delivery_keys(path)
            found = self._readable_report(path)
            if found is None:
                continue
            standing, etag = found
            if standing.get("job_id") != self._request.job_id:
                continue
            if standing.get("status") == RUNNING and standing != report:
                try:
                    self._storage.put_json(
                        keys.report, report, if_match=etag, metadata=self.metadata
                    )
                except ConflictError:
                    # Somebody wrote a newer one; the next check tells the same again.
                    return
                except UnwritableObjectError:
                    # Progress that cannot be told is no reason to give up what runs at Groq; the
                    # end of the job meets the same lock.
                    logger.warning("The report is locked", kind="permission")
                    return
                self._pages.write(keys, requests=report["requests"]["total"])
            return

    def standing_final_report(self) -> tuple[dict[str, Any], str] | None:
        """Return this job's final report and its path, if it stands where it was written."""
        for path in self._paths():
            found = self._readable_report(path)
            if found is None or found[0].get("job_id") != self._request.job_id:
                continue
            if found[0].get("status") != RUNNING:
                return found[0], path
        return None

    def write_page(self, facts: PageData) -> None:
        """Write the page of this job's final report where that stands.

        Args:
            facts: What the page tells beside the report.
        """
        for path in self._paths():
            found = self._readable_report(path)
            if found is not None and found[0].get("job_id") == self._request.job_id:
                self._pages.write(object_keys.delivery_keys(path), facts)
                return

    def path(self) -> str:
        """Return the path to deliver under.

        It is where the report stands, unless the job was superseded since, or S3 does not hand
        out what stands at the upload's path (``unreadable_report`` tells which).
        """
        mine = self._request.job_id
        standing, refused = None, None
        for path in self._paths():
            try:
                found = self._report_at(path)
            except UnreadableObjectError as error:
                refused = str(error)
                continue
            if found is not None and found[0].get("job_id") == mine:
                standing = path
                break
        if standing in (None, self._request.path) and self.is_superseded():
            return self._superseded
        if refused is not None and not self.is_superseded():
            self.unreadable_report = refused
            return standing or self._aside
        return standing or self._request.path

    def write_final(self, report: Mapping[str, Any], path: str) -> None:
        """Write the final report under ``path``, in the place of this job's running one.

        Raises:
            ConflictError: Somebody has written there meanwhile; look again what stands.
            SupersededError: A newer job has begun at this path; nothing was written.
        """
        key = object_keys.delivery_keys(path).report
        found = self._readable_report(path)
        is_mine = found is not None and found[0].get("job_id") == self._request.job_id
        if found is not None:
            if is_mine and found[0].get("status") != RUNNING:
                raise ConflictError(key)
            if not is_mine and (self.is_superseded() or not self._owns_path):
                raise SupersededError(key)
        self._storage.put_json(
            key,
            report,
            if_none_match=found is None,
            if_match=found[1] if found else None,
            metadata=self.metadata,
        )

    def withdraw_running_report(self) -> None:
        """Remove the running report of a job whose final one stands below ``superseded/``."""
        keys = object_keys.delivery_keys(self._request.path)
        try:
            head = self._storage.head(keys.report)
        except UnreadableObjectError:
            return  # It is another job's, as far as can be known.
        if head is None or head.metadata.get(JOB_METADATA) != self._request.job_id:
            return
        if self._storage.delete_unchanged(keys.report, head.etag):
            self._pages.remove(keys.page)

    def _paths(self) -> list[str]:
        """Return the paths under which this job's report may stand."""
        return [self._request.path, self._superseded, self._request.job_id]

    @property
    def _superseded(self) -> str:
        """The path of a job that was superseded."""
        return object_keys.superseded_path(self._request.job_id, self._request.path)

    @property
    def _aside(self) -> str:
        """The path of a job that may not touch what stands at the one of its upload."""
        return self._superseded if self._owns_path else self._request.job_id

    def _report_at(self, path: str) -> tuple[dict[str, Any], str] | None:
        """Return the report that stands at a path, and its ETag; None where there is none.

        Raises:
            UnreadableObjectError: S3 does not hand it out, and another job may have written it.
        """
        key = object_keys.delivery_keys(path).report
        if path in (self._superseded, self._request.job_id):
            return self._storage.get_json(key)
        return self._storage.get_foreign_json(key)

    def _readable_report(self, path: str) -> tuple[dict[str, Any], str] | None:
        """Return the report at a path like ``_report_at``; None as well where it is refused."""
        try:
            return self._report_at(path)
        except UnreadableObjectError:
            return None

    # -- the objects -----------------------------------------------------------------------------

    def deliver(self, key: str, write: Callable[[ObjectWriter], None] | None) -> bool:
        """Put one deliverable in place, once.

        Args:
            key: Its key.
            write: Writes the content; None when the job has nothing to deliver there, so that what
                an older job left is removed.

        Returns:
            Whether the object exists now.

        Raises:
            SupersededError: A newer job's object stands there.
            UnwritableObjectError: S3 does not let this key be written or removed.
        """
        for _ in range(_TRIES):
            head = self._storage.head(key)
            if head is not None and head.metadata.get(JOB_METADATA) == self._request.job_id:
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
                writer.commit(if_none_match=True)
            except ConflictError:
                continue
            except BaseException:
                writer.abort()
                raise
            return True
        raise SupersededError(key)

    def check_path(self, path: str) -> None:
        """Make sure that what was delivered there has not come after a newer job's beginning.

        An invocation that was thought dead may deliver when the newer job has removed what it
        found, and even when it has ended. Whoever begins after this look removes it himself.

        Raises:
            SupersededError: A newer job has begun at this path; nothing of this one is left there.
        """
        found = self._readable_report(path)
        if found is None or found[0].get("job_id") == self._request.job_id:
            return
        if not (self._owns_path and self.is_superseded()):
            return
        keys = object_keys.delivery_keys(path)
        for key in (keys.results, keys.failed, keys.invalid):
            head = self._storage.head(key)
            if head is not None and head.metadata.get(JOB_METADATA) == self._request.job_id:
                self._storage.delete_unchanged(key, head.etag)
        raise SupersededError(keys.report)


def _content_type(key: str) -> str:
    return "application/gzip" if object_keys.is_gzip(key) else "application/x-ndjson"
