"""Write shards and problems as multipart uploads that are completed later."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import msgspec

from groq_batch.bucket.concat import join
from groq_batch.bucket.copying_writer import CopyingWriter, CopySource
from groq_batch.bucket.pending_upload import PendingUpload, PendingWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.canary import CANARY_SHARD
from groq_batch.domain.parallel import in_parallel
from groq_batch.domain.problem import Problem, problem_row
from groq_batch.domain.shard import Shard
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.lines import LongLinePiece
from groq_batch.request_file.split_events import (
    InputEnded,
    LinesAdded,
    LineSkipped,
    ProblemFound,
    ShardEnded,
    ShardStarted,
    SplitEvent,
)

_MAX_SEALING = 2


class ShardWriter:
    """Writes the shards and the problems of an input into pending uploads.

    A shard has up to three objects: its request lines and, if invalid lines are skipped, these
    lines and an index of their problems. One more object has the ids of all requests. Used as a
    context manager it aborts all uploads when the block fails.
    """

    def __init__(
        self,
        storage: Storage,
        keys: object_keys.WorkKeys,
        *,
        part: int = 1,
        problems_key: str,
        compress: bool = False,
        source: CopySource | None = None,
        has_canary: bool = False,
    ) -> None:
        """Write for a job.

        Args:
            storage: The bucket.
            keys: Keys of the job's working files.
            part: Number of the part of the input, from 1.
            problems_key: Key of the problems.
            compress: Whether the problems are compressed.
            source: The object that is split, if request lines can be copied from it.
            has_canary: Whether the first shard is sent alone. The others are then written where
                the second attempt expects its shards.
        """
        self.problems = ProblemWriter(PendingWriter(storage, problems_key), compress=compress)
        self._storage = storage
        self._keys = keys
        self._source = source
        self._has_canary = has_canary
        self._shard: _OpenShard | None = None
        self._ids = PendingWriter(storage, keys.custom_ids(part))
        self._ended: list[PendingWriter] = []
        self._pool = ThreadPoolExecutor(max_workers=_MAX_SEALING)
        self._sealing: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()

    def write(self, events: Iterable[SplitEvent]) -> InputSummary:
        """Write what the splitter yields, and return its summary.

        Raises:
            ValueError: The events have no end, or lines come outside of a shard.
        """
        for event in events:
            match event:
                case LinesAdded():
                    self._current.requests.write_lines(event.lines, event.size, event.offset)
                    self._ids.write(event.custom_ids)
                case ShardStarted():
                    self._shard = self._open_shard(event.number)
                case LongLinePiece():
                    self._current.skipped_lines.write(event.data)
                case LineSkipped():
                    self._current.skip(event)
                    self.problems.write(event.problem)
                case ProblemFound():
                    self.problems.write(event.problem)
                case ShardEnded():
                    self._seal_shard(event.shard)
                case InputEnded():
                    return event.summary
            del event  # Frees its lines before the next ones are read.
        raise ValueError("The events have no end")

    def finish_shards(self) -> tuple[PendingUpload, ...]:
        """Return the uploads of the shards that have ended, and that of the ids."""
        self._wait_for_sealing(0)
        ids = [self._ids] if self._ids.bytes_written else []
        return tuple(writer.hold() for writer in (*self._ended, *ids))

    def abort(self, *, keep: Collection[PendingUpload] = ()) -> None:
        """Abort all uploads except ``keep``."""
        self._pool.shutdown()
        kept = {upload.upload_id for upload in keep}
        open_shard = self._shard.writers if self._shard is not None else ()
        writers = (*self._ended, *open_shard, self._ids, self.problems.writer)
        aborted = [writer for writer in writers if writer.upload_id not in kept]
        in_parallel(lambda writer: writer.abort(), aborted)

    @property
    def _current(self) -> _OpenShard:
        if self._shard is None:
            raise ValueError("A line comes before the start of its shard")
        return self._shard

    def _open_shard(self, number: int) -> _OpenShard:
        keys, is_canary = self._keys, number == CANARY_SHARD
        attempt = 2 if self._has_canary and not is_canary else 1
        return _OpenShard(
            CopyingWriter(self._storage, keys.shard(attempt, number), self._source),
            PendingWriter(self._storage, keys.skipped_raw(number)),
            PendingWriter(self._storage, keys.skipped_index(number)),
        )

    def _seal_shard(self, shard: Shard) -> None:
        """Send the rest of the current shard to S3 in the background, which frees its memory."""
        current = self._current
        writers: list[PendingWriter] = []
        if shard.requests:
            writers.append(current.requests)
        if shard.skipped:
            writers += [current.skipped_lines, current.skipped_index]
        for writer in writers:
            self._ended.append(writer)
            self._sealing.append(self._pool.submit(writer.seal))
        self._shard = None
        self._wait_for_sealing(_MAX_SEALING)

    def _wait_for_sealing(self, limit: int) -> None:
        """Wait until at most ``limit`` writers are being sealed; each holds a few parts."""
        while len(self._sealing) > limit:
            self._sealing.pop(0).result()


@dataclass(frozen=True, slots=True)
class _OpenShard:
    """The writers of the shard that is being written. They start an upload at their first part.

    Attributes:
        requests: Writes the request lines.
        skipped_lines: Writes the skipped lines.
        skipped_index: Writes a row for each skipped line.
    """

    requests: CopyingWriter
    skipped_lines: PendingWriter
    skipped_index: PendingWriter

    @property
    def writers(self) -> tuple[PendingWriter, ...]:
        return self.requests, self.skipped_lines, self.skipped_index

    def skip(self, line: LineSkipped) -> None:
        """Write a skipped line, or the end of a long one, and its row of the index."""
        self.skipped_lines.write(line.data + b"\n")
        problem = line.problem
        row = {
            "position": line.position,
            "line": problem.line,
            "custom_id": problem.custom_id,
            "code": problem.code,
            "message": problem.message,
            "bytes": line.size,
        }
        self.skipped_index.write(msgspec.json.encode(row) + b"\n")


class ProblemWriter:
    """Writes problems as rows of ``invalid/``, compressed if the input is."""

    def __init__(self, writer: PendingWriter, *, compress: bool) -> None:
        """Write to ``writer``."""
        self.writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compress else None
        self._is_used = False

    def write(self, problem: Problem) -> None:
        """Append a problem."""
        row = problem_row(problem)
        self._is_used = True
        self.writer.write(self._gzip.compress(row) if self._gzip else row)

    def join(self, storage: Storage, sources: Collection[StoredObject]) -> None:
        """Append the rows of other objects. Neither they nor this one may be compressed."""
        self._is_used = self._is_used or bool(sources)
        join(storage, sources, self.writer)

    def hold(self) -> PendingUpload | None:
        """End the writing; return the pending upload, or None if there is no problem."""
        if not self._is_used:
            return None
        if self._gzip is not None:
            self.writer.write(self._gzip.flush())
        return self.writer.hold()
