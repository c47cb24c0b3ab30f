"""Write a shard's request lines, letting S3 copy unchanged ranges of the input.

Most inputs need no change, so that a shard is a byte range of the input. Such a range is never
sent: S3 copies it from the input into a part of the upload. Ranges too short for a separate part,
and changed lines (other line ends, blank lines left out), are sent.
"""

from __future__ import annotations

import msgspec

from groq_batch.bucket.pending_upload import PendingUpload, PendingWriter
from groq_batch.bucket.storage import Storage

SMALLEST_COPY_BYTES = 6 * 1024 * 1024
"""Minimum size of a copy. S3 copies a range only from an object of more than 5 MB, and into a part
of at least 5 MiB unless it is the last:
<https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>."""
LARGEST_COPY_BYTES = 64 * 1024 * 1024
"""S3 copies the start of a longer range while the rest is still being checked."""


class CopySource(msgspec.Struct, frozen=True):
    """The source of copies: a version of an object, which is immutable.

    Attributes:
        key: Key of the object.
        version_id: The version.
        begins_at: Offset of the first byte of the stream that is cut into shards.
    """

    key: str
    version_id: str
    begins_at: int = 0


class CopyingWriter(PendingWriter):
    """Writes a shard's lines; S3 copies those that the input has as they are."""

    def __init__(self, storage: Storage, key: str, source: CopySource | None) -> None:
        """Begin an object at ``key``, copied from ``source`` where possible."""
        super().__init__(storage, key)
        self._source = source
        # The input range of the latest lines, and these lines while they are too short for a
        # copy.
        self._first = 0
        self._size = 0
        self._lines: list[bytes] = []

    def write_lines(self, lines: list[bytes], size: int, offset: int | None) -> None:
        """Append lines.

        Args:
            lines: The lines, with line feeds.
            size: Their size in bytes.
            offset: Offset of these exact bytes in the stream that is split; None if they were
                changed.
        """
        if offset is None or offset != self._first + self._size:
            self._end_stretch()
        if offset is None or self._source is None or (self._buffer and not self._size):
            # Bytes are buffered that must fill their part first: append to them.
            self.write(b"".join(lines))
            return
        if not self._size:
            self._first = offset
        self._size += size
        if self._size < SMALLEST_COPY_BYTES:
            self._lines += lines
            return
        self._lines = []
        if self._size >= LARGEST_COPY_BYTES:
            self._end_stretch()

    def seal(self) -> None:
        """Send the remaining bytes and wait until S3 has all parts."""
        self._end_stretch()
        super().seal()

    def hold(self) -> PendingUpload:
        """Finish writing and return the pending upload; see ``PendingWriter.hold``."""
        self._end_stretch()
        return super().hold()

    def abort(self) -> None:
        """Abort the upload and discard its data."""
        self._size, self._lines = 0, []
        super().abort()

    def _end_stretch(self) -> None:
        size, lines = self._size, self._lines
        self._size, self._lines = 0, []
        if size < SMALLEST_COPY_BYTES:
            self.write(b"".join(lines))
        elif self._source is not None:
            self.copy_part(
                self._source.key,
                version_id=self._source.version_id,
                first=self._source.begins_at + self._first,
                length=size,
            )
