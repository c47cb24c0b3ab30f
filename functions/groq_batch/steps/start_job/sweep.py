"""Find uploads without a job among all uploads ever made, which may be a million.

A sweep lists every version below ``input/``, which costs one call per thousand. Checking the record
of each would cost one call per upload, so only recent uploads are checked: when a sweep is
complete, every upload that was in the bucket when it began has its job, and the next sweep only
needs to check those that came later.

An upload's date alone does not tell when it came: a multipart upload has the date of its start, but
appears in the bucket at its completion. The bucket's lifecycle rule aborts uploads that are not
completed within seven days, so everything younger than the last complete sweep less eight days is
checked.

A sweep that runs out of time records its position. The next firing continues there to the end, and
then from the beginning to that position, so it has also covered everything since it began. Without
the recorded position all records are checked; that costs time and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec
from msgspec.structs import replace

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import ListingPosition, LostPositionError, ObjectVersion, Storage
from groq_batch.domain import object_keys
from groq_batch.domain.times import optional_timestamp, seconds_of
from groq_batch.records import stored
from groq_batch.telemetry.log import logger

LONGEST_UPLOAD_SECONDS = 8 * 86_400
"""Longest time, in seconds, between an upload's date and its completion. The lifecycle rule aborts
multipart uploads after seven days, rounded up to the next midnight
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html)."""
MARGIN_SECONDS = 60.0
"""No page is begun with fewer seconds left: it may require starting a thousand uploads' jobs."""


class SweepState(msgspec.Struct, frozen=True, kw_only=True):
    """Progress of the sweeps. Times are seconds since 1970.

    Attributes:
        complete_at: When the last complete sweep began: uploads in the bucket by then have their
            job.
        begun_at: When the current sweep began; None if there is none, or if it met an upload that
            could not be started and therefore will not count as complete.
        position: Where the current sweep continues; None if there is none.
    """

    complete_at: float | None = None
    begun_at: float | None = None
    position: ListingPosition | None = None

    def young_since(self, now: float) -> float | None:
        """Return the date from which on uploads may lack a job; None if any may."""
        if self.complete_at is None:
            return None
        # If the clock was ahead earlier, uploads made since must not be skipped.
        return min(self.complete_at, now) - LONGEST_UPLOAD_SECONDS

    def at_the_end(self) -> Self:
        """Return the state after the current sweep has reached the end of the list."""
        complete_at = self.complete_at if self.begun_at is None else self.begun_at
        return replace(self, complete_at=complete_at, begun_at=None, position=None)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        position = self.position
        return {
            "schema_version": stored.SCHEMA_VERSION,
            "complete_at": optional_timestamp(self.complete_at),
            "begun_at": optional_timestamp(self.begun_at),
            "position": position and {"key": position.key, "version_id": position.version_id},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        position = data["position"]
        return cls(
            complete_at=_seconds(data["complete_at"]),
            begun_at=_seconds(data["begun_at"]),
            position=position and ListingPosition(position["key"], position["version_id"]),
        )


class Sweep:
    """One scheduled run's part of the sweep.

    Attributes:
        listed: Versions listed so far, including delete markers.
        asked: Uploads whose record was checked so far.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        start_missing: Callable[[Sequence[ObjectVersion]], bool],
        time_left: Callable[[], float],
        now: float,
    ) -> None:
        """Prepare a scheduled run.

        Args:
            storage: The bucket.
            start_missing: Starts the given uploads that have no job; tells whether all have one
                now.
            time_left: Returns how many seconds the firing has left.
            now: When the firing began, in seconds since 1970.
        """
        self.listed = 0
        self.asked = 0
        self._storage = storage
        self._start_missing = start_missing
        self._time_left = time_left
        self._now = now
        self._has_failed = False
        self._state = SweepState()

    def run(self) -> bool:
        """Sweep as time permits; tell whether all of ``input/`` was listed."""
        before, etag = _load(self._storage)
        self._state = before
        try:
            return self._go_round(before.position)
        finally:
            # Also after a permanent error: work done so far need not be repeated.
            if self._state != before:
                _save(self._storage, self._state, etag)

    def _go_round(self, resumed_at: ListingPosition | None) -> bool:
        """List from an earlier run's position to the end, then from the beginning to it."""
        if resumed_at is not None:
            try:
                if not self._list():
                    return False
            except LostPositionError:
                logger.warning("The sweep restarts, because S3 does not know its last position")
                self._state, resumed_at = replace(self._state, position=None), None
        begun_at = None if self._has_failed else self._now
        return self._list(begun_at=begun_at, until=resumed_at)

    def _list(self, *, begun_at: float | None = None, until: ListingPosition | None = None) -> bool:
        """List from the state's position to the end, or to a given position, as time permits.

        Args:
            begun_at: When the sweep began, if it begins here.
            until: Where this firing began; None to continue to the end.

        Returns:
            Whether it got that far.
        """
        after = self._state.position
        if self._time_left() < MARGIN_SECONDS:
            return False
        state = self._state if after is not None else replace(self._state, begun_at=begun_at)
        since = state.young_since(self._now)
        not_deleted = (
            WithoutDeleted()
            if after is None
            else WithoutDeleted(after.key, is_deleted=self._is_deleted(after.key))
        )
        for page in self._storage.version_pages(object_keys.INPUT_PREFIX, after):
            uploads = [
                version
                for version in not_deleted.of(page.versions)
                if (since is None or version.modified_at >= since)
                and not object_keys.is_folder_marker(version.key, version.size)
            ]
            self.listed += len(page.versions)
            self.asked += len(uploads)
            if uploads and not self._start_missing(uploads):
                self._has_failed = True
                state = replace(state, begun_at=None)
            if page.following is None or _is_beyond(page.versions, until):
                break
            self._state = state = replace(state, position=page.following)
            if self._time_left() < MARGIN_SECONDS:
                return False
        self._state = state.at_the_end()
        return True

    def _is_deleted(self, key: str) -> bool:
        """Tell whether the newest version of a key is a delete marker."""
        newest = next(self._storage.versions(key), None)
        return newest is not None and newest.key == key and newest.is_delete_marker


class WithoutDeleted:
    """Skips the versions of deleted keys, across pages of a listing."""

    def __init__(self, key: str | None = None, *, is_deleted: bool = False) -> None:
        """Begin; ``key`` is the key whose versions the listing starts with, if it starts in one."""
        self._key = key
        self._is_deleted = is_deleted

    def of(self, versions: Iterable[ObjectVersion]) -> Iterator[ObjectVersion]:
        """Yield those versions of the next page whose keys are not deleted."""
        for version in versions:
            if version.key != self._key:
                self._key, self._is_deleted = version.key, version.is_delete_marker
            if not self._is_deleted and not version.is_delete_marker:
                yield version


def _is_beyond(versions: Sequence[ObjectVersion], position: ListingPosition | None) -> bool:
    """Tell whether a page ends after all versions of a position's key."""
    if position is None or not versions:
        return False
    return versions[-1].key.encode() > position.key.encode()


class _StoredState(NamedTuple):
    """The state of the sweeps as read, and the ETag of its object; None without one."""

    state: SweepState
    etag: str | None


def _load(storage: Storage) -> _StoredState:
    """Read the state; an invalid one is replaced by an initial one."""
    try:
        found = storage.get_json(object_keys.SWEEP_KEY)
        if found is None:
            return _StoredState(SweepState(), None)
        return _StoredState(SweepState.from_json(found.value), found.etag)
    except (KeyError, TypeError, ValueError):
        logger.warning("The state of the sweep cannot be read; checking every upload's record")
        head = storage.head(object_keys.SWEEP_KEY)
        return _StoredState(SweepState(), head.etag if head else None)


def _save(storage: Storage, state: SweepState, etag: str | None) -> None:
    """Write the state unless another scheduled run has written it meanwhile.

    The other run's state is equally valid, and sweeping twice does no harm.
    """
    try:
        storage.put_json(object_keys.SWEEP_KEY, state.to_json(), over=etag)
    except ConflictError:
        logger.info("Another scheduled run has swept at the same time")


def _seconds(text: str | None) -> float | None:
    return None if text is None else seconds_of(text)
