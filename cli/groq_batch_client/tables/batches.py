"""Define batches: rows of any table, with columns by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

ROWS_OF_A_BATCH = 2048


class Batch(ABC):
    """Some rows of a table, in order.

    Attributes:
        rows: Number of rows.
        names: The columns; none if each row has keys of its own.
    """

    rows: int
    names: Sequence[str] = ()

    @abstractmethod
    def texts(self, name: str) -> list[str]:
        """Return a column as texts for prompts, ids and CSV cells; a missing value is ``""``.

        Raises:
            MissingColumnError: A row has no such column.
            TableError: A value cannot be written as text.
        """

    def cells(self, names: Sequence[str]) -> list[list[str]]:
        """Return columns as texts; a row without a column has ``""`` there."""
        return [self.texts(name) for name in names]

    @abstractmethod
    def objects(self) -> list[bytes]:
        """Return each row as a JSON object; numbers keep their digits."""

    def keys_among(self, names: frozenset[str]) -> str | None:
        """Return one of the names that is a column of a row, or None."""
        return next((name for name in self.names if name in names), None)

    @abstractmethod
    def arrow(self, schema: Any) -> list[Any]:
        """Return the columns of an Arrow schema as Arrow arrays, in the order of the schema."""


class MissingColumnError(Exception):
    """A row has no such column.

    Attributes:
        place: Index of the row in its batch, from 0.
        names: The columns that the row has.
    """

    def __init__(self, place: int, names: Sequence[str]) -> None:
        super().__init__(place)
        self.place = place
        self.names = names
