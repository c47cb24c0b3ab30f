"""Decide from which age on an open job is overdue: for the alarm, and for ``groq-batch doctor``."""

from __future__ import annotations

_HOUR = 3600
_MARGIN_SECONDS = _HOUR
"""Time allowed for everything around a batch, in addition to its window."""
FIRST_OVERDUE_SECONDS = 24 * _HOUR + _MARGIN_SECONDS
"""No younger job is overdue: the shortest window is 24 hours."""
LAST_OVERDUE_SECONDS = 2 * 7 * 24 * _HOUR + _MARGIN_SECONDS
"""Every older job is overdue: the longest window is seven days."""


def overdue_seconds(window_seconds: int, *, has_canary: bool) -> int:
    """Return the age in seconds from which on a job is overdue: its window plus one hour.

    Its first attempt has then used up the window, or Groq cannot be reached. A job with a canary
    gets two windows, because the rest begins after the canary has ended.

    Args:
        window_seconds: Length of the job's completion window.
        has_canary: Whether its first requests are sent alone first.
    """
    return (2 if has_canary else 1) * window_seconds + _MARGIN_SECONDS
