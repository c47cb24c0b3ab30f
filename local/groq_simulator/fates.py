"""Outcomes of whole batches, and the rules that assign them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.groq_simulator.outcomes import Outcome, parse_outcome
from local.groq_simulator.parsing import build, metadata_matches
from local.groq_simulator.rule_list import RuleList

ENDS = ("complete", "fail", "expire", "cancel", "stuck")


@dataclass(slots=True)
class Fate:
    """The fate of one batch.

    Attributes:
        end: `complete`, `fail` (at validation), `expire`, `cancel` (by another client) or `stuck`
            (in progress permanently).
        done: Share of the requests done before it expires, is cancelled or gets stuck.
        batch_seconds: Duration instead of the general setting.
        errors: Entries of `errors`, for a failed batch or, as an oddity, on any other at its end.
        errors_shape: `list` or `array` instead of the general setting.
        unfinished: `error` (rows `batch_expired`, `batch_cancelled`) or `missing`.
        status: Status string shown instead of `in_progress`.
        status_seconds: How long `status` is shown; None means permanently.
        all_requests: Outcome of every request, before any rule.
        no_files: Both file ids are null in the end.
        empty_error_file: Whether an error file without rows exists, with zero bytes.
        counts: Replaces entries of `request_counts` at the end.
        override: Replaces fields of the batch object at the end, such as `error_file_id`.
    """

    end: str = "complete"
    done: float = 0.5
    batch_seconds: float | None = None
    errors: list[dict[str, Any]] | None = None
    errors_shape: str | None = None
    unfinished: str = "error"
    status: str | None = None
    status_seconds: float | None = None
    all_requests: Any = None
    no_files: bool = False
    empty_error_file: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    override: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.end not in ENDS:
            raise ValueError(f"end must be one of {', '.join(ENDS)}")
        if self.errors_shape not in (None, "list", "array"):
            raise ValueError("errors_shape must be 'list' or 'array'")
        if self.unfinished not in ("error", "missing"):
            raise ValueError("unfinished must be 'error' or 'missing'")
        if self.all_requests is not None and not isinstance(self.all_requests, Outcome):
            self.all_requests = parse_outcome(self.all_requests)


@dataclass(slots=True)
class FateMatch:
    """Which batches get a fate; every given condition must hold, none means all.

    Attributes:
        metadata: Entries of the metadata (values are full-match regular expressions).
        nth: Number of the accepted create call since the last reset, from 1.
    """

    metadata: dict[str, str] | None = None
    nth: int | None = None

    def matches(self, number: int, metadata: Mapping[str, str] | None) -> bool:
        """Tells whether a new batch matches."""
        if self.nth is not None and number != self.nth:
            return False
        return self.metadata is None or metadata_matches(self.metadata, metadata)


@dataclass(slots=True)
class FateRule:
    """A fate for the batches that match, `times` of them (None is all)."""

    match: Any
    fate: Any
    times: int | None = None

    def __post_init__(self) -> None:
        self.match = build(FateMatch, self.match)
        self.fate = build(Fate, self.fate)


class Fates(RuleList[FateRule]):
    """The fates in force."""

    def __init__(self) -> None:
        super().__init__(FateRule)

    def of(self, number: int, metadata: Mapping[str, str] | None) -> Fate:
        """Decides the fate of a new batch."""
        rule = self.take(lambda rule: bool(rule.match.matches(number, metadata)))
        return rule.fate if rule is not None else Fate()
