"""Draw a histogram: choose its bars and the positions of its labels."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from groq_batch.domain.answer_stats import Histogram, bucket_start
from groq_batch.reports.page import charts, wording

_COLUMNS = 24
_WIDE_RANGE = 6
"""Ratio of the largest to the smallest value from which on the axis is logarithmic, so that a long
tail and a narrow middle are both visible."""
_PADDING = 4
_MAX_MARKS = 5


def draw_histogram(histogram: Histogram, label: str, write: Callable[[float], str]) -> str:
    """Draw how often values of similar size occurred.

    Args:
        histogram: The counts; at least one value.
        label: Name of the values.
        write: Formats a value for readers.
    """
    edges = _edges(histogram)
    counts = _counts(histogram, edges)
    # All bars have the same width but cover unequal ranges: the height shows the density of the
    # values, not their number per bar.
    heights = [
        count / (_scale(end, edges) - _scale(start, edges))
        for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True)
    ]
    highest, total = max(heights), histogram.count

    def title(count: float, start: int, end: int) -> str:
        values = write(start) if end - start == 1 else f"{write(start)} to {write(end - 1)}"
        return f"{values}: about {wording.percent(count, total)}"

    median, ninth = (round(histogram.quantile(share) or 0) for share in (0.5, 0.9))
    return charts.histogram(
        [
            charts.Column(height / highest, title(count, start, end))
            for height, count, start, end in zip(
                heights, counts, edges[:-1], edges[1:], strict=True
            )
        ],
        [charts.Mark(_place(value, edges), write(value)) for value in _marks(edges)],
        [charts.Mark(_place(median, edges), f"median: {write(median)}")],
        title=f"{label}: median {write(median)}, 90 % up to {write(ninth)}, "
        f"most {write(histogram.most or 0)}",
    )


def _edges(histogram: Histogram) -> list[int]:
    """Return the whole numbers at which the bars begin, and the one before which the last ends."""
    least, end = histogram.least or 0, (histogram.most or 0) + 1
    if end <= _WIDE_RANGE * max(least, 1) or end <= _COLUMNS:
        missing = 2 * _PADDING + 1 - (end - least)
        if missing > 0:
            least = max(least - (missing + 1) // 2, 0)
            end += missing // 2
        step = -(-(end - least) // _COLUMNS)
        return list(range(least, end + step, step))
    first = max(least, 1)
    growth = (end / first) ** (1 / _COLUMNS)
    edges = {round(first * growth**index) for index in range(_COLUMNS + 1)} | {end}
    return sorted(edges | {0} if least == 0 else edges)


def _is_logarithmic(edges: Sequence[int]) -> bool:
    return len({end - start for start, end in pairwise(edges)}) > 1


def _scale(value: float, edges: Sequence[int]) -> float:
    """Return the position of a value on the axis, in the axis's own unit."""
    return math.log(value + 1) if _is_logarithmic(edges) else value


def _counts(histogram: Histogram, edges: Sequence[int]) -> list[float]:
    """Spread each bucket's count evenly over the whole numbers that it covers."""
    counts = [0.0] * (len(edges) - 1)
    for bucket, count in histogram.buckets.items():
        start = max(bucket_start(bucket), histogram.least or 0)
        end = min(bucket_start(bucket + 1), (histogram.most or 0) + 1)
        column = bisect.bisect_right(edges, start) - 1
        position = start
        while position < end:
            stop = min(edges[column + 1], end)
            counts[column] += count * (stop - position) / (end - start)
            position, column = stop, column + 1
    return counts


def _place(value: float, edges: Sequence[int]) -> float:
    """Return the position of a value along the drawing (0 to 1)."""
    column = min(max(bisect.bisect_right(edges, value) - 1, 0), len(edges) - 2)
    start, end = edges[column], edges[column + 1]
    part = (value - start) / (end - start)
    return (column + min(max(part, 0.0), 1.0)) / (len(edges) - 1)


def _marks(edges: Sequence[int]) -> list[int]:
    """Return a few round values along the axis."""
    if _is_logarithmic(edges):
        values = [
            step * 10**power
            for power in range(len(str(edges[-1])))
            for step in (1, 2, 5)
            if edges[0] <= step * 10**power <= edges[-1]
        ]
    else:
        length = edges[-1] - edges[0]
        step = next(
            step * 10**power
            for power in range(len(str(length)) + 1)
            for step in (1, 2, 5)
            if step * 10**power * _MAX_MARKS >= length
        )
        first = -(-edges[0] // step) * step
        values = list(range(first, edges[-1] + 1, step))
    return values[:: -(-len(values) // _MAX_MARKS) or 1]
