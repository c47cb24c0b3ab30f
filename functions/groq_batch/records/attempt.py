"""State of all batches of one attempt, stored as one object."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import msgspec

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.reason import Reason
from groq_batch.records import stored
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.job import JobRecord
from groq_batch.records.submission import Sent, Stage, Submission
from groq_batch.telemetry.plain_log import logger


class ShardState(Sent, kw_only=True, rename={"origin": "region"}):
    """One shard attempt: what its submission has recorded, and its batch as last seen.

    Attributes:
        is_under_way: Whether an invocation may be at work on it, or something was sent whose
            outcome is not known.
        origin: Number of the origin shard; None when it is the shard itself.
        tried_early: Whether it was handed to the download while batches of others ran, which is
            done once.
    """

    is_under_way: bool = False
    origin: int | None = None
    tried_early: bool = False

    def update(self, submission: Submission) -> None:
        """Take over what a submission has recorded."""
        for name in Sent.__struct_fields__:
            setattr(self, name, getattr(submission, name))
        self.is_under_way = submission.is_under_way

    @property
    def is_pending(self) -> bool:
        """Whether a batch of it may still be running."""
        return self.batch is not None and not self.batch.is_terminal


class AttemptState(
    msgspec.Struct,
    kw_only=True,
    rename={
        "entries": "shards",
        "groq_error": "outage",
        "last_check_error": "silence",
        "account_error": "blocked",
        "gave_up": "lost",
    },
):
    """The batches of one attempt.

    Attributes:
        attempt: The attempt.
        started_at: When the attempt's batches were first checked, in seconds since 1970.
        entries: The state of each shard, by number.
        groq_error: Why Groq rejects status requests at present, as code and message; None if it
            answers.
        last_check_error: Why the last check got no data for some batches, as code and message.
            Shown in the report; affects no decision.
        absent_since: Since when every check has found a batch that Groq does not know, in seconds
            since 1970; None if Groq knew all of them.
        account_error: The account error met when shards were last sent or fetched, as code and
            message.
        refusal: Why batches were refused, and when their requests are sent again, as code and
            message; None once the next attempt has begun.
        submit_rounds: How often the attempt's shards have been submitted again.
        download_rounds: How often they have been passed to the download; restarts at 0 when
            waiting for them is given up.
        rate_limits: Number of consecutive status checks that Groq rejected as too many requests.
        division_rounds: How often they have been passed to the download again to be divided.
        gave_up: Whether the job has stopped waiting for remaining batches or results.
        past_deadline: Whether the job's deadline had passed before any row of the attempt was
            stored. No batch follows such an attempt.
        seen_done: Number of requests with an outcome when that number last changed.
        progress_at: Time of that change, in seconds since 1970.
    """

    attempt: int
    started_at: float
    entries: dict[int, ShardState] = msgspec.field(default_factory=dict)
    groq_error: Reason | None = None
    last_check_error: Reason | None = None
    absent_since: float | None = None
    account_error: Reason | None = None
    refusal: Reason | None = None
    submit_rounds: int = 0
    download_rounds: int = 0
    rate_limits: int = 0
    division_rounds: int = 0
    gave_up: bool = False
    past_deadline: bool = False
    seen_done: int = 0
    progress_at: float = 0.0

    @classmethod
    def load(
        cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int
    ) -> AttemptState | None:
        """Read the state of an attempt, or None before its first status check."""
        found = StoredAttempt.load(storage, keys, attempt)
        return found.state if found is not None else None

    @classmethod
    def begin(
        cls,
        storage: Storage,
        keys: object_keys.WorkKeys,
        job: JobRecord,
        attempt: int,
        *,
        started_at: float,
    ) -> Self:
        """Create the state of an attempt from its shards.

        While a canary is sent alone, the shards after it belong to no attempt, wherever they are
        stored.
        """
        plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
        numbers = [
            object_keys.shard_of_key(shard.key)[1]
            for shard in storage.objects(keys.shards(attempt))
        ]
        return cls(
            attempt=attempt,
            started_at=started_at,
            progress_at=started_at,
            entries={
                number: ShardState(origin=plan.origins.get(number))
                for number in numbers
                # An older version may have left an undivided shard there.
                if number not in plan.divided and job.has_begun(plan.origin_of(number), attempt)
            },
        )

    def add_rest_shards(self, job: JobRecord) -> None:
        """Add the shards after a canary if this attempt is their first one.

        The state may have been created by a status check that had not seen the canary's verdict.
        """
        if job.verdict is None or job.verdict.rest_attempt != self.attempt:
            return
        for shard in job.shards:
            if shard.number != CANARY_SHARD:
                self.entries.setdefault(shard.number, ShardState())

    def refresh(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Read the submission records of the shards that were not settled when last seen."""
        open_numbers = [number for number, entry in self.entries.items() if not entry.is_settled]
        if not open_numbers:
            return
        begun = None
        if len(open_numbers) > 1:
            # One listing of a thousand is cheaper than reading records that do not exist yet.
            begun = {item.key for item in storage.objects(keys.submissions(self.attempt))}

        def read(number: int) -> tuple[int, Submission | None]:
            key = keys.submission(self.attempt, number)
            found = Submission.load(storage, key) if begun is None or key in begun else None
            return number, found.value if found else None

        for number, record in in_parallel(read, open_numbers):
            if record is not None:
                self.entries[number].update(record)

    def origin_of(self, shard: int) -> int:
        """Return the number of the origin shard of a shard."""
        entry = self.entries.get(shard)
        return entry.origin if entry is not None and entry.origin is not None else shard

    def shards_of(self, origin: int) -> list[int]:
        """Return the shards of the attempt that come from an origin shard, in order."""
        return sorted(number for number in self.entries if self.origin_of(number) == origin)

    def by_origin(self) -> dict[int, list[int]]:
        """Return the shards of the attempt, in order, by the origin shard that they come from."""
        found: dict[int, list[int]] = {}
        for number in sorted(self.entries):
            found.setdefault(self.origin_of(number), []).append(number)
        return found

    def mark_tried_early(self, shards: Iterable[int]) -> None:
        """Record that shards were passed to the download while other batches ran."""
        for number in shards:
            self.entries[number].tried_early = True

    @property
    def open_numbers(self) -> list[int]:
        """Shards that are not settled: not sent yet, or with an unknown outcome."""
        return [number for number, entry in self.entries.items() if not entry.is_settled]

    @property
    def refused_numbers(self) -> list[int]:
        """Shards whose batch the API refused, at creation or at validation."""
        return [
            number
            for number, entry in self.entries.items()
            if entry.stage is Stage.REFUSED
            or (entry.batch is not None and entry.batch.status == "failed")
        ]

    @property
    def undecided_numbers(self) -> list[int]:
        """Shards for which Groq may turn out to have a batch."""
        return [
            number
            for number, entry in self.entries.items()
            if entry.is_under_way and not entry.is_settled
        ]

    @property
    def pending(self) -> list[ShardState]:
        """Shards whose batch may still be running."""
        return [entry for entry in self.entries.values() if entry.is_pending]

    @property
    def has_batches(self) -> bool:
        """Whether any batch of this attempt exists."""
        return any(entry.batch is not None for entry in self.entries.values())

    @property
    def may_have_orphans(self) -> bool:
        """Whether Groq may hold a batch or a file of this attempt without a record."""
        return any(entry.may_have_orphans for entry in self.entries.values())

    @property
    def requests(self) -> int:
        """Number of requests in the attempt's batches, where known."""
        return sum(_requests(entry) for entry in self.entries.values())

    @property
    def done(self) -> int:
        """Number of requests that the API reports as completed or failed."""
        return sum(
            entry.batch.counts.completed + entry.batch.counts.failed
            for entry in self.entries.values()
            if entry.batch is not None
        )


class StoredAttempt(msgspec.Struct):
    """The state of an attempt, and what of it is stored.

    Attributes:
        state: The state, which its owner changes and saves.
        data: The stored object's content as JSON data; None without one.
        etag: ETag of the stored object; None without one.
    """

    state: AttemptState
    data: dict[str, Any] | None = None
    etag: str | None = None

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> Self | None:
        """Read the state of an attempt to change it; None before its first status check."""
        found = storage.get_json(keys.batches(attempt))
        if found is None:
            return None
        state = stored.from_record(found.value, AttemptState)
        data = stored.to_record(state)
        if not all("region" in entry for entry in found.value["shards"].values()):
            # An older version wrote it; there all shards were origin shards.
            plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
            for number, entry in state.entries.items():
                entry.origin = plan.origins.get(number)
        return cls(state, data, found.etag)

    @property
    def is_changed(self) -> bool:
        """Whether the state differs from the stored object."""
        return stored.to_record(self.state) != self.data

    def save(self, storage: Storage, keys: object_keys.WorkKeys) -> bool:
        """Write the state if it changed, unless another status check has written it meanwhile.

        The other check's data is as recent, and an invocation that was thought dead must not
        reset the state.

        Returns:
            Whether this state is the one in the bucket.
        """
        data = stored.to_record(self.state)
        if data == self.data:
            return True
        try:
            self.etag = storage.put_json(keys.batches(self.state.attempt), data, over=self.etag)
        except ConflictError:
            logger.info("Another invocation has also checked the batches")
            return False
        self.data = data
        return True


def _requests(entry: ShardState) -> int:
    if entry.requests is not None:
        return entry.requests
    return entry.batch.counts.total if entry.batch else 0


MAX_REFUSAL_CHARACTERS = 500
_NO_CODE = "refused"
_NO_REASON = "no reason given"


def refusal_text(entry: ShardState) -> str:
    """Return the API's code and text for a refused batch, preferring errors of the whole batch."""
    if entry.batch is None:
        error = entry.error or Reason(None, None)
        return code_and_message(error.code, error.message)
    # Errors without a line come first.
    for issue in sorted(entry.batch.errors, key=lambda one: one.line or 0):
        return code_and_message(issue.code, issue.message)
    return code_and_message(None, None)


def code_and_message(code: str | None, message: str | None) -> str:
    """Return the API's code and text of an error in one line."""
    return f"{code or _NO_CODE}: {message or _NO_REASON}"[:MAX_REFUSAL_CHARACTERS]
