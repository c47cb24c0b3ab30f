"""Words for numbers, and texts that fit one line of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch_client.text import columns, counted, dollars, duration, one_line, shorten


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "not known"),
        (0.0, "$0"),
        (0.000206, "$0.000206"),
        (0.01234, "$0.0123"),
        (1234.5, "$1,234.50"),
    ],
)
def test_dollars(amount: float | None, text: str) -> None:
    assert dollars(amount) == text


def test_counted() -> None:
    assert [counted(n, "row") for n in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
    assert counted(2, "batch", "batches") == "2 batches"


def test_text_cannot_steer_the_terminal() -> None:
    assert one_line("a\x1b[31mb\r\n\u2028c\x07\x9b2Jd\u202ee") == "a [31mb c 2Jd e"


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert columns("日本") == 4
    assert columns("e\u0301") == 1
    assert shorten("日本語です", 7) == "日本語…"


@given(st.text(), st.integers(min_value=1, max_value=30))
def test_shortened_text_fits(text: str, width: int) -> None:
    shortened = shorten(one_line(text), width)
    assert columns(shortened) <= width
    assert "\n" not in shortened
    assert "\x1b" not in shortened


@given(st.text(max_size=20))
def test_text_that_fits_is_kept(text: str) -> None:
    assert shorten(text, columns(text)) == text
