"""Folders for result files, and what invocations that died have left of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from groq_batch.steps.download_results.work_folder import work_folder

OTHER_NAMES = [
    "groq-batch-results-",
    "groq-batch-results-x-y",
    "groq-batch-results-1",
    f"groq-batch-results-{10**30}-a",
    "results-2024-a",
    "other-1000000000-a",
]


def ended_process() -> int:
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_by(process: int, parent: Path) -> Path:
    folder = parent / f"groq-batch-results-{process}-abc" / "1"
    folder.mkdir(parents=True)
    (folder / "output").write_bytes(bytes(100))
    return folder.parent


@pytest.mark.parametrize("has_this_number", [False, True])
def test_work_folder_removes_what_a_dead_process_left(
    tmp_path: Path, has_this_number: bool
) -> None:
    """After a crash in Lambda the next process may have the number of the one before."""
    left = left_by(os.getpid() if has_this_number else ended_process(), tmp_path)
    with work_folder(tmp_path) as folder:
        assert not left.exists()
        assert [*tmp_path.iterdir()] == [folder]
    assert [*tmp_path.iterdir()] == []


def test_work_folder_keeps_those_in_use(tmp_path: Path) -> None:
    of_another = left_by(os.getppid(), tmp_path)
    with work_folder(tmp_path) as first, work_folder(tmp_path) as second:
        assert first != second
        assert first.exists()
        assert of_another.exists()


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_work_folder_keeps_what_is_not_its_own(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with work_folder(tmp_path):
        assert (tmp_path / name).exists()


def test_work_folder_after_an_error_is_removed(tmp_path: Path) -> None:
    def fail() -> None:
        with work_folder(tmp_path) as folder:
            (folder / "output").write_bytes(b"1")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [*tmp_path.iterdir()] == []


def test_work_folder_without_a_parent_is_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with work_folder() as folder:
        assert folder.parent == tmp_path
