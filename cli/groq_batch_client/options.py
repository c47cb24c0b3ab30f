"""Convert the Python arguments for an upload into the metadata that the stack reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypedDict

from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch_client.errors import OptionError
from groq_batch_client.stack import Stack
from groq_batch_client.text import listed

_UNKNOWN_STACK = JobOptions(
    completion_window="24h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=0.0
)
"""Template defaults, used if only the bucket is known."""

_UNKNOWN_RETENTION_DAYS = 100_000
"""Retention to assume for an unknown stack: so long that no check fails. The stack checks it."""

_LONGEST_SHOWN = 100


class Options(TypedDict, total=False):
    """Options of an upload. The stack has the defaults.

    Attributes:
        completion_window: Time limit for Groq to complete a batch: ``24h`` to ``7d``.
        on_invalid_line: ``reject`` a file with an invalid line, or ``skip`` the line.
        max_attempts: Maximum number of times to send a request, 1 to 10.
        max_job_cost_usd: Highest accepted cost estimate in USD; 0 means that only the cap of the
            stack applies.
        check_models: Whether to reject requests for models that the account does not have.
        canary_requests: Number of requests to send alone first; 0 means none.
        canary_max_failed_percent: Share of these that may fail permanently, in percent.
        batch_deadline: When to stop waiting for batches, such as ``6h``; ``none`` means never.
        deadline_max_usd: Maximum cost in USD of the ordinary calls after the deadline.
        retry_invalid_output: Whether to resend, and pay again for, requests whose answer is not
            the JSON they ask for.
    """

    completion_window: str
    on_invalid_line: str
    max_attempts: int
    max_job_cost_usd: float
    check_models: bool
    canary_requests: int
    canary_max_failed_percent: int
    batch_deadline: str
    deadline_max_usd: float
    retry_invalid_output: bool


def plain_amount(amount: float) -> str:
    """Return an amount with all digits, without an exponent, and 0 without a minus sign."""
    text = f"{Decimal(repr(float(amount))):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> str | None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return _text(value)
    return str(value.__index__())


def _amount(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return None
    return plain_amount(value) if math.isfinite(value) else None


def _flag(value: Any) -> str | None:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else _text(value)


_WRITERS: dict[str, tuple[Callable[[Any], str | None], str]] = {
    "completion_window": (_text, "a text such as '24h' or '7d'"),
    "on_invalid_line": (_text, "'reject' or 'skip'"),
    "max_attempts": (_whole, "a whole number"),
    "max_job_cost_usd": (_amount, "a number of US dollars"),
    "check_models": (_flag, "True or False"),
    "canary_requests": (_whole, "a whole number"),
    "canary_max_failed_percent": (_whole, "a whole number"),
    "batch_deadline": (_text, "a text such as '6h' or 'none'"),
    "deadline_max_usd": (_amount, "a number of US dollars"),
    "retry_invalid_output": (_flag, "True or False"),
}
"""Writer of each option (None: not a valid value), and a description of the valid values."""

METADATA_NAMES = frozenset(name.replace("_", "-") for name in _WRITERS)


def options_as_metadata(options: Mapping[str, Any]) -> dict[str, str]:
    """Return options as the metadata of an upload; omit options that are None.

    Raises:
        OptionError: There is no such option, or its value has the wrong type.
    """
    metadata = {}
    for name, value in options.items():
        if name not in _WRITERS:
            raise OptionError(
                f"There is no option {name!r}; there are {listed(sorted(_WRITERS), len(_WRITERS))}."
            )
        write, allowed = _WRITERS[name]
        if value is None:
            continue
        text = write(value)
        if text is None:
            raise OptionError(f"{name} must be {allowed}, not {_shown(value)}.")
        metadata[name.replace("_", "-")] = text
    return metadata


def options_in_force(stack: Stack | None, metadata: Mapping[str, str]) -> JobOptions:
    """Return the options of a job with this metadata.

    Args:
        stack: The stack; None if only its bucket is known.
        metadata: The metadata of the upload.

    Raises:
        OptionError: The stack would reject the job because of them.
    """
    options, problems = parse_options(
        {name: value for name, value in metadata.items() if name in METADATA_NAMES},
        defaults=stack.default_options if stack is not None else _UNKNOWN_STACK,
        work_retention_days=(
            stack.work_retention_days if stack is not None else _UNKNOWN_RETENTION_DAYS
        ),
    )
    if problems:
        raise OptionError(" ".join(_of_python(problem.message) for problem in problems))
    return options


def _of_python(message: str) -> str:
    """Rewrite a message of the stack about metadata so that it names the Python argument."""
    message = message.removesuffix(" Upload the file again.")
    for name in METADATA_NAMES:
        begin = f"The metadata {name} is"
        if message.startswith(begin):
            return f"{name.replace('-', '_')} is{message.removeprefix(begin)}"
    return message


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
