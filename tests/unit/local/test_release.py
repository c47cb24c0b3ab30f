"""The notes of a release come from the changelog."""

from __future__ import annotations

import pytest

from groq_batch import __version__
from local.environment import PROJECT_ROOT
from local.release import notes_of

CHANGELOG = """# Changelog

## [2.0.0] - unreleased

Second.

- A line.

## [1.0.0] - 2026-11-28

First.
"""


@pytest.mark.parametrize(
    ("version", "notes"), [("2.0.0", "Second.\n\n- A line.\n"), ("1.0.0", "First.\n")]
)
def test_notes_of_version_returns_its_entry(version: str, notes: str) -> None:
    assert notes_of(CHANGELOG, version) == notes


def test_notes_of_unknown_version_says_what_to_add() -> None:
    with pytest.raises(ValueError, match=r"no heading '## \[3\.0\.0\]'"):
        notes_of(CHANGELOG, "3.0.0")


def test_changelog_has_an_entry_for_the_version_of_the_code() -> None:
    assert notes_of((PROJECT_ROOT / "CHANGELOG.md").read_text("utf-8"), __version__)
