"""Options of one upload."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.job_options import (
    JobOptions,
    deadline_seconds,
    is_completion_window,
    parse_options,
    window_hours,
)
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.problem import Problem

DEFAULTS = JobOptions(
    completion_window="48h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=5.0
)

AMOUNT = "a number of US dollars such as 2.50, which can lower the stack's cap but not raise it"


def parse(
    metadata: Mapping[str, str], *, defaults: JobOptions = DEFAULTS, days: int = 1000
) -> tuple[JobOptions, list[Problem]]:
    return parse_options(metadata, defaults=defaults, work_retention_days=days)


@pytest.mark.parametrize(
    ("metadata", "changes"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"owner": "me", "attempts": "x"}, {}, id="metadata of the user's own"),
        pytest.param({"completion-window": "7d"}, {"completion_window": "7d"}, id="window in days"),
        pytest.param({"completion-window": "24h"}, {"completion_window": "24h"}, id="shortest"),
        pytest.param({"completion-window": "168h"}, {"completion_window": "168h"}, id="longest"),
        pytest.param({"completion-window": "048h"}, {"completion_window": "048h"}, id="as written"),
        pytest.param(
            {"Completion-Window": "3d"}, {"completion_window": "3d"}, id="name in capitals"
        ),
        pytest.param({"on-invalid-line": "skip"}, {"skip_invalid_lines": True}, id="skip"),
        pytest.param({"on-invalid-line": "reject"}, {}, id="reject"),
        pytest.param({"max-attempts": "1"}, {"max_attempts": 1}, id="one attempt"),
        pytest.param({"max-attempts": "10"}, {"max_attempts": 10}, id="ten attempts"),
        pytest.param({"max-job-cost-usd": "2.50"}, {"max_job_cost_usd": 2.5}, id="cap"),
        pytest.param({"max-job-cost-usd": ".5"}, {"max_job_cost_usd": 0.5}, id="cap below one"),
        pytest.param({"check-models": "false"}, {"check_models": False}, id="any model"),
        pytest.param({"check-models": "true"}, {}, id="models of the list"),
        pytest.param({"canary-requests": "10000"}, {"canary_requests": 10_000}, id="canary"),
        pytest.param({"canary-requests": "0"}, {}, id="no canary"),
        pytest.param(
            {"canary-max-failed-percent": "0"}, {"canary_max_failed_percent": 0}, id="none may fail"
        ),
        pytest.param({"batch-deadline": "90m"}, {"batch_deadline": "90m"}, id="deadline"),
        pytest.param({"batch-deadline": "30d"}, {"batch_deadline": "30d"}, id="longest deadline"),
        pytest.param({"batch-deadline": "none"}, {}, id="no deadline"),
        pytest.param({"deadline-max-usd": "0.5"}, {"deadline_max_usd": 0.5}, id="budget"),
        pytest.param(
            {"retry-invalid-output": "true"}, {"retry_invalid_output": True}, id="valid output"
        ),
        pytest.param(
            {"max-attempts": "2", "on-invalid-line": "skip"},
            {"max_attempts": 2, "skip_invalid_lines": True},
            id="two",
        ),
    ],
)
def test_an_upload_overrides_the_stack(
    metadata: Mapping[str, str], changes: Mapping[str, object]
) -> None:
    options, problems = parse(metadata)
    assert problems == []
    assert options == replace(DEFAULTS, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of_stack", "of_upload", "in_force"),
    [
        *((5.0, given, 5.0) for given in (None, "0", "0.0", "5", "5.01", "1000000")),
        *((5.0, given, float(given)) for given in ("4.99", "0.000001")),
        *((0.0, given, float(given)) for given in ("0", "5", "1000000")),
        (0.0, None, 0.0),
    ],
)
def test_an_upload_may_lower_the_cap_and_never_lift_it(
    of_stack: float, of_upload: str | None, in_force: float
) -> None:
    metadata = {} if of_upload is None else {"max-job-cost-usd": of_upload}
    options, problems = parse(metadata, defaults=replace(DEFAULTS, max_job_cost_usd=of_stack))
    assert problems == []
    assert options.max_job_cost_usd == in_force


def test_an_upload_overrides_what_the_stack_has_changed() -> None:
    """The budget after the deadline may be raised: a cap bounds it, where the stack has one."""
    of_stack = replace(
        DEFAULTS,
        skip_invalid_lines=True,
        check_models=False,
        canary_requests=100,
        canary_max_failed_percent=20,
        batch_deadline="6h",
        deadline_max_usd=1.0,
        retry_invalid_output=True,
    )
    assert parse({}, defaults=of_stack) == (of_stack, [])
    given = {
        "on-invalid-line": "reject",
        "check-models": "true",
        "canary-requests": "0",
        "canary-max-failed-percent": "100",
        "batch-deadline": "none",
        "deadline-max-usd": "2",
        "retry-invalid-output": "false",
    }
    expected = replace(DEFAULTS, canary_max_failed_percent=100, deadline_max_usd=2.0)
    assert parse(given, defaults=of_stack) == (expected, [])


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        *(
            ("completion-window", value, "hours or days between 24h and 7d, such as 24h, 72h or 7d")
            for value in (
                *("23h", "169h", "0d", "8d", "1h", "24", "h", "24 h", " 24h", "24H", "24m", "-24h"),
                *("+24h", "24h ", "24h\n", "1.5d", "1e2h", "٢٤h", "24h,7d", "9" * 1000 + "h", ""),
            )
        ),
        *(
            ("on-invalid-line", value, "reject or skip")
            for value in ("Skip", "REJECT", "true", "yes", "skip ", "")
        ),
        *(
            ("max-attempts", value, "a whole number from 1 to 10")
            for value in ("0", "11", "-1", "+2", "2.0", "1e1", "three", "²", "9" * 1000, "")
        ),
        *(
            ("max-job-cost-usd", value, AMOUNT)
            for value in ("-1", "+1", "$5", "5 USD", "1,5", "1e3", "nan", "inf", "1_000", ".", "")
        ),
        *(
            ("check-models", value, "true or false")
            for value in ("True", "FALSE", "1", "0", "yes", "no", "true ", "")
        ),
        *(
            ("canary-requests", value, "a whole number from 0 to 10000")
            for value in ("-1", "10001", "1.5", "5%", "all", "")
        ),
        *(
            ("canary-max-failed-percent", value, "a whole number from 0 to 100")
            for value in ("-1", "101", "0.5", "50%", "")
        ),
        *(
            (
                "batch-deadline",
                value,
                "minutes, hours or days between 1m and 30d, such as 90m, 6h or 2d, or none",
            )
            for value in (
                *("0m", "0d", "31d", "721h", "43201m", "6", "h", "6 h", "6H", "90s", "1w", "-6h"),
                *("None", "1.5h", "2026-12-01", "٦h", "6h\n", "9" * 1000 + "h", ""),
            )
        ),
        *(
            ("deadline-max-usd", value, "a number of US dollars such as 2.50")
            for value in ("-1", "$5", "1e3", "nan", "")
        ),
        *(("retry-invalid-output", value, "true or false") for value in ("True", "1", "yes", "")),
    ],
)
def test_a_value_that_cannot_be_used(name: str, value: str, allowed: str) -> None:
    options, problems = parse({name: value})
    assert options == DEFAULTS
    (found,) = problems
    assert (found.line, found.custom_id, found.code) == (None, None, "invalid_option")
    assert name in found.message
    assert repr(value[:100]) in found.message
    assert f"allowed is {allowed}. Upload the file again." in found.message
    assert len(found.message) < 400


def test_every_value_at_fault_is_named() -> None:
    _, problems = parse(
        {"max-attempts": "0", "on-invalid-line": "no", "completion-window": "3d", "x": "y"}
    )
    assert sorted(re.findall(r"metadata (\S+)", " ".join(p.message for p in problems))) == [
        "max-attempts",
        "on-invalid-line",
    ]


class TestRetention:
    """A job must end before its work expires: all its windows, and two days more."""

    @pytest.mark.parametrize(
        ("window", "attempts", "canary", "days"),
        [
            *(("24h", 1, 0, 3), ("24h", 3, 0, 5), ("25h", 1, 0, 4)),
            *(("7d", 3, 0, 23), ("7d", 4, 0, 30), ("7d", 10, 0, 72)),
            *(("24h", 1, 1, 4), ("24h", 3, 1, 6), ("7d", 3, 1, 30), ("7d", 10, 1, 79)),
        ],
    )
    def test_days_that_a_job_may_need(
        self, window: str, attempts: int, canary: int, days: int
    ) -> None:
        metadata = {"completion-window": window, "max-attempts": str(attempts)}
        metadata["canary-requests"] = str(canary)
        also = ", and one more for the canary," if canary else ""
        assert parse(metadata, days=days)[1] == []
        options, (found,) = parse(metadata, days=days - 1)
        assert (options.completion_window, options.max_attempts) == (window, attempts)
        assert (found.line, found.code) == (None, "invalid_option")
        assert f"{attempts} attempts of {window}{also} can" in found.message
        assert f"WorkRetentionDays={days} or more" in found.message
        assert "fewer attempts or a shorter window" in found.message

    def test_the_stacks_own_options_are_held_to_it(self) -> None:
        assert [found.code for found in parse({}, days=7)[1]] == ["invalid_option"]
        assert parse({"max-attempts": "2"}, days=7)[1] == []

    def test_a_value_at_fault_is_told_alone(self) -> None:
        _, problems = parse({"max-attempts": "11"}, days=1)
        assert len(problems) == 1
        assert "max-attempts" in problems[0].message


class TestWindows:
    @given(st.integers(0, 10_000), st.sampled_from("hd"))
    def test_the_range(self, count: int, unit: str) -> None:
        hours = count * (24 if unit == "d" else 1)
        assert window_hours(f"{count}{unit}") == hours
        assert is_completion_window(f"{count}{unit}") is (24 <= hours <= 168)

    @given(st.text(max_size=6))
    def test_nothing_else_is_a_window(self, text: str) -> None:
        is_window = re.fullmatch(r"[0-9]+[hd]", text) is not None
        assert (window_hours(text) is not None) is is_window


class TestDeadlines:
    @given(st.integers(0, 100_000), st.sampled_from("mhd"))
    def test_the_range(self, count: int, unit: str) -> None:
        seconds = count * {"m": 60, "h": 3600, "d": 86_400}[unit]
        is_deadline = 60 <= seconds <= 30 * 86_400
        assert deadline_seconds(f"{count}{unit}") == (seconds if is_deadline else None)
        options = replace(DEFAULTS, batch_deadline=f"{count}{unit}" if is_deadline else "")
        assert options.deadline_seconds == (seconds if is_deadline else None)


def test_options_in_a_record() -> None:
    asked = replace(
        DEFAULTS,
        canary_requests=5,
        canary_max_failed_percent=0,
        batch_deadline="6h",
        deadline_max_usd=2.5,
        retry_invalid_output=True,
    )
    assert from_json_data(json.loads(json.dumps(to_json_data(asked))), JobOptions) == asked
    data = json.loads(json.dumps(to_json_data(DEFAULTS)))
    assert from_json_data(data, JobOptions) == DEFAULTS
    assert from_json_data({**data, "of_a_later_version": 1}, JobOptions) == DEFAULTS
    for name in (
        *("check_models", "canary_requests", "canary_max_failed_percent", "batch_deadline"),
        *("deadline_max_usd", "retry_invalid_output"),
    ):
        del data[name]
    assert from_json_data(data, JobOptions) == DEFAULTS
