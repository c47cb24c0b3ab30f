"""The options of one job: the stack's, overridden by the upload's S3 user metadata."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem

MAX_ATTEMPTS_LIMIT = 10
MAX_CANARY_REQUESTS = 10_000
NO_DEADLINE = "none"
"""Value by which an upload opts out of the stack's deadline."""
_HOURS_OF_UNIT = {"h": 1, "d": 24}
_SECONDS_OF_UNIT = {"m": 60, "h": 3600, "d": 86_400}
_SHORTEST_DEADLINE_SECONDS = 60
_LONGEST_DEADLINE_SECONDS = 30 * 86_400
_SHORTEST_WINDOW_HOURS = 24
_LONGEST_WINDOW_HOURS = 7 * 24
LONGEST_WINDOW_SECONDS = _LONGEST_WINDOW_HOURS * 3600
"""The API's longest completion window (https://console.groq.com/docs/batch)."""
_RETENTION_MARGIN_DAYS = 2
"""Days that a job may need in addition to its windows: for sending, outages, collecting, and the
pauses after refused batches, which are 8.5 hours for ten attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """Options of one job.

    Attributes:
        completion_window: Time that Groq has for a batch, as sent to the API (``24h``, ``7d``).
        skip_invalid_lines: Whether the valid lines of a file with invalid ones are run.
        max_attempts: How often a request may be sent in total.
        max_job_cost_usd: Highest accepted cost estimate in USD; 0 means no cap.
        check_models: Whether requests may only name models of the account's list.
        canary_requests: Number of requests that are sent alone first; 0 means none.
        canary_max_failed_percent: Highest share of them, in percent, that may have failed for good
            if the rest is to be sent.
        batch_deadline: Time after the job's start at which the job stops waiting for batches, as
            written (``90m``, ``6h``, ``2d``); empty means never.
        deadline_max_usd: Maximum cost in USD of the ordinary calls after the deadline; with 0 no
            call is made.
        retry_invalid_output: Whether a request whose answer is not the requested JSON is sent, and
            paid, once more.
    """

    completion_window: str
    skip_invalid_lines: bool
    max_attempts: int
    max_job_cost_usd: float
    check_models: bool = True
    canary_requests: int = 0
    canary_max_failed_percent: int = 50
    batch_deadline: str = ""
    deadline_max_usd: float = 0.0
    retry_invalid_output: bool = False

    @property
    def window_seconds(self) -> int:
        """Length of the completion window in seconds."""
        return (window_hours(self.completion_window) or 0) * 3600

    @property
    def deadline_seconds(self) -> int | None:
        """Seconds from the job's start to its deadline; None without one."""
        return deadline_seconds(self.batch_deadline)


def window_hours(window: str) -> int | None:
    """Return the length of a completion window in hours; None if the text is not one."""
    match = re.fullmatch(r"([0-9]+)([hd])", window)
    return int(match[1]) * _HOURS_OF_UNIT[match[2]] if match else None


def is_completion_window(window: str) -> bool:
    """Tell whether a window is within the API's documented range (24 hours to 7 days).

    See https://console.groq.com/docs/batch.
    """
    hours = window_hours(window)
    return hours is not None and _SHORTEST_WINDOW_HOURS <= hours <= _LONGEST_WINDOW_HOURS


def deadline_seconds(text: str) -> int | None:
    """Return the length of a deadline in seconds; None if the text is not one.

    It is at least one minute and at most 30 days long.
    """
    match = re.fullmatch(r"([0-9]+)([mhd])", text)
    if match is None:
        return None
    seconds = int(match[1]) * _SECONDS_OF_UNIT[match[2]]
    return seconds if _SHORTEST_DEADLINE_SECONDS <= seconds <= _LONGEST_DEADLINE_SECONDS else None


def parse_options(
    metadata: Mapping[str, str], *, defaults: JobOptions, work_retention_days: int
) -> tuple[JobOptions, list[Problem]]:
    """Read an upload's options from its S3 user metadata.

    Args:
        metadata: The object's user metadata; unrelated keys are ignored. Values are used as
            written, because a window is sent that way.
        defaults: The stack's options.
        work_retention_days: How many days the stack keeps a job's working files; a job must end
            within them.

    Returns:
        The options, and an ``invalid_option`` problem for each unusable value.
    """
    given = {name.lower(): value for name, value in metadata.items()}
    changes: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, (field, read, allowed) in _OPTIONS.items():
        if name not in given:
            continue
        value = read(given[name])
        if value is None:
            problems.append(
                Problem.of_file(
                    ErrorCode.INVALID_OPTION,
                    f"The metadata {name} is {given[name][:100]!r}; allowed is {allowed}. "
                    f"Upload the file again.",
                )
            )
        else:
            changes[field] = value
    options = replace(defaults, **changes)
    options = replace(options, max_job_cost_usd=_cap_in_force(defaults, options))
    needed_days = _days_needed(options)
    if not problems and needed_days > work_retention_days:
        canary = ", and one more for the canary," if options.canary_requests else ""
        problems.append(
            Problem.of_file(
                ErrorCode.INVALID_OPTION,
                f"{options.max_attempts} attempts of {options.completion_window}{canary} can take "
                f"{needed_days} days, but this stack keeps a job's working files for "
                f"{work_retention_days}. Choose fewer attempts or a shorter window, or deploy the "
                f"stack with WorkRetentionDays={needed_days} or more.",
            )
        )
    return options, problems


def _cap_in_force(defaults: JobOptions, options: JobOptions) -> float:
    """Return the cap of a job: an upload may lower the stack's cap, but never raise it."""
    caps = (defaults.max_job_cost_usd, options.max_job_cost_usd)
    return min((cap for cap in caps if cap), default=0.0)


def _window(text: str) -> str | None:
    return text if is_completion_window(text) else None


def _skips(text: str) -> bool | None:
    return {"reject": False, "skip": True}.get(text)


def _whole_number(lowest: int, highest: int) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        if re.fullmatch(r"[0-9]+", text) and lowest <= int(text) <= highest:
            return int(text)
        return None

    return read


def _deadline(text: str) -> str | None:
    if text == NO_DEADLINE:
        return ""
    return text if deadline_seconds(text) is not None else None


def _yes_or_no(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _days_needed(options: JobOptions) -> int:
    windows = options.max_attempts + (1 if options.canary_requests else 0)
    return math.ceil(windows * options.window_seconds / 86_400) + _RETENTION_MARGIN_DAYS


def _amount(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?|\.[0-9]{1,9}", text):
        return None
    return float(text)


_OPTIONS: dict[str, tuple[str, Callable[[str], Any], str]] = {
    "completion-window": (
        "completion_window",
        _window,
        "hours or days between 24h and 7d, such as 24h, 72h or 7d",
    ),
    "on-invalid-line": ("skip_invalid_lines", _skips, "reject or skip"),
    "max-attempts": (
        "max_attempts",
        _whole_number(1, MAX_ATTEMPTS_LIMIT),
        f"a whole number from 1 to {MAX_ATTEMPTS_LIMIT}",
    ),
    "max-job-cost-usd": (
        "max_job_cost_usd",
        _amount,
        "a number of US dollars such as 2.50, which can lower the stack's cap but not raise it",
    ),
    "check-models": ("check_models", _yes_or_no, "true or false"),
    "canary-requests": (
        "canary_requests",
        _whole_number(0, MAX_CANARY_REQUESTS),
        f"a whole number from 0 to {MAX_CANARY_REQUESTS}",
    ),
    "canary-max-failed-percent": (
        "canary_max_failed_percent",
        _whole_number(0, 100),
        "a whole number from 0 to 100",
    ),
    "batch-deadline": (
        "batch_deadline",
        _deadline,
        "minutes, hours or days between 1m and 30d, such as 90m, 6h or 2d, or none",
    ),
    "deadline-max-usd": (
        "deadline_max_usd",
        _amount,
        "a number of US dollars such as 2.50",
    ),
    "retry-invalid-output": ("retry_invalid_output", _yes_or_no, "true or false"),
}
"""Metadata name: the option's field, its parser (returns None if not allowed), allowed values."""
