"""Read the stack's settings once from a function's environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from groq_batch.domain.job_options import (
    MAX_ATTEMPTS_LIMIT,
    MAX_CANARY_REQUESTS,
    NO_DEADLINE,
    JobOptions,
    deadline_seconds,
    is_completion_window,
)

HARD_LINE_LIMIT_BYTES = 32 * 1024 * 1024
"""Maximum length of a request line, whatever ``MaxBytesPerBatch`` is: a line is held in memory."""
MAX_BATCH_REQUESTS = 50_000
"""Groq's limit of request lines per batch (https://console.groq.com/docs/batch)."""
MAX_BATCH_BYTES = 200_000_000
"""Groq's limit of a batch's file in bytes (https://console.groq.com/docs/batch)."""
MAX_RANGE_BYTES = 2**32 - 1
"""Maximum size of a range: its line numbers are stored in 32 bits."""


class SettingsError(Exception):
    """The function's environment is incomplete or wrong; the message names all bad variables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings from the template's parameters.

    Attributes:
        bucket: Name of the stack's bucket.
        groq_base_url: URL of the Groq API, ending in ``/openai/v1``.
        groq_api_key_secret_name: Name of the secret that holds the API key.
        default_options: Options of uploads that set none themselves.
        max_requests_per_batch: Maximum number of request lines in a shard.
        max_bytes_per_batch: Maximum size of a shard in bytes.
        max_bytes_per_range: Size in bytes of the ranges in which a large input is prepared.
        poll_min_seconds: Shortest time between two status checks.
        poll_max_seconds: Longest time between two status checks.
        delete_groq_files: Whether a finished job's files at Groq are deleted.
        work_retention_days: Days after which ``work/`` expires.
        state_machine_arn: The state machine; set only for the start function.
        uses_existing_bucket: Whether the stack uses an existing bucket, whose settings it does not
            manage.
    """

    bucket: str
    groq_base_url: str
    groq_api_key_secret_name: str
    default_options: JobOptions
    max_requests_per_batch: int
    max_bytes_per_batch: int
    max_bytes_per_range: int
    poll_min_seconds: int
    poll_max_seconds: int
    delete_groq_files: bool
    work_retention_days: int
    state_machine_arn: str | None = None
    uses_existing_bucket: bool = False

    @property
    def max_line_bytes(self) -> int:
        """Longest accepted request line, in bytes."""
        return min(self.max_bytes_per_batch, HARD_LINE_LIMIT_BYTES)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: Variables are missing or invalid; the message names all of them.
        """
        reader = _Reader(environ)
        settings = cls(
            bucket=reader.text("BUCKET_NAME"),
            groq_base_url=reader.text("GROQ_BASE_URL"),
            groq_api_key_secret_name=reader.text("GROQ_API_KEY_SECRET_NAME"),
            default_options=JobOptions(
                completion_window=reader.window("COMPLETION_WINDOW"),
                skip_invalid_lines=reader.choice("ON_INVALID_LINE", "reject", "skip") == "skip",
                max_attempts=reader.integer("MAX_ATTEMPTS", 1, MAX_ATTEMPTS_LIMIT),
                max_job_cost_usd=reader.amount("MAX_JOB_COST_USD"),
                # During a deployment, new code may run with the previous environment.
                check_models=reader.choice("CHECK_MODELS", "true", "false", default="true")
                == "true",
                canary_requests=reader.integer(
                    "CANARY_REQUESTS", 0, MAX_CANARY_REQUESTS, default="0"
                ),
                canary_max_failed_percent=reader.integer(
                    "CANARY_MAX_FAILED_PERCENT", 0, 100, default="50"
                ),
                batch_deadline=reader.deadline("BATCH_DEADLINE"),
                deadline_max_usd=reader.amount("DEADLINE_MAX_USD", default="0"),
                retry_invalid_output=reader.choice(
                    "RETRY_INVALID_OUTPUT", "true", "false", default="false"
                )
                == "true",
            ),
            max_requests_per_batch=reader.integer("MAX_REQUESTS_PER_BATCH", 1, MAX_BATCH_REQUESTS),
            max_bytes_per_batch=reader.integer("MAX_BYTES_PER_BATCH", 1, MAX_BATCH_BYTES),
            max_bytes_per_range=reader.integer("MAX_BYTES_PER_RANGE", 1, MAX_RANGE_BYTES),
            poll_min_seconds=reader.integer("POLL_MIN_SECONDS", 1, 3600),
            poll_max_seconds=reader.integer("POLL_MAX_SECONDS", 300, 86_400),
            delete_groq_files=reader.choice("DELETE_GROQ_FILES", "true", "false") == "true",
            work_retention_days=reader.integer("WORK_RETENTION_DAYS", 1, 3650),
            state_machine_arn=environ.get("STATE_MACHINE_ARN") or None,
            uses_existing_bucket=environ.get("USES_EXISTING_BUCKET") == "true",
        )
        reader.raise_for_problems()
        return settings


class _Reader:
    """Reads variables and collects their problems."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def text(self, name: str, *, default: str = "") -> str:
        value = self._environ.get(name, "").strip() or default
        if not value:
            self._problems.append(f"{name} is missing")
        return value

    def choice(self, name: str, *allowed: str, default: str = "") -> str:
        value = self.text(name, default=default)
        if value and value not in allowed:
            self._problems.append(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def window(self, name: str) -> str:
        value = self.text(name)
        if value and not is_completion_window(value):
            self._problems.append(f"{name} must be between 24h and 7d, not {value!r}")
        return value

    def deadline(self, name: str) -> str:
        value = self.text(name, default=NO_DEADLINE)
        if value == NO_DEADLINE:
            return ""
        if deadline_seconds(value) is None:
            self._problems.append(f"{name} must be between 1m and 30d, not {value!r}")
        return value

    def integer(self, name: str, lowest: int, highest: int, *, default: str = "") -> int:
        value = self.text(name, default=default)
        if value.isascii() and value.isdigit() and lowest <= int(value) <= highest:
            return int(value)
        if value:
            self._problems.append(f"{name} must be {lowest} to {highest}, not {value!r}")
        return lowest

    def amount(self, name: str, *, default: str = "") -> float:
        value = self.text(name, default=default)
        try:
            amount = float(value)
        except ValueError:
            amount = -1.0
        if value and not 0 <= amount < float("inf"):
            self._problems.append(f"{name} must be a number of USD from 0, not {value!r}")
        return amount

    def raise_for_problems(self) -> None:
        if self._problems:
            raise SettingsError("Environment of the function: " + "; ".join(self._problems) + ".")
