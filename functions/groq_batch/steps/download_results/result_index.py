"""Find a request's row in result files on disk, whatever their order."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from typing import BinaryIO

from groq_batch.domain.json_data import DECODE_ERRORS
from groq_batch.domain.result_row import classify_row, custom_id_of, is_success


class ResultIndex:
    """Finds the API's row for a custom_id in files on disk; keeps positions, never rows."""

    def __init__(self) -> None:
        # File, offset and length of a row.
        self._places: dict[str, tuple[int, int, int]] = {}
        self._sources: list[BinaryIO] = []
        self.repeated = 0
        self.unreadable = 0
        self.is_lost = False

    @property
    def rows(self) -> int:
        """Rows in the files, readable or not; rows with the same id count once."""
        return len(self._places) + self.unreadable

    def keep(self, source: BinaryIO) -> BinaryIO:
        """Take ownership of a file: it is closed together with the index."""
        self._sources.append(source)
        return source

    def add(self, source: BinaryIO) -> None:
        """Index a file. For an id that occurs twice a success is kept, otherwise the first row.

        Args:
            source: A file that was passed to ``keep``.
        """
        number = self._sources.index(source)
        source.seek(0)
        offset = 0
        for line in source:
            length = len(line)
            custom_id = _id_of_row(line)
            if custom_id is None:
                self.unreadable += bool(line.strip())
            elif custom_id not in self._places:
                self._places[custom_id] = (number, offset, length)
            else:
                self.repeated += 1
                if is_success(line) and not is_success(self._row_at(self._places[custom_id])):
                    self._places[custom_id] = (number, offset, length)
            offset += length

    def read(self, custom_id: str) -> bytes | None:
        """Return a row without its line end; None if the API returned none for this id."""
        place = self._places.get(custom_id)
        if place is None:
            return None
        return self._row_at(place).removeprefix(BOM_UTF8).rstrip(b"\r\n")

    def _row_at(self, place: tuple[int, int, int]) -> bytes:
        number, offset, length = place
        # pread does not move the file position: the file may be being read sequentially.
        return os.pread(self._sources[number].fileno(), length, offset)

    def close(self) -> None:
        """Close the files."""
        for source in self._sources:
            source.close()


def _id_of_row(line: bytes) -> str | None:
    """Return the custom_id of a result line; None if the line is not a readable row."""
    try:
        return custom_id_of(line)
    except DECODE_ERRORS:
        row = classify_row(line)
    return row.custom_id if row else None
