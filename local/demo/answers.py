"""Excerpt of a file of result rows: a few answers from the whole file, and the first failures."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groq_batch.domain.result_row import RowOutcome, classify_row
from groq_batch_client.text import one_line

SHOWN_ANSWERS = 5
SHOWN_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The rows to show, as pairs of ``custom_id`` and text."""

    answers: list[tuple[str, str]]
    failures: list[tuple[str, str]]


def read_excerpt(path: Path, total: int) -> Excerpt:
    """Return an excerpt of a result file.

    Args:
        path: The file; compressed when its name ends in ``.gz``.
        total: How many rows it has.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as rows:
        return choose(rows, total)


def choose(rows: Iterable[bytes], total: int) -> Excerpt:
    """Return answers from the whole file, and the first rows without success."""
    excerpt = Excerpt([], [])
    for number, line in enumerate(rows):
        row = classify_row(line)
        if row is None:
            continue
        if row.outcome is RowOutcome.SUCCESS:
            due = len(excerpt.answers) * total // SHOWN_ANSWERS
            if len(excerpt.answers) < SHOWN_ANSWERS and number >= due:
                excerpt.answers.append((one_line(row.custom_id), answer_text(json.loads(line))))
        elif len(excerpt.failures) < SHOWN_FAILURES:
            message = f"{row.code}: {row.message}" if row.message else f"{row.code}"
            excerpt.failures.append((one_line(row.custom_id), one_line(message)))
    return excerpt


def answer_text(row: Any) -> str:
    """Return the text of a good row in one line: what was said, or the tool that was called."""
    body = row["response"]["body"]
    if not isinstance(body, dict):
        return one_line(body if isinstance(body, str) else json.dumps(body)) or "(no text)"
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else {}
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        return one_line(str(body.get("text") or "")) or "(no text)"
    calls = message.get("tool_calls")
    if not message.get("content") and isinstance(calls, list) and calls:
        function = calls[0].get("function") or {}
        return one_line(f"calls {function.get('name')} with {function.get('arguments')}")
    return one_line(str(message.get("content") or "")) or "(no text)"
