"""Records of a job: what it was started for, what was found in its input, why it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import msgspec

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.canary import CANARY_SHARD, CanaryVerdict
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.prices import Prices
from groq_batch.domain.problem import Problem
from groq_batch.domain.reason import Reason
from groq_batch.domain.shard import IdsLocation, Shard
from groq_batch.records import stored


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job was started for; stored permanently at ``jobs/<job_id>``.

    Attributes:
        job_id: The job's name.
        bucket: The bucket of the input.
        key: The input's key.
        version_id: The version to read; None in a bucket without versions.
        etag: Where there is no version, the ETag of the object to read, without quotation marks;
            empty if unknown or not needed.
        path: The ``<path>`` that the deliverables mirror.
        started_at: When the job was started; orders the runs of the same upload.
        claimed_by: The invocation that started it.
        input_bytes: Size of the input object in bytes, for the report of a job that ends before its
            input is read; 0 if unknown, as in records of earlier versions.
    """

    job_id: str
    bucket: str
    key: str
    version_id: str | None = None
    etag: str = ""
    path: str
    started_at: str
    claimed_by: str = ""
    input_bytes: int = 0

    @classmethod
    def required(cls, storage: Storage, job_id: str) -> Self:
        """Read the request of a job.

        Raises:
            MissingRecordError: There is no such job.
        """
        request = cls.load(storage, job_id)
        if request is None:
            key = object_keys.job_key(job_id)
            raise stored.MissingRecordError(f"There is no job {job_id}: {key} does not exist")
        return request

    @property
    def report_paths(self) -> list[str]:
        """The paths under which the job's report may be, in the order in which to look for it."""
        return [self.path, object_keys.superseded_path(self.job_id, self.path), self.job_id]

    def execution_input(self) -> dict[str, Any]:
        """Return the input of the job's execution.

        It is equal for equal jobs, so Step Functions accepts a second start of the same job.
        """
        return {"mode": "run", "job_id": self.job_id, "bucket": self.bucket}

    @classmethod
    def load(cls, storage: Storage, job_id: str) -> Self | None:
        """Read the request of a job, or None when it was never started."""
        return stored.load(storage, object_keys.job_key(job_id), cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What the preparation found and decided; the plan of the job.

    Attributes:
        accepted: Whether anything is to be sent.
        failure: Why the input could not be read, as code and message; None if it could.
        options: The job's effective options.
        input_bytes: Size of the input object in bytes.
        lines: Physical lines of the input.
        total: Lines that are not blank.
        good: Lines that passed the checks.
        invalid: Lines that did not.
        shards: The shards that the input was cut into.
        has_canary: Whether the first shard is sent alone first.
        verdict: The verdict about the canary; None before that, and without a canary. It is stored
            as a separate object.
        problems: The first problems found.
        problems_total: Number of problems.
        estimated_cost_usd: Cost estimate in USD; None if a model's price is unknown.
        prices: The job's prices; None in records of an older version, and if the input was not
            read.
        prepared_at: When the plan was made.
        deadline_at: When the job stops waiting for batches, in seconds since 1970; None without a
            deadline.
    """

    accepted: bool
    failure: Reason | None = None
    options: JobOptions
    input_bytes: int = 0
    lines: int = 0
    total: int = 0
    good: int = 0
    invalid: int = 0
    shards: tuple[Shard, ...] = ()
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
        """The highest number of a shard of the input."""
        return max((shard.number for shard in self.shards), default=0)

    @property
    def awaits_verdict(self) -> bool:
        """Whether the job has a canary without a verdict."""
        return self.has_canary and self.verdict is None

    def first_attempt_of(self, origin: int) -> int | None:
        """Return the first attempt of an origin shard.

        None if it follows a canary that is not judged yet.
        """
        if not self.has_canary or origin == CANARY_SHARD:
            return 1
        return self.verdict.rest_attempt if self.verdict is not None else None

    def last_attempt_of(self, origin: int) -> int:
        """Return the last attempt in which the requests of an origin shard may be sent.

        Raises:
            ValueError: The origin shard follows a canary that is not judged yet.
        """
        first = self.first_attempt_of(origin)
        if first is None:
            raise ValueError(f"Shard {origin} waits for what becomes of the canary")
        return first + self.options.max_attempts - 1

    @property
    def last_attempt(self) -> int:
        """The last attempt that the begun shards may need (only the canary before its verdict)."""
        begins = self.verdict.rest_attempt if self.verdict is not None else 1
        return begins + self.options.max_attempts - 1

    def attempts_needed(self, attempt: int) -> int:
        """Return how many attempts the job may need in total, as known in a given attempt.

        A canary without a verdict may get one at the end of the attempt; the rest begins then.
        """
        if self.awaits_verdict:
            return attempt + self.options.max_attempts
        return self.last_attempt

    def may_send(self, origin: int, attempt: int) -> bool:
        """Tell whether the requests of an origin shard may be sent in an attempt.

        Shards after a canary may be sent only if it has passed.
        """
        if not self.has_begun(origin, attempt):
            return False
        if not self.has_canary or origin == CANARY_SHARD:
            return True
        return self.verdict is not None and self.verdict.passed is True

    def has_begun(self, origin: int, attempt: int) -> bool:
        """Tell whether an origin shard is part of an attempt or an earlier one."""
        first = self.first_attempt_of(origin)
        return first is not None and first <= attempt

    def own_attempt(self, origin: int, attempt: int) -> int:
        """Return an attempt's number counted from an origin shard's first attempt, from 1."""
        return attempt - (self.first_attempt_of(origin) or attempt) + 1

    def attempt_of_request_lines(self, origin: int) -> int:
        """Return the attempt under whose prefix an origin shard's request lines are written.

        Shards after a canary are written to the second attempt, where they are sent unless the
        canary has to be sent alone again.
        """
        return 2 if self.has_canary and origin != CANARY_SHARD else 1

    def origin(self, number: int) -> Shard:
        """Return an origin shard.

        Raises:
            ValueError: There is no origin shard with this number.
        """
        for shard in self.shards:
            if shard.number == number:
                return shard
        raise ValueError(f"The job's input has no shard {number}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data, with rows of numbers for the shards and for their ids."""
        data = stored.to_record(self)
        del data["verdict"]
        ids = [list(shard.pop("ids").values()) for shard in data["shards"]]
        return {**data, "shards": [list(shard.values()) for shard in data["shards"]], "ids": ids}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data.

        Raises:
            NewerRecordError: A later version of the stack has written them in another form.
        """
        # Jobs prepared before ids were stored have none.
        ids = data.get("ids") or [()] * len(data["shards"])
        shards = tuple(
            Shard(number, requests, size, skipped, IdsLocation(*place))
            for (number, requests, size, skipped), place in zip(data["shards"], ids, strict=True)
        )
        return replace(stored.from_record({**data, "shards": ()}, cls), shards=shards)

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Load a job's record; None while the preparation has not ended."""
        found = storage.get_json(keys.job_record)
        job = cls.from_json(found.value) if found else None
        if job is None or not job.has_canary:
            return job
        return replace(job, verdict=stored.load(storage, keys.canary, CanaryVerdict))

    @classmethod
    def required(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self:
        """Load the record of a job whose preparation has ended.

        Raises:
            MissingRecordError: It has not, or the job's working files are gone.
        """
        job = cls.load(storage, keys)
        if job is None:
            raise stored.MissingRecordError(f"The job {keys.job} has no record")
        return job

    def write_verdict(
        self, storage: Storage, keys: object_keys.WorkKeys, verdict: CanaryVerdict
    ) -> JobRecord:
        """Write the verdict about the canary unless one is stored.

        Returns:
            The record with the stored verdict.
        """
        return replace(self, verdict=stored.put_once(storage, keys.canary, verdict))


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Why a job that has not ended by itself sends nothing any more.

    Attributes:
        status: Status for the report: ``cancelled``, ``failed``, or ``partial`` if a rule of the
            job's own options has ended it.
        code: The report's error code.
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
        return stored.load(storage, keys.stopped, cls)

    @classmethod
    def failed(cls, reason: Reason, *, at: str) -> Self:
        """Return the stop of a job that a failure ends."""
        code = reason.code or ErrorCode.INTERNAL_ERROR
        return cls(status="failed", code=code, message=reason.message or "", at=at)

    def write(self, storage: Storage, keys: object_keys.WorkKeys) -> Stop:
        """Write the stop marker unless one is stored; return the stored one."""
        return stored.put_once(storage, keys.stopped, self)


class AccountHold(msgspec.Struct, frozen=True, kw_only=True):
    """An account error that a shard met; the next status check decides how to handle it.

    Attributes:
        code: The report's error code.
        message: A sentence that says what to do.
        at: When it was met.
    """

    code: str
    message: str
    at: str

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the last one, or None when there is none that has not been decided about."""
        return stored.load(storage, keys.account_hold, cls)

    def record(self, storage: Storage, keys: object_keys.WorkKeys) -> None:
        """Store it for the next status check; until then no further shard begins to be sent."""
        storage.put_json(keys.account_hold, stored.to_record(self))
