"""Process many items concurrently with threads, for calls that mostly wait for the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_parallel(
    work: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int = 16
) -> list[_Result]:
    """Call a function with each item, several at a time; return the results in the items' order.

    Args:
        work: The function; it runs in other threads.
        items: The items.
        workers: Maximum number of threads.

    Raises:
        Exception: The exception of the first item whose call failed. Calls in progress finish
            first; the others are not made.
    """
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(work, items))
