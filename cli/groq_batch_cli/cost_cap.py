"""Holds the estimated cost of a file against a cap, as the preparation of a job does.

A test compares the verdicts with those of ``groq_batch.prepare``, which cannot be used here: it
needs the libraries of the Lambda functions.
"""

from __future__ import annotations

from collections.abc import Mapping

from groq_batch.checks import Problem
from groq_batch.cost import ModelEstimate, estimate_cost_usd, unknown_models
from groq_batch_cli.text import dollars, dollars_apart, listed, one_line

_SHOWN_NAME_CHARACTERS = 100


def check_cost(models: Mapping[str, ModelEstimate], cap: float) -> Problem | None:
    """Return why a cap keeps a file from running; None when it does not.

    Args:
        models: What each model is asked to do.
        cap: The cap in USD; 0 means none.
    """
    if not cap or not models:
        return None
    unknown = [one_line(name)[:_SHOWN_NAME_CHARACTERS] for name in unknown_models(models)]
    if unknown:
        return _problem(
            f"A cost cap of {dollars(cap)} is set, but the price of {listed(unknown)} is not "
            f"known. Run the file without a cap (--max-cost 0), or use models with a known price."
        )
    estimate = estimate_cost_usd(models)
    if estimate is not None and estimate > cap:
        expected, allowed = dollars_apart(estimate, cap)
        return _problem(
            f"The estimated cost of {expected} is above the cap of {allowed}. Raise --max-cost or "
            f"split the file."
        )
    return None


def _problem(message: str) -> Problem:
    return Problem(line=None, custom_id=None, code="too_expensive", message=message)
