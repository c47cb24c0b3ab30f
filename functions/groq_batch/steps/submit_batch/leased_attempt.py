"""Describe a shard attempt whose lease this invocation holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.groq.client import GroqClient
from groq_batch.records.job import JobRecord
from groq_batch.records.stored import MissingRecordError
from groq_batch.records.submission import SubmissionLease
from groq_batch.steps.outcomes import StepOutcome


@dataclass(slots=True, kw_only=True)
class LeasedAttempt:
    """What one invocation needs to work on a shard attempt.

    Attributes:
        storage: The bucket.
        client: The Groq API.
        keys: Keys of the job's working files.
        job: The job's record.
        attempt: The attempt.
        number: The shard.
        own_attempt: The attempt's number counted from the shard's first attempt. It names the file
            and the batch at Groq, as in the report: the shards after a canary also begin with 1.
        asks_by_url: Whether the endpoint is the audio URL of the shard's lines.
        tries: How often this shard attempt has been tried in this round.
        held: The lease, with the record of the submission.
        clock: Returns seconds since 1970.
        created: The outcome if its batch was created, with the wait before its first status check.
        was_unknown: Whether an earlier invocation may have created a batch that was not found.
    """

    storage: Storage
    client: GroqClient
    keys: object_keys.WorkKeys
    job: JobRecord
    attempt: int
    number: int
    own_attempt: int
    asks_by_url: bool
    tries: int
    held: SubmissionLease
    clock: Callable[[], float]
    created: StepOutcome
    was_unknown: bool = False

    @property
    def is_not_wanted(self) -> bool:
        """Whether the job sends nothing any more: it was stopped, or its deadline has passed."""
        return self.job.is_past_deadline(self.clock()) or self.storage.exists(self.keys.stopped)

    @property
    def lines_key(self) -> str:
        """Key of the request lines."""
        return self.keys.shard(self.attempt, self.number)

    @property
    def record_key(self) -> str:
        """Key of the record of the submission."""
        return self.keys.submission(self.attempt, self.number)

    @property
    def file_name(self) -> str:
        """Name of the input file at Groq."""
        return object_keys.groq_file_name(self.keys.job, self.own_attempt, self.number)

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata by which the batch can be found at Groq."""
        return object_keys.batch_metadata(self.keys.job, self.own_attempt, self.number)

    def size(self) -> int:
        """Return the size of the request lines in bytes.

        Raises:
            MissingRecordError: They were removed.
        """
        head = self.storage.head(self.lines_key)
        if head is None:
            raise MissingRecordError(f"The request lines of {self.held.record.owner} are gone")
        return head.size
