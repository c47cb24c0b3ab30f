"""Format numbers, times and texts for readers."""

from __future__ import annotations

import math
import re
from datetime import datetime

NAME_CHARACTERS = 120
"""Length to which names of users and of the API are truncated."""
KEY_CHARACTERS = 1100
"""Length to which addresses are truncated; a key of S3 has at most 1024 bytes."""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
_CENT = 0.01
_LARGE = 100
_SMALL = 10


def whole(value: int) -> str:
    """Format a whole number with thousands separators: ``45,000``."""
    return f"{value:,}"


def short(value: float) -> str:
    """Format a number in few characters: ``12.3M``, ``45k``, ``980``."""
    for size, letter in _MAGNITUDES:
        if value >= size * 0.9995:
            return f"{_digits(value / size)}{letter}"
    return _digits(value)


def percent(part: float, of: float) -> str:
    """Format a share; shares near 0 or 100 % are never rounded to exactly that."""
    if not of:
        return "0 %"
    share = 100 * part / of
    if share in (0, 100):
        return f"{share:.0f} %"
    if share > 99.9:  # noqa: PLR2004
        return "over 99.9 %"
    return "under 0.1 %" if share < 0.1 else f"{share:.1f} %"  # noqa: PLR2004


def money(usd: float | None) -> str:
    """Format an amount of USD with as many digits as are meaningful."""
    if usd is None:
        return "not known"
    if usd == 0 or usd >= _CENT * _SMALL:
        return f"${usd:,.2f}"
    decimals = 1 - math.floor(math.log10(usd))
    return f"${usd:.{min(max(decimals, 2), 12)}f}"


def duration(seconds: float) -> str:
    """Format a duration with its two largest units: ``2 h 14 min``."""
    if seconds < _SMALL:
        return f"{_trimmed(f'{seconds:.1f}')} s"
    rest = round(seconds)
    for index, (size, letter) in enumerate(_UNITS):
        if rest >= size:
            text = f"{rest // size} {letter}"
            if index + 1 < len(_UNITS):
                smaller, smaller_letter = _UNITS[index + 1]
                if count := rest % size // smaller:
                    text += f" {count} {smaller_letter}"
            return text
    return "0 s"


def milliseconds(value: float) -> str:
    """Format a duration given in milliseconds."""
    return f"{round(value)} ms" if value < 1000 else duration(value / 1000)  # noqa: PLR2004


def size(count: int) -> str:
    """Format a size in bytes: ``183 MB``."""
    value = float(count)
    for unit in _BYTE_UNITS:
        if value < 999.5 or unit == _BYTE_UNITS[-1]:  # noqa: PLR2004
            return f"{_digits(value)} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes every size")


def moment(at: datetime) -> str:
    """Format a time: ``25 Nov 2026, 09:31 UTC``."""
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def text(value: object, *, most: int) -> str:
    """Truncate user-supplied text and replace control characters."""
    shown = value if isinstance(value, str) else str(value)
    if len(shown) > most:
        shown = shown[: most - 1] + "…"
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", shown)


def shortened_path(path: str, *, most: int) -> str:
    """Truncate a path in its middle, so that its beginning and its end remain."""
    if len(path) <= most:
        return text(path, most=most)
    half = (most - 1) // 2
    return text(f"{path[:half]}…{path[-half:]}", most=most)


def _digits(value: float) -> str:
    if value >= _LARGE:
        return f"{value:.0f}"
    return _trimmed(f"{value:.1f}" if value >= _SMALL else f"{value:.2f}")


def _trimmed(number: str) -> str:
    return number.rstrip("0").rstrip(".") if "." in number else number
