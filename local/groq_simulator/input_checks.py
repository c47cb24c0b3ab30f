"""Validation of a batch's input file, as the API does it in the state `validating`."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

URLS = ("/v1/chat/completions", "/v1/audio/transcriptions", "/v1/audio/translations")
CHAT_URL, *AUDIO_URLS = URLS
MAX_REPORTED_ERRORS = 100


@dataclass(slots=True)
class InputScan:
    """Findings of one pass over an input file.

    Attributes:
        total: Number of lines.
        good: Byte offsets of the good lines.
        bad: Byte offsets of the bad lines.
        errors: What is wrong, in the API's form (the first 100).
    """

    total: int = 0
    good: array[int] = field(default_factory=lambda: array("Q"))
    bad: array[int] = field(default_factory=lambda: array("Q"))
    errors: list[dict[str, Any]] = field(default_factory=list)


def problem(
    code: str, message: str, line: int | None = None, param: str | None = None
) -> dict[str, Any]:
    """Returns one entry of a batch's `errors`."""
    return {"code": code, "message": message, "param": param, "line": line}


def scan_input(path: Path, *, max_requests: int, seen: Callable[[str], None]) -> InputScan:
    """Checks every line of an input file.

    Args:
        path: The file.
        max_requests: Most lines allowed.
        seen: Called with the `custom_id` of every line that has one.
    """
    scan = InputScan()
    ids: set[str] = set()
    for offset, line in lines_of(path):
        scan.total += 1
        custom_id, error = _check_line(line, scan.total, ids)
        if custom_id is not None:
            ids.add(custom_id)
            seen(custom_id)
        if error is None:
            scan.good.append(offset)
            continue
        scan.bad.append(offset)
        if len(scan.errors) < MAX_REPORTED_ERRORS:
            scan.errors.append(error)
    if scan.total == 0:
        scan.errors.append(problem("empty_file", "The input file has no requests."))
    if scan.total > max_requests:
        message = f"The batch has {scan.total} requests; at most {max_requests} are allowed."
        scan.errors = [problem("too_many_tasks", message)]
    return scan


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields offset and content of each line; only a line feed ends a line."""
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            yield offset, line.removesuffix(b"\n")
            offset += len(line)


def parse_line(line: bytes) -> Any:
    """Parses a line strictly: UTF-8 without byte order mark, no carriage return, no NaN.

    Raises:
        ValueError: It is not JSON.
    """
    if line.endswith(b"\r"):
        raise ValueError("carriage return at the end of the line")
    return _decoder.decode(line.decode("utf-8"))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# Made once: json.loads with an option makes one for each call, as json.dumps does.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_line(
    line: bytes, number: int, ids: set[str]
) -> tuple[str | None, dict[str, Any] | None]:
    try:
        request = parse_line(line)
    except (ValueError, RecursionError):
        return None, problem("invalid_json_line", "This line is not valid JSON.", number)
    if not isinstance(request, dict):
        return None, problem("invalid_json_line", "This line is not a JSON object.", number)
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        return None, problem("missing_custom_id", "custom_id is missing.", number, "custom_id")
    if custom_id in ids:
        message = f"The custom_id {custom_id!r} is used twice."
        return custom_id, problem("duplicate_custom_id", message, number, "custom_id")
    return custom_id, _check_request(request, number)


def _check_request(request: dict[str, Any], number: int) -> dict[str, Any] | None:
    body = request.get("body")
    if request.get("method") != "POST":
        return problem("invalid_method", "method must be POST.", number, "method")
    if request.get("url") not in URLS:
        return problem("url_mismatch", "url does not fit the endpoint.", number, "url")
    if not isinstance(body, dict):
        return problem("invalid_request", "body must be an object.", number, "body")
    return _check_body(body, number)


def _check_body(body: dict[str, Any], number: int) -> dict[str, Any] | None:
    if not isinstance(body.get("model"), str):
        return problem("invalid_request", "body.model is missing.", number, "body.model")
    if body.get("stream"):
        return problem("invalid_request", "stream is not supported.", number, "body.stream")
    if "service_tier" in body:
        return problem(
            "invalid_request", "service_tier is not supported.", number, "body.service_tier"
        )
    return None
