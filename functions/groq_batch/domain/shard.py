"""A shard: some of the input's requests, sent as one batch."""

from __future__ import annotations

import msgspec
from msgspec import field


class SplitLimits(msgspec.Struct, frozen=True):
    """Limits of a shard and of a line.

    Attributes:
        max_requests: Maximum number of request lines in a shard.
        max_bytes: Maximum size of a shard in bytes, including line ends.
        max_line_bytes: Maximum length of a request line, in bytes without its line end. A line that
            with its line end exceeds ``max_bytes`` is too long as well.
    """

    max_requests: int
    max_bytes: int
    max_line_bytes: int


class IdsLocation(msgspec.Struct):
    """Location of the ids of a shard's requests: the part of the file, and the bytes of its ids.

    A job's record stores its fields in this order.

    Attributes:
        part: The part of the file, from 1; 0 if they were not stored.
        first: Offset of the first byte.
        size: Number of bytes.
    """

    part: int = 0
    first: int = 0
    size: int = 0


class Shard(msgspec.Struct):
    """The requests, size and skipped lines of a shard.

    A job's record stores its fields in this order.

    Attributes:
        number: Its number, from 1.
        requests: Number of its request lines.
        bytes: Size of these lines in bytes, including line ends.
        skipped: The invalid lines between its requests.
        ids: Location of the ids of its requests.
    """

    number: int
    requests: int = 0
    bytes: int = 0
    skipped: int = 0
    ids: IdsLocation = field(default_factory=IdsLocation)
