"""Which ``custom_id`` the request of a row has: stable, so that its answer finds the row again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from groq_batch_cli.errors import CommandError
from groq_batch_cli.rows.reading import as_text
from groq_batch_cli.text import listed, one_line


@dataclass(frozen=True, slots=True)
class RowIds:
    """How rows get their ids.

    Attributes:
        column: The column that holds them; the row's number is taken when None.
    """

    column: str | None

    def of(self, number: int, row: Mapping[str, Any]) -> str:
        """Return the id of a row, whose number counts from 1.

        Raises:
            CommandError: The row has no such column.
        """
        if self.column is None:
            return f"row-{number}"
        if self.column not in row:
            raise CommandError(
                f"row {number} has no column {one_line(self.column)!r} for its id; it has "
                f"{listed([one_line(name) for name in row], 12)}."
            )
        return as_text(row[self.column])
