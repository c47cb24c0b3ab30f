"""Refusals of whole batches because of their requests' models or URLs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from local.groq_simulator.input_checks import (
    MAX_REPORTED_ERRORS,
    lines_of,
    parse_line,
    problem,
)
from local.groq_simulator.messages import ApiError
from local.groq_simulator.parsing import build
from local.groq_simulator.rule_list import RuleList

PLACES = ("create", "validation")


@dataclass(frozen=True, slots=True)
class Asked:
    """Model and URL of one request of a batch."""

    custom_id: str
    url: object
    model: object


@dataclass(slots=True)
class RefusalMatch:
    """Filter for batches: those with a request for which every given condition holds.

    Attributes:
        model: The model that it asks.
        url: Its URL.
    """

    model: str | None = None
    url: str | None = None

    def matches(self, asked: Asked) -> bool:
        """Tells whether a request is one of those that the API does not run."""
        return self.model in (None, asked.model) and self.url in (None, asked.url)


@dataclass(slots=True)
class Refusal:
    """A refusal of batches that names no line.

    Attributes:
        at: `create` answers the call with an error; `validation` lets the batch fail.
        match: A `RefusalMatch` or its JSON form.
        status: The status of the answer to a create.
        code: The error's code.
        message: The error's text.
        times: How many batches; None is all.
    """

    at: str = "create"
    match: Any = field(default_factory=dict)
    status: int = 400
    code: str = "model_not_found"
    message: str = "The model does not exist or you do not have access to it."
    times: int | None = None

    def __post_init__(self) -> None:
        if self.at not in PLACES:
            raise ValueError(f"at must be one of {', '.join(PLACES)}")
        self.match = build(RefusalMatch, self.match)


class Refusals(RuleList[Refusal]):
    """The refusals in force."""

    def __init__(self) -> None:
        super().__init__(Refusal)

    def of(self, at: str, path: Path) -> Refusal | None:
        """Returns the refusal of a batch with this input file, if any, and counts it."""
        return self.take(lambda one: one.at == at and any(map(one.match.matches, asked_by(path))))

    def check_create(self, path: Path) -> None:
        """Refuses the create of a batch with this input file, if one of the refusals says so.

        Raises:
            ApiError: The create is refused.
        """
        refusal = self.of("create", path)
        if refusal is not None:
            raise ApiError(refusal.status, refusal.message, code=refusal.code)


def asked_by(path: Path) -> Iterator[Asked]:
    """Yields model and URL of the requests of an input file; unreadable lines are skipped."""
    for _, line in lines_of(path):
        try:
            request = parse_line(line)
            yield Asked(request["custom_id"], request["url"], request["body"]["model"])
        except (ValueError, RecursionError, TypeError, LookupError):
            continue


def check_endpoint(endpoint: str, asked: Iterable[Asked]) -> None:
    """Checks that the endpoint is the URL of all requests.

    Raises:
        ApiError: 400 that names the parameter.
    """
    if any(request.url != endpoint for request in asked):
        raise ApiError(
            400,
            "The endpoint does not fit the url of the requests.",
            code="invalid_request_error",
            param="endpoint",
        )


def endpoint_problems(endpoint: str, path: Path) -> list[dict[str, Any]]:
    """Returns the validation errors of lines whose URL is not the endpoint (the first 100)."""
    text = "The URL provided for this request does not match the batch endpoint."
    found = (
        problem("url_mismatch", text, number, "url")
        for number, (_, line) in enumerate(lines_of(path), start=1)
        if parse_line(line).get("url") != endpoint
    )
    return list(islice(found, MAX_REPORTED_ERRORS))
