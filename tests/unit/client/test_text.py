"""Words for numbers, and texts that fit one line of a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch_client import text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400 * 3 + 7300, "3 d 2 h"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (7199, "1 h"), (86_400 * 12, "12 d")],
)
def test_age(seconds: float, expected: str) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert text.age(now - timedelta(seconds=seconds), now) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, "not known"),
        (0, "$0"),
        (0.0000004, "<$0.000001"),
        (0.0000123, "$0.000012"),
        (0.000206, "$0.000206"),
        (0.0123, "$0.0123"),
        (1234.567, "$1,234.57"),
    ],
)
def test_dollars(amount: float | None, expected: str) -> None:
    assert text.dollars(amount) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_400_000, "3.4 MB"), (2e13, "20.0 TB")],
)
def test_size(number: float, expected: str) -> None:
    assert text.size(number) == expected


def test_share_is_whole_only_when_everything_is_done() -> None:
    assert text.share(999, 1000) == "99 %"
    assert text.share(1000, 1000) == "100 %"
    assert text.share(0, 0) == "0 %"


def test_names_beyond_the_first_are_counted() -> None:
    assert text.listed(["a", "b"], 2) == "a, b"
    assert text.listed(["a", "b", "c"], 2) == "a, b and 1 more"


def test_counted() -> None:
    assert [text.counted(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert text.counted(2, "batch", "batches") == "2 batches"


@pytest.mark.parametrize(
    "evil", ["\x1b[31m", "a\nb", "a\u2028b", "\u202eabc", "\x9b31m", "\r", "\ud800", "\x07"]
)
def test_text_of_others_cannot_steer_the_terminal(evil: str) -> None:
    for shown in (text.printable(evil), text.one_line(evil)):
        assert all(one == " " or one.isprintable() for one in shown)
    assert len(text.printable(evil)) == len(evil)
    assert text.one_line(f"a{evil}\r\n{evil}\nb").count("  ") == 0


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert text.columns("e\u0301日") == 3
    assert text.shorten("日本語", 6) == "日本語"
    assert text.shorten("日本語です", 7) == "日本語…"


@given(st.text(), st.integers(min_value=1, max_value=30))
def test_shortened_text_fits(given: str, width: int) -> None:
    shortened = text.shorten(text.one_line(given), width)
    assert text.columns(shortened) <= width
    assert "\n" not in shortened
    assert "\x1b" not in shortened


@given(st.text(max_size=20))
def test_text_that_fits_is_kept(given: str) -> None:
    assert text.shorten(given, text.columns(given)) == given
