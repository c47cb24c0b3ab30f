"""The records of a job: what was asked, what was found in the input, why it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from groq_batch import layout
from groq_batch.attempts import RefusedShard
from groq_batch.checks import Problem
from groq_batch.cost import ModelUsage, ModelUsages
from groq_batch.measures import Measures
from groq_batch.options import JobOptions
from groq_batch.prices import Prices
from groq_batch.split import IdsPlace
from groq_batch.storage import ConflictError, Storage

MAX_KEPT_PROBLEMS = 100
"""Problems that a job's record and its report hold; ``invalid/`` holds all."""


def timestamp(moment: datetime) -> str:
    """Write a time as it stands in records and reports: ISO 8601 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """Read a time written by ``timestamp``."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


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
        found = storage.get_json(layout.job_key(job_id))
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
    def load(cls, storage: Storage, keys: layout.WorkKeys) -> Self | None:
        """Read a job's record, or None while the preparation has not ended."""
        found = storage.get_json(keys.job_record)
        return cls.from_json(found[0]) if found else None


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as it stands in ``invalid/`` and in reports."""
    return {
        "line": problem.line,
        "custom_id": problem.custom_id,
        "code": problem.code,
        "message": problem.message,
    }


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
    def load(cls, storage: Storage, keys: layout.WorkKeys) -> Self | None:
        """Read why a job was stopped, or None when it was not."""
        found = storage.get_json(keys.stopped)
        if found is None:
            return None
        data = found[0]
        return cls(status=data["status"], code=data["code"], message=data["message"], at=data["at"])

    def write(self, storage: Storage, keys: layout.WorkKeys) -> Stop:
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
    def load(cls, storage: Storage, keys: layout.WorkKeys) -> Self | None:
        """Read the last one, or None when there is none that has not been decided about."""
        found = storage.get_json(keys.halt)
        return cls(**found[0]) if found else None

    def record(self, storage: Storage, keys: layout.WorkKeys) -> None:
        """Leave it for the next look; shards that are not under way are held back until then."""
        storage.put_json(keys.halt, asdict(self))


def is_closed(storage: Storage, keys: layout.WorkKeys) -> bool:
    """Tell whether a job's final report has been written."""
    return storage.exists(keys.closed)


@dataclass(slots=True)
class ShardSummary:
    """What was counted when the results of one shard attempt were stored.

    Attributes:
        attempt: The attempt.
        number: The shard; of shards that are parts of another, the region that they come from.
        sent: Requests of the attempt's batches; 0 when none was created.
        batch_succeeded: Requests among them that succeeded.
        batches: The same two of each shard that has a batch.
        refused: The shards whose batch was refused as a whole, and which are sent again.
        left_over: Request lines that go into the next attempt.
        succeeded: Requests of the shard with a success, after this attempt.
        failed: Good lines of the shard without one, after this attempt.
        usage: Tokens of this attempt's successes by model: prompt, completion, total.
        answers: What this attempt's successes used, by model.
        errors: The first rows without a success, after this attempt.
        file_ids: The batch's result files at Groq.
        results_bytes: Size of the stored results.
        failed_bytes: Size of the stored request lines without a success.
        anomalies: Rows of the API that belong to no request or came twice.
        measures: What this attempt's answers took, and why requests have no success after it.
    """

    attempt: int
    number: int
    sent: int = 0
    batch_succeeded: int = 0
    batches: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: dict[int, RefusedShard] = field(default_factory=dict)
    left_over: int = 0
    succeeded: int = 0
    failed: int = 0
    usage: dict[str, list[int]] = field(default_factory=dict)
    answers: ModelUsages = field(default_factory=ModelUsages)
    errors: list[dict[str, Any]] = field(default_factory=list)
    file_ids: list[str] = field(default_factory=list)
    results_bytes: int = 0
    failed_bytes: int = 0
    anomalies: int = 0
    measures: Measures = field(default_factory=Measures)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {**asdict(self), "measures": self.measures.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data.

        A job may run across deployments: fields that an older version did not write have their
        defaults, and those that a newer one has added are passed over.
        """
        known = {name: value for name, value in data.items() if name in cls.__dataclass_fields__}
        measures = Measures.from_json(known.pop("measures", {}))
        answers = ModelUsages(
            {name: ModelUsage.from_json(used) for name, used in known.pop("answers", {}).items()}
        )
        batches = known.pop("batches", {}).items()
        refused = known.pop("refused", {}).items()
        return cls(
            **known,
            measures=measures,
            answers=answers,
            batches={int(shard): (sent, succeeded) for shard, (sent, succeeded) in batches},
            refused={int(shard): RefusedShard(**one) for shard, one in refused},
        )

    def counts_of(self, shard: int) -> tuple[int, int]:
        """Return how many requests of a shard's batch there were, and how many succeeded."""
        if not self.batches:
            # An older version knew no parts, and counted for the only shard that there was.
            return self.sent, self.batch_succeeded
        return self.batches.get(shard, (0, 0))

    @property
    def used(self) -> ModelUsages:
        """What this attempt's successes used, by model; of an older summary as far as it tells."""
        if self.answers:
            return self.answers
        usage = self.usage.items()
        return ModelUsages({model: ModelUsage(0, used[0], used[1]) for model, used in usage})
