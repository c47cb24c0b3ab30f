"""How the time of a job is divided among its steps, and its file among the script's batches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from bench import store, whole_job
from bench.whole_job import at_aws, byte_ranges, section, steps

INTERVALS = [
    ("start_job", 10.0, 11.0),
    ("read_models", 11.5, 12.0),
    ("prepare_input", 12.0, 14.0),
    ("submit_batch", 15.0, 17.0),
    ("submit_batch", 15.0, 16.0),
    ("check_status", 18.0, 18.5),
    ("download_results", 20.0, 22.0),
    ("check_status", 22.0, 22.5),
    ("finish_job", 23.0, 24.0),
]


def test_steps_divide_the_time_without_gaps_and_overlaps() -> None:
    found = steps(INTERVALS, 10.0, 25.0)
    assert found == {
        "start": 2.0,
        "prepare": 3.0,
        "send": 2.0,
        "wait": 3.0,
        "fetch": 3.0,
        "finish": 2.0,
    }
    assert sum(found.values()) == 15.0


@pytest.mark.parametrize("most", [60, 100, 1000])
def test_byte_ranges_cut_a_file_at_the_ends_of_lines(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_job, "_SEARCH_BYTES", 50)
    data = b"".join(b"x" * (20 + number % 7) + b"\n" for number in range(30))
    path = tmp_path / "requests"
    path.write_bytes(data)
    ranges = byte_ranges(path, most)
    assert (ranges[0][0], ranges[-1][1]) == (0, len(data))
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(end - first <= most and data[end - 1 : end] == b"\n" for first, end in ranges)


def test_cpu_seconds_of_a_program_on_a_leash_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    leash, program, worker = -1, -2, -3
    below = {leash: [leash, program, worker], program: [program, worker]}
    commands = {leash: "local.leash -- local.groq_simulator", program: "local.groq_simulator"}
    monkeypatch.setattr(whole_job, "tree", lambda root: below.get(root, below[leash]))
    monkeypatch.setattr(whole_job, "_read", lambda process, _name: commands.get(process, ""))
    monkeypatch.setattr(whole_job, "_cpu_of", {leash: 1.0, program: 20.0, worker: 300.0}.get)
    assert whole_job._cpu_seconds() == {"s3": 0.0, "groq": 321.0}


def test_the_script_takes_less_at_aws_than_the_job() -> None:
    both = [times for times in at_aws(183_000_000).values() if times[1] is not None]
    assert both
    assert all(script < job for job, script in both if script is not None)


def test_section_tells_what_was_measured_last() -> None:
    text = section(store.load()["whole"])
    assert "45,000 requests, 183 MB" in text
    assert "| read, check, cut " in text
