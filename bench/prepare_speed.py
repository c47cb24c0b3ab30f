"""How fast an input is checked and cut into shards, next to decoding the same lines alone.

Prints, in one run on one machine, megabytes per second of ``split_input`` (lines, all checks, ids,
shards into nothing) and of two loops that only decode lines already split: msgspec and ``json``.

    python bench/prepare_speed.py [megabytes]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))

from groq_batch.split import SplitLimits, split_input

ROUNDS = 5
CHUNK_BYTES = 1024 * 1024
TEXT = 'Say in a sentence:\nThe battery "lasts two days", the caf\u00e9 mode does not. '
ASCII_TEXT = TEXT.replace("\u00e9", "e")


class NullSink:
    """Takes everything and keeps nothing."""

    def shard(self, _: int) -> NullSink:
        """Return itself; so do the others."""
        return self

    skipped_index = skipped_raw = shard

    def problems(self) -> NullSink:
        """Return itself."""
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop the bytes."""


def request_line(number: int, size: int, text: str) -> bytes:
    """Return a request line of about some bytes."""
    content = text * (size // len(text) + 1)
    line: dict[str, object] = {
        "custom_id": f"request-{number:08d}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "openai/gpt-oss-20b",
            "messages": [{"role": "user", "content": ""}],
            "max_completion_tokens": 200,
        },
    }
    room = size - len(json.dumps(line))
    line["body"]["messages"][0]["content"] = content[: max(room, 0)]  # type: ignore[index]
    return json.dumps(line, ensure_ascii=False).encode()


def seconds(work: Callable[[], object]) -> float:
    """Return the time of the quickest of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def compare(name: str, size: int, text: str, total_bytes: int) -> None:
    """Time the three on lines of one size."""
    lines = [request_line(number, size, text) for number in range(total_bytes // size)]
    data = b"\n".join(lines) + b"\n"
    chunks = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    limits = SplitLimits(max_requests=50_000, max_bytes=100_000_000, max_line_bytes=32 * 2**20)
    decode = msgspec.json.Decoder().decode

    def split() -> None:
        summary = split_input(
            chunks, gzipped=False, limits=limits, skip_invalid=False, sink=NullSink()
        )
        assert summary.good == len(lines), summary.problems[:1]

    def with_msgspec() -> None:
        for line in lines:
            decode(line)

    def with_json() -> None:
        for line in lines:
            json.loads(line)

    ours, alone, slow = seconds(split), seconds(with_msgspec), seconds(with_json)
    megabytes = len(data) / 1e6
    print(
        f"{name:<24}{megabytes / ours:>12.0f}{megabytes / alone:>12.0f}{megabytes / slow:>12.0f}"
        f"{alone / ours:>12.0%}{slow / ours:>11.1f}x"
    )


def main() -> None:
    """Print the table."""
    total_bytes = int(sys.argv[1]) * 1_000_000 if len(sys.argv) > 1 else 80_000_000
    titles = ("split MB/s", "msgspec", "json", "of msgspec", "of json")
    print(f"{'lines':<24}" + "".join(f"{title:>12}" for title in titles))
    compare("4 KB, ASCII", 4096, ASCII_TEXT, total_bytes)
    compare("4 KB, some accents", 4096, TEXT, total_bytes)
    compare("200 bytes, ASCII", 200, ASCII_TEXT, total_bytes // 4)


if __name__ == "__main__":
    main()
