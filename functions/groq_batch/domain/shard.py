"""A shard: some of the input's requests, sent as one batch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SplitLimits:
    """Limits of a shard and of a line.

    Attributes:
        max_requests: Most request lines of a shard.
        max_bytes: Most bytes of a shard, line ends included.
        max_line_bytes: Longest request line, in bytes without its line end. A line that with its
            line end is larger than ``max_bytes`` is too long as well.
    """

    max_requests: int
    max_bytes: int
    max_line_bytes: int


@dataclass(slots=True)
class IdsPlace:
    """Where the ids of a shard's requests stand: the part of the file, and the bytes of its ids.

    Attributes:
        part: The part of the file, from 1; 0 when they were not kept.
        first: Offset of the first byte.
        size: How many bytes there are.
    """

    part: int = 0
    first: int = 0
    size: int = 0


@dataclass(slots=True)
class Shard:
    """A shard.

    Attributes:
        number: Its number, from 1.
        requests: Its request lines.
        bytes: Their size, line ends included.
        skipped: The invalid lines between its requests.
        ids: Where the ids of its requests stand.
    """

    number: int
    requests: int = 0
    bytes: int = 0
    skipped: int = 0
    ids: IdsPlace = field(default_factory=IdsPlace)
