"""Words for numbers, and texts of others made fit for one line of a terminal."""

from __future__ import annotations

import unicodedata

_MINUTE = 60
_HOUR = 3600

_LINE_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that would break a line, or steer the terminal."""

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what stands behind them."""


def one_line(text: str) -> str:
    """Return a text without line ends and without anything that steers a terminal."""
    safe = (
        " " if unicodedata.category(one) in _LINE_BREAKING else one
        for one in text
        if one not in _REORDERING
    )
    return " ".join("".join(safe).split())


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_columns_of(one) for one in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def shorten(text: str, width: int) -> str:
    """Return a text cut to ``width`` columns, with an ellipsis where something is left out."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for one in text:
        used += _columns_of(one)
        if used >= width:
            break
        kept.append(one)
    return "".join(kept).rstrip() + "…"


def pad(text: str, width: int) -> str:
    """Return a text filled with spaces to ``width`` columns."""
    return text + " " * (width - columns(text))


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: ``1 request``, ``1,200 requests``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def batches(number: int) -> str:
    """Return a number of batches."""
    return counted(number, "batch", "batches")


def duration(seconds: float) -> str:
    """Return a time span as people say it: ``7 s``, ``2 min 5 s``, ``1 h 12 min``."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def dollars(amount: float | None) -> str:
    """Return an amount of USD with as many digits as it is worth."""
    if amount is None:
        return "not known"
    if amount == 0:
        return "$0"
    digits = 2 if amount >= 1 else 4 if amount >= 0.01 else 6  # noqa: PLR2004
    return f"${amount:,.{digits}f}"
