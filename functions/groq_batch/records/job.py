"""The records of a job: what was asked, what was found in the input, why it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.canary import CANARY_SHARD, CanaryVerdict
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import Prices
from groq_batch.domain.problem import Problem, problem_json
from groq_batch.domain.shard import IdsPlace

MAX_KEPT_PROBLEMS = 100
"""Problems that a job's record and its report hold; ``invalid/`` holds all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job was started for; stands for ever at ``jobs/<job_id>``.

    Attributes:
        job_id: The job's name.
        bucket: The bucket of the input.
        key: The input's key.
        version_id: The version to read, or None in a bucket without versions.
        path: The ``<path>`` that the deliverables mirror.
        started_at: When the job was started; orders the runs of one upload.
        claimed_by: The invocation that started it.
    """

    job_id: str
    bucket: str
    key: str
    version_id: str | None
    path: str
    started_at: str
    claimed_by: str

    def execution_input(self) -> dict[str, Any]:
        """Return the input of the job's execution.

        It is equal for equal jobs, so that Step Functions takes a second start for the same one.
        """
        return {"mode": "run", "job_id": self.job_id, "bucket": self.bucket}

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {"schema_version": 1, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            job_id=data["job_id"],
            bucket=data["bucket"],
            key=data["key"],
            version_id=data.get("version_id"),
            path=data["path"],
            started_at=data["started_at"],
            claimed_by=data.get("claimed_by", ""),
        )

    @classmethod
    def load(cls, storage: Storage, job_id: str) -> Self | None:
        """Read the request of a job, or None when it was never started."""
        found = storage.get_json(object_keys.job_key(job_id))
        return cls.from_json(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """One shard of the input.

    Attributes:
        number: Its number, from 1.
        requests: Its request lines.
        bytes: Their size.
        skipped: The invalid lines between its requests.
        ids: Where the ids of its requests stand.
    """

    number: int
    requests: int
    bytes: int
    skipped: int
    ids: IdsPlace = field(default_factory=IdsPlace)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What the preparation found and decided; the job's plan from then on.

    Attributes:
        accepted: Whether anything is to be sent.
        failure: Why the input could not be read, as code and sentence; None when it could.
        options: The options in force.
        input_bytes: Size of the input object in bytes.
        lines: Physical lines of the input.
        total: Lines that are not blank.
        good: Lines that passed the checks.
        invalid: Lines that did not.
        shards: The shards that the input was cut into.
        has_canary: Whether the first shard is sent alone at first.
        verdict: What was decided about it; None before that, and without a canary. It is an object
            of its own in the bucket.
        problems: The first problems found.
        problems_total: How many there are.
        estimated_cost_usd: Cost estimate in USD; None when a model's price is not known.
        prices: The prices that hold for the job; None in records of an older version, and where
            the input was not read.
        prepared_at: When the plan was made.
        deadline_at: When no batch is waited for any more, in seconds since 1970; None without a
            deadline.
    """

    accepted: bool
    options: JobOptions
    failure: dict[str, str] | None = None
    input_bytes: int = 0
    lines: int = 0
    total: int = 0
    good: int = 0
    invalid: int = 0
    shards: tuple[ShardRecord, ...] = ()
    has_canary: bool = False
    verdict: CanaryVerdict | None = None
    problems: tuple[Problem, ...] = ()
    problems_total: int = 0
    estimated_cost_usd: float | None = None
    prices: Prices | None = None
    prepared_at: str = ""
    deadline_at: float | None = None

    def is_past_deadline(self, now: float) -> bool:
        """Tell whether the job's deadline has passed."""
        return self.deadline_at is not None and now >= self.deadline_at

    @property
    def highest_shard(self) -> int:
        """The highest number of a shard that the input was cut into."""
        return max((shard.number for shard in self.shards), default=0)

    @property
    def awaits_verdict(self) -> bool:
        """Whether the job has a canary about which nothing was decided yet."""
        return self.has_canary and self.verdict is None

    def first_attempt_of(self, origin: int) -> int | None:
        """Return the attempt in which an origin shard comes for the first time.

        None behind a canary that was not judged yet.
        """
        if not self.has_canary or origin == CANARY_SHARD:
            return 1
        return self.verdict.rest_attempt if self.verdict is not None else None

    def last_attempt_of(self, origin: int) -> int:
        """Return the last attempt in which the requests of an origin shard may be sent.

        Raises:
            ValueError: The origin shard stands behind a canary that was not judged yet.
        """
        first = self.first_attempt_of(origin)
        if first is None:
            raise ValueError(f"Shard {origin} waits for what becomes of the canary")
        return first + self.options.max_attempts - 1

    @property
    def last_attempt(self) -> int:
        """The last attempt that what has begun may need: of a canary only, before it is judged."""
        begins = self.verdict.rest_attempt if self.verdict is not None else 1
        return begins + self.options.max_attempts - 1

    def attempts_needed(self, attempt: int) -> int:
        """Return how many attempts the job may need in all, as far as an attempt can tell.

        A canary that was not judged yet may be by the end of the attempt, and the rest begins then.
        """
        if self.awaits_verdict:
            return attempt + self.options.max_attempts
        return self.last_attempt

    def may_send(self, origin: int, attempt: int) -> bool:
        """Tell whether the requests of an origin shard may be sent in an attempt.

        Behind a canary nothing is, unless it has passed.
        """
        if not self.has_begun(origin, attempt):
            return False
        if not self.has_canary or origin == CANARY_SHARD:
            return True
        return self.verdict is not None and self.verdict.passed is True

    def has_begun(self, origin: int, attempt: int) -> bool:
        """Tell whether an origin shard has come in an attempt, or before it."""
        first = self.first_attempt_of(origin)
        return first is not None and first <= attempt

    def sending(self, origin: int, attempt: int) -> int:
        """Return an attempt as an origin shard counts: from 1, which is its first one."""
        return attempt - (self.first_attempt_of(origin) or attempt) + 1

    def attempt_of_lines(self, origin: int) -> int:
        """Return the attempt whose prefix holds an origin shard's request lines at first.

        Those behind a canary are where the second attempt looks for them: unless the canary has to
        be sent alone again, it is theirs.
        """
        return 2 if self.has_canary and origin != CANARY_SHARD else 1

    def origin(self, number: int) -> ShardRecord:
        """Return an origin shard.

        Raises:
            ValueError: There is none of this number.
        """
        for shard in self.shards:
            if shard.number == number:
                return shard
        raise ValueError(f"The job's input has no shard {number}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {
            "schema_version": 1,
            "accepted": self.accepted,
            "failure": self.failure,
            "options": self.options.to_json(),
            "input_bytes": self.input_bytes,
            "lines": self.lines,
            "total": self.total,
            "good": self.good,
            "invalid": self.invalid,
            "shards": [[s.number, s.requests, s.bytes, s.skipped] for s in self.shards],
            "ids": [[s.ids.part, s.ids.first, s.ids.size] for s in self.shards],
            "has_canary": self.has_canary,
            "problems": [problem_json(problem) for problem in self.problems],
            "problems_total": self.problems_total,
            "estimated_cost_usd": self.estimated_cost_usd,
            "prices": self.prices.to_json() if self.prices is not None else None,
            "prepared_at": self.prepared_at,
            "deadline_at": self.deadline_at,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data."""
        return cls(
            accepted=data["accepted"],
            failure=data["failure"],
            options=JobOptions.from_json(data["options"]),
            input_bytes=data["input_bytes"],
            lines=data["lines"],
            total=data["total"],
            good=data["good"],
            invalid=data["invalid"],
            shards=tuple(
                ShardRecord(
                    number=number,
                    requests=requests,
                    bytes=size,
                    skipped=skipped,
                    ids=IdsPlace(*ids),
                )
                for (number, requests, size, skipped), ids in zip(
                    data["shards"],
                    # Jobs that were prepared before ids were kept have none.
                    data.get("ids") or [()] * len(data["shards"]),
                    strict=True,
                )
            ),
            has_canary=data.get("has_canary", False),
            problems=tuple(Problem(**problem) for problem in data["problems"]),
            problems_total=data["problems_total"],
            estimated_cost_usd=data["estimated_cost_usd"],
            prices=Prices.from_json(data["prices"]) if data.get("prices") else None,
            prepared_at=data["prepared_at"],
            deadline_at=data.get("deadline_at"),
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read a job's record, or None while the preparation has not ended."""
        found = storage.get_json(keys.job_record)
        job = cls.from_json(found[0]) if found else None
        if job is None or not job.has_canary:
            return job
        verdict = storage.get_json(keys.canary)
        return replace(job, verdict=CanaryVerdict.from_json(verdict[0])) if verdict else job

    def write_verdict(
        self, storage: Storage, keys: object_keys.WorkKeys, verdict: CanaryVerdict
    ) -> JobRecord:
        """Write down what was decided about the canary; the first decision stays.

        Returns:
            The record with the decision in force.
        """
        try:
            storage.put_json(keys.canary, verdict.to_json(), if_none_match=True)
        except ConflictError:
            return JobRecord.load(storage, keys) or self
        return replace(self, verdict=verdict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a job sends nothing any more, though it has not ended by itself.

    Attributes:
        status: What the report will say: ``cancelled``, ``failed``, or ``partial`` for a job that
            a rule of its own options has ended.
        code: One of the report's codes of such jobs.
        message: A sentence that says what to do.
        at: When it was decided.
    """

    status: str
    code: str
    message: str
    at: str

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read why a job was stopped, or None when it was not."""
        found = storage.get_json(keys.stopped)
        if found is None:
            return None
        data = found[0]
        return cls(status=data["status"], code=data["code"], message=data["message"], at=data["at"])

    def write(self, storage: Storage, keys: object_keys.WorkKeys) -> Stop:
        """Raise the fence; the first reason given stays. Returns the one in force."""
        try:
            storage.put_json(keys.stopped, asdict(self), if_none_match=True)
        except ConflictError:
            return Stop.load(storage, keys) or self
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountHold:
    """A fault of the account that a shard met; the next look at the batches decides what it means.

    Attributes:
        code: One of the report's codes.
        message: A sentence that says what to do.
        at: When it was met.
    """

    code: str
    message: str
    at: str

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the last one, or None when there is none that has not been decided about."""
        found = storage.get_json(keys.account_hold)
        return cls(**found[0]) if found else None

    def record(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Leave it for the next look; shards that are not under way are held back until then."""
        storage.put_json(keys.account_hold, asdict(self))
