"""Read the input lines of an origin shard, valid and invalid ones, in order."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Self

import msgspec

from groq_batch.bucket.prefetch import prefetch
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.result_row import custom_id_of, pipeline_row
from groq_batch.records.job import JobRecord
from groq_batch.request_file.lines import READ_BYTES, LineReader

_text = msgspec.json.Decoder(str)


class SkippedLine(msgspec.Struct, frozen=True):
    """An invalid line: its problem, and its bytes with the line end.

    The bytes come in pieces, because a line that is too long has no upper limit. They must be read
    before the next line is requested.
    """

    problem: dict[str, Any]
    pieces: Iterator[bytes]

    def row(self) -> bytes:
        """Return its result row."""
        found = self.problem
        return pipeline_row(found["custom_id"], code=found["code"], message=found["message"])


class ShardLines:
    """The lines of an origin shard; use it in a ``with`` block and read it once."""

    def __init__(
        self,
        storage: Storage,
        keys: object_keys.WorkKeys,
        job: JobRecord,
        number: int,
        *,
        uses_kept_ids: bool = True,
    ) -> None:
        """Open the lines of an origin shard.

        Args:
            storage: The bucket.
            keys: Keys of the job's working files.
            job: The job's record, which lists the shard.
            number: The shard's number.
            uses_kept_ids: Whether to use the stored ids; otherwise the lines themselves are parsed.
        """
        self._storage = storage
        self._keys = keys
        self._job = job
        self._uses_kept_ids = uses_kept_ids
        self._shard = job.origin(number)
        self._requests = _RequestLines(
            storage, keys.shard(job.attempt_of_request_lines(number), number)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()

    @property
    def first_line(self) -> int:
        """Position of the first line among the input's non-blank lines, from 1."""
        before = (shard for shard in self._job.shards if shard.number < self._shard.number)
        return 1 + sum(shard.requests + shard.skipped for shard in before)

    @property
    def lines_are_known(self) -> bool:
        """Whether these positions are line numbers, because the input has no blank line."""
        return self._job.lines == self._job.total

    def __iter__(self) -> Iterator[tuple[int, str] | SkippedLine]:
        """Yield the non-blank lines in order; valid ones as position among them and custom_id."""
        good = enumerate(self._custom_ids())
        if self._shard.skipped:
            number = self._shard.number
            raw = _Raw(self._storage.open(self._keys.skipped_raw(number)))
            position = 0
            for row in LineReader(self._storage.chunks(self._keys.skipped_index(number))):
                problem = msgspec.json.decode(row)
                while position < problem["position"]:
                    yield next(good)
                    position += 1
                yield SkippedLine(problem, raw.pieces(problem["bytes"] + 1))
                position += 1
        yield from good

    def request_line(self, place: int) -> bytes:
        """Return a valid line, with its line end, by its position among the valid lines.

        Positions must be requested in order. The shard is read only as far as needed, often not at
        all.

        Raises:
            ValueError: There is no such line.
        """
        return self._requests.line(place) + b"\n"

    def _custom_ids(self) -> Iterator[str]:
        """Yield the ids of the shard's requests in order.

        Raises:
            ValueError: Their number differs from the plan.
        """
        shard, ids = self._shard, self._shard.ids
        key = self._keys.custom_ids(ids.part)
        # Jobs of older versions have no stored ids, and deleted ids can be read from the lines.
        if not (self._uses_kept_ids and ids.part and self._storage.exists(key)):
            for place in range(shard.requests):
                yield custom_id_of(self._requests.line(place))
            return
        count = 0
        with closing(self._storage.chunks(key, first=ids.first, length=ids.size)) as pieces:
            for line in LineReader(pieces):
                count += 1
                yield _text.decode(line)
        if count != shard.requests:
            raise ValueError(
                f"{key} has {count} ids for shard {shard.number}, not {shard.requests} as the plan "
                f"says"
            )


class _RequestLines:
    """The lines of a shard, read on demand, because most shards need none."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._pieces: Generator[bytes] | None = None
        self._lines: Iterator[bytes] = iter(())
        self._next = 0
        self._line = b""

    def close(self) -> None:
        """Close the stream."""
        if self._pieces is not None:
            self._pieces.close()

    def line(self, place: int) -> bytes:
        """Return a line without its line end; positions, from 0, must ascend (repeats allowed).

        Raises:
            ValueError: There is no such line.
        """
        if self._pieces is None:
            self._pieces = prefetch(self._storage.chunks(self._key))
            self._lines = iter(LineReader(self._pieces))
        if place >= self._next:
            skipped = place - self._next
            line = next(islice(self._lines, skipped, None), None)
            if line is None:
                raise ValueError(f"{self._key} has fewer lines than its plan says")
            self._line, self._next = line, place + 1
        return self._line


class _Raw:
    """Reads blocks of known length from a stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def pieces(self, length: int) -> Iterator[bytes]:
        """Yield the next ``length`` bytes."""
        missing = length
        while missing:
            piece = self._stream.read(min(missing, READ_BYTES))
            if not piece:
                raise ValueError("The stored invalid lines are shorter than their index says")
            yield piece
            missing -= len(piece)
