"""Outcomes of single requests, and the rules that assign them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.groq_simulator.parsing import build, metadata_matches
from local.groq_simulator.rule_list import RuleList

KINDS = frozenset(
    {
        "success",
        "http_error",
        "capacity_exhausted",
        "batch_expired",
        "batch_cancelled",
        "request_timeout",
        "status_zero",
        "error_in_output",
        "error_with_200",
        "missing",
        "duplicated",
        "foreign",
        "invalid_json",
        "not_an_object",
        "body_not_object",
        "unicode_separators",
        "crlf",
        "blank_line",
        "padding",
        "not_json",
        "not_as_schema",
        "cut_short",
    }
)
MISFIT_KINDS = frozenset({"not_json", "not_as_schema", "cut_short"})
"""Answers that are billed but lack the form that the request's ``response_format`` demands."""
SUCCEEDING_KINDS = frozenset(
    {
        "success",
        "duplicated",
        "foreign",
        "body_not_object",
        "unicode_separators",
        "crlf",
        "blank_line",
        "padding",
        *MISFIT_KINDS,
    }
)
# Short names for the hints that a request carries itself (and for rules).
SHORTHANDS: dict[str, dict[str, Any]] = {
    "fail": {"kind": "http_error", "status": 400},
    "fail_once": {"kind": "capacity_exhausted"},
    "json_validate_failed": {
        "kind": "http_error",
        "status": 400,
        "code": "json_validate_failed",
    },
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one request.

    Attributes:
        kind: One of `KINDS`.
        status: HTTP status of the row, for `http_error` and `error_in_output`.
        code: Error code of the row; a fitting one when None.
        message: Error message of the row; a fitting one when None.
        response: `null` or `missing`: how a row without response shows it.
        bytes: Length of the filler of `padding`.
        billed: Whether the request counts as succeeded; by kind when None.
    """

    kind: str = "success"
    status: int = 400
    code: str | None = None
    message: str | None = None
    response: str = "null"
    bytes: int = 1000
    billed: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown outcome {self.kind!r}; known: {', '.join(sorted(KINDS))}")
        if self.response not in ("null", "missing"):
            raise ValueError("response must be 'null' or 'missing'")

    @property
    def succeeds(self) -> bool:
        """Whether the request counts as succeeded, thus as paid for."""
        return self.kind in SUCCEEDING_KINDS if self.billed is None else self.billed


SUCCESS = Outcome()


def parse_outcome(value: str | Mapping[str, Any]) -> Outcome:
    """Makes an outcome from its JSON form: a name or an object with `kind`.

    Raises:
        ValueError: There is no such outcome.
    """
    if isinstance(value, str):
        return build(Outcome, SHORTHANDS.get(value, {"kind": value}))
    return build(Outcome, value)


@dataclass(slots=True)
class RuleMatch:
    """Filter for requests; every given condition must hold, none means all.

    Attributes:
        custom_id: Exact id, or a list of ids.
        regex: Regular expression, searched in the id.
        fraction: Share of the ids (0 to 1), chosen by hash and `seed`.
        seed: Changes the choice of `fraction`.
        metadata: Entries of the batch's metadata (values are full-match regular expressions).
    """

    custom_id: str | list[str] | None = None
    regex: str | None = None
    fraction: float | None = None
    seed: int = 0
    metadata: dict[str, str] | None = None

    def matches(self, custom_id: str, metadata: Mapping[str, str] | None) -> bool:
        """Tells whether a request of a batch matches."""
        if self.custom_id is not None:
            ids = [self.custom_id] if isinstance(self.custom_id, str) else self.custom_id
            if custom_id not in ids:
                return False
        if self.regex is not None and re.search(self.regex, custom_id) is None:
            return False
        if self.fraction is not None and position(self.seed, custom_id) >= self.fraction:
            return False
        return self.metadata is None or metadata_matches(self.metadata, metadata)


@dataclass(slots=True)
class Rule:
    """A rule: requests that match get an outcome, for so many of their sendings.

    Attributes:
        match: A `RuleMatch` or its JSON form.
        outcome: An `Outcome` or its JSON form.
        times: For how many sendings of one `custom_id`; None for all.
        applied: Sendings so far, by `custom_id`.
    """

    match: Any
    outcome: Any
    times: int | None = None
    applied: Counter[str] = field(default_factory=Counter, init=False)

    def __post_init__(self) -> None:
        self.match = build(RuleMatch, self.match)
        self.outcome = parse_outcome(self.outcome)


class Rules(RuleList[Rule]):
    """The rules in force, and the count of what they were applied to."""

    def __init__(self) -> None:
        super().__init__(Rule)
        self._hints: dict[tuple[str, str, str], int] = {}

    def outcome(
        self,
        custom_id: str,
        body: Mapping[str, Any],
        metadata: Mapping[str, str] | None,
        *,
        hints: bool,
    ) -> Outcome:
        """Decides the outcome of a request each time it is sent, and counts it."""
        for rule in self._rules:
            applied = rule.applied[custom_id]
            is_used_up = rule.times is not None and applied >= rule.times
            if not is_used_up and rule.match.matches(custom_id, metadata):
                rule.applied[custom_id] += 1
                outcome: Outcome = rule.outcome
                return outcome
        return self._hinted(custom_id, body, metadata) if hints else SUCCESS

    def _hinted(
        self, custom_id: str, body: Mapping[str, Any], metadata: Mapping[str, str] | None
    ) -> Outcome:
        given = body.get("metadata")
        hint = given.get("simulate") if isinstance(given, dict) else None
        if not isinstance(hint, str):
            return SUCCESS
        name = hint.removesuffix("_once")
        if name != hint:
            # Counted per job, so that a demo file fails once on each of its runs.
            key = ((metadata or {}).get("job", ""), custom_id, hint)
            seen = self._hints.get(key, 0)
            self._hints[key] = seen + 1
            if seen:
                return SUCCESS
        try:
            return parse_outcome(hint if hint in SHORTHANDS else name)
        except ValueError:
            return SUCCESS


def position(seed: int, text: str) -> float:
    """Returns a number from 0 up to 1, spread evenly over texts and always the same for one."""
    data = f"{seed}:{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big") / 2**64
