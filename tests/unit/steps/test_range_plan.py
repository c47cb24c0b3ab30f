"""Which ranges are cut together, and which numbers their shards get."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import SplitLimits
from groq_batch.records.stored import from_record, to_record
from groq_batch.request_file.request_rules import CHECKS, FIRST_CHECKS
from groq_batch.steps.prepare_input.fan_out import is_large, new_range_plan
from groq_batch.steps.prepare_input.range_plan import CutTask, RangePlan, ScanOutcome, plan_cuts
from tests.samples import OPTIONS


def scan(good: int, shards: int, invalid: int = 0) -> ScanOutcome:
    return ScanOutcome(lines=good + invalid, good=good, invalid=invalid, shards=shards, uses=())


def cuts(
    scans: list[ScanOutcome], repeats: list[int] | None = None, *, writes_shards: bool = True
) -> list[tuple[int, int, int, int]]:
    """Return first and last range, first shard and most shards of each task."""
    plan = plan_cuts(scans, repeats or [0] * len(scans), writes_shards=writes_shards)
    assert [task.number for task in plan] == list(range(1, len(plan) + 1))
    assert all(task.writes_shards is writes_shards for task in plan)
    return [(task.first, task.last, task.first_shard, task.most_shards) for task in plan]


def test_plan_cuts_gives_each_range_enough_shard_numbers() -> None:
    assert cuts([scan(10, 3), scan(5, 1), scan(7, 2)]) == [
        (0, 0, 1, 3),
        (1, 1, 4, 1),
        (2, 2, 5, 2),
    ]


@pytest.mark.parametrize(
    ("good", "expected"),
    [
        pytest.param([1, 0, 1], [(0, 1), (2, 2)], id="one without goes with the one before"),
        pytest.param([0, 0, 1, 1], [(0, 2), (3, 3)], id="leading ones with the first one after"),
        pytest.param([1, 1, 0, 0], [(0, 0), (1, 3)], id="trailing ones with the last"),
        pytest.param([0, 0, 0], [(0, 2)], id="a file without good lines is one task"),
    ],
)
def test_plan_cuts_joins_range_without_valid_line_to_neighbor(
    good: list[int], expected: list[tuple[int, int]]
) -> None:
    found = cuts([scan(number, number, invalid=1) for number in good])
    assert [(first, last) for first, last, _, _ in found] == expected


def test_plan_cuts_treats_range_of_duplicates_as_without_valid_line() -> None:
    assert cuts([scan(4, 2), scan(3, 1), scan(4, 2)], [0, 3, 1]) == [(0, 1, 1, 3), (2, 2, 4, 2)]


@pytest.mark.parametrize(
    ("good", "shards", "repeats", "expected"),
    [
        pytest.param([9, 9], [1, 1], [0, 0], [(0, 0, 2), (1, 1, 1)], id="fits into a range"),
        pytest.param([3, 3, 3], [1, 1, 1], [0] * 3, [(0, 1, 3), (2, 2, 1)], id="over two"),
        pytest.param([4, 4, 4], [1, 1, 1], [0] * 3, [(0, 1, 3), (2, 2, 1)], id="one line more"),
        pytest.param([0, 9, 9], [0, 1, 1], [0] * 3, [(0, 1, 2), (2, 2, 1)], id="none at first"),
        pytest.param([3, 9, 9], [2, 1, 1], [0] * 3, [(0, 0, 3), (1, 1, 1), (2, 2, 1)], id="batch"),
        pytest.param(
            [3, 9, 9], [2, 1, 1], [1, 0, 0], [(0, 1, 4), (2, 2, 1)], id="batch with repeats"
        ),
        pytest.param([2, 2], [2, 2], [0, 0], [(0, 0, 2), (1, 1, 2)], id="too few lines for one"),
        pytest.param([3, 3], [3, 3], [0, 2], [(0, 1, 7)], id="perhaps too few"),
    ],
)
def test_plan_cuts_puts_canary_into_one_task(
    good: list[int],
    shards: list[int],
    repeats: list[int],
    expected: list[tuple[int, int, int]],
) -> None:
    scans = [scan(count, most) for count, most in zip(good, shards, strict=True)]
    plan = plan_cuts(scans, repeats, writes_shards=True, canary=4)
    assert [(task.first, task.last, task.most_shards) for task in plan] == expected
    asks = 0 if sum(good) <= 4 else 4
    assert [task.canary for task in plan] == [asks] * len(plan)


def test_plan_cuts_without_shards_gives_each_range_a_task() -> None:
    found = cuts([scan(0, 0, 5), scan(1, 1), scan(0, 0)], writes_shards=False)
    assert [(first, last) for first, last, _, _ in found] == [(0, 0), (1, 1), (2, 2)]


def test_cut_task_from_its_json_is_equal() -> None:
    task = CutTask(number=1, first=0, last=2, first_shard=1, most_shards=4, writes_shards=True)
    assert from_json_data(to_json_data(task), CutTask) == task


@pytest.mark.parametrize(("size", "large"), [(0, False), (20, False), (21, True)])
def test_is_large_is_false_up_to_two_ranges(size: int, large: bool) -> None:
    assert is_large(size, 10) is large


def test_range_plan_from_its_json_is_equal() -> None:
    options = replace(OPTIONS, skip_invalid_lines=True)
    division = new_range_plan(
        size=100,
        range_bytes=10,
        limits=SplitLimits(1, 2, 3),
        options=options,
        option_problems=[Problem(None, None, "invalid_option", "Do this.")],
    )
    data = json.loads(json.dumps(to_record(division)))
    assert from_record(data, RangePlan) == division
    assert division.checks == CHECKS
    # An older version wrote one that says nothing of its checks: its file is checked as it began.
    del data["checks"]
    assert from_record(data, RangePlan) == replace(division, checks=FIRST_CHECKS)
