"""Format numbers as text, and make untrusted text safe for one line of a terminal."""

from __future__ import annotations

import unicodedata
from datetime import datetime

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
_KILO = 1000
_SMALLEST_AMOUNT = 0.000001
_BAR_CELLS = 16

_UNSAFE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that break a line or control the terminal."""

_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text after them."""


def printable(text: str) -> str:
    """Replace characters that end the line or control a terminal; keep the length."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if one in _REORDERING or unicodedata.category(one) in _UNSAFE else one for one in text
    )


def one_line(text: str) -> str:
    """Return a text that is safe for one line, with single spaces between words."""
    return " ".join(printable(text).split())


def columns(text: str) -> int:
    """Return the width of a text in terminal columns."""
    return len(text) if text.isascii() else sum(_columns_of(one) for one in text)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def shorten(text: str, width: int) -> str:
    """Truncate a text to ``width`` columns, with an ellipsis if it was longer."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for one in text:
        used += _columns_of(one)
        if used >= width:
            break
        kept.append(one)
    return "".join(kept).rstrip() + "…"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: ``1 request``, ``1,200 requests``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def batches(number: int) -> str:
    """Return a number of batches as text."""
    return counted(number, "batch", "batches")


def duration(seconds: float) -> str:
    """Return a time span as text: ``7 s``, ``2 min 5 s``, ``1 h 12 min``, ``3 d 2 h``."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def rough_duration(seconds: float) -> str:
    """Return an estimated time span as text, rounded so that it does not look exact."""
    if seconds < _MINUTE:
        return f"{max(5 * round(seconds / 5), 5)} s"
    if seconds < _HOUR:
        return f"{round(seconds / _MINUTE)} min"
    if seconds < _DAY:
        minutes = 10 * round(seconds / _MINUTE / 10)
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d {hours % 24} h" if hours % 24 else f"{hours // 24} d"


def age(moment: datetime, now: datetime) -> str:
    """Return an age in its largest unit: ``40 s``, ``3 h``, ``12 d``."""
    seconds = max(int((now - moment).total_seconds()), 0)
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def dollars(amount: float | None) -> str:
    """Return an amount of USD, with more decimals for smaller amounts."""
    if amount is None:
        return "not known"
    if amount == 0:
        return "$0"
    if amount < _SMALLEST_AMOUNT:
        return f"<${_SMALLEST_AMOUNT:f}"
    digits = 2 if amount >= 1 else 4 if amount >= 0.01 else 6  # noqa: PLR2004
    return f"${amount:,.{digits}f}"


def size(number: float) -> str:
    """Return a number of bytes in its largest decimal unit: ``812 B``, ``3.4 MB``."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _KILO
    return f"{amount:.1f} TB"


def share(done: int, total: int) -> str:
    """Return a share as a whole percentage; 100 only if everything is done."""
    return f"{100 * done // total} %" if total else "0 %"


def bar(done: int, total: int, encoding: str | None) -> str:
    """Return a progress bar for ``done`` out of ``total``, in the characters of an encoding."""
    filled = _BAR_CELLS * min(done, total) // total if total else 0
    is_utf8 = (encoding or "").lower().replace("-", "") == "utf8"
    full, empty = ("█", "░") if is_utf8 else ("#", ".")
    return full * filled + empty * (_BAR_CELLS - filled)


def listed(names: list[str], most: int = 5) -> str:
    """Join names; those beyond ``most`` are only counted."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
