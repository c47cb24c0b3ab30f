"""Reads ahead of whoever uses the data, so that waiting for it and working on it overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

_PIECES = 4


def read_ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """Yield ``pieces``, up to four of which are fetched in advance by a thread of their own.

    What their source raises is raised here in its place. With this generator the source is closed.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")
    waiting: deque[Future[bytes | None]] = deque()
    try:
        for _ in range(_PIECES):
            waiting.append(pool.submit(next, pieces, None))
        while (piece := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, pieces, None))
            yield piece
    finally:
        pool.shutdown(cancel_futures=True)
        pieces.close()
