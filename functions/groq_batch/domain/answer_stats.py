"""Summarize many rows: histograms of usage and duration, and counts by name.

They contain only counts, never text of a prompt or an answer. All can be merged, so that the shards
of a job are added up without reading a row again, and all are bounded, whatever the rows contain.
"""

from __future__ import annotations

from collections import Counter, UserDict
from collections.abc import Collection, Iterable
from typing import Self

import msgspec
from msgspec import field

STEPS_OF_AN_OCTAVE = 8
"""Buckets between a number and its double: a value is known to an eighth of itself, or better."""
LARGEST_VALUE = 2**40 - 1
"""Larger values are counted as this one; no answer has as many tokens or milliseconds."""
MAX_NAMES = 20
MAX_NAME_CHARACTERS = 60
OTHER_NAMES = "(others)"
"""Catch-all once the maximum number of names is tracked."""
MAX_EXAMPLES = 5
_MAX_MESSAGE_CHARACTERS = 300
_SHIFT = STEPS_OF_AN_OCTAVE.bit_length() - 1


def bucket_of(value: int) -> int:
    """Return the bucket of a whole number from 0; numbers below 16 have one bucket each."""
    if value < STEPS_OF_AN_OCTAVE:
        return value
    excess = value.bit_length() - 1 - _SHIFT
    return (excess << _SHIFT) + (value >> excess)


def bucket_start(bucket: int) -> int:
    """Return the smallest value of a bucket."""
    if bucket < STEPS_OF_AN_OCTAVE:
        return bucket
    excess = (bucket >> _SHIFT) - 1
    return (STEPS_OF_AN_OCTAVE + (bucket & (STEPS_OF_AN_OCTAVE - 1))) << excess


class Buckets(UserDict[int, int]):
    """Counts by bucket, stored as a sorted list of pairs."""

    def to_json(self) -> list[tuple[int, int]]:
        """Return the pairs as JSON data."""
        return sorted(self.items())

    @classmethod
    def from_json(cls, data: Iterable[tuple[int, int]]) -> Self:
        """Read the pairs from JSON data."""
        return cls(dict(data))


class Histogram(msgspec.Struct):
    """Counts of values, grouped by similar size.

    Attributes:
        buckets: Counts by bucket; empty buckets are left out.
        total: Sum of the values.
        least: The smallest value; None if there is none.
        most: The largest value; None if there is none.
    """

    buckets: Buckets = field(default_factory=Buckets)
    total: int = 0
    least: int | None = None
    most: int | None = None

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.buckets.values())

    @property
    def mean(self) -> float | None:
        """Mean of the values; None if there is none."""
        count = self.count
        return self.total / count if count else None

    def add_all(self, values: Collection[int]) -> None:
        """Add whole numbers from 0."""
        if not values:
            return
        if max(values) > LARGEST_VALUE:
            values = [min(value, LARGEST_VALUE) for value in values]
        least, most = min(values), max(values)
        self.merge(Histogram(Buckets(Counter(map(bucket_of, values))), sum(values), least, most))

    def merge(self, other: Histogram) -> None:
        """Add the values of another histogram."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.total += other.total
        self.least = min((x for x in (self.least, other.least) if x is not None), default=None)
        self.most = max((x for x in (self.most, other.most) if x is not None), default=None)

    def quantile(self, share: float) -> float | None:
        """Return approximately the value that a share (0 to 1) of the values does not exceed."""
        count = self.count
        if not count or self.least is None or self.most is None:
            return None
        wanted, seen = share * count, 0
        for bucket, number in sorted(self.buckets.items()):
            if seen + number >= wanted:
                start, end = bucket_start(bucket), bucket_start(bucket + 1) - 1
                inside = start + (end - start) * max(wanted - seen, 0.0) / number
                return min(max(inside, self.least), self.most)
            seen += number
        return float(self.most)


def count_name(counts: dict[str, int], name: str, by: int = 1) -> None:
    """Count a user-supplied name; long names, and names beyond the limit, count as one."""
    name = name[:MAX_NAME_CHARACTERS]
    if name not in counts and len(counts) >= MAX_NAMES:
        name = OTHER_NAMES
    counts[name] = counts.get(name, 0) + by


class FailureGroup(msgspec.Struct):
    """The requests without a success that have the same code.

    Attributes:
        count: Number of requests.
        lines: Input line numbers of the first ones, where known.
        message: Message of the first one, truncated.
    """

    count: int = 0
    lines: list[int] = field(default_factory=list)
    message: str | None = None


class Failures(dict[str, FailureGroup]):
    """The requests without a success, by their code."""

    def add(self, code: str | None, line: int | None, message: str | None) -> None:
        """Count one request."""
        self._add(code or "unknown", 1, [] if line is None else [line], message)

    def merge(self, other: Failures) -> None:
        """Add the counts of another instance."""
        for code, group in other.items():
            self._add(code, group.count, group.lines, group.message)

    def _add(self, code: str, count: int, lines: Iterable[int], message: str | None) -> None:
        code = code[:MAX_NAME_CHARACTERS]
        if code not in self and len(self) >= MAX_NAMES:
            code = OTHER_NAMES
        group = self.setdefault(code, FailureGroup())
        group.count += count
        group.lines.extend(lines)
        del group.lines[MAX_EXAMPLES:]
        if group.message is None and message and code != OTHER_NAMES:
            group.message = message[:_MAX_MESSAGE_CHARACTERS]


class AnswerStats(msgspec.Struct):
    """Statistics of the rows of a shard attempt, or of a whole job.

    Attributes:
        prompt_tokens: Prompt tokens of answered requests.
        completion_tokens: Tokens of their answers.
        milliseconds: Processing time of each answer as reported by the API, without queueing.
        finish_reasons: The API's finish reasons.
        failures: The requests without a success.
    """

    prompt_tokens: Histogram = field(default_factory=Histogram)
    completion_tokens: Histogram = field(default_factory=Histogram)
    milliseconds: Histogram = field(default_factory=Histogram)
    finish_reasons: dict[str, int] = field(default_factory=dict)
    failures: Failures = field(default_factory=Failures)

    def add_answers_of(self, other: AnswerStats) -> None:
        """Add the answers of another instance, without its failures."""
        self.prompt_tokens.merge(other.prompt_tokens)
        self.completion_tokens.merge(other.completion_tokens)
        self.milliseconds.merge(other.milliseconds)
        for name, count in other.finish_reasons.items():
            count_name(self.finish_reasons, name, count)
