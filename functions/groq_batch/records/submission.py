"""Record one shard attempt's submission, with a lease that lets one invocation work on it.

The record is one small object. An invocation owns the shard attempt as long as it renews the lease.
Every change is a compare-and-swap on the object's ETag, so an owner that has lost the lease learns
it from its next change and does not act on outdated data.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage, Stored
from groq_batch.domain.batch import Batch
from groq_batch.domain.reason import Reason
from groq_batch.records import stored
from groq_batch.telemetry.plain_log import logger

LEASE_SECONDS = 30.0
"""Seconds after its owner's last renewal at which a lease expires."""
RENEW_SECONDS = 8.0
"""Seconds between renewals. Three renewals may be late before the lease is lost."""
QUARANTINE_SECONDS = 60.0
"""Seconds without a new create after an unknown outcome: the API has no idempotency key, and an
accepted batch may appear late in its list."""
CLOCK_MARGIN_SECONDS = 3600.0
"""How many seconds Groq's clock may lag ours when it dates a new object."""


class LeaseLostError(Exception):
    """Another invocation has taken over; this one must not act any further."""


class Stage(StrEnum):
    """Progress of a shard attempt's submission."""

    CLAIMED = "claimed"
    UPLOADED = "uploaded"
    CREATING = "creating"
    CREATED = "created"
    REFUSED = "refused"
    ABANDONED = "abandoned"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be done for this shard attempt."""
        return self in (Stage.CREATED, Stage.REFUSED, Stage.ABANDONED)


class Sent(msgspec.Struct, kw_only=True, rename={"may_have_orphans": "doubtful"}):
    """What has been sent to Groq for a shard attempt.

    Attributes:
        stage: How far it is; None before anything is recorded.
        file_id: The input file at Groq.
        requests: Request lines in that file; None if the writer of this record did not count them.
        batch: The batch as last seen.
        error: The last error met, as code and message.
        may_have_orphans: Whether an outcome was ever unknown, or a file was given up, so that Groq
            may hold more than is recorded.
        endpoint: The batch's endpoint, recorded before the create; None before that.
    """

    stage: Stage | None = None
    file_id: str | None = None
    requests: int | None = None
    batch: Batch | None = None
    error: Reason | None = None
    may_have_orphans: bool = False
    endpoint: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be sent for this shard attempt."""
        return self.stage is not None and self.stage.is_settled


class Submission(Sent, kw_only=True):
    """The record of one shard attempt's submission. Times are seconds since 1970.

    Attributes:
        owner: The invocation that works on it.
        lease_until: When the owner's lease expires; 0 if it was released.
        unknown_since: When something with an unknown outcome was sent; None without one.
        begun_at: When the record was first written, before anything was sent; None in records of
            older versions.
    """

    stage: Stage
    owner: str
    lease_until: float
    unknown_since: float | None = None
    begun_at: float | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether an invocation may be at work on it, or an outcome is not known."""
        return bool(self.lease_until) or self.unknown_since is not None

    @classmethod
    def load(cls, storage: Storage, key: str) -> Stored[Self] | None:
        """Load a record with its ETag; None if no invocation has begun."""
        return stored.load_with_etag(storage, key, cls)


class SubmissionLease:
    """A submission record leased by this invocation.

    As a context manager it renews the lease in the background. Leaving the block releases the lease
    unless it was lost; if the process dies, the lease expires.
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
        found: Stored[Submission] | None,
        *,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Claim the record: create it, or take over one whose lease has expired or was released.

        An expired lease means that its owner died with a call possibly in progress, so the outcome
        is unknown from that moment on.

        Raises:
            ConflictError: Another invocation claimed it first.
        """
        now = clock()
        if found is None:
            record = Submission(
                stage=Stage.CLAIMED, owner=owner, lease_until=now + LEASE_SECONDS, begun_at=now
            )
            etag = stored.swap(storage, key, record, over=None)
        else:
            before = found.value
            unknown_since = before.unknown_since
            if before.lease_until:
                unknown_since = max(unknown_since or 0.0, before.lease_until)
            record = replace(
                before,
                owner=owner,
                lease_until=now + LEASE_SECONDS,
                unknown_since=unknown_since,
                may_have_orphans=before.may_have_orphans or unknown_since is not None,
            )
            etag = stored.swap(storage, key, record, over=found.etag)
        return cls(storage, key, record, etag, clock=clock)

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._renewer.join()
        if kind is None and not self._lost and self.record.lease_until:
            self.update(lease_until=0.0)

    @property
    def is_fresh(self) -> bool:
        """Whether most of the lease is left, so that its last renewal was written quickly."""
        return self.record.lease_until - self._clock() > LEASE_SECONDS / 2

    def update(self, **changes: Any) -> None:
        """Change the record.

        Raises:
            LeaseLostError: Another invocation has taken over.
        """
        with self._lock:
            self._swap(**changes)

    def release(self, **changes: Any) -> None:
        """Change the record for the last time and release the lease.

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
            # The abandoned file may still exist at Groq.
            record = replace(record, may_have_orphans=True)
        try:
            self._etag = stored.swap(self._storage, self._key, record, over=self._etag)
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
                    # The next renewal may succeed. If the lease expires, the owner learns it from
                    # its next change of the record, which is then rejected.
                    logger.warning("A lease could not be renewed", exc_info=True)
