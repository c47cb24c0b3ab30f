"""Find duplicate ids in a file that many functions read.

The reader of each range records the ids of its lines as short digests, in partitions: equal ids are
in the same partition, whichever range they are in. Matching one partition then finds all uses of
its ids in the whole file, and lists for each range the lines that repeat an earlier id.

A digest has 96 bits: among a billion different ids two have the same digest in one of a hundred
billion files.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence

from groq_batch.request_file.seen_ids import DuplicateFinder

_DIGEST_BYTES = 12
_USE = struct.Struct(f">{_DIGEST_BYTES}sI")
_SORTED_USE = struct.Struct(f">{_DIGEST_BYTES}sII")
_REPEAT = struct.Struct(">III")
USE_BYTES = _USE.size
"""Size of the record of one use of an id: digest, line within its range."""
REPEAT_BYTES = _REPEAT.size
"""Size of the record of one repeated use: line in its range, range and line of the first use."""


class IdRecorder(DuplicateFinder):
    """Records the ids of one range, and reports none as duplicate."""

    def __init__(self, *, key: bytes, partitions: int) -> None:
        """Record into ``partitions`` partitions; all ranges of a file use the same ``key``."""
        self._digest = hashlib.blake2b(key=key, digest_size=_DIGEST_BYTES)
        self.partitions = [bytearray() for _ in range(partitions)]

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Record the ids of lines of the range."""
        partitions, count = self.partitions, len(self.partitions)
        for number, custom_id in enumerate(custom_ids, start=line):
            digest = self._digest.copy()
            digest.update(custom_id.encode())
            value = digest.digest()
            partitions[int.from_bytes(value[:4]) % count] += _USE.pack(value, number)
        return []


def find_repeats(uses: Iterable[bytes]) -> dict[int, bytes]:
    """Find the ids of one partition that are used more than once.

    Args:
        uses: The partition's records of each range, in order of the ranges.

    Returns:
        The records of the lines that repeat an id, by index of the range; ranges without such
        lines are left out.
    """
    ordered = [
        _SORTED_USE.pack(digest, place, line)
        for place, records in enumerate(uses)
        for digest, line in _USE.iter_unpack(records)
    ]
    ordered.sort()
    repeats: dict[int, bytearray] = {}
    first_digest, first_place, first_line = b"", 0, 0
    for digest, place, line in map(_SORTED_USE.unpack, ordered):
        if digest == first_digest:
            record = _REPEAT.pack(line, first_place, first_line)
            repeats.setdefault(place, bytearray()).extend(record)
        else:
            first_digest, first_place, first_line = digest, place, line
    return {place: bytes(records) for place, records in sorted(repeats.items())}


def repeats_of_range(
    records: Iterable[bytes], place: int, first_lines: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Yield the lines of a range that repeat an id, with the lines of the first use, in order.

    Args:
        records: The records of each partition for the range.
        place: Index of the range, from 0.
        first_lines: Number of each range's first line in the file.
    """
    pieces = [
        data[start : start + REPEAT_BYTES]
        for data in records
        for start in range(0, len(data), REPEAT_BYTES)
    ]
    pieces.sort()
    for line, first_place, first_line in map(_REPEAT.unpack, pieces):
        yield first_lines[place] + line - 1, first_lines[first_place] + first_line - 1


class KnownDuplicates(DuplicateFinder):
    """Reports lines that are known to repeat an id; to be called in the order of the lines."""

    def __init__(self, repeats: Iterator[tuple[int, int]]) -> None:
        """Report ``repeats``: lines with the lines of the first use, in order."""
        self._repeats = repeats
        self._next = next(repeats, None)

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Return which of the lines repeat an id, and the lines of the first use."""
        found: list[tuple[int, int]] = []
        while self._next is not None and self._next[0] < line + len(custom_ids):
            found.append((self._next[0] - line, self._next[1]))
            self._next = next(self._repeats, None)
        return found
