"""Turns rows into request lines that pass the pipeline's checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import LineChecker, too_long_message
from groq_batch.settings import HARD_LINE_LIMIT_BYTES
from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_cli.ids import RowIds
from groq_batch_cli.rows.reading import Row
from groq_batch_cli.templates import Template

_URL = "/v1/chat/completions"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMaker:
    """How rows become requests.

    Attributes:
        model: The model to ask.
        prompt: The user's message.
        system: The system's message, if there is one.
        parameters: Further fields of the body.
        ids: How the requests get their ids.
    """

    model: str
    prompt: Template
    system: Template | None
    parameters: Mapping[str, Any]
    ids: RowIds

    def line(self, number: int, row: Row) -> bytes:
        """Return the request line of a row, without its line end.

        Raises:
            CommandError: The row lacks a column.
        """
        messages = []
        if self.system is not None:
            messages.append({"role": "system", "content": self.system.fill(row)})
        messages.append({"role": "user", "content": self.prompt.fill(row)})
        request = {
            "custom_id": self.ids.of(number, row),
            "method": "POST",
            "url": _URL,
            "body": {"model": self.model, "messages": messages, **self.parameters},
        }
        try:
            return _encode(request)
        except UnicodeEncodeError:
            raise CommandError(
                "a text holds half of a surrogate pair, often half of an emoji that was cut. "
                "Remove it or write it whole."
            ) from None


@dataclass(slots=True)
class Made:
    """What was made.

    Attributes:
        requests: How many requests.
        bytes: Their size.
        models: What the model is asked to do by them.
    """

    requests: int = 0
    bytes: int = 0
    models: ModelEstimates = field(default_factory=ModelEstimates)


def make_requests(
    rows: Iterable[Row], maker: RequestMaker, *, name: str, made: Made
) -> Iterator[bytes]:
    """Yield a request line for each row, with its line end.

    Args:
        rows: The rows.
        maker: How they become requests.
        name: What messages call their file.
        made: Is filled in.

    Raises:
        CommandError: A row cannot become a request that the pipeline would take; says why.
    """
    checker = LineChecker()
    for number, row in enumerate(rows, start=1):
        try:
            line = maker.line(number, row)
        except CommandError as error:
            raise CommandError(f"Row {number} of {name}: {error}") from None
        found = checker.check(number, line)
        if isinstance(found, Problem):
            raise CommandError(f"Row {number} of {name}: {_explained(found, maker.ids)}")
        if len(line) > HARD_LINE_LIMIT_BYTES:
            message = too_long_message(len(line), HARD_LINE_LIMIT_BYTES)
            raise CommandError(f"Row {number} of {name}: {message}")
        made.requests += 1
        made.bytes += len(line) + 1
        made.models[found.model].add(found.body_bytes, found.max_output_tokens)
        yield line + b"\n"


def _explained(problem: Problem, ids: RowIds) -> str:
    if problem.code == "duplicate_custom_id" and ids.column is not None:
        # The checker's lines are rows here.
        message = problem.message.replace("on line ", "in row ")
        return f"{message} The ids are those of the column {ids.column!r} (--id)."
    if problem.code == "invalid_custom_id":
        return f"The column {ids.column!r} (--id) is empty. Every request needs an id of its own."
    return problem.message


def read_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields that ``NAME=VALUE`` texts stand for; a value that is JSON is read as such.

    Raises:
        WrongUsageError: A text is not of this form, or names a field that has an option of its own.
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise WrongUsageError(
                f"--param {text!r} is not NAME=VALUE, such as temperature=0.2 or "
                f"max_completion_tokens=200."
            )
        if name in ("model", "messages"):
            raise WrongUsageError(f"--param {name} is set by --model, --prompt and --system.")
        try:
            parameters[name] = json.loads(value)
        except (ValueError, RecursionError):
            parameters[name] = value
    return parameters
