"""Concatenate the shards' objects into one, letting S3 copy as much as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import msgspec

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject

SMALLEST_PART_BYTES = 5 * 1024 * 1024 + 1
"""Minimum size of a part except the last, and of a copy source. S3 accepts parts from 5 MiB up, but
copies ranges only from larger sources
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html)."""
LARGEST_COPY_BYTES = 5 * 1024 * 1024 * 1024
"""Maximum number of bytes per UploadPartCopy."""


class Read(msgspec.Struct, frozen=True):
    """Bytes that pass through the function: a range too small to be a separate part."""

    key: str
    first: int
    length: int


class Copy(msgspec.Struct, frozen=True):
    """A range that S3 copies into a separate part."""

    key: str
    first: int
    length: int


class Flush(msgspec.Struct, frozen=True):
    """Uploads the bytes read so far as a part."""


Step = Read | Copy | Flush


def plan_join(sources: Iterable[StoredObject]) -> Iterator[Step]:
    """Plan the concatenation of objects in order.

    Every part except the last has at least ``SMALLEST_PART_BYTES``. Smaller ranges are read and
    combined; before a large object they are filled up with bytes from its start, so that at most
    one smallest part per boundary passes through the function.

    Args:
        sources: The objects in order, with sizes in bytes.

    Yields:
        The steps: reads, flushes of the bytes read into a part, copies.
    """
    pending = 0
    for source in sources:
        first = 0
        if pending and pending + source.size >= SMALLEST_PART_BYTES:
            first = SMALLEST_PART_BYTES - pending
            yield Read(source.key, 0, first)
            yield Flush()
            pending = 0
        rest = source.size - first
        if rest >= SMALLEST_PART_BYTES:
            yield from _copies(source.key, first, rest)
        elif rest:
            yield Read(source.key, first, rest)
            pending += rest


def _copies(key: str, first: int, length: int) -> Iterator[Copy]:
    """Divide a range into copies of a permitted size."""
    while length:
        part = length
        if part > LARGEST_COPY_BYTES:
            part = LARGEST_COPY_BYTES
            if length - part < SMALLEST_PART_BYTES:
                part -= SMALLEST_PART_BYTES
        yield Copy(key, first, part)
        first += part
        length -= part


def join(storage: Storage, sources: Iterable[StoredObject], writer: ObjectWriter) -> None:
    """Write the concatenated content of ``sources`` to ``writer``."""
    for step in plan_join(sources):
        if isinstance(step, Flush):
            writer.flush_part()
        elif isinstance(step, Copy):
            writer.copy_part(step.key, first=step.first, length=step.length)
        else:
            with closing(storage.chunks(step.key, first=step.first, length=step.length)) as pieces:
                for piece in pieces:
                    writer.write(piece)
