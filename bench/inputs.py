"""The files that are measured with, made once and kept under ``.local``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.peers.driver import MODEL
from local.environment import CACHE_FOLDER

TEXT = 'Say in a sentence:\nThe battery "lasts two days", the cafe mode does not. '
ACCENTED_TEXT = TEXT.replace("cafe", "caf\u00e9")
CODE_TEXT = 'rows = [{"id": n, "tags": ["a", "b"]} for n in range(10)]\nprint(json.dumps(rows))\n'

_FOLDER = CACHE_FOLDER / "bench-inputs"
_SHOWN_CHARACTERS = 2000
"""So much of a prompt the simulator says again."""


def request_line(number: int, size: int, text: str = TEXT) -> bytes:
    """Return a request line of about ``size`` bytes, without line end."""
    line = {
        "custom_id": f"request-{number:08d}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": MODEL,
            "messages": [{"role": "user", "content": ""}],
            "max_completion_tokens": 200,
        },
    }
    room = max(size - len(json.dumps(line)), 0)
    content = f"{number} " + text * (room // len(text) + 1)
    # Escapes make the text longer than its characters.
    escapes = content[:room].count('"') + content[:room].count("\n")
    line["body"]["messages"][0]["content"] = content[: room - escapes]  # type: ignore[index]
    return json.dumps(line, ensure_ascii=False).encode()


def request_file(count: int, size: int) -> Path:
    """Return a file of ``count`` requests of about ``size`` bytes each; makes it if need be."""
    path = _FOLDER / f"{count}-of-{size}.jsonl"
    if not path.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as target:
            for number in range(count):
                target.write(request_line(number, size) + b"\n")
        unfinished.rename(path)
    return path


def expected_answers(source: Path) -> Iterator[tuple[str, str]]:
    """Yield the id and the answer that the simulator gives, for each request of a file in order."""
    with source.open("rb") as lines:
        for line in lines:
            request = json.loads(line)
            prompt = request["body"]["messages"][0]["content"]
            yield request["custom_id"], f"Echo: {prompt[:_SHOWN_CHARACTERS]}"
