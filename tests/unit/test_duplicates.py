"""Ids that are used twice are found over all ranges of a file, as by one pass over it."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from groq_batch.checks import FirstLines
from groq_batch.duplicates import (
    REPEAT_BYTES,
    USE_BYTES,
    KnownRepeats,
    UseRecorder,
    find_repeats,
    repeats_of_range,
)

KEY = b"0123456789abcdef"

IDS = st.sampled_from(["a", "b", "c", "ä", "a" * 300, "0", "1", "2", "3", "\u2028"])


def first_uses(ranges: list[list[str]], partitions: int) -> list[int | None]:
    """Return for each line the line of its id's first use, found as the tasks find it."""
    recorders = [UseRecorder(key=KEY, partitions=partitions) for _ in ranges]
    for recorder, ids in zip(recorders, ranges, strict=True):
        for line, custom_id in enumerate(ids, start=1):
            recorder.add(custom_id, line)
    found = [
        find_repeats([bytes(recorder.partitions[partition]) for recorder in recorders])
        for partition in range(partitions)
    ]
    first_lines = list(accumulate(map(len, ranges), initial=1))
    answers: list[int | None] = []
    for place, ids in enumerate(ranges):
        records = [repeats.get(place, b"") for repeats in found]
        known = KnownRepeats(repeats_of_range(records, place, first_lines))
        answers += [
            known.add(custom_id, first_lines[place] + offset)
            for offset, custom_id in enumerate(ids)
        ]
    return answers


@given(ranges=st.lists(st.lists(IDS, max_size=12), max_size=6), partitions=st.integers(1, 5))
def test_as_one_pass_finds_them(ranges: list[list[str]], partitions: int) -> None:
    one_pass = FirstLines()
    lines = [custom_id for ids in ranges for custom_id in ids]
    expected = [one_pass.add(custom_id, line) for line, custom_id in enumerate(lines, start=1)]
    assert first_uses(ranges, partitions) == expected


def test_uses_are_spread_over_the_partitions() -> None:
    recorder = UseRecorder(key=KEY, partitions=4)
    for line in range(1, 4001):
        recorder.add(f"id-{line}", line)
    sizes = [len(records) // USE_BYTES for records in recorder.partitions]
    assert sum(sizes) == 4000
    assert all(900 < size < 1100 for size in sizes)


def test_ranges_without_repeats_have_no_records() -> None:
    recorder = UseRecorder(key=KEY, partitions=1)
    recorder.add("a", 1)
    again = UseRecorder(key=KEY, partitions=1)
    again.add("a", 7)
    [uses], [more] = recorder.partitions, again.partitions
    found = find_repeats([bytes(uses), b"", bytes(more)])
    assert list(found) == [2]
    assert len(found[2]) == REPEAT_BYTES


def test_another_key_makes_other_digests() -> None:
    """What stands in the bucket cannot be compared between jobs, or with guesses."""
    records = []
    for key in (KEY, KEY[::-1]):
        recorder = UseRecorder(key=key, partitions=1)
        recorder.add("a", 1)
        records.append(bytes(recorder.partitions[0]))
    assert records[0] != records[1]
