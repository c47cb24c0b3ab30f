"""Parse a point in time, given as a time span until now or as a date."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_SPAN = re.compile(r"([0-9]{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def read_moment(text: str, now: datetime) -> datetime | None:
    """Return the time that a text means; None if it is not a time.

    Args:
        text: A time span until now (``30m``, ``12h``, ``7d``, ``2w``), a date, or a date and time
            in ISO 8601. Without a time zone it is UTC, as in reports.
        now: The end of the time span.
    """
    span = _SPAN.fullmatch(text)
    try:
        if span is not None:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


class Since(click.ParamType):
    """Option type for a time in the past."""

    name = "time"

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Count time spans back from the time of ``clock``."""
        self._clock = clock

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Parse the time."""
        moment = read_moment(value, self._clock())
        if moment is None:
            self.fail(
                f"{value!r} is not a time. Give a time span such as 30m, 12h, 7d or 2w, or a date "
                f"such as 2026-11-25 or 2026-11-25T18:00.",
                param,
                ctx,
            )
        return moment
