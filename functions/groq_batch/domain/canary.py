"""Judge a canary: the first requests of a job, which are sent alone before the rest."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from groq_batch.domain.cost_cap import distinct_amounts
from groq_batch.domain.error_code import ErrorCode

CANARY_SHARD = 1
"""Number of the shard that is the canary."""


class CanaryResults(msgspec.Struct, frozen=True, kw_only=True):
    """Results of a canary's requests after an attempt was collected.

    Attributes:
        requests: Number of requests.
        answered: Requests with an answer.
        open: Requests without one that may be sent again.
        failed: Requests that failed for good, by code.
        cost_usd: Cost of the answers in US dollars; None if a price or a usage is unknown.
        milliseconds: Median processing time of an answer, as reported by the API; None if unknown.
    """

    requests: int
    answered: int
    open: int
    failed: Mapping[str, int]
    cost_usd: float | None = None
    milliseconds: float | None = None

    @property
    def failed_for_good(self) -> int:
        """Number of requests that failed for good."""
        return sum(self.failed.values())


class CanaryVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about a canary; the first stored one is final.

    Attributes:
        rest_attempt: The first attempt of the rest of the job. Nothing of the rest is sent unless
            the canary has passed.
        requests: Number of the canary's requests.
        failed: Number of them that failed for good.
        passed: Whether the rest is sent; None if the job was stopped before the decision.
        cost_usd: Cost of the canary's answers in US dollars; None if unknown.
        projected_cost_usd: Cost of the whole file at that rate; None if unknown.
        milliseconds: Median processing time of an answer, as reported by the API; None if unknown.
        code: The report's error code if the rest is not sent; otherwise empty.
        message: The reason as a sentence that says what to do.
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


def is_sent_again_alone(results: CanaryResults) -> bool:
    """Tell whether a canary has no result yet: no request has an answer, and some may get one."""
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
        results: The canary's results.
        rest_attempt: The attempt that follows.
        good: Valid lines of the whole file.
        max_failed_percent: Highest share of the canary, in percent, that may have failed for good.
            A canary without any answer fails whatever the share is.
        cap_usd: The effective cost cap in US dollars; 0 means none.
        cap_is_of_stack: Whether it is the stack's own cap, which no upload can raise.
    """
    projected = None
    if results.answered and results.cost_usd is not None:
        projected = results.cost_usd / results.answered * good
    code = message = ""
    too_many = 100 * results.failed_for_good > max_failed_percent * results.requests
    if too_many or not results.answered:
        code, message = ErrorCode.CANARY_FAILED, _failed(results, good, max_failed_percent)
    elif projected is not None and cap_usd and projected > cap_usd:
        code = ErrorCode.CANARY_TOO_EXPENSIVE
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


def unjudged_verdict(results: CanaryResults | None, *, rest_attempt: int) -> CanaryVerdict:
    """Return the verdict of a canary that is not judged, because the job was stopped before.

    Args:
        results: The canary's results; None if nothing is known.
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
        f"canary, failed for good; the limit is {max_failed_percent} %."
    )
    if not results.answered:
        what = f"None of the first {results.requests:,} requests, sent alone as a canary, was "
        what += "answered."
    # Among equally frequent codes the first by name, so that concurrent checks agree.
    common, count = max(sorted(results.failed.items()), key=lambda one: one[1])
    return (
        f"{what} The most common error is {common} ({count:,} times). The other "
        f"{good - results.requests:,} requests were not sent. See the errors in the results, "
        f"correct the requests, and upload the file again."
    )


def _too_expensive(
    results: CanaryResults, projected: float, good: int, cap_usd: float, *, is_of_stack: bool
) -> str:
    expected, allowed = distinct_amounts(projected, cap_usd)
    advice = "Raise max-job-cost-usd or split the file."
    if is_of_stack:
        advice = "Split the file, or deploy the stack with a larger MaxJobCostUsd."
    return (
        f"At the cost of the first {results.requests:,} requests, sent alone as a canary, all "
        f"{good:,} will cost {expected} USD, which is above the cap of {allowed} USD. The other "
        f"{good - results.requests:,} requests were not sent. {advice}"
    )
