"""Decide what an attempt does with requests that have no answer: pure rules of one origin shard."""

from __future__ import annotations

import msgspec

from groq_batch.domain import object_keys
from groq_batch.records.job import JobRecord, Stop
from groq_batch.records.on_demand import OnDemandProgress


class MergeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about the requests of an origin shard after an attempt.

    Attributes:
        job: The job's record.
        stop: Why the job was stopped; None if it was not.
        attempt: The attempt.
        origin: The origin shard.
        past_deadline: Whether the job's deadline had passed before any row of the attempt was
            stored.
        calls: The record of the attempt's ordinary calls; None if it was sent as batches.
    """

    job: JobRecord
    stop: Stop | None
    attempt: int
    origin: int
    past_deadline: bool = False
    calls: OnDemandProgress | None = None

    @property
    def is_first_attempt(self) -> bool:
        """Whether the origin shard's requests are sent for the first time."""
        return self.attempt == self.job.first_attempt_of(self.origin)

    @property
    def may_retry(self) -> bool:
        """Whether unanswered requests are kept for another attempt.

        With a deadline they are kept even if all attempts are used up: if the deadline passes
        before the job ends, they are sent as ordinary calls.
        """
        if self.stop is not None or self.calls is not None:
            return False
        return not self._is_last_attempt or self.job.deadline_at is not None

    @property
    def may_send_again(self) -> bool:
        """Whether requests of the origin shard may be sent in another batch."""
        return self.may_retry and not (self._is_last_attempt or self.past_deadline)

    @property
    def keeps_for_deadline(self) -> bool:
        """Whether what may be asked again is kept apart until the deadline, for no batch may.

        After the deadline attempts do not matter any more: it is open, used up or not.
        """
        return self._is_last_attempt and not self.past_deadline

    @property
    def _is_last_attempt(self) -> bool:
        return self.attempt >= self.job.last_attempt_of(self.origin)

    def key_of_retry(self, keys: object_keys.WorkKeys, shard: int) -> str:
        """Return the key for the lines of a shard that are kept for another attempt.

        Ordinary calls are made in file order, so lines for them are kept by origin shard.
        """
        if self.past_deadline:
            return keys.shard(self.attempt + 1, self.origin)
        if self.keeps_for_deadline:
            return keys.kept_shard(self.origin)
        return keys.shard(self.attempt + 1, shard)
