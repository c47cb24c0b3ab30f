"""Define the keys of all objects in the bucket.

No other module builds a key. Event patterns and IAM statements of ``template.yaml`` use the same
prefixes; a test compares them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from groq_batch.domain.job_id import MAX_JOB_ID_LENGTH

URI_SCHEME = "s3://"
INPUT_PREFIX = "input/"
RECURRING_PREFIX = "recurring/"
OUTPUT_PREFIX = "output/"
FAILED_PREFIX = "failed/"
INVALID_PREFIX = "invalid/"
REPORTS_PREFIX = "reports/"
JOBS_PREFIX = "jobs/"
USAGE_PREFIX = "usage/"
WORK_PREFIX = "work/"
OPEN_JOBS_PREFIX = "work/open/"
SWEEP_KEY = "work/swept.json"
"""Progress of the sweep of ``input/``. Losing it costs time, but no upload."""
RECONCILER_KEY = "work/reconciled.json"
"""Where the reconciler ran out of time; the next run continues there."""
USAGE_SUMS_KEY = "work/usage.json"
"""Totals of the usage records of the last days. Losing it costs time, but no record."""
INDEX_KEY = "reports/index.html"
"""The overview page of all jobs."""
PLAIN_ENDING = ".jsonl"
GZIP_ENDING = ".jsonl.gz"
RESERVED_FOLDERS = ("recurring/", "superseded/")
MAX_KEY_BYTES = 900
"""Longest accepted input key, in bytes of UTF-8. S3 allows 1,024; the rest is for prefixes that the
pipeline adds to a path (``output/superseded/<job_id>/``). See
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html."""


def is_job_id(name: str) -> bool:
    """Tell whether a name has the format of a job id; manual executions rarely have it."""
    return len(name) <= MAX_JOB_ID_LENGTH and _JOB_ID.fullmatch(name) is not None


_JOB_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?-[0-9a-f]{20}")


def format_fired_at(moment: datetime) -> str:
    """Format the time of a scheduled run for keys: ``YYYY-MM-DDTHH-MM-SSZ`` in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


def has_accepted_ending(key: str) -> bool:
    """Tell whether a key ends in ``.jsonl`` or ``.jsonl.gz`` after a non-empty name."""
    name = key.rsplit("/", 1)[-1]
    return name.removesuffix(".gz").removesuffix(PLAIN_ENDING) not in ("", name) and name.endswith(
        (PLAIN_ENDING, GZIP_ENDING)
    )


def split_uri(uri: str) -> tuple[str, str]:
    """Return the bucket and the key of an S3 URI ``s3://bucket/key``."""
    bucket, _, key = uri.removeprefix(URI_SCHEME).partition("/")
    return bucket, key


def is_folder_marker(key: str, size: int) -> bool:
    """Tell whether an object is the empty one that consoles create for a folder."""
    return key.endswith("/") and not size


def is_gzip(path: str) -> bool:
    """Tell whether a path's objects are compressed."""
    return path.endswith(".gz")


def input_path(key: str) -> str:
    """Return the ``<path>`` that ``output/``, ``failed/``, ``invalid/`` and ``reports/`` mirror."""
    return key.removeprefix(INPUT_PREFIX)


def folder(key: str) -> str:
    """Return the first folder of an input below ``input/`` or ``recurring/``; empty at the top."""
    _, _, inside = key.partition("/")
    name, is_below, _ = inside.partition("/")
    return name if is_below else ""


def recurring_path(key: str, fired_at: str) -> str:
    """Return the ``<path>`` of one scheduled run of ``recurring/<stem>.jsonl``."""
    ending = GZIP_ENDING if key.endswith(GZIP_ENDING) else PLAIN_ENDING
    return f"{key.removesuffix(ending)}/{fired_at}{ending}"


def superseded_path(job: str, path: str) -> str:
    """Return the ``<path>`` under which a superseded job delivers."""
    return f"superseded/{job}/{path}"


class DeliveryKeys(msgspec.Struct, frozen=True):
    """Keys of the objects that a job delivers.

    ``page`` is None for the one path whose page would have the key of the index of all jobs.
    """

    results: str
    failed: str
    invalid: str
    report: str
    page: str | None


def delivery_keys(path: str) -> DeliveryKeys:
    """Return the keys that mirror ``path``."""
    page = f"{REPORTS_PREFIX}{path}.html"
    return DeliveryKeys(
        results=OUTPUT_PREFIX + path,
        failed=FAILED_PREFIX + path,
        invalid=INVALID_PREFIX + path,
        report=f"{REPORTS_PREFIX}{path}.json",
        page=page if page != INDEX_KEY else None,
    )


def job_key(job: str) -> str:
    """Return the key of a job's permanent record."""
    return JOBS_PREFIX + job


def usage_day_prefix(day: str) -> str:
    """Return the prefix of the usage records of the jobs that ended on a UTC day (2026-11-29)."""
    return f"{USAGE_PREFIX}date={day}/"


def usage_key(day: str, job: str) -> str:
    """Return the key of the usage record of a job that ended on a UTC day."""
    return f"{usage_day_prefix(day)}{job}.json"


def job_of_usage_key(key: str) -> str:
    """Return the name of the job whose usage record has this key."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")


def open_job_key(job: str) -> str:
    """Return the key that exists while a job has no final report."""
    return OPEN_JOBS_PREFIX + job


def shard_name(number: int) -> str:
    """Return the name of a shard's objects, without extension."""
    return f"{number:05d}"


_SHARD_KEY = re.compile(r"/attempt-([0-9]+)/([0-9]{5,})\.jsonl$")


def shard_of_key(key: str) -> tuple[int, int]:
    """Return attempt and shard number of a shard's key.

    Raises:
        ValueError: The key is not a shard's. A Distributed Map passes every object below its
            prefix, so an unrelated object must not be taken for requests.
    """
    match = _SHARD_KEY.search(key)
    if match is None:
        raise ValueError(f"{key!r} is not the key of a shard (…/attempt-N/00001.jsonl)")
    return int(match[1]), int(match[2])


def attempt_of_calls(key: str) -> int:
    """Return the attempt of an object ``…/on-demand/attempt-N.json``."""
    return int(key.rsplit("attempt-", 1)[-1].removesuffix(".json"))


_TASK_KEY = re.compile(r"/ranges/([a-z]+)/tasks/([0-9]{5,})\.json$")


def task_of_key(key: str) -> tuple[str, int]:
    """Return phase and number of a preparation task of a large input.

    Raises:
        ValueError: The key is not a task's.
    """
    match = _TASK_KEY.search(key)
    if match is None:
        raise ValueError(f"{key!r} is not the key of a task (…/ranges/scan/tasks/00001.json)")
    return match[1], int(match[2])


def shard_number(key: str) -> int:
    """Return the number in the name of one of a shard's objects (``…/00001.json``)."""
    return int(key.rsplit("/", 1)[-1].split(".", 1)[0])


class WorkKeys(msgspec.Struct, frozen=True):
    """Keys of one job's private working files, below ``work/<job_id>/``."""

    job: str

    @property
    def prefix(self) -> str:
        """Prefix of all of them."""
        return f"{WORK_PREFIX}{self.job}/"

    @property
    def job_record(self) -> str:
        """The job's record; the last object that the preparation writes."""
        return f"{self.prefix}job.json"

    @property
    def plan(self) -> str:
        """The plan that cuts the input into shards; the first one is final."""
        return f"{self.prefix}plan.json"

    @property
    def models(self) -> str:
        """The account's models, or why they are unknown; the first outcome is final."""
        return f"{self.prefix}models.json"

    @property
    def canary(self) -> str:
        """The verdict about the canary; the first one is final."""
        return f"{self.prefix}canary.json"

    @property
    def stopped(self) -> str:
        """The stop marker: once it exists nothing is sent any more."""
        return f"{self.prefix}stopped.json"

    @property
    def account_hold(self) -> str:
        """An account error met while sending; holds back the other shards."""
        return f"{self.prefix}halt.json"

    @property
    def submitted(self) -> str:
        """Exists once a batch of this job has been created."""
        return f"{self.prefix}submitted"

    @property
    def end(self) -> str:
        """How the job ended; written before the final report."""
        return f"{self.prefix}end.json"

    @property
    def collector(self) -> str:
        """The number of the last collecting execution; written before its start."""
        return f"{self.prefix}collector.json"

    @property
    def closed(self) -> str:
        """Exists once the final report has been written; every later step does nothing."""
        return f"{self.prefix}closed"

    @property
    def invalid(self) -> str:
        """All problems of the input, in the format of ``invalid/<path>``."""
        return f"{self.prefix}invalid"

    def shards(self, attempt: int) -> str:
        """Prefix of the request lines of an attempt; contains only shards."""
        return f"{self.prefix}shards/attempt-{attempt}/"

    def shard(self, attempt: int, number: int) -> str:
        """The request lines of a shard attempt."""
        return f"{self.shards(attempt)}{shard_name(number)}.jsonl"

    def round_shards(self, attempt: int, check: int) -> str:
        """Prefix of the names of the shards that a Map collects if it does not collect all.

        The objects are empty: a Map can list the objects below a prefix, but takes no list of keys.
        They are not below ``shards/``, where every object holds request lines.

        Args:
            attempt: The attempt.
            check: The number of the status check that made the decision.
        """
        return f"{self.prefix}rounds/{check:05d}/attempt-{attempt}/"

    def round_shard(self, attempt: int, check: int, number: int) -> str:
        """Empty; names one of the shards for a Map that collects only some of the attempt's."""
        return f"{self.round_shards(attempt, check)}{shard_name(number)}.jsonl"

    @property
    def kept_shards(self) -> str:
        """Prefix of request lines without attempts left, kept in case a deadline passes."""
        return f"{self.prefix}kept/"

    def kept_shard(self, number: int) -> str:
        """Request lines of a shard without attempts left, kept in case a deadline passes."""
        return f"{self.kept_shards}{shard_name(number)}.jsonl"

    def custom_ids(self, part: int) -> str:
        """The request ids of a part of the input, for all its shards in order."""
        return f"{self.prefix}ids/{shard_name(part)}.jsonl"

    def skipped_index(self, number: int) -> str:
        """Positions and problems of the invalid lines of a shard."""
        return f"{self.prefix}skipped/{shard_name(number)}.jsonl"

    def skipped_raw(self, number: int) -> str:
        """The content of the invalid lines of a shard."""
        return f"{self.prefix}skipped/{shard_name(number)}.raw"

    def attempt_plan(self, attempt: int) -> str:
        """The plan of an attempt that follows refused batches."""
        return f"{self.prefix}attempts/attempt-{attempt}.json"

    def submissions(self, attempt: int) -> str:
        """Prefix of the records of an attempt's submissions."""
        return f"{self.prefix}submissions/attempt-{attempt}/"

    @property
    def all_submissions(self) -> str:
        """Prefix of the records of all attempts' submissions."""
        return f"{self.prefix}submissions/"

    def submission(self, attempt: int, number: int) -> str:
        """The record of a shard attempt's submission, with its lease."""
        return f"{self.submissions(attempt)}{shard_name(number)}.json"

    def batches(self, attempt: int) -> str:
        """The state of an attempt's batches, one object for all of them."""
        return f"{self.prefix}batches/attempt-{attempt}.json"

    def results(self, attempt: int, number: int) -> str:
        """A shard's result rows after an attempt, complete and in order."""
        return f"{self.prefix}results/attempt-{attempt}/{shard_name(number)}.jsonl"

    def failed(self, attempt: int, number: int) -> str:
        """A shard's request lines without a success after an attempt."""
        return f"{self.prefix}failed/attempt-{attempt}/{shard_name(number)}.jsonl"

    def summaries(self, attempt: int) -> str:
        """Prefix of the counts of an attempt's shards."""
        return f"{self.prefix}summaries/attempt-{attempt}/"

    def summary(self, attempt: int, number: int) -> str:
        """The counts of a shard attempt, written after its results."""
        return f"{self.summaries(attempt)}{shard_name(number)}.json"

    def on_demand(self, attempt: int) -> str:
        """The record of an attempt's ordinary calls; other attempts have none."""
        return f"{self.all_on_demand}attempt-{attempt}.json"

    @property
    def all_on_demand(self) -> str:
        """Prefix of the records of ordinary calls."""
        return f"{self.prefix}on-demand/"

    def on_demand_rows(self, attempt: int, number: int) -> str:
        """Prefix of the rows of ordinary calls for a shard's requests."""
        return f"{self.prefix}answers/attempt-{attempt}/{shard_name(number)}/"

    def on_demand_row(self, attempt: int, number: int, line: int) -> str:
        """Rows of ordinary calls that ended together; the first belongs to this line, from 1."""
        return f"{self.on_demand_rows(attempt, number)}{line:09d}.jsonl"

    @property
    def bulk(self) -> tuple[str, ...]:
        """Prefixes of everything that grows with the input: copied requests and answers, and ids.

        None of it is needed after everything has been delivered.
        """
        requests = ("shards", "rounds", "ids", "skipped", "ranges")
        answers = ("results", "failed", "kept", "answers")
        return tuple(f"{self.prefix}{name}/" for name in (*requests, *answers))

    # A large input is prepared by many invocations, each of which reads one byte range of it.

    @property
    def division(self) -> str:
        """The plan that divides a large input into ranges; the first one is final."""
        return f"{self.prefix}ranges/division.json"

    @property
    def first_lines(self) -> str:
        """The number of each range's first line in the file."""
        return f"{self.prefix}ranges/first-lines.json"

    def tasks(self, phase: str) -> str:
        """Prefix of the tasks of a preparation phase; contains only tasks."""
        return f"{self.prefix}ranges/{phase}/tasks/"

    def task(self, phase: str, number: int) -> str:
        """One task of a preparation phase."""
        return f"{self.tasks(phase)}{shard_name(number)}.json"

    def outcomes(self, phase: str) -> str:
        """Prefix of the outcomes of a phase's tasks."""
        return f"{self.prefix}ranges/{phase}/outcomes/"

    def outcome(self, phase: str, number: int) -> str:
        """The outcome of a task; the first one is final."""
        return f"{self.outcomes(phase)}{shard_name(number)}.json"

    def uses(self, number: int) -> str:
        """Records of the ids that a range uses, by partition."""
        return f"{self.prefix}ranges/scan/uses/{shard_name(number)}"

    def repeats(self, number: int) -> str:
        """Records of the lines that repeat an id of a partition, by range."""
        return f"{self.prefix}ranges/match/repeats/{shard_name(number)}"

    def problems(self, number: int) -> str:
        """The problems that a task found in its lines, in the format of ``invalid/<path>``."""
        return f"{self.prefix}ranges/cut/problems/{shard_name(number)}.jsonl"

    @property
    def map_results(self) -> str:
        """Prefix to which the Distributed Maps write their results."""
        return f"{self.prefix}maps/"


def groq_file_name(job: str, attempt: int, number: int) -> str:
    """Return the name of a shard attempt's file at Groq."""
    return f"{job}-{attempt}-{shard_name(number)}.jsonl"


def groq_file_prefix(job: str) -> str:
    """Return the prefix of the names of a job's files at Groq."""
    return f"{job}-"


def batch_metadata(job: str, attempt: int, number: int) -> dict[str, str]:
    """Return the metadata by which a shard attempt's batch is found again."""
    return {"job": job, "attempt": str(attempt), "shard": str(number)}
