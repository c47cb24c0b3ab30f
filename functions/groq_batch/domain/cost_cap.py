"""Check a file's estimated cost against a cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from groq_batch.domain.cost import (
    ModelEstimate,
    estimate_cost_usd,
    models_billed_by_hour,
    unknown_models,
)
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.prices import Prices
from groq_batch.domain.problem import Problem

_SHOWN_NAMES = 5
_DIGITS = (4, 10, 17)
_SHOWN_NAME_CHARACTERS = 100


def check_cap(
    models: Mapping[str, ModelEstimate],
    *,
    cap_usd: float,
    stack_cap_usd: float | None,
    prices: Prices | None = None,
    option: str = "max-job-cost-usd",
) -> Problem | None:
    """Return the problem of a file that a cap prevents from running; None if none does.

    With a cap, the price of every model must be known, so that the cost is.

    Args:
        models: The requests by model.
        cap_usd: The effective cap; 0 means none.
        stack_cap_usd: The stack's own cap, which no upload can raise; 0 means none. None if the
            stack is unknown.
        prices: The prices; None means those of the built-in table.
        option: Name of the option that sets the cap of one file.
    """
    if not cap_usd or not models:
        return None
    is_of_stack = cap_usd == stack_cap_usd
    unknown = unknown_models(models, prices)
    by_hour = models_billed_by_hour(models, prices)
    if unknown or by_hour:
        reason = f"the price of {_listed(unknown)} is not known"
        if not unknown:
            reason = (
                f"{_listed(by_hour)} is billed by the length of the audio, which is not known "
                f"before it is sent"
            )
        without = "use a stack without MaxJobCostUsd"
        if stack_cap_usd == 0:
            without = f"leave out {option}: the stack has no MaxJobCostUsd"
        return Problem.of_file(
            ErrorCode.TOO_EXPENSIVE,
            f"A cost cap of {cap_usd:g} USD is set, but {reason}. Name another model, or "
            f"{without}.",
        )
    estimate = estimate_cost_usd(models, prices)
    if estimate is None or estimate <= cap_usd:
        return None
    advice = f"Raise {option} or split the file."
    if is_of_stack:
        advice = "Split the file, or deploy the stack with a larger MaxJobCostUsd."
    expected, allowed = distinct_amounts(estimate, cap_usd)
    return Problem.of_file(
        ErrorCode.TOO_EXPENSIVE,
        f"The estimated cost of {expected} USD is above the cap of {allowed} USD. {advice}",
    )


def distinct_amounts(one: float, other: float) -> tuple[str, str]:
    """Return two amounts in four significant digits, or in as many as are needed to differ."""
    differ = (digits for digits in _DIGITS if f"{one:.{digits}g}" != f"{other:.{digits}g}")
    digits = next(differ, _DIGITS[-1])
    first, second = (f"{Decimal(f'{amount:.{digits}g}'):f}" for amount in (one, other))
    return first, second


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:_SHOWN_NAME_CHARACTERS] for name in names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
