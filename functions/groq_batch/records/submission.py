"""The record of one shard attempt's submission, and the lease that lets one invocation hold it.

The record is one small object. Whoever works on the shard attempt owns it for as long as the lease
is renewed; every change is a compare-and-swap on the object's ETag, so that an owner who has lost
the lease finds out at its next change and never acts on what it believes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain.batch import Batch
from groq_batch.telemetry.log import logger

LEASE_SECONDS = 30.0
"""A lease runs out this long after its owner's last renewal."""
RENEW_SECONDS = 8.0
"""A renewal may come late three times before the lease is lost."""
QUARANTINE_SECONDS = 60.0
"""After an outcome that is not known nothing is created for this long: the API has no idempotency
key, and a batch that it accepted may show late in its list."""
CLOCK_MARGIN_SECONDS = 3600.0
"""How much earlier than by this side's clock Groq may date what was created."""


class LeaseLostError(Exception):
    """Another invocation has taken over; the loser must not act any further."""


class Stage(StrEnum):
    """How far a shard attempt's submission is."""

    CLAIMED = "claimed"
    UPLOADED = "uploaded"
    CREATING = "creating"
    CREATED = "created"
    REFUSED = "refused"
    ABANDONED = "abandoned"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be done for this shard attempt."""
        return self in (Stage.CREATED, Stage.REFUSED, Stage.ABANDONED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is known of one shard attempt's submission. Times are seconds since 1970.

    Attributes:
        stage: How far it is.
        owner: The invocation that works on it.
        lease_until: When the owner's lease runs out; 0 when it was given back.
        unknown_since: When something was sent whose outcome is not known; None when all is known.
        file_id: The input file at Groq.
        requests: Request lines in that file; None when not counted by this record's writers.
        batch: The batch as last seen by the submission.
        error: The last error met, as code and sentence.
        doubtful: Whether an outcome was ever unknown, or a file was given up, so that Groq may hold
            more than is recorded.
        begun_at: When the record was first written, before anything was sent; None in records of
            older versions.
        endpoint: The batch's endpoint, written before it is asked for; None before that.
    """

    stage: Stage
    owner: str
    lease_until: float
    unknown_since: float | None = None
    file_id: str | None = None
    requests: int | None = None
    batch: Batch | None = None
    error: dict[str, Any] | None = None
    doubtful: bool = False
    begun_at: float | None = None
    endpoint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        data = asdict(replace(self, batch=None))
        data["stage"] = str(self.stage)
        data["batch"] = self.batch.to_json() if self.batch else None
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            stage=Stage(data["stage"]),
            owner=data["owner"],
            lease_until=data["lease_until"],
            unknown_since=data["unknown_since"],
            file_id=data["file_id"],
            requests=data["requests"],
            batch=Batch.from_json(data["batch"]) if data["batch"] else None,
            error=data["error"],
            doubtful=data["doubtful"],
            begun_at=data.get("begun_at"),
            # The record of an older version has none; its batches have the one for chat.
            endpoint=data.get("endpoint"),
        )

    @classmethod
    def load(cls, storage: Storage, key: str) -> tuple[Self, str] | None:
        """Read a record and its ETag, or None when nobody has begun."""
        found = storage.get_json(key)
        return (cls.from_json(found[0]), found[1]) if found else None


class SubmissionLease:
    """A submission record under this invocation's lease.

    As a context manager it renews the lease in the background. Leaving the block gives the lease
    back, unless it was lost; a process that dies leaves it to run out.
    """

    def __init__(
        self,
        storage: Storage,
        key: str,
        record: Submission,
        etag: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.record = record
        self._storage = storage
        self._key = key
        self._etag = etag
        self._clock = clock
        self._lock = threading.Lock()
        self._lost = False
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True, name="lease")

    @classmethod
    def claim(
        cls,
        storage: Storage,
        key: str,
        found: tuple[Submission, str] | None,
        *,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Take the record: make it, or take over one whose lease has run out or was given back.

        A lease that ran out means that its owner died with something possibly under way, so the
        outcome is not known from that moment.

        Raises:
            ConflictError: Somebody else took it first.
        """
        now = clock()
        if found is None:
            record = Submission(
                stage=Stage.CLAIMED, owner=owner, lease_until=now + LEASE_SECONDS, begun_at=now
            )
            etag = _write(storage, key, record, if_match=None)
        else:
            before, before_etag = found
            unknown_since = before.unknown_since
            if before.lease_until:
                unknown_since = max(unknown_since or 0.0, before.lease_until)
            record = replace(
                before,
                owner=owner,
                lease_until=now + LEASE_SECONDS,
                unknown_since=unknown_since,
                doubtful=before.doubtful or unknown_since is not None,
            )
            etag = _write(storage, key, record, if_match=before_etag)
        return cls(storage, key, record, etag, clock=clock)

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._renewer.join()
        if kind is None and not self._lost and self.record.lease_until:
            self.update(lease_until=0.0)

    @property
    def is_fresh(self) -> bool:
        """Whether most of the lease is left: its last renewal did not take long to be written."""
        return self.record.lease_until - self._clock() > LEASE_SECONDS / 2

    def update(self, **changes: Any) -> None:
        """Change the record.

        Raises:
            LeaseLostError: Another invocation has taken over.
        """
        with self._lock:
            self._swap(**changes)

    def release(self, **changes: Any) -> None:
        """Change the record for the last time and give the lease back.

        Raises:
            LeaseLostError: Another invocation has taken over.
        """
        self._ended.set()
        with self._lock:
            self._swap(lease_until=0.0, **changes)

    def _swap(self, **changes: Any) -> None:
        if self._lost:
            raise LeaseLostError(self._key)
        renewed = {"lease_until": self._clock() + LEASE_SECONDS}
        record = replace(self.record, **{**renewed, **changes})
        if self.record.file_id is not None and record.file_id is None:
            # The file that is given up may be at Groq all the same.
            record = replace(record, doubtful=True)
        try:
            self._etag = _write(self._storage, self._key, record, if_match=self._etag)
        except ConflictError:
            self._lost = True
            raise LeaseLostError(self._key) from None
        self.record = record

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with self._lock:
                if self._ended.is_set():
                    return
                try:
                    self._swap()
                except LeaseLostError:
                    return
                except Exception:  # noqa: BLE001
                    # The next renewal may pass; a lease that runs out is found out by the owner's
                    # next change of the record, which is then refused.
                    logger.warning("A lease could not be renewed", exc_info=True)


def _write(storage: Storage, key: str, record: Submission, *, if_match: str | None) -> str:
    """Write a record if it still is the one that was read (or does not exist yet).

    Raises:
        ConflictError: It is another one.
    """
    try:
        return storage.put_json(
            key, record.to_json(), if_none_match=if_match is None, if_match=if_match
        )
    except ConflictError:
        # A write whose answer was lost is repeated by the SDK and then meets itself.
        found = Submission.load(storage, key)
        if found is not None and found[0] == record:
            return found[1]
        raise
