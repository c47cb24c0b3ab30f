"""Ids that were used before are found, whatever the blocks in which they come."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.request_file import seen_ids
from groq_batch.request_file.seen_ids import SeenIds

IDS = st.integers(0, 30).map("id-{}".format) | st.text(min_size=1, max_size=2)


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[int, list[str]]]:
    """Blocks of ids with the line of each first one; some lines between them have no id."""
    line = 1
    found = []
    for ids in draw(st.lists(st.lists(IDS, max_size=20), max_size=12)):
        line += draw(st.sampled_from([0, 0, 1, 5, 2**33]))
        found.append((line, ids))
        line += len(ids)
    return found


@given(blocks())
def test_seen_ids_finds_what_a_dictionary_finds(blocks: list[tuple[int, list[str]]]) -> None:
    uses = SeenIds()
    first_lines: dict[str, int] = {}
    for line, ids in blocks:
        expected = []
        for place, custom_id in enumerate(ids):
            if custom_id in first_lines:
                expected.append((place, first_lines[custom_id]))
            first_lines.setdefault(custom_id, line + place)
        assert uses.add(ids, line) == expected


@pytest.mark.parametrize("block", [1, 7, 613, 614, 615, 5000, 20_000])
def test_seen_ids_while_growing_loses_none(block: int) -> None:
    """Every third id was used before, and takes room in the table when it is built anew."""
    ids = [f"{number // 3 if number % 3 == 0 else number + 10**6}" for number in range(20_000)]
    ids += ids[:100]
    uses = SeenIds()
    found = []
    for begin in range(0, len(ids), block):
        repeats = uses.add(ids[begin : begin + block], begin + 1)
        found += [(begin + place, line) for place, line in repeats]
    seen: dict[str, int] = {}
    assert found == [
        (place, seen[custom_id])
        for place, custom_id in enumerate(ids)
        if seen.setdefault(custom_id, place + 1) != place + 1
    ]


@pytest.mark.parametrize("block", [1, 2, 700, 1500])
def test_seen_ids_after_increasing_ids_finds_repeats_of_any(block: int) -> None:
    """Ids that increase have no table; the first id out of order needs one for all before it."""
    ids = [f"row-{number}" for number in range(1500)]
    repeats = ["row-1499", "row-0", "row-1500", "row-777"]
    uses = SeenIds()
    for begin in range(0, len(ids), block):
        assert uses.add(ids[begin : begin + block], begin + 1) == []
    assert uses.add(repeats, 1501) == [(0, 1500), (1, 1), (3, 778)]


def test_seen_ids_in_order_of_text_but_not_of_length_finds_repeats() -> None:
    uses = SeenIds()
    assert uses.add(["ccc", "aaaaa"], 1) == []
    assert uses.add(["bbbbb", "ccc", "ddddd"], 3) == [(1, 1)]


def test_seen_ids_full_of_repeats_still_ends() -> None:
    uses = SeenIds()
    assert uses.add(["a"], 1) == []
    for line in range(2, 5000):
        assert uses.add(["a"], line) == [(0, 1)]
    assert uses.add(["b", "a", "b"], 5000) == [(1, 1), (2, 5000)]


def test_seen_ids_with_equal_hashes_are_duplicates_neighbors_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slots are shared: what belongs into a taken one goes on to the next, also over the end."""
    monkeypatch.setattr(seen_ids, "hash", int, raising=False)
    uses = SeenIds()
    # All belong into the last slot of a table of 1024; of the last two one is negative.
    ids = [str(1023 + 1024 * number) for number in range(600)] + ["-1", "1023"]
    assert uses.add(ids, 1) == [(601, 1)]
    assert uses.add(["-1", str(2**62 + 1023), "1023"], 700) == [(0, 601), (2, 1)]


def test_seen_ids_takes_few_bytes_per_id() -> None:
    """Also right after the table has grown, when it has the most room."""
    count = 40_000
    ids = [f"{number:060d}" for number in reversed(range(count))]
    blocks = [ids[begin : begin + 1000] for begin in range(0, count, 1000)]
    uses = SeenIds()
    tracemalloc.start()
    for place, ids in enumerate(blocks):
        assert uses.add(ids, 1000 * place + 1) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 38 * count


def test_seen_ids_that_increase_take_no_table() -> None:
    ids = [f"row-{number}" for number in range(40_000)]
    uses = SeenIds()
    tracemalloc.start()
    assert uses.add(ids, 1) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 13 * len(ids)
