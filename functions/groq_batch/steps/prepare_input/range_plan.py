"""Plan the preparation of a large input: its ranges, its tasks and their outcomes.

A file that is too large for one invocation is prepared in three phases, each a Distributed Map:

- ``scan``, a task for each byte range: check and count its lines, and record the ids.
- ``match``, a task for each partition of the ids: find ids that are used more than once.
- ``cut``, a task for one range or several adjacent ones: check the lines again, now that their
  numbers and duplicate ids are known, and write shards and problems.

Any invocation may do a task, and a task may be done more than once: its outcome depends only on the
input and the plan, and the first outcome that is stored counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import SplitLimits
from groq_batch.records import stored
from groq_batch.request_file.byte_ranges import ByteRange, divide
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.request_rules import FIRST_CHECKS

SCAN = "scan"
MATCH = "match"
CUT = "cut"
UNREADABLE = "unreadable"
"""The only field of an outcome if the input could not be read. Its value is the reason: ``gone``
or ``refused``."""
RANGES_OF_ONE_INVOCATION = 2
"""Most ranges of a file that one invocation prepares alone, which reads the file only once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RangePlan:
    """Settings that all tasks of a preparation share, even if the stack is updated meanwhile.

    Attributes:
        size: Size of the input in bytes.
        range_bytes: Size of a range in bytes.
        limits: The limits of shards and lines.
        options: The options in force.
        option_problems: Problems of the options; if there are any, lines are only checked.
        digest_key: Key of the digests of ids, as hexadecimal digits.
        checks: Which checks lines must pass, see ``LineChecker``; a plan of an older version does
            not say it.
    """

    size: int
    range_bytes: int
    limits: SplitLimits
    options: JobOptions
    option_problems: tuple[Problem, ...]
    digest_key: str
    checks: int = FIRST_CHECKS

    @property
    def ranges(self) -> list[ByteRange]:
        """The ranges in order."""
        return divide(self.size, self.range_bytes)

    @property
    def partitions(self) -> int:
        """Number of partitions of the ids: one per range, so each has about one range's ids."""
        return len(self.ranges)

    @classmethod
    def load(cls, storage: Storage, keys: object_keys.WorkKeys) -> Self | None:
        """Read the stored plan, or None if there is none."""
        return stored.load(storage, keys.division, cls)

    def propose(self, storage: Storage, keys: object_keys.WorkKeys) -> RangePlan:
        """Store the plan unless there is one; return the stored plan."""
        return stored.put_once(storage, keys.division, self)


@dataclass(frozen=True, slots=True)
class PendingTasks:
    """Tasks that have to be done before the preparation can go on.

    Attributes:
        prefix: Prefix of their keys.
    """

    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOutcome:
    """Outcome of the scan of a range.

    Attributes:
        lines: Number of its physical lines.
        good: Lines that pass all checks except the one for duplicate ids.
        invalid: Lines that do not.
        shards: Most shards that its valid lines can make.
        uses: Number of ids recorded in each partition.
    """

    lines: int
    good: int
    invalid: int
    shards: int
    uses: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOutcome:
    """Outcome of the matching of a partition of the ids.

    Attributes:
        repeats: Indexes of the ranges with lines that repeat an id, in order, and the number of
            these lines.
    """

    repeats: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTask:
    """Adjacent ranges for one invocation to split into shards.

    Attributes:
        number: Number of the task, from 1.
        first: Index of its first range, from 0.
        last: Index of its last range.
        first_shard: Number of its first shard.
        most_shards: Most shards that it may make.
        writes_shards: Whether it writes shards and problems, or only problems.
        canary: Most requests of the file's first shard, which is sent alone; 0 without a canary.
    """

    number: int
    first: int
    last: int
    first_shard: int
    most_shards: int
    writes_shards: bool
    canary: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOutcome:
    """Outcome of a cut task.

    Attributes:
        summary: Totals of its lines.
        shards: Pending uploads of its shards and of the ids of their requests.
        problems: Pending upload of its problems, if it has any.
    """

    summary: InputSummary
    shards: tuple[PendingUpload, ...]
    problems: PendingUpload | None

    @property
    def uploads(self) -> tuple[PendingUpload, ...]:
        """All pending uploads."""
        return (*self.shards, self.problems) if self.problems else self.shards


def plan_cuts(
    scans: list[ScanOutcome], repeats: list[int], *, writes_shards: bool, canary: int = 0
) -> list[CutTask]:
    """Group ranges into cut tasks, and assign shard numbers to them.

    Every shard has a valid line, so that every task must have one. A range without a valid line
    is therefore in the task of its neighbor, whose shards get its invalid lines. A canary is never
    spread over several tasks. If there are duplicate ids, the number of valid lines is known only
    after the cut: a file that may have too few of them for a canary gets a single task.

    Args:
        scans: Outcomes of the scans, in order of the ranges.
        repeats: Number of lines that repeat an id, by range.
        writes_shards: Whether shards are written at all.
        canary: Most requests of a canary; 0 without a canary.
    """
    if sum(scan.good for scan in scans) <= canary or not writes_shards:
        canary = 0
    # A line that repeats an id may fail another check too; then ``good`` does not include it.
    least_good = [max(scan.good - count, 0) for scan, count in zip(scans, repeats, strict=True)]
    has_canary = sum(least_good) > canary > 0
    waits_for_canary = canary > 0
    groups: list[list[int]] = []
    leading: list[int] = []
    for place, (scan, repeated) in enumerate(zip(scans, repeats, strict=True)):
        if waits_for_canary:
            leading.append(place)
            fills_a_batch = scan.shards > 1 and not any(repeats[: place + 1])
            if sum(least_good[: place + 1]) > canary or (has_canary and fills_a_batch):
                groups.append(leading)
                leading, waits_for_canary = [], False
        elif not writes_shards or scan.good > repeated:
            groups.append([*leading, place])
            leading = []
        elif groups:
            groups[-1].append(place)
        else:
            leading.append(place)
    if leading:
        groups.append(leading)
    tasks: list[CutTask] = []
    first_shard = 1
    for number, group in enumerate(groups, start=1):
        most_shards = max(1, sum(scans[place].shards for place in group))
        if canary and number == 1:
            most_shards += 1
        tasks.append(
            CutTask(
                number=number,
                first=group[0],
                last=group[-1],
                first_shard=first_shard,
                most_shards=most_shards,
                writes_shards=writes_shards,
                canary=canary,
            )
        )
        first_shard += most_shards
    return tasks
