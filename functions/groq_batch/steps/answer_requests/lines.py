"""Read the requests to send as ordinary calls, in file order."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.on_demand import LinePosition
from groq_batch.request_file.lines import LineReader


class RequestLines:
    """The lines of an attempt's shards from a given position, each with its position."""

    def __init__(
        self,
        storage: Storage,
        keys: object_keys.WorkKeys,
        attempt: int,
        *,
        shard: int,
        line: int,
        offset: int,
    ) -> None:
        """Read from a given position; shard 0 means the beginning.

        Args:
            storage: The bucket.
            keys: Keys of the job's working files.
            attempt: The attempt.
            shard: Shard of the first line.
            line: Line number in the shard, from 1.
            offset: Byte offset of that line in the shard.
        """
        self._storage = storage
        self._keys = keys
        self._attempt = attempt
        self._begin = (shard, line, offset)
        self._lines = self._read()
        self._next: tuple[LinePosition, bytes] | None = None

    def close(self) -> None:
        """Close the open streams."""
        self._lines.close()

    def peek(self) -> tuple[LinePosition, bytes] | None:
        """Return the next line without consuming it; None at the end."""
        if self._next is None:
            self._next = next(self._lines, None)
        return self._next

    def take(self) -> None:
        """Consume the line that ``peek`` returned."""
        self._next = None

    def at(self, place: LinePosition) -> bytes:
        """Return the line at a position, read with a range request."""
        key = self._keys.shard(self._attempt, place.shard)
        return b"".join(self._storage.chunks(key, first=place.offset, length=place.size))

    def _read(self) -> Generator[tuple[LinePosition, bytes]]:
        first_shard, first_line, first_offset = self._begin
        for number, size in self._shards():
            if number < first_shard:
                continue
            line, offset = (first_line, first_offset) if number == first_shard else (1, 0)
            if offset >= size:
                continue
            key = self._keys.shard(self._attempt, number)
            with closing(self._storage.chunks(key, first=offset)) as pieces:
                for data in LineReader(pieces):
                    yield LinePosition(shard=number, line=line, offset=offset, size=len(data)), data
                    line, offset = line + 1, offset + len(data) + 1

    def _shards(self) -> Iterator[tuple[int, int]]:
        found = (
            (object_keys.shard_of_key(shard.key)[1], shard.size)
            for shard in self._storage.objects(self._keys.shards(self._attempt))
        )
        yield from sorted(found)
