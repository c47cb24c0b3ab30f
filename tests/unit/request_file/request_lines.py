"""Request lines, and checks that try both ways of checking them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groq_batch.domain.cost import ModelEstimate
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import InvalidLine, LineChecker, ValidLines
from groq_batch.request_file.lines import Lines
from groq_batch.request_file.request_rules import (
    CheckedRequest,
)

SECRET = "Xyzzy"
"""Stands wherever a line may hold content; no sentence may repeat it."""

BODY: Mapping[str, Any] = {
    "model": "openai/gpt-oss-20b",
    "messages": [{"role": "user", "content": SECRET}],
}
REQUEST: Mapping[str, Any] = {
    "custom_id": "a-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": BODY,
}
AUDIO_BODY: Mapping[str, Any] = {
    "model": "whisper-large-v3",
    "url": "https://example.com/Xyzzy.mp3",
    "response_format": "verbose_json",
}
ABSENT = object()


def request(**changes: Any) -> bytes:
    """Return a good request with some of its values changed, or left out."""
    fields = {**REQUEST, **changes}
    return dump({name: value for name, value in fields.items() if value is not ABSENT})


def with_body(**changes: Any) -> bytes:
    """Return a good request with some values of its body changed, or left out."""
    fields = {**BODY, **changes}
    return request(body={name: value for name, value in fields.items() if value is not ABSENT})


def audio(**changes: Any) -> bytes:
    """Return a good request for audio with some values of its body changed, or left out."""
    fields = {**AUDIO_BODY, **changes}
    body = {name: value for name, value in fields.items() if value is not ABSENT}
    return request(url="/v1/audio/transcriptions", body=body)


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def check(data: bytes) -> CheckedRequest | Problem:
    """Check a line both ways, which must agree."""
    careful = LineChecker().check(7, data)
    assert_agree(list(check_lines([data + b"\n"], 7)), careful, data)
    return careful


def check_lines(
    lines: list[bytes], number: int = 1, *, checker: LineChecker | None = None
) -> Iterator[ValidLines | InvalidLine]:
    """Check the lines of a block."""
    return (checker or LineChecker()).check_lines(Lines(number, 0, lines))


def assert_agree(
    found: Sequence[ValidLines | InvalidLine], careful: CheckedRequest | Problem, data: bytes
) -> None:
    """Compare what was found in a block of one line with what the careful way says of the line."""
    if isinstance(careful, Problem):
        assert found == [InvalidLine(data, careful)]
        return
    line = data + b"\n"
    (good,) = found
    assert isinstance(good, ValidLines)
    (estimate,) = good.models.values()
    if estimate.body_bytes != careful.body_bytes:
        assert has_equal_keys(data), "of equal keys the size may be that of all values"
        assert careful.body_bytes < estimate.body_bytes < len(data)
    assert good == ValidLines(
        [line],
        len(line),
        offset=0,
        custom_ids=[careful.custom_id],
        models={
            careful.model: ModelEstimate(1, estimate.body_bytes, careful.max_output_tokens or 0)
        },
    )


def has_equal_keys(data: bytes) -> bool:
    """Tell whether a key of the line itself, not of its values, stands twice."""
    pairs: list[tuple[str, Any]] = json.loads(data, object_pairs_hook=list)
    return len({name for name, _ in pairs}) < len(pairs)


def checked(data: bytes) -> CheckedRequest:
    """Check a line that must be good."""
    found = check(data)
    assert isinstance(found, CheckedRequest), found
    return found


def problem(data: bytes) -> Problem:
    """Check a line that must be bad."""
    found = check(data)
    assert isinstance(found, Problem), found
    return found


TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def expected_size(body: str) -> int:
    """What a body counts for the estimate, by Python's own parser."""

    def size(text: str) -> int:
        value: str = json.loads(text)
        head, mark, _ = value.partition(";base64,")
        if value.startswith("data:") and mark:
            return len((head + mark).encode()) + 4000 + 2
        return len(value.encode()) + 2

    between = len(TEXT.sub("", body).encode())
    return between + sum(map(size, TEXT.findall(body)))
