"""Where a preparation writes shards and problems: into uploads that S3 holds back."""

from __future__ import annotations

import zlib
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from groq_batch.bucket.concat import join
from groq_batch.bucket.copying_writer import CopyingWriter, CopySource
from groq_batch.bucket.pending_upload import PendingUpload, PendingWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.canary import CANARY_SHARD

_SEALED_AT_ONCE = 2
_DROPPED_AT_ONCE = 16


class ShardWriter:
    """Takes what the splitting finds into uploads that S3 holds back.

    A shard is three objects at most: its requests, and in a job that leaves
    out invalid lines those between its requests and what is wrong with them. One more object holds
    the ids of all requests. Used as a context manager it leaves nothing behind when the block
    fails.
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
            keys: The job's working files.
            part: The part of the input, from 1, that is cut.
            problems_key: Where the problems go.
            compress: Whether they are compressed.
            source: Where the stream that is cut stands, if shards can be copied from there.
            has_canary: Whether the first shard is sent alone, and the others are put where the
                second attempt looks for them.
        """
        self._storage = storage
        self._keys = keys
        self._current = 0
        self._shard: CopyingWriter | None = None
        self._skipped: dict[str, PendingWriter] = {}
        self._ended: list[PendingWriter] = []
        self._pool = ThreadPoolExecutor(max_workers=_SEALED_AT_ONCE)
        self._sealing: list[Future[None]] = []
        self._source = source
        self._has_canary = has_canary
        self._ids = PendingWriter(storage, keys.custom_ids(part))
        self._problems = ProblemWriter(PendingWriter(storage, problems_key), compress=compress)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()

    def shard(self, number: int) -> CopyingWriter:
        """Return where the request lines of a shard go."""
        self._begin(number)
        if self._shard is None:
            waits = self._has_canary and number != CANARY_SHARD
            key = self._keys.shard(2 if waits else 1, number)
            self._shard = CopyingWriter(self._storage, key, self._source)
        return self._shard

    def custom_ids(self) -> PendingWriter:
        """Return where the ids of the requests go."""
        return self._ids

    def skipped_index(self, number: int) -> PendingWriter:
        """Return where a row for each invalid line of a shard goes."""
        return self._skipped_writer(number, self._keys.skipped_index(number))

    def skipped_raw(self, number: int) -> PendingWriter:
        """Return where the invalid lines of a shard go."""
        return self._skipped_writer(number, self._keys.skipped_raw(number))

    def problems(self) -> ProblemWriter:
        """Return where a row for each problem goes."""
        return self._problems

    def hold_shards(self) -> tuple[PendingUpload, ...]:
        """End the writing of the shards and return what completes them."""
        self._seal_current()
        self._wait_for_sealing(0)
        ids = [self._ids] if self._ids.bytes_written else []
        return tuple(writer.hold() for writer in (*self._ended, *ids))

    def abort(self, *, keep: Collection[PendingUpload] = ()) -> None:
        """Drop everything but what is to be kept."""
        self._pool.shutdown()
        kept = {upload.upload_id for upload in keep}
        writers = (*self._ended, *self._unsealed(), self._ids, self._problems.writer)
        dropped = [one for one in writers if one.upload_id not in kept]
        with ThreadPoolExecutor(max_workers=_DROPPED_AT_ONCE) as pool:
            list(pool.map(lambda one: one.abort(), dropped))

    def _begin(self, number: int) -> None:
        """Go on with a shard; the one before is complete."""
        if number != self._current:
            # Its last bytes go to S3 and leave the memory.
            self._seal_current()
            self._current = number

    def _skipped_writer(self, number: int, key: str) -> PendingWriter:
        self._begin(number)
        if key not in self._skipped:
            self._skipped[key] = PendingWriter(self._storage, key)
        return self._skipped[key]

    def _unsealed(self) -> list[PendingWriter]:
        shard = [self._shard] if self._shard is not None else []
        return [*shard, *self._skipped.values()]

    def _seal_current(self) -> None:
        for writer in self._unsealed():
            self._ended.append(writer)
            self._sealing.append(self._pool.submit(writer.seal))
        self._shard, self._skipped = None, {}
        self._wait_for_sealing(_SEALED_AT_ONCE)

    def _wait_for_sealing(self, most: int) -> None:
        """Wait until few enough writers are being sealed; they hold a few parts each."""
        while len(self._sealing) > most:
            self._sealing.pop(0).result()


class ProblemWriter:
    """Problem rows into ``invalid``, compressed like the input."""

    def __init__(self, writer: PendingWriter, *, compress: bool) -> None:
        """Write to ``writer``."""
        self.writer = writer
        self._gzip = zlib.compressobj(6, zlib.DEFLATED, 31) if compress else None
        self._is_used = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append rows."""
        self._is_used = True
        self.writer.write(self._gzip.compress(data) if self._gzip else data)

    def join(self, storage: Storage, sources: Collection[StoredObject]) -> None:
        """Append the rows of other objects, none of which is compressed, and neither is this."""
        self._is_used = self._is_used or bool(sources)
        join(storage, sources, self.writer)

    def hold(self) -> PendingUpload | None:
        """End the writing; returns what completes the upload, None if nothing was written."""
        if not self._is_used:
            return None
        if self._gzip is not None:
            self.writer.write(self._gzip.flush())
        return self.writer.hold()
