"""Joins the shards' objects into one without reading what S3 can copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject

SMALLEST_PART_BYTES = 5 * 1024 * 1024 + 1
"""Least bytes of a part but the last, and of what parts are copied from. S3 takes parts from 5 MiB
on, but copies ranges only of sources that are greater than that
(https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html)."""
LARGEST_COPY_BYTES = 5 * 1024 * 1024 * 1024
"""Most bytes that one UploadPartCopy takes."""


@dataclass(frozen=True, slots=True)
class Read:
    """Bytes that pass through the function: a range too small to be a part of its own."""

    key: str
    first: int
    length: int


@dataclass(frozen=True, slots=True)
class Copy:
    """A range that S3 copies into a part of its own."""

    key: str
    first: int
    length: int


@dataclass(frozen=True, slots=True)
class Flush:
    """The bytes read so far become a part."""


Step = Read | Copy | Flush


def plan_join(sources: Iterable[StoredObject]) -> Iterator[Step]:
    """Plan the joining of objects in order.

    Every part but the last has at least ``SMALLEST_PART_BYTES``. What is smaller is read and put
    together; where such bytes stand before a large object they are filled up from its head, so that
    at most one smallest part for each boundary passes through the function.

    Args:
        sources: The objects in order, with sizes in bytes.

    Yields:
        The steps: reads, flushes of what was read into a part, copies.
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
    """Cut a range into copies none of which is too small or too large."""
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
    """Write the joined content of ``sources`` to ``writer``."""
    for step in plan_join(sources):
        if isinstance(step, Flush):
            writer.flush_part()
        elif isinstance(step, Copy):
            writer.copy_part(step.key, first=step.first, length=step.length)
        else:
            with storage.open(step.key, first=step.first, length=step.length) as body:
                while piece := body.read(1024 * 1024):
                    writer.write(piece)
