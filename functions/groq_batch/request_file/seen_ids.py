"""Find ids that were used before in a file."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from operator import lt
from struct import pack
from typing import Protocol


class DuplicateFinder(Protocol):
    """Finds ids that were used before."""

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Add the ids of lines that follow each other.

        Args:
            custom_ids: The ids.
            line: Number of the first line, from 1; greater than in all earlier calls.

        Returns:
            For each id that was used before, in this call or an earlier one, in order: its index
            in ``custom_ids`` and the line of its first use.
        """


class SeenIds(DuplicateFinder):
    """Remembers on which line each custom_id was first used.

    A hash table in arrays: an id takes 15 to 35 bytes, however long it is; in a dictionary it would
    take 120 and more. Only the 64-bit hash of an id is kept, which Python salts in every process:
    two different ids of a million have the same hash in one of 37 million files.

    Most files number their requests. As long as every id is greater than the one before it, none
    can repeat another, and there is no table: an id takes 8 bytes.
    """

    __slots__ = ("_distances", "_hashes", "_last_id", "_mask", "_places", "_room", "_table")

    def __init__(self) -> None:
        self._hashes = array("q")
        # The slot of a hash has its place among the hashes, from 1; 0 marks a free slot.
        self._table = array("I")
        self._mask = 0
        self._room = 0
        # The last id, as long as they increase; None from the first on that does not.
        self._last_id: str | None = ""
        # The distance between line and place from each place on; it changes at lines without id.
        self._places = array("Q")
        self._distances = array("Q")

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Add ids; return those that were used before."""
        hashes = self._hashes
        known = len(hashes)
        keys = [*map(hash, custom_ids)]
        # A duplicate takes a place too, which no slot refers to.
        hashes.frombytes(pack(f"{len(keys)}q", *keys))
        if not known or self._distances[-1] != line - known - 1:
            self._places.append(known + 1)
            self._distances.append(line - known - 1)
        if self._increase(custom_ids):
            return []
        if len(hashes) > self._room:
            self._grow(known)
        table, mask = self._table, self._mask
        repeats: list[tuple[int, int]] = []
        place = known
        for key in keys:
            place += 1
            slot = key & mask
            while first := table[slot]:
                if hashes[first - 1] == key:
                    repeats.append((place - known - 1, self._line_of(first)))
                    break
                slot = (slot + 1) & mask
            else:
                table[slot] = place
        return repeats

    def _increase(self, custom_ids: Sequence[str]) -> bool:
        """Tell whether all ids so far increase: by length, and in order among equal lengths."""
        if self._last_id is None:
            return False
        ids = [self._last_id, *custom_ids]
        lengths = [*map(len, ids)]
        if len(set(lengths)) == 1:
            increase = all(map(lt, ids, islice(ids, 1, None)))
        else:
            ranks = [*zip(lengths, ids, strict=True)]
            increase = all(map(lt, ranks, islice(ranks, 1, None)))
        self._last_id = ids[-1] if increase else None
        return increase

    def _line_of(self, place: int) -> int:
        return place + self._distances[bisect_right(self._places, place) - 1]

    def _grow(self, known: int) -> None:
        """Build a table with room for all hashes, and enter the first ``known``."""
        size = len(self._table) or 1024
        while len(self._hashes) > _room(size):
            size *= 4
        table = array("I", [0]) * size
        mask = size - 1
        hashes = self._hashes
        for place, key in enumerate(islice(hashes, known), start=1):
            slot = key & mask
            while first := table[slot]:
                if hashes[first - 1] == key:
                    # A duplicate gets no slot; else checking a file of one id would never end.
                    break
                slot = (slot + 1) & mask
            else:
                table[slot] = place
        self._table, self._mask, self._room = table, mask, _room(size)


def _room(size: int) -> int:
    """Return how many hashes a table may have: 60 % of its slots."""
    return size * 3 // 5
