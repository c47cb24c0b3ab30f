"""Totals that add up field by field."""

from __future__ import annotations

from typing import Self


class Totals:
    """Base of the dataclasses with slots whose fields are all numbers to be added up."""

    __slots__: tuple[str, ...] = ()

    def merge(self, other: Self) -> None:
        """Add other totals to these."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
