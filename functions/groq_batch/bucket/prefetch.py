"""Prefetch chunks on a thread so that I/O and processing overlap."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

_PIECES = 4


def read_ahead(pieces: Generator[bytes]) -> Generator[bytes]:
    """Yield ``pieces``, up to four of which a thread fetches in advance.

    Exceptions of the source are raised here. Closing this generator closes the source.
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
