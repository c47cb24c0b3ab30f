"""Streams of S3 that do not behave."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ReadTimeoutError


class BreakingBody:
    """A stream that breaks after some bytes, unless it has ended by then.

    It is no context manager: as one, boto3's stream returns another that has other errors.
    """

    def __init__(self, body: Any, *, gives: int) -> None:
        """Pass on so many bytes of ``body``."""
        self._body = body
        self._gives = gives

    def close(self) -> None:
        """Close the stream."""
        self._body.close()

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            ReadTimeoutError: There are no more that are given.
        """
        if not self._gives:
            raise ReadTimeoutError(endpoint_url="https://s3")
        data: bytes = self._body.read(min(size, self._gives))
        self._gives -= len(data)
        return data
