"""Divide a shard that the API refused as a whole, as planned for the next attempt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.request_file.lines import LineReader
from groq_batch.request_file.shard_parts import ShardContents, part_key
from groq_batch.telemetry.log import logger

_WRITTEN_AT_ONCE = 10
"""Parts written in one pass over the shard; each of them buffers a few megabytes."""


def divide_shard(storage: Storage, keys: object_keys.WorkKeys, attempt: int, number: int) -> None:
    """Write those parts of a shard to be divided that are not written yet.

    An existing part is kept: a concurrent invocation writes the same lines.

    Args:
        storage: The bucket.
        keys: Keys of the job's working files.
        attempt: Attempt of the shard; its parts are shards of the next one.
        number: The shard.

    Raises:
        ValueError: The shard does not match the plan.
    """
    plan = AttemptPlan.load(storage, keys, attempt + 1)
    parts = plan.parts_of(number) if plan is not None else range(0)
    missing = [part for part in parts if not storage.exists(keys.shard(attempt + 1, part))]
    if not missing:
        return
    source = keys.shard(attempt, number)
    with _lines(storage, source) as lines:
        contents = ShardContents.of(lines)
    if contents.parts != len(parts):
        raise ValueError(f"{source} makes {contents.parts} parts, not {len(parts)} as planned")
    places = {key: parts[place] for key, place in contents.places().items()}
    for begin in range(0, len(missing), _WRITTEN_AT_ONCE):
        _write(
            storage, keys, source, places, attempt + 1, missing[begin : begin + _WRITTEN_AT_ONCE]
        )
    logger.info("Divided a shard", parts=len(parts))


def _write(
    storage: Storage,
    keys: object_keys.WorkKeys,
    source: str,
    places: dict[bytes, int],
    attempt: int,
    parts: Sequence[int],
) -> None:
    """Write some of the parts, in one pass over the shard."""
    writers = {part: ObjectWriter(storage, keys.shard(attempt, part)) for part in parts}
    pending = dict(writers)
    try:
        with _lines(storage, source) as lines:
            for line in lines:
                writer = writers.get(places[part_key(line)])
                if writer is not None:
                    writer.write(line + b"\n")
        while pending:
            _, writer = pending.popitem()
            try:
                writer.commit(over=None)
            except ConflictError:
                if not storage.exists(writer.key):
                    raise
                logger.info("Another invocation has also written a part")
    finally:
        for writer in pending.values():
            writer.abort()


@contextmanager
def _lines(storage: Storage, key: str) -> Iterator[LineReader]:
    with closing(storage.chunks(key)) as pieces:
        yield LineReader(pieces)
