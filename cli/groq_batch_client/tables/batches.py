"""What every table is read into: batches of rows with columns by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

ROWS_OF_A_BATCH = 2048


class Batch(Protocol):
    """Some rows of a table, in order.

    Attributes:
        rows: How many.
    """

    rows: int

    def texts(self, name: str) -> list[str]:
        """Return a column as it stands in a prompt, an id or a CSV cell; no value is ``""``.

        Raises:
            MissingColumnError: A row has no such column.
            TableError: A value has no form as text.
        """

    def cells(self, names: Sequence[str]) -> list[list[str]]:
        """Return columns as texts; a row that lacks one has ``""`` there."""

    def objects(self) -> list[bytes]:
        """Return each row as a JSON object, numbers in the digits that they were given in."""

    def keys_among(self, names: frozenset[str]) -> str | None:
        """Return one of the names that a row has as a column, or None."""

    def arrow(self, schema: Any) -> list[Any]:
        """Return the columns of an Arrow schema, in its order, as Arrow arrays."""


class MissingColumnError(Exception):
    """A row has no such column.

    Attributes:
        place: The row's place in its batch, from 0.
        names: The columns that it has.
    """

    def __init__(self, place: int, names: Sequence[str]) -> None:
        super().__init__(place)
        self.place = place
        self.names = names
