"""Whether a list comes newest first, as far as it has been seen."""

from __future__ import annotations

from collections.abc import Sequence


class NewestFirst:
    """Watches the dates of a list's entries.

    The API documents no order. That its list comes newest first is believed when all dates seen so
    far say so: none is missing, none is later than the one before, and one is earlier, since
    entries of the same second could come in any order.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._is_refuted = False
        self._has_fallen = False

    def add(self, dates: Sequence[int | None]) -> None:
        """Take note of the dates of the next entries, in seconds since 1970."""
        for date in dates:
            if date is None or (self._last is not None and date > self._last):
                self._is_refuted = True
            elif self._last is not None and date < self._last:
                self._has_fallen = True
            self._last = date

    @property
    def is_shown(self) -> bool:
        """Whether what follows can be no newer than what was seen."""
        return self._has_fallen and not self._is_refuted
