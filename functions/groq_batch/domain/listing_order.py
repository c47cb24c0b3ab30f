"""Detect whether a list is sorted newest first, from the entries read so far."""

from __future__ import annotations

from collections.abc import Sequence


class NewestFirst:
    """Checks the dates of a list's entries.

    The API documents no order. The list counts as newest first if all dates so far agree: none is
    missing, none is later than the one before, and at least one is earlier, because entries of the
    same second could come in any order.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._is_refuted = False
        self._has_fallen = False

    def add(self, dates: Sequence[int | None]) -> None:
        """Add the dates of the next entries, in seconds since 1970."""
        for date in dates:
            if date is None or (self._last is not None and date > self._last):
                self._is_refuted = True
            elif self._last is not None and date < self._last:
                self._has_fallen = True
            self._last = date

    @property
    def is_shown(self) -> bool:
        """Whether the following entries cannot be newer than those read so far."""
        return self._has_fallen and not self._is_refuted
