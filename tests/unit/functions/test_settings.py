"""The stack's settings."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from groq_batch.domain.job_options import JobOptions
from groq_batch.settings import HARD_LINE_LIMIT_BYTES, Settings, SettingsError

ENVIRONMENT: Mapping[str, str] = {
    "BUCKET_NAME": "bucket",
    "GROQ_BASE_URL": "https://api.groq.com/openai/v1",
    "GROQ_API_KEY_SECRET_NAME": "groq/api-key",
    "COMPLETION_WINDOW": "24h",
    "ON_INVALID_LINE": "reject",
    "MAX_REQUESTS_PER_BATCH": "50000",
    "MAX_BYTES_PER_BATCH": "100000000",
    "MAX_BYTES_PER_RANGE": "1073741824",
    "MAX_ATTEMPTS": "3",
    "MAX_JOB_COST_USD": "0",
    "POLL_MIN_SECONDS": "5",
    "POLL_MAX_SECONDS": "900",
    "DELETE_GROQ_FILES": "true",
    "WORK_RETENTION_DAYS": "30",
}


def settings(**changes: str) -> Settings:
    return Settings.from_env({**ENVIRONMENT, **changes})


def test_everything_is_read() -> None:
    assert settings() == Settings(
        bucket="bucket",
        groq_base_url="https://api.groq.com/openai/v1",
        groq_api_key_secret_name="groq/api-key",
        default_options=JobOptions(
            completion_window="24h",
            skip_invalid_lines=False,
            max_attempts=3,
            max_job_cost_usd=0.0,
        ),
        max_requests_per_batch=50_000,
        max_bytes_per_batch=100_000_000,
        max_bytes_per_range=2**30,
        poll_min_seconds=5,
        poll_max_seconds=900,
        delete_groq_files=True,
        work_retention_days=30,
        state_machine_arn=None,
    )


def test_other_values() -> None:
    found = settings(
        ON_INVALID_LINE="skip",
        MAX_JOB_COST_USD="2.5",
        DELETE_GROQ_FILES="false",
        STATE_MACHINE_ARN="arn",
        MAX_ATTEMPTS="10",
        COMPLETION_WINDOW="7d",
    )
    assert found.default_options == JobOptions(
        completion_window="7d", skip_invalid_lines=True, max_attempts=10, max_job_cost_usd=2.5
    )
    assert found.delete_groq_files is False
    assert found.state_machine_arn == "arn"


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("false", False), (None, True), ("", True)]
)
def test_models_are_checked_unless_the_stack_says_no(value: str | None, expected: bool) -> None:
    """A function of a newer version may see the environment of the version before."""
    changes = {} if value is None else {"CHECK_MODELS": value}
    assert settings(**changes).default_options.check_models is expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("CANARY_REQUESTS", {"100": 100, "": 0}, "canary_requests"),
        ("CANARY_MAX_FAILED_PERCENT", {"0": 0, "": 50}, "canary_max_failed_percent"),
        ("BATCH_DEADLINE", {"6h": "6h", "none": "", "": ""}, "batch_deadline"),
        ("DEADLINE_MAX_USD", {"2.5": 2.5, "": 0.0}, "deadline_max_usd"),
        ("RETRY_INVALID_OUTPUT", {"true": True, "false": False, "": False}, "retry_invalid_output"),
    ],
)
def test_options_that_an_older_environment_lacks(
    name: str, values: dict[str, object], expected: str
) -> None:
    for value, read in values.items():
        assert getattr(settings(**{name: value}).default_options, expected) == read
    assert getattr(settings().default_options, expected) == values[""]


@pytest.mark.parametrize("name", sorted(ENVIRONMENT))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_missing(name: str, value: str | None) -> None:
    environ = {key: text for key, text in {**ENVIRONMENT, name: value}.items() if text is not None}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert str(caught.value) == f"Environment of the function: {name} is missing."


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("COMPLETION_WINDOW", ["23h", "8d", "24H", "1w"], "between 24h and 7d"),
        ("ON_INVALID_LINE", ["Skip", "ignore"], "one of reject, skip"),
        ("DELETE_GROQ_FILES", ["True", "1"], "one of true, false"),
        ("CHECK_MODELS", ["True", "no"], "one of true, false"),
        ("CANARY_REQUESTS", ["-1", "10001", "2.5"], "0 to 10000"),
        ("CANARY_MAX_FAILED_PERCENT", ["-1", "101", "2.5"], "0 to 100"),
        ("BATCH_DEADLINE", ["0m", "31d", "6H", "never"], "between 1m and 30d"),
        ("DEADLINE_MAX_USD", ["-1", "nan", "x"], "a number of USD from 0"),
        ("RETRY_INVALID_OUTPUT", ["True", "1"], "one of true, false"),
        ("MAX_REQUESTS_PER_BATCH", ["0", "50001", "-1", "1.0", "x", "²", "٣"], "1 to 50000"),
        ("MAX_BYTES_PER_BATCH", ["0", "200000001"], "1 to 200000000"),
        ("MAX_BYTES_PER_RANGE", ["0", "4294967296"], "1 to 4294967295"),
        ("MAX_ATTEMPTS", ["0", "11"], "1 to 10"),
        ("MAX_JOB_COST_USD", ["-1", "nan", "inf", "x"], "a number of USD from 0"),
        ("POLL_MIN_SECONDS", ["0", "3601"], "1 to 3600"),
        ("POLL_MAX_SECONDS", ["299", "86401"], "300 to 86400"),
        ("WORK_RETENTION_DAYS", ["0", "3651"], "1 to 3650"),
    ],
)
def test_a_value_that_cannot_be_used(name: str, values: list[str], expected: str) -> None:
    for value in values:
        with pytest.raises(SettingsError) as caught:
            settings(**{name: value})
        assert f"{name} must be {expected}, not {value!r}." in str(caught.value)


def test_everything_at_fault_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(MAX_ATTEMPTS="x", BUCKET_NAME="", POLL_MAX_SECONDS="1")
    message = str(caught.value)
    assert all(name in message for name in ("MAX_ATTEMPTS", "BUCKET_NAME", "POLL_MAX_SECONDS"))
    assert message.count(";") == 2


@pytest.mark.parametrize(
    ("max_bytes", "expected"),
    [
        ("1000", 1000),
        (str(HARD_LINE_LIMIT_BYTES), HARD_LINE_LIMIT_BYTES),
        ("100000000", 32 * 1024 * 1024),
    ],
)
def test_longest_line(max_bytes: str, expected: int) -> None:
    assert settings(MAX_BYTES_PER_BATCH=max_bytes).max_line_bytes == expected
