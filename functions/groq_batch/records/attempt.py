"""State of all batches of one attempt, stored as one object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.records.job import JobRecord
from groq_batch.records.submission import Stage, Submission
from groq_batch.telemetry.log import logger

_READERS = 16


@dataclass(slots=True)
class ShardState:
    """One shard attempt: how far its submission is and its batch as last seen.

    ``is_under_way`` says that an invocation may be at work on it, or that something was sent whose
    outcome is not known. ``endpoint`` is that of its batch; None when it was not written down.
    ``origin`` is the number of the origin shard; None when it is the shard itself.
    ``tried_early`` says that it was handed to the download while batches of others ran, which is
    done once.
    """

    stage: Stage | None = None
    file_id: str | None = None
    requests: int | None = None
    batch: Batch | None = None
    error: dict[str, Any] | None = None
    doubtful: bool = False
    is_under_way: bool = False
    endpoint: str | None = None
    origin: int | None = None
    tried_early: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will be sent for this shard attempt."""
        return self.stage is not None and self.stage.is_settled

    @property
    def is_pending(self) -> bool:
        """Whether a batch of it may still be running."""
        return self.batch is not None and not self.batch.is_terminal


@dataclass(slots=True)
class AttemptState:
    """The batches of one attempt.

    Attributes:
        attempt: The attempt.
        started_at: When the attempt's first look at its batches was, in seconds since 1970.
        entries: What is known of each shard, by number.
        outage: Why Groq cannot be asked at present, as code and sentence; None when it can.
        silence: Why the last look at Groq showed nothing of some batches, as code and sentence;
            told to the user, and a reason for nothing.
        absent_since: Since when every look has found Groq to know nothing of some batch, in seconds
            since 1970; None when it knew all of them.
        blocked: What the account was refused for when shards were last sent or fetched, likewise.
        refusal: Why batches were refused, and when what they hold is sent again, likewise; None
            once the next attempt has begun.
        submit_rounds: How often the attempt's shards have been handed to the submission again.
        download_rounds: How often they have been handed to the download; counted anew from the
            moment at which they are given up.
        rate_limits: How many looks in a row Groq has refused because there were too many.
        division_rounds: How often they have been handed to it again to be divided.
        lost: Whether nobody waits any more for batches, or results, that are left.
        past_deadline: Whether the job's deadline had passed before any row of the attempt was
            stored: no batch follows it.
        seen_done: Requests with an outcome when that number was last seen to change.
        progress_at: When that was, in seconds since 1970.
        etag: The ETag of what stands in the bucket; None when nothing does.
        standing: What stands there, as JSON data.
    """

    attempt: int
    started_at: float
    entries: dict[int, ShardState] = field(default_factory=dict)
    groq_error: dict[str, Any] | None = None
    last_check_error: dict[str, Any] | None = None
    absent_since: float | None = None
    account_error: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None
    submit_rounds: int = 0
    download_rounds: int = 0
    rate_limits: int = 0
    division_rounds: int = 0
    gave_up: bool = False
    past_deadline: bool = False
    seen_done: int = 0
    progress_at: float = 0.0
    etag: str | None = field(default=None, compare=False)
    standing: dict[str, Any] | None = field(default=None, compare=False)

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys, attempt: int) -> Self | None:
        """Read the state of an attempt, or None before its first status check."""
        found = storage.get_json(keys.batches(attempt))
        if found is None:
            return None
        state = cls.from_json(found[0])
        state.standing, state.etag = found
        if not all("region" in entry for entry in found[0]["shards"].values()):
            # Written by an older version, to which all shards were the input's.
            plan = AttemptPlan.load(storage, keys, attempt) or AttemptPlan(attempt=attempt)
            for number, entry in state.entries.items():
                entry.origin = plan.origins.get(number)
        return state

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
        """Make the state of an attempt from the shards that it has.

        While a canary is alone those behind it are no part of any attempt, wherever they stand.
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
                # An older version may have left a shard behind as it was before it was divided.
                if number not in plan.divided and job.has_begun(plan.origin_of(number), attempt)
            },
        )

    @property
    def is_changed(self) -> bool:
        """Whether it says anything else than what stands in the bucket."""
        return self.to_json() != self.standing

    def admit_rest(self, job: JobRecord) -> None:
        """Take in the shards behind a canary, if they come in this attempt for the first time.

        A status check that had not seen the decision about the canary may have made the state.
        """
        if job.verdict is None or job.verdict.rest_attempt != self.attempt:
            return
        for shard in job.shards:
            if shard.number != CANARY_SHARD:
                self.entries.setdefault(shard.number, ShardState())

    def save(self, storage: Storage, keys: object_keys.WorkKeys) -> bool:
        """Write the state if it changed, unless another status check has written it meanwhile.

        What that one saw is as recent, and an invocation that was thought dead must not set the
        state back.

        Returns:
            Whether this state is what stands in the bucket.
        """
        data = self.to_json()
        if data == self.standing:
            return True
        try:
            self.etag = storage.put_json(
                keys.batches(self.attempt),
                data,
                if_none_match=self.etag is None,
                if_match=self.etag,
            )
            self.standing = data
        except ConflictError:
            logger.info("Another invocation has looked at the batches as well")
            return False
        return True

    def refresh(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Read the submission records of the shards that were not settled when last seen."""
        open_numbers = [number for number, entry in self.entries.items() if not entry.is_settled]
        if not open_numbers:
            return
        begun = None
        if len(open_numbers) > 1:
            # A list of a thousand costs less than to ask for those that are not there yet.
            begun = {item.key for item in storage.objects(keys.submissions(self.attempt))}

        def read(number: int) -> tuple[int, Submission | None]:
            key = keys.submission(self.attempt, number)
            found = Submission.load(storage, key) if begun is None or key in begun else None
            return number, found[0] if found else None

        with ThreadPoolExecutor(max_workers=_READERS) as pool:
            for number, record in pool.map(read, open_numbers):
                if record is not None:
                    self.entries[number] = replace(
                        self.entries[number],
                        stage=record.stage,
                        file_id=record.file_id,
                        requests=record.requests,
                        batch=record.batch,
                        error=record.error,
                        doubtful=record.doubtful,
                        is_under_way=bool(record.lease_until) or record.unknown_since is not None,
                        endpoint=record.endpoint,
                    )

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
        """Take down that shards were handed to the download while batches of others ran."""
        for number in shards:
            self.entries[number].tried_early = True

    @property
    def open_numbers(self) -> list[int]:
        """Shards that are not settled: not sent yet, or with an outcome that is not known."""
        return [number for number, entry in self.entries.items() if not entry.is_settled]

    @property
    def refused_numbers(self) -> list[int]:
        """Shards whose batch the API refused: at its creation, or at validation."""
        return [
            number
            for number, entry in self.entries.items()
            if entry.stage is Stage.REFUSED
            or (entry.batch is not None and entry.batch.status == "failed")
        ]

    @property
    def undecided_numbers(self) -> list[int]:
        """Shards of which Groq may yet turn out to have a batch."""
        return [
            number
            for number, entry in self.entries.items()
            if entry.is_under_way and not entry.is_settled
        ]

    @property
    def pending(self) -> list[ShardState]:
        """Entries whose batch may still be running."""
        return [entry for entry in self.entries.values() if entry.is_pending]

    @property
    def has_batches(self) -> bool:
        """Whether any batch of this attempt exists."""
        return any(entry.batch is not None for entry in self.entries.values())

    @property
    def may_have_orphans(self) -> bool:
        """Whether Groq may hold a batch or a file of this attempt that no record names."""
        return any(entry.doubtful for entry in self.entries.values())

    @property
    def requests(self) -> int:
        """Requests of the attempt's batches, as far as known."""
        return sum(_requests(entry) for entry in self.entries.values())

    @property
    def done(self) -> int:
        """Requests that the API counts as completed or failed."""
        return sum(
            entry.batch.counts.completed + entry.batch.counts.failed
            for entry in self.entries.values()
            if entry.batch is not None
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "schema_version": 1,
            "attempt": self.attempt,
            "started_at": self.started_at,
            "outage": self.groq_error,
            "silence": self.last_check_error,
            "absent_since": self.absent_since,
            "blocked": self.account_error,
            "refusal": self.refusal,
            "submit_rounds": self.submit_rounds,
            "download_rounds": self.download_rounds,
            "rate_limits": self.rate_limits,
            "division_rounds": self.division_rounds,
            "lost": self.gave_up,
            "past_deadline": self.past_deadline,
            "seen_done": self.seen_done,
            "progress_at": self.progress_at,
            "shards": {
                str(number): {
                    "stage": str(entry.stage) if entry.stage else None,
                    "file_id": entry.file_id,
                    "requests": entry.requests,
                    "batch": entry.batch.to_json() if entry.batch else None,
                    "error": entry.error,
                    "doubtful": entry.doubtful,
                    "is_under_way": entry.is_under_way,
                    "endpoint": entry.endpoint,
                    "region": entry.origin,
                    "tried_early": entry.tried_early,
                }
                for number, entry in sorted(self.entries.items())
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            attempt=data["attempt"],
            started_at=data["started_at"],
            groq_error=data["outage"],
            # The state of an older version lacks what came later.
            last_check_error=data.get("silence"),
            absent_since=data.get("absent_since"),
            rate_limits=data.get("rate_limits", 0),
            account_error=data["blocked"],
            refusal=data.get("refusal"),
            submit_rounds=data["submit_rounds"],
            download_rounds=data["download_rounds"],
            division_rounds=data.get("division_rounds", 0),
            gave_up=data["lost"],
            past_deadline=data.get("past_deadline", False),
            seen_done=data["seen_done"],
            progress_at=data["progress_at"],
            entries={
                int(number): ShardState(
                    stage=Stage(entry["stage"]) if entry["stage"] else None,
                    file_id=entry["file_id"],
                    requests=entry["requests"],
                    batch=Batch.from_json(entry["batch"]) if entry["batch"] else None,
                    error=entry["error"],
                    doubtful=entry["doubtful"],
                    is_under_way=entry["is_under_way"],
                    endpoint=entry.get("endpoint"),
                    origin=entry.get("region"),
                    tried_early=entry.get("tried_early", False),
                )
                for number, entry in data["shards"].items()
            },
        )


def _requests(entry: ShardState) -> int:
    if entry.requests is not None:
        return entry.requests
    return entry.batch.counts.total if entry.batch else 0


_MAX_MESSAGE = 500
_NO_CODE = "refused"
_NO_REASON = "no reason given"


def refusal_text(entry: ShardState) -> str:
    """Return the API's code and text for a batch that it refused, of the whole if there is one."""
    if entry.batch is None:
        error = entry.error or {}
        return _text(error.get("code"), error.get("message"))
    # Those without a line come first.
    for issue in sorted(entry.batch.errors, key=lambda one: one.line or 0):
        return _text(issue.code, issue.message)
    return _text(None, None)


def _text(code: str | None, message: str | None) -> str:
    return f"{code or _NO_CODE}: {message or _NO_REASON}"[:_MAX_MESSAGE]
