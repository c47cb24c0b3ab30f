"""Write the objects of an origin shard: results, failed lines, and lines to send again."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from typing import Self

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage

_WRITE_BYTES = 256 * 1024


class RowWriter:
    """Writes bytes into an object, optionally as one gzip member; without bytes, no object."""

    def __init__(self, writer: ObjectWriter, *, compressed: bool = False) -> None:
        self._writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compressed else None
        self._is_empty = True
        # Rows are written in groups: handling each on its own would cost more than the rest.
        self._rows: list[bytes] = []
        self._size = 0
        self.bytes_written = 0

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        """Buffer bytes, and write them on once there are enough."""
        self._rows.append(data)
        self._size += len(data)
        if self._size >= _WRITE_BYTES:
            self._pass_on()

    def _pass_on(self) -> None:
        if not self._rows:
            return
        data = b"".join(self._rows)
        self._rows, self._size, self._is_empty = [], 0, False
        self._writer.write(self._gzip.compress(data) if self._gzip else data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._pass_on()
        if kind is not None or self._is_empty:
            self._writer.abort()
            return
        if self._gzip is not None:
            self._writer.write(self._gzip.flush())
        self.bytes_written = self._writer.bytes_written
        self._writer.commit()


class LinesToRetry(ExitStack):
    """The lines of an attempt's shards that are kept for another attempt.

    Each writer buffers one part of an upload, but together no more than an origin shard's size.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage
        self._outputs: dict[str, RowWriter] = {}

    def write(self, key: str, line: bytes) -> None:
        """Append a line to the object at a key."""
        output = self._outputs.get(key)
        if output is None:
            writer = ObjectWriter(self._storage, key)
            output = self.enter_context(RowWriter(writer))
            self._outputs[key] = output
        output.write(line)
