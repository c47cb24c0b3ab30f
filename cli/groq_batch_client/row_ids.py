"""Give each row a stable request id, so that answers can be matched to rows."""

from __future__ import annotations

from dataclasses import dataclass

from groq_batch_client.errors import TableError
from groq_batch_client.tables.batches import Batch, MissingColumnError
from groq_batch_client.tables.names import missing_column


@dataclass(frozen=True, slots=True)
class RowIds:
    """How rows get their ids.

    Attributes:
        column: The column with the ids; None means row numbers.
        option: The name of this setting in messages.
    """

    column: str | None
    option: str = "--id"

    def of(self, first: int, batch: Batch, table: str) -> list[str]:
        """Return the ids of a batch.

        Args:
            first: The number of its first row, counted from 1.
            batch: The rows.
            table: The name of the table in messages.

        Raises:
            TableError: A row has no such column.
        """
        if self.column is None:
            return [f"row-{number}" for number in range(first, first + batch.rows)]
        try:
            return batch.texts(self.column)
        except MissingColumnError as error:
            raise TableError(
                f"Row {first + error.place:,} of {table} has no id ({self.option}): "
                f"{missing_column(self.column, error.names)}."
            ) from None
