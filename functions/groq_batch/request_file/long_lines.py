"""Check a line that is too long to be held in memory, from its pieces."""

from __future__ import annotations

import codecs

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem
from groq_batch.request_file.lines import LongLinePiece
from groq_batch.request_file.syntax_messages import encoding_message, too_long_message

_BEGINNING_BYTES = 16
"""Bytes kept of the beginning, which can show that the file has another format."""


class LongLine:
    """Measures a long line and finds its first byte that is not UTF-8."""

    def __init__(self) -> None:
        self.size = 0
        self._beginning = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._encoding_error: int | None = None

    def add(self, piece: LongLinePiece) -> None:
        """Add the next piece."""
        if not self.size:
            self._beginning = piece.data[:_BEGINNING_BYTES]
        if self._encoding_error is None:
            pending = len(self._decoder.getstate()[0])
            try:
                self._decoder.decode(piece.data, piece.is_last)
            except UnicodeDecodeError as error:
                self._encoding_error = self.size - pending + error.start + 1
        self.size += len(piece.data)

    def problem(self, number: int, max_line_bytes: int) -> Problem:
        """Return the line's problem, after the last piece was added.

        Args:
            number: The line's number in the file, from 1.
            max_line_bytes: The limit that it exceeds.
        """
        if self._encoding_error is not None:
            message = encoding_message(self._encoding_error, self._beginning)
            return Problem(number, None, ErrorCode.INVALID_ENCODING, message)
        message = too_long_message(self.size, max_line_bytes)
        return Problem(number, None, ErrorCode.LINE_TOO_LONG, message)
