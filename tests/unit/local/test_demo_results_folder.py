"""A folder of its own for each run."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.demo.errors import DemoError
from local.demo.request_file import RequestFile
from local.demo.results_folder import results_folder

FILE = RequestFile(Path("my requests.jsonl.gz"))


def test_runs_at_the_same_time_get_folders_of_their_own(tmp_path: Path) -> None:
    parent = tmp_path / "demo-output"
    with results_folder(FILE, parent) as first, results_folder(FILE, parent) as second:
        for folder in (first, second):
            assert folder.name.startswith("my requests-")
            (folder / "report.json").touch()
    assert sorted(parent.iterdir()) == sorted([first, second])
    assert len({first, second}) == 2


def test_folder_without_files_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), results_folder(FILE, tmp_path / "demo-output"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_no_place_for_results_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "demo-output").touch()
    with (
        pytest.raises(DemoError, match="There is no place for the results"),
        results_folder(FILE, tmp_path / "demo-output"),
    ):
        pytest.fail("it runs")
