"""Turn the rows of a table into request lines that pass the pipeline's checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import BadLine, LineChecker, too_long_message
from groq_batch.settings import HARD_LINE_LIMIT_BYTES
from groq_batch_client.dedupe import Sharing
from groq_batch_client.errors import TableError, WrongArgumentError
from groq_batch_client.row_ids import RowIds
from groq_batch_client.tables.batches import Batch, MissingColumnError
from groq_batch_client.tables.names import missing_column, quoted
from groq_batch_client.tables.table import OpenTable
from groq_batch_client.templates import BRACES, Template

_LEFT_OUT = b"\n"
"""Keeps the place of a request that equals one before; to the checks it is a blank line."""
_URL = "/v1/chat/completions"

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBuilder:
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

    @property
    def prompted_columns(self) -> list[str]:
        """The columns whose values the model gets to see."""
        system = self.system.columns if self.system is not None else []
        return list(dict.fromkeys([*system, *self.prompt.columns]))

    @property
    def columns(self) -> list[str]:
        """The columns that requests are made of."""
        own = [self.ids.column] if self.ids.column is not None else []
        return list(dict.fromkeys([*own, *self.prompted_columns]))

    def lines(self, first: int, batch: Batch, table: str) -> list[bytes]:
        """Return the request lines of a batch, without line ends.

        Args:
            first: The number of its first row, from 1.
            batch: The rows.
            table: What messages call their table.

        Raises:
            TableError: A row lacks a column, or a text has no form in UTF-8.
        """
        ids = self.ids.of(first, batch, table)
        prompts = self._filled(self.prompt, first, batch, table)
        head = b'{"custom_id":'
        middle = b',"method":"POST","url":"%s","body":{"model":%s,"messages":[' % (
            _URL.encode(),
            _encode(self.model),
        )
        user = b'{"role":"user","content":'
        tail = b"}]%s}}" % b"".join(
            b",%s:%s" % (_encode(name), _encode(value)) for name, value in self.parameters.items()
        )
        try:
            if self.system is None:
                return [
                    b"".join((head, _encode(one), middle, user, _encode(prompt), tail))
                    for one, prompt in zip(ids, prompts, strict=True)
                ]
            systems = self._filled(self.system, first, batch, table)
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
                f"A text of {table} holds half of a surrogate pair, often half of an emoji that "
                f"was cut. Remove it or write it whole."
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
    """What was built.

    Attributes:
        requests: How many requests.
        bytes: Their size.
        models: What the model is asked to do by them.
    """

    requests: int = 0
    bytes: int = 0
    models: ModelEstimates = field(default_factory=ModelEstimates)


def build_requests(
    table: OpenTable,
    builder: RequestBuilder,
    *,
    name: str,
    built: Built,
    sharing: Sharing | None = None,
) -> Iterator[bytes]:
    """Yield request lines, with line ends, many at a time.

    Args:
        table: The rows.
        builder: How they become requests.
        name: What messages call the table.
        built: Is filled in.
        sharing: Leaves out requests that equal one before; None where all are asked.

    Raises:
        TableError: A row cannot become a request that the pipeline would take; says why.
    """
    if table.names is not None:
        _check_columns(builder, table.names, name)
    checker = LineChecker()
    first = 1
    for batch in table.batches:
        lines = builder.lines(first, batch, name)
        longest = max(map(len, lines), default=0)
        if longest > HARD_LINE_LIMIT_BYTES:
            place = next(n for n, line in enumerate(lines) if len(line) > HARD_LINE_LIMIT_BYTES)
            message = too_long_message(len(lines[place]), HARD_LINE_LIMIT_BYTES)
            raise TableError(f"Row {first + place:,} of {name}: {message}")
        if sharing is not None:
            lines = sharing.first_uses(lines)
        whole = [line + b"\n" for line in lines]
        for found in checker.check_lines(first, whole):
            if isinstance(found, BadLine):
                why = _explained(found.problem, builder.ids)
                raise TableError(f"Row {found.problem.line:,} of {name}: {why}")
            built.requests += len(found.lines)
            built.bytes += found.size
            built.models.merge(found.models)
        yield b"".join(line for line in whole if line != _LEFT_OUT)
        first += batch.rows


def _check_columns(builder: RequestBuilder, names: list[str], table: str) -> None:
    """Check, before the first row, that the table has the columns that are asked for."""
    for column in builder.columns:
        if column not in names:
            advice = "" if column == builder.ids.column else f" {BRACES}"
            raise TableError(f"{table}: {missing_column(column, names)}.{advice}")


def _explained(problem: Problem, ids: RowIds) -> str:
    if ids.column is None:
        return problem.message
    if problem.code == "duplicate_custom_id":
        # The checker's lines are rows here.
        message = problem.message.replace("on line ", "in row ")
        return f"{message} The ids are those of the column {quoted(ids.column)} ({ids.option})."
    if problem.code == "invalid_custom_id":
        return (
            f"The column {quoted(ids.column)} ({ids.option}) is empty. Every request needs an id "
            f"of its own."
        )
    return problem.message


def read_parameters(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields that ``NAME=VALUE`` texts stand for; a value that is JSON is read as such.

    Raises:
        WrongArgumentError: A text is not of this form, or names a field that has its own option.
    """
    parameters: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise WrongArgumentError(
                f"--param {text!r} is not NAME=VALUE, such as temperature=0.2 or "
                f"max_completion_tokens=200."
            )
        if name in ("model", "messages"):
            raise WrongArgumentError(f"--param {name} is set by --model, --prompt and --system.")
        try:
            parameters[name] = json.loads(value)
        except (ValueError, RecursionError):
            parameters[name] = value
    return parameters
