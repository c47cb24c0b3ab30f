"""Judges a canary: the first requests of a job, which are sent alone before the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from groq_batch.domain.cost_cap import amounts_told_apart

CANARY_FAILED = "canary_failed"
CANARY_TOO_EXPENSIVE = "canary_too_expensive"
CANARY_SHARD = 1
"""The number of the shard that a canary is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResults:
    """What came of a canary's requests when an attempt of it was collected.

    Attributes:
        requests: How many there are.
        answered: Those with an answer.
        open: Those without one that may be sent again.
        failed: Those that have failed for good, by their code.
        cost_usd: What the answers cost; None when a price or a usage is not known.
        milliseconds: How long the API worked on an answer, by the median; None when not known.
    """

    requests: int
    answered: int
    open: int
    failed: Mapping[str, int]
    cost_usd: float | None = None
    milliseconds: float | None = None

    @property
    def failed_for_good(self) -> int:
        """How many have failed for good."""
        return sum(self.failed.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryVerdict:
    """What was decided about a canary; the first decision stands.

    Attributes:
        rest_attempt: The attempt in which the rest of the job comes for the first time. Nothing is
            sent in it unless the canary has passed.
        requests: How many requests the canary has.
        failed: How many of them have failed for good.
        passed: Whether the rest is sent; None when the job was stopped before that was decided.
        cost_usd: What the canary's answers cost; None when not known.
        projected_cost_usd: What the whole file will cost at that rate; None when not known.
        milliseconds: How long the API worked on an answer, by the median; None when not known.
        code: Why the rest is not sent, as one of the report's codes; empty when it is.
        message: The same as a sentence that says what to do.
    """

    rest_attempt: int
    requests: int
    failed: int
    passed: bool | None
    cost_usd: float | None = None
    projected_cost_usd: float | None = None
    milliseconds: float | None = None
    code: str = ""
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return {"schema_version": 1, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read the fields from JSON data; those of a later version are passed over."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})


def is_sent_again_alone(results: CanaryResults) -> bool:
    """Tell whether a canary says nothing yet: no request has an answer, and some may get one."""
    return not results.answered and results.open > 0


def judge_canary(
    results: CanaryResults,
    *,
    rest_attempt: int,
    good: int,
    max_failed_percent: int,
    cap_usd: float,
    cap_is_of_stack: bool,
) -> CanaryVerdict:
    """Decide whether the rest of a job is sent.

    Args:
        results: What came of the canary.
        rest_attempt: The attempt that follows.
        good: Valid lines of the whole file.
        max_failed_percent: Highest share of the canary, in percent, that may have failed for good.
            A canary without any answer has failed whatever it is.
        cap_usd: The cap in force; 0 means none.
        cap_is_of_stack: Whether it is the stack's own, which no upload can lift.
    """
    projected = None
    if results.answered and results.cost_usd is not None:
        projected = results.cost_usd / results.answered * good
    code = message = ""
    too_many = 100 * results.failed_for_good > max_failed_percent * results.requests
    if too_many or not results.answered:
        code, message = CANARY_FAILED, _failed(results, good, max_failed_percent)
    elif projected is not None and cap_usd and projected > cap_usd:
        code = CANARY_TOO_EXPENSIVE
        message = _too_expensive(results, projected, good, cap_usd, is_of_stack=cap_is_of_stack)
    return CanaryVerdict(
        rest_attempt=rest_attempt,
        requests=results.requests,
        failed=results.failed_for_good,
        passed=not code,
        cost_usd=results.cost_usd,
        projected_cost_usd=projected,
        milliseconds=results.milliseconds,
        code=code,
        message=message,
    )


def canary_of_stopped_job(results: CanaryResults | None, *, rest_attempt: int) -> CanaryVerdict:
    """Return what stands of a canary that nobody judges, for the job was stopped before.

    Args:
        results: What came of it; None when nothing is known.
        rest_attempt: The attempt in which the rest gets its rows.
    """
    if results is None:
        return CanaryVerdict(rest_attempt=rest_attempt, requests=0, failed=0, passed=None)
    return CanaryVerdict(
        rest_attempt=rest_attempt,
        requests=results.requests,
        failed=results.failed_for_good,
        passed=None,
        cost_usd=results.cost_usd,
        milliseconds=results.milliseconds,
    )


def _failed(results: CanaryResults, good: int, max_failed_percent: int) -> str:
    what = (
        f"{results.failed_for_good:,} of the first {results.requests:,} requests, sent alone as a "
        f"canary, failed for good; {max_failed_percent} % may."
    )
    if not results.answered:
        what = f"None of the first {results.requests:,} requests, sent alone as a canary, was "
        what += "answered."
    # Of codes that are as common as each other the first by name, so that twins say the same.
    common, count = max(sorted(results.failed.items()), key=lambda one: one[1])
    return (
        f"{what} The commonest error is {common} ({count:,} times). The other "
        f"{good - results.requests:,} requests were not sent. Mend the file's requests by what the "
        f"results say of the first ones, and upload it again."
    )


def _too_expensive(
    results: CanaryResults, projected: float, good: int, cap_usd: float, *, is_of_stack: bool
) -> str:
    expected, allowed = amounts_told_apart(projected, cap_usd)
    advice = "Raise max-job-cost-usd or split the file."
    if is_of_stack:
        advice = "Split the file, or deploy the stack with a larger MaxJobCostUsd."
    return (
        f"By the answers to the first {results.requests:,} requests, sent alone as a canary, all "
        f"{good:,} will cost {expected} USD, which is above the cap of {allowed} USD. The other "
        f"{good - results.requests:,} requests were not sent. {advice}"
    )
