"""Ids that are used twice are found over all ranges of a file, as by one pass over it."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from groq_batch.request_file.id_partitions import (
    REPEAT_BYTES,
    USE_BYTES,
    IdRecorder,
    KnownDuplicates,
    find_repeats,
    repeats_of_range,
)
from groq_batch.request_file.seen_ids import DuplicateFinder, SeenIds

KEY = b"0123456789abcdef"

IDS = st.sampled_from(["a", "b", "c", "ä", "a" * 300, "0", "1", "2", "3", "\u2028"])


Repeats = list[tuple[int, int]]


def added(uses: DuplicateFinder, ids: list[str], line: int, block: int) -> Repeats:
    """Add ids a block at a time; returns the lines that repeat one, and those of the first use."""
    found: Repeats = []
    for begin in range(0, len(ids), block):
        repeats = uses.add(ids[begin : begin + block], line + begin)
        found += [(line + begin + place, first_line) for place, first_line in repeats]
    return found


def over_ranges(ranges: list[list[str]], partitions: int, block: int) -> Repeats:
    """Find the repeated lines of a file as the tasks find them."""
    recorders = [IdRecorder(key=KEY, partitions=partitions) for _ in ranges]
    for recorder, ids in zip(recorders, ranges, strict=True):
        assert added(recorder, ids, 1, block) == []
    found = [
        find_repeats([bytes(recorder.partitions[partition]) for recorder in recorders])
        for partition in range(partitions)
    ]
    first_lines = list(accumulate(map(len, ranges), initial=1))
    answers: Repeats = []
    for place, ids in enumerate(ranges):
        records = [repeats.get(place, b"") for repeats in found]
        known = KnownDuplicates(repeats_of_range(records, place, first_lines))
        answers += added(known, ids, first_lines[place], block)
    return answers


@given(
    ranges=st.lists(st.lists(IDS, max_size=12), max_size=6),
    partitions=st.integers(1, 5),
    block=st.integers(1, 13),
)
def test_find_repeats_in_ranges_finds_what_one_pass_finds(
    ranges: list[list[str]], partitions: int, block: int
) -> None:
    ids = [custom_id for one in ranges for custom_id in one]
    first_lines: dict[str, int] = {}
    expected: Repeats = []
    for line, custom_id in enumerate(ids, start=1):
        if custom_id in first_lines:
            expected.append((line, first_lines[custom_id]))
        first_lines.setdefault(custom_id, line)
    assert added(SeenIds(), ids, 1, block) == expected
    assert over_ranges(ranges, partitions, block) == expected


def test_known_duplicates_skips_lines_that_are_not_checked() -> None:
    """Lines without an id lie between those that are asked for."""
    known = KnownDuplicates(iter([(3, 1), (5, 2), (9, 1)]))
    assert known.add(["a", "b"], 1) == []
    assert known.add(["c", "d", "e"], 3) == [(0, 1), (2, 2)]
    assert known.add(["f"], 8) == []
    assert known.add(["g", "h"], 9) == [(0, 1)]
    assert known.add(["i"], 11) == []


def test_id_recorder_spreads_ids_over_partitions() -> None:
    recorder = IdRecorder(key=KEY, partitions=4)
    assert recorder.add([f"id-{line}" for line in range(1, 4001)], 1) == []
    sizes = [len(records) // USE_BYTES for records in recorder.partitions]
    assert sum(sizes) == 4000
    assert all(900 < size < 1100 for size in sizes)


def test_find_repeats_returns_no_records_for_ranges_without_repeats() -> None:
    recorder = IdRecorder(key=KEY, partitions=1)
    recorder.add(["a"], 1)
    again = IdRecorder(key=KEY, partitions=1)
    again.add(["a"], 7)
    [uses], [more] = recorder.partitions, again.partitions
    found = find_repeats([bytes(uses), b"", bytes(more)])
    assert list(found) == [2]
    assert len(found[2]) == REPEAT_BYTES


def test_id_recorder_with_another_key_makes_other_digests() -> None:
    """What stands in the bucket cannot be compared between jobs, or with guesses."""
    records = []
    for key in (KEY, KEY[::-1]):
        recorder = IdRecorder(key=key, partitions=1)
        recorder.add(["a"], 1)
        records.append(bytes(recorder.partitions[0]))
    assert records[0] != records[1]
