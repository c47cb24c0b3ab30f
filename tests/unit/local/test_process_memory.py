"""The memory of a tree of processes, as Linux tells it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local import process_memory
from local.process_memory import PeakMemory, proportional_bytes, tree


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four processes: 1 has the children 2 and 3, and 3 the child 4."""
    for number, parent, kilobytes in ((1, 0, 10), (2, 1, 20), (3, 1, 30), (4, 3, 40)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "stat").write_text(f"{number} (a program) of) S {parent} 1 1")
        (folder / "smaps_rollup").write_text(f"0-f ---p\nRss: 99 kB\nPss:     {kilobytes} kB\n")
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(process_memory, "_PROCESSES", tmp_path)
    return tmp_path


def test_tree_has_all_processes_below_one(processes: Path) -> None:
    assert sorted(tree(1)) == [1, 2, 3, 4]
    assert sorted(tree(3)) == [3, 4]
    assert tree(9) == [9]


def test_pages_that_are_shared_count_once(processes: Path) -> None:
    assert [proportional_bytes(number) for number in (1, 4, 9)] == [10_240, 40_960, 0]
    (processes / "2" / "smaps_rollup").write_text("")
    assert proportional_bytes(2) == 0


def test_peak_is_that_of_all_together(processes: Path) -> None:
    with PeakMemory(1) as memory:
        pass
    assert (memory.peak_bytes, memory.most_processes) == (102_400, 4)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="Linux only")
def test_peak_of_this_process_and_a_child() -> None:
    with PeakMemory() as memory:
        hold = "x = bytearray(60_000_000); import time; time.sleep(2)"
        subprocess.run([sys.executable, "-c", hold], check=True, env=dict(os.environ))
    assert memory.peak_bytes > 60_000_000
    assert memory.most_processes >= 2
