"""Knows which ids of a file were used before."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from struct import pack
from typing import Protocol


class DuplicateFinder(Protocol):
    """Tells whether ids were used before."""

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Note the use of ids on lines that follow each other.

        Args:
            custom_ids: The ids.
            line: The line of the first one, from 1; greater than all lines of the calls before.

        Returns:
            For each id that was used before, here or in a call before, in order: its place among
            the ids, from 0, and the line of its first use.
        """


class SeenIds(DuplicateFinder):
    """Remembers on which line each custom_id was first used.

    A hash table in arrays: an id takes 15 to 35 bytes, whatever its length, where a dictionary
    takes 120 and more. Of an id its 64-bit hash is kept, which Python keys anew in every process:
    that two different ids of a million share one happens once in 37 million files.
    """

    __slots__ = ("_distances", "_hashes", "_mask", "_places", "_room", "_table")

    def __init__(self) -> None:
        self._hashes = array("q")
        # Where a hash belongs stands its place among the hashes, from 1; 0 is free.
        self._table = array("I")
        self._mask = 0
        self._room = 0
        # From which place on lines are how far ahead of places: it changes where lines have no id.
        self._places = array("Q")
        self._distances = array("Q")
        self._resize(1024, 0)

    def add(self, custom_ids: Sequence[str], line: int) -> list[tuple[int, int]]:
        """Note the use of ids; returns those that were used before."""
        hashes = self._hashes
        known = len(hashes)
        keys = [*map(hash, custom_ids)]
        # An id that was used before takes a place as well, which nothing refers to.
        hashes.frombytes(pack(f"{len(keys)}q", *keys))
        if not known or self._distances[-1] != line - known - 1:
            self._places.append(known + 1)
            self._distances.append(line - known - 1)
        while len(hashes) > self._room:
            self._resize(4 * len(self._table), known)
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

    def _line_of(self, place: int) -> int:
        return place + self._distances[bisect_right(self._places, place) - 1]

    def _resize(self, size: int, known: int) -> None:
        """Build the table of the known hashes; the size is a power of two, and filled by 60 %."""
        table = array("I", [0]) * size
        mask = size - 1
        hashes = self._hashes
        for place, key in enumerate(islice(hashes, known), start=1):
            slot = key & mask
            while first := table[slot]:
                if hashes[first - 1] == key:
                    # Used again: a slot for each use would make a file of one id endless to check.
                    break
                slot = (slot + 1) & mask
            else:
                table[slot] = place
        self._table, self._mask, self._room = table, mask, size * 3 // 5
