"""Moments that options name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from groq_batch_cli.main import run
from groq_batch_cli.periods import read_moment

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOON - timedelta(minutes=30)),
        ("12h", NOON - timedelta(hours=12)),
        ("7d", NOON - timedelta(days=7)),
        ("2w", NOON - timedelta(weeks=2)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T18:30", datetime(2026, 3, 1, 18, 30, tzinfo=UTC)),
        (
            "2026-03-01T18:30+02:00",
            datetime(2026, 3, 1, 18, 30, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_read_moment(text: str, expected: datetime) -> None:
    assert read_moment(text, NOON) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 d", "yesterday", "2026-13-01", "999999w"])
def test_read_moment_of_another_text_is_none(text: str) -> None:
    assert read_moment(text, NOON) is None


def test_since_of_another_text_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["jobs", "--since", "yesterday"]) == 2
    assert "'yesterday' is not a time. Give a time span such as 30m" in capsys.readouterr().err
