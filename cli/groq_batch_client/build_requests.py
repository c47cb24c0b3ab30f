"""Build request lines from the rows of a table, and run the pipeline's checks on them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import msgspec

from groq_batch.domain.batch import CHAT_URL
from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import InvalidLine, LineChecker
from groq_batch.request_file.lines import Lines
from groq_batch.request_file.syntax_messages import too_long_message
from groq_batch.settings import HARD_LINE_LIMIT_BYTES
from groq_batch_client.dedupe import Sharing
from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import strict_json
from groq_batch_client.tables.batches import Batch, MissingColumnError
from groq_batch_client.tables.names import missing_column, quoted
from groq_batch_client.tables.table import OpenTable
from groq_batch_client.templates import BRACES, Template

_LEFT_OUT = b"\n"
"""Placeholder for a duplicate request; the checks take it for a blank line."""

_NUMBERS = frozenset(
    {
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "n",
        "presence_penalty",
        "seed",
        "temperature",
        "top_logprobs",
        "top_p",
    }
)
"""Fields of a body that are numbers: https://console.groq.com/docs/api-reference#chat-create."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBuilder:
    """Builds requests from rows.

    Attributes:
        model: The model.
        prompt: The user message.
        system: The system message, if there is one.
        parameters: Extra fields of the body.
        ids: How the requests get their ids.
    """

    model: str
    prompt: Template
    system: Template | None
    parameters: Mapping[str, Any]
    ids: RowIds

    @property
    def prompted_columns(self) -> list[str]:
        """The columns whose values become part of the prompt."""
        system = self.system.columns if self.system is not None else []
        return list(dict.fromkeys([*system, *self.prompt.columns]))

    @property
    def columns(self) -> list[str]:
        """The columns needed to build requests."""
        own = [self.ids.column] if self.ids.column is not None else []
        return list(dict.fromkeys([*own, *self.prompted_columns]))

    def lines(self, first: int, batch: Batch, table: str, built: Built) -> list[bytes]:
        """Return the request lines of a batch, without line ends.

        Args:
            first: The number of its first row, counted from 1.
            batch: The rows.
            table: What messages call their table.
            built: Counts the rows without any value for the prompt.

        Raises:
            TableError: A row lacks a column, or UTF-8 cannot represent a text.
        """
        ids = self.ids.of(first, batch, table)
        prompts = self._filled(self.prompt, first, batch, table)
        head = b'{"custom_id":'
        middle = b',"method":"POST","url":"%s","body":{"model":%s,"messages":[' % (
            CHAT_URL.encode(),
            _encode(self.model),
        )
        user = b'{"role":"user","content":'
        tail = b"}]%s}}" % b"".join(
            b",%s:%s" % (_encode(name), _encode(value)) for name, value in self.parameters.items()
        )
        try:
            if self.system is None:
                if self.prompt.columns:
                    built.without_value += prompts.count(self.prompt.without_values)
                return [
                    b"".join((head, _encode(one), middle, user, _encode(prompt), tail))
                    for one, prompt in zip(ids, prompts, strict=True)
                ]
            systems = self._filled(self.system, first, batch, table)
            if self.prompted_columns:
                nothing = (self.system.without_values, self.prompt.without_values)
                built.without_value += list(zip(systems, prompts, strict=True)).count(nothing)
            begin, between = b'{"role":"system","content":', b"}," + user
            return [
                b"".join(
                    (
                        head,
                        _encode(one),
                        middle,
                        begin,
                        _encode(text),
                        between,
                        _encode(prompt),
                        tail,
                    )
                )
                for one, text, prompt in zip(ids, systems, prompts, strict=True)
            ]
        except UnicodeEncodeError:
            raise TableError(
                f"A text of {table} has half of a surrogate pair, often half of an emoji that "
                f"was cut. Remove it or complete it."
            ) from None

    def _filled(self, template: Template, first: int, batch: Batch, table: str) -> list[str]:
        try:
            return template.fill(batch.rows, batch.texts)
        except MissingColumnError as error:
            lacking = next(name for name in template.columns if name not in error.names)
            raise TableError(
                f"Row {first + error.place:,} of {table}: {missing_column(lacking, error.names)}. "
                f"{BRACES}"
            ) from None


@dataclass(slots=True)
class Built:
    """Totals of the built requests.

    Attributes:
        requests: Number of requests.
        bytes: Their size in bytes.
        models: The work that they ask of the model.
        without_value: Number of rows that have no value in any column of the prompt.
    """

    requests: int = 0
    bytes: int = 0
    without_value: int = 0
    models: ModelEstimates = field(default_factory=ModelEstimates)


def build_requests(
    table: OpenTable,
    builder: RequestBuilder,
    *,
    name: str,
    built: Built,
    sharing: Sharing | None = None,
) -> Iterator[bytes]:
    """Yield request lines with line ends, many at a time.

    Args:
        table: The rows.
        builder: Builds the requests.
        name: The name of the table in messages.
        built: Filled in by this function.
        sharing: Skips duplicate requests; None to keep all.

    Raises:
        TableError: A row cannot become a valid request; the message says why.
    """
    if table.names is not None:
        _check_columns(builder, table.names, name)
    checker = LineChecker()
    first = 1
    for batch in table.batches:
        lines = builder.lines(first, batch, name, built)
        longest = max(map(len, lines), default=0)
        if longest > HARD_LINE_LIMIT_BYTES:
            place = next(n for n, line in enumerate(lines) if len(line) > HARD_LINE_LIMIT_BYTES)
            message = too_long_message(len(lines[place]), HARD_LINE_LIMIT_BYTES)
            raise TableError(f"Row {first + place:,} of {name}: {message}")
        if sharing is not None:
            lines = sharing.first_uses(lines)
        whole = [line + b"\n" for line in lines]
        for found in checker.check_lines(Lines(first, 0, whole)):
            if isinstance(found, InvalidLine):
                why = _explained(found.problem, builder.ids)
                raise TableError(f"Row {found.problem.line:,} of {name}: {why}")
            built.requests += len(found.lines)
            built.bytes += found.size
            built.models.merge(found.models)
        yield b"".join(line for line in whole if line != _LEFT_OUT)
        first += batch.rows


def _check_columns(builder: RequestBuilder, names: list[str], table: str) -> None:
    """Check before the first row that the table has the needed columns."""
    for column in builder.columns:
        if column not in names:
            advice = "" if column == builder.ids.column else f" {BRACES}"
            raise TableError(f"{table}: {missing_column(column, names)}.{advice}")


def _explained(problem: Problem, ids: RowIds) -> str:
    if ids.column is None:
        return problem.message
    if problem.code == "duplicate_custom_id":
        # The checker counts lines, which are rows here.
        message = problem.message.replace("on line ", "in row ")
        return f"{message} The ids come from the column {quoted(ids.column)} ({ids.option})."
    if problem.code == "invalid_custom_id":
        return (
            f"The column {quoted(ids.column)} ({ids.option}) is empty. Every request needs its own "
            f"id."
        )
    return problem.message


def read_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Parse ``NAME=VALUE`` texts into fields; parse values that are JSON as JSON.

    Raises:
        WrongArgumentError: A text has another form, or names a field that has its own option.
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        # With a space around it, a name would be sent as an unknown field.
        if not sign or not name or name != name.strip():
            raise WrongArgumentError(
                f"--param {text!r} is not NAME=VALUE, such as temperature=0.2 or "
                f"max_completion_tokens=200."
            )
        if name in ("model", "messages"):
            raise WrongArgumentError(f"--param {name} is set by --model, --prompt and --system.")
        try:
            parameters[name] = strict_json(value)
        except (ValueError, RecursionError):
            parameters[name] = value
        try:
            _encode(parameters[name])
        except UnicodeEncodeError:
            raise WrongArgumentError(
                f"--param {name} has half of a surrogate pair, often half of an emoji that was "
                f"cut. Remove it or complete it."
            ) from None
    check_numbers(parameters)
    return parameters


def check_numbers(parameters: Mapping[str, Any]) -> None:
    """Check that fields which the API takes as numbers are numbers, or null.

    Each request with another value would be refused, after its batch has run.

    Raises:
        WrongArgumentError: One is not; the message names it.
    """
    for name in _NUMBERS & parameters.keys():
        value = parameters[name]
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if value is None or (is_number and math.isfinite(value)):
            continue
        raise WrongArgumentError(f"The parameter {name} is {value!r}, but it must be a number.")
