"""Part "prepare": speed of checking and cutting an input, compared with decoding its lines.

All work on the same bytes, which are in memory: ours gets them in pieces as S3 gives them, finds
the lines, checks them, knows their ids and hands shards on; the others get the lines found.
Counted is CPU time, which other work on the machine disturbs least.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.inputs import ACCENTED_TEXT, CODE_TEXT, TEXT, request_line
from groq_batch.domain.shard import SplitLimits
from groq_batch.request_file.split_events import summary_of
from groq_batch.request_file.splitter import split_input

ROUNDS = 5
CHUNK_BYTES = 1024 * 1024
LINES = (
    ("4 KB, ASCII", 4096, TEXT, 80_000_000),
    ("4 KB, some accents", 4096, ACCENTED_TEXT, 80_000_000),
    ("4 KB, code", 4096, CODE_TEXT, 80_000_000),
    ("200 bytes, ASCII", 200, TEXT, 20_000_000),
)
"""Name, bytes of a line, text, bytes in all."""


def measure(*, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure all kinds of lines; returns megabytes per second by kind and contestant."""
    return {name: _speeds(size, text, total, rounds) for name, size, text, total in LINES}


def _speeds(size: int, text: str, total: int, rounds: int) -> dict[str, Any]:
    lines = [request_line(number, size, text) for number in range(total // size)]
    data = b"\n".join(lines) + b"\n"
    contestants = _contestants(data, lines)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            begun = time.process_time()
            work()
            times[name].append(time.process_time() - begun)
    return {name: len(data) / 1e6 / statistics.median(found) for name, found in times.items()}


def _contestants(data: bytes, lines: list[bytes]) -> dict[str, Callable[[], object]]:
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    limits = SplitLimits(max_requests=50_000, max_bytes=100_000_000, max_line_bytes=32 * 2**20)

    def ours() -> None:
        events = split_input(chunks, gzipped=False, limits=limits, skip_invalid=False)
        summary = summary_of(events)
        assert summary.good == len(lines), summary.problems[:1]

    def each(decode: Callable[[bytes], object]) -> Callable[[], None]:
        def work() -> None:
            for line in lines:
                decode(line)

        return work

    return {
        "ours": ours,
        "msgspec": each(msgspec.json.Decoder().decode),
        "json": each(json.loads),
    }
