"""The records of a job: what was asked, what was found in the input, why it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
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
        skipped: The bad lines of its region.
        ids: Where the ids of its requests stand.
    """

    number: int
    requests: int
    bytes: int
    skipped: int
    ids: IdsPlace = field(default_factory=IdsPlace)

    @property
    def first_attempt(self) -> int:
        """The attempt in which its requests are sent for the first time."""
        return 1


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
        shards: The shards of the first attempt.
        problems: The first problems found.
        problems_total: How many there are.
        estimated_cost_usd: Cost estimate in USD; None when a model's price is not known.
        prices: The prices that hold for the job; None in records of an older version, and where
            the input was not read.
        prepared_at: When the plan was made.
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
    problems: tuple[Problem, ...] = ()
    problems_total: int = 0
    estimated_cost_usd: float | None = None
    prices: Prices | None = None
    prepared_at: str = ""

    @property
    def highest_shard(self) -> int:
        """The highest number of a shard that the input was cut into."""
        return max((shard.number for shard in self.shards), default=0)

    @property
    def last_attempt(self) -> int:
        """The last attempt that the job may need."""
        begins = max((shard.first_attempt for shard in self.shards), default=1)
        return begins + self.options.max_attempts - 1

    def last_attempt_of(self, region: int) -> int:
        """Return the last attempt in which the requests of a region may be sent."""
        return self.region(region).first_attempt + self.options.max_attempts - 1

    def region(self, number: int) -> ShardRecord:
        """Return the shard that a region of the input was cut into.

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
            "problems": [problem_json(problem) for problem in self.problems],
            "problems_total": self.problems_total,
            "estimated_cost_usd": self.estimated_cost_usd,
            "prices": self.prices.to_json() if self.prices is not None else None,
            "prepared_at": self.prepared_at,
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
            problems=tuple(Problem(**problem) for problem in data["problems"]),
            problems_total=data["problems_total"],
            estimated_cost_usd=data["estimated_cost_usd"],
            prices=Prices.from_json(data["prices"]) if data.get("prices") else None,
            prepared_at=data["prepared_at"],
        )

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read a job's record, or None while the preparation has not ended."""
        found = storage.get_json(keys.job_record)
        return cls.from_json(found[0]) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why a job sends nothing any more, though it has not ended by itself.

    Attributes:
        status: What the report will say: ``cancelled`` or ``failed``.
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
class AccountRefusal:
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
        found = storage.get_json(keys.halt)
        return cls(**found[0]) if found else None

    def record(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Leave it for the next look; shards that are not under way are held back until then."""
        storage.put_json(keys.halt, asdict(self))
