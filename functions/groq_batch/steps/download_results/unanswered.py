"""Determine why a request has no answer after the job's ordinary calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import msgspec

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.result_row import Row
from groq_batch.records.on_demand import CallsEnd, OnDemandProgress

_UNKNOWN = (
    "An ordinary call for this request was started after the deadline, and its outcome is not "
    "known. It may have been billed, so it is not sent again automatically."
)
_WITHOUT_PRICE = "The price of its model is not known, so it cannot be sent within a budget."
_WHY = {
    CallsEnd.ALL_ASKED: "It was sent as often as the job allows.",
    CallsEnd.BUDGET: "The budget for ordinary calls (deadline-max-usd, or the rest of the cost "
    "cap) did not cover it.",
    CallsEnd.TIME: "It had no answer within an hour after the deadline.",
    CallsEnd.STOPPED: "The job was stopped.",
    CallsEnd.CANARY: "It passed before the canary had an answer, so nothing else was sent.",
    CallsEnd.NOT_POSSIBLE: "The job was started by a version that makes no ordinary calls.",
}
SEND_AGAIN = "Send the request again from failed/."


class UnansweredReason(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why a request has no row from an ordinary call.

    Attributes:
        code: ``outcome_unknown`` or ``deadline_passed``.
        message: A sentence that says what to do.
        was_begun: Whether a call was begun for the request.
    """

    code: str
    message: str
    was_begun: bool = False

    @classmethod
    def of(
        cls,
        calls: OnDemandProgress,
        shard: int,
        line: int,
        *,
        before: Row | None,
        has_price: Callable[[], bool],
    ) -> Self:
        """Return the reason for a request.

        Args:
            calls: The record of the calls.
            shard: The request's shard.
            line: Its line number in the shard, from 1.
            before: Its row from its batches; None if it was not sent.
            has_price: Tells whether the price of its model is known.
        """
        last = (before.code, before.message) if before is not None else (None, None)
        for claim in calls.again:
            if (claim.place.shard, claim.place.line) == (shard, line):
                last = (claim.code, claim.message) if claim.code else last
                return cls._passed(
                    _WHY[calls.ended or CallsEnd.TIME], last, was_begun=claim.was_begun
                )
        if not has_price():
            return cls._passed(_WITHOUT_PRICE, last)
        if calls.was_taken(shard, line):
            return cls(code=ErrorCode.OUTCOME_UNKNOWN, message=_UNKNOWN, was_begun=True)
        return cls._passed(_WHY[calls.ended or CallsEnd.TIME], last)

    @classmethod
    def _passed(
        cls, why: str, last: tuple[str | None, str | None], *, was_begun: bool = False
    ) -> Self:
        named = ": ".join(part for part in last if part)
        # Give the advice only once, at the end.
        named = named.removesuffix(SEND_AGAIN).rstrip(" .")
        error = f" Its last error: {named}." if named else ""
        return cls(
            code=ErrorCode.DEADLINE_PASSED,
            message=f"The deadline has passed. {why}{error} {SEND_AGAIN}",
            was_begun=was_begun,
        )
