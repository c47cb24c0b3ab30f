"""What a user can set, and what the functions make of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from groq_batch import __version__
from groq_batch.domain.job_options import (
    MAX_ATTEMPTS_LIMIT,
    NO_DEADLINE,
    deadline_seconds,
    is_completion_window,
)
from groq_batch.groq.base_url import validate_base_url
from groq_batch.settings import Settings, SettingsError
from tests.infrastructure.stack import Stack, made_before, source, transformed

PARAMETERS = {
    "GroqApiKeySecretName": "groq/api-key",
    "GroqBaseUrl": "https://api.groq.com/openai/v1",
    "CompletionWindow": "24h",
    "TriggerMode": "both",
    "ScheduleExpression": "rate(1 hour)",
    "ScheduleTimezone": "UTC",
    "OnInvalidLine": "reject",
    "MaxRequestsPerBatch": 50000,
    "MaxBytesPerBatch": "100000000",
    "MaxAttempts": 3,
    "MaxJobCostUsd": 0,
    "CheckModels": "true",
    "CanaryRequests": 0,
    "CanaryMaxFailedPercent": 50,
    "BatchDeadline": "",
    "DeadlineMaxUsd": 0,
    "RetryInvalidOutput": "false",
    "PollMinSeconds": 5,
    "PollMaxSeconds": 900,
    "DeleteGroqFiles": "true",
    "WorkRetentionDays": 30,
    "NotificationEmail": "",
    "PythonRuntime": "python3.13",
    "Architecture": "arm64",
    "LogLevel": "INFO",
}
"""The parameters and their defaults: what users rely on."""

OPERATION = {
    "MaxBytesPerRange": str(2**30),
    "Paused": "false",
    "FailureShareAlarmPercent": 20,
    "RunbookUrl": "docs/operations.md",
    "LogRetentionDays": 30,
    "KmsKeyArn": "",
    "PermissionsBoundaryArn": "",
    "ExistingBucketName": "",
}
"""Further ones: what an operator or a security team may want, none of it needed."""

ALL = {**PARAMETERS, **OPERATION}

OUTPUTS = {
    "BucketName": "<Bucket>",
    "StateMachineArn": "<BatchJob>",
    "StartJobFunctionName": "<StartJobFunction>",
    "CheckStatusFunctionName": "<CheckStatusFunction>",
    "CancelJobFunctionName": "<CancelJobFunction>",
    "DeadLetterQueueUrl": "<DeadLetterQueue>",
    "DashboardUrl": (
        "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1"
        "#dashboards/dashboard/<Dashboard>"
    ),
    "Version": __version__,
}
"""The outputs and their values; for a queue ``Ref`` is its URL."""


def parameter(name: str) -> dict[str, Any]:
    found: dict[str, Any] = source()["Parameters"][name]
    return found


def accepts(name: str, value: str) -> bool:
    """Tell whether a stack can be deployed with a value.

    A pattern has to match it as a whole. CloudFormation takes any number within the limits;
    Parameter Store refuses those that must be whole and are not.
    """
    declared = parameter(name)
    if "AllowedValues" in declared:
        return value in map(str, declared["AllowedValues"])
    if declared["Type"] == "Number":
        number = float(value)
        if not declared.get("MinValue", number) <= number <= declared.get("MaxValue", number):
            return False
        checked = Stack.deploy(**{name: value}).properties("WholeNumbers")
        return re.fullmatch(checked["AllowedPattern"], checked["Value"]) is not None
    return re.fullmatch(declared.get("AllowedPattern", ".*"), value) is not None


def test_parameters_and_defaults():
    assert {name: one["Default"] for name, one in source()["Parameters"].items()} == ALL


def test_large_defaults_are_texts():
    """A number of eight digits and more may become a text like 1.0E8.

    Such a text is no whole number to the functions, and WholeNumbers would refuse every deployment:
    https://github.com/awslabs/aws-cloudformation-template-formatter/issues/10
    """
    for name, declared in source()["Parameters"].items():
        default = declared["Default"]
        assert isinstance(default, str) or default < 10**7, name


@pytest.mark.parametrize("name", ALL)
def test_every_default_is_accepted(name: str):
    assert accepts(name, str(ALL[name]))


def test_every_parameter_is_described_and_stands_in_a_group():
    assert all(one["Description"].endswith(".") for one in source()["Parameters"].values())
    interface = source()["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    assert sorted(grouped) == sorted(ALL)


def test_outputs():
    assert Stack.deploy().outputs == OUTPUTS
    assert all(one["Description"] for one in source()["Outputs"].values())
    assert not any("Export" in one for one in source()["Outputs"].values())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("TriggerMode", ["upload", "schedule", "both"], ["none", ""]),
        ("OnInvalidLine", ["reject", "skip"], ["ignore"]),
        ("DeleteGroqFiles", ["true", "false"], ["yes"]),
        ("Architecture", ["arm64", "x86_64"], ["riscv"]),
        ("PythonRuntime", ["python3.11", "python3.13"], ["python3.10"]),
        ("LogLevel", ["DEBUG", "INFO", "WARN", "ERROR"], ["TRACE"]),
        ("MaxAttempts", ["1", "10"], ["0", "11", "2.5", "3.0", "03", "1e0"]),
        ("MaxRequestsPerBatch", ["1", "50000"], ["0", "50001", "1.5"]),
        ("MaxBytesPerBatch", ["1", "200000000"], ["0", "200000001", "1e8"]),
        ("MaxJobCostUsd", ["0", "2.5", "100000"], ["-1"]),
        ("CheckModels", ["true", "false"], ["no", ""]),
        ("CanaryRequests", ["0", "10000"], ["-1", "10001", "0.5"]),
        ("CanaryMaxFailedPercent", ["0", "100"], ["-1", "101", "2.5"]),
        (
            "BatchDeadline",
            ["", "none", "1m", "90m", "43200m", "1h", "6h", "720h", "1d", "30d"],
            ["0m", "43201m", "721h", "31d", "6", "6s", "6 h", "1.5h", "-1h", "30dd"],
        ),
        ("DeadlineMaxUsd", ["0", "2.5"], ["-1"]),
        ("RetryInvalidOutput", ["true", "false"], ["yes", ""]),
        ("PollMinSeconds", ["1", "3600"], ["0", "3601", "1.5"]),
        ("PollMaxSeconds", ["300", "86400"], ["299", "86401", "300.5"]),
        # Shorter than that a redriven execution could outlive the marker that its job is closed.
        ("WorkRetentionDays", ["15", "3650"], ["14", "3651", "30.5"]),
        ("CompletionWindow", ["24h", "72h", "168h", "1d", "7d"], ["23h", "169h", "8d", "7", "0d"]),
        ("ScheduleExpression", ["rate(5 minutes)", "cron(0 6 * * ? *)"], ["hourly", "rate"]),
        ("NotificationEmail", ["", "team@example.com"], ["team", "a@b c@d"]),
        ("Paused", ["true", "false"], ["yes", ""]),
        ("FailureShareAlarmPercent", ["0", "20", "100"], ["-1", "101"]),
        # CloudWatch takes certain numbers of days only.
        ("LogRetentionDays", ["1", "30", "365", "3653"], ["0", "2", "31"]),
        (
            "RunbookUrl",
            ["docs/operations.md", "https://wiki.example.com/ops?page=a%20b"],
            ["", "https://x/a b", "https://x/#part", 'x"y', "x<y>"],
        ),
        (
            "KmsKeyArn",
            [
                "",
                "arn:aws:kms:us-east-1:123456789012:key/0f1e2d3c-0000-0000-0000-000000000000",
                "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0f1e2d3c",
            ],
            ["0f1e2d3c", "alias/mine", "arn:aws:kms:us-east-1:123456789012:alias/mine"],
        ),
        (
            "PermissionsBoundaryArn",
            [
                "",
                "arn:aws:iam::123456789012:policy/team/boundary",
                "arn:aws:iam::aws:policy/PowerUserAccess",
                "arn:aws-cn:iam::123456789012:policy/boundary",
            ],
            ["boundary", "arn:aws:iam::123456789012:role/boundary"],
        ),
        (
            "ExistingBucketName",
            ["", "my-bucket", "my.bucket.1"],
            ["My-Bucket", "a", "s3://bucket", "arn:aws:s3:::bucket", "-bucket"],
        ),
        (
            "GroqApiKeySecretName",
            ["groq/api-key", "a"],
            ["arn:aws:secretsmanager:us-east-1:1:secret:x", "", "a*", "what?"],
        ),
        (
            "GroqBaseUrl",
            [
                "https://api.groq.com/openai/v1",
                "https://proxy.example.com:8443",
                "http://127.0.0.1:8080/openai/v1",
                "http://localhost/openai/v1",
                "http://[::1]:9/v1",
            ],
            [
                "http://api.groq.com/openai/v1",
                "http://127.0.0.1.example.com/v1",
                "http://localhost.example.com/v1",
                "https://user:secret@api.groq.com/v1",
                "https://api.groq.com/v1?key=1",
                "ftp://127.0.0.1/",
                "https://",
                "",
            ],
        ),
    ],
)
def test_what_is_accepted(name: str, good: list[str], bad: list[str]):
    assert [value for value in good if not accepts(name, value)] == []
    assert [value for value in bad if accepts(name, value)] == []
    if name == "GroqBaseUrl":
        for value in good:
            validate_base_url(value)
    if name == "BatchDeadline":
        assert all(deadline_seconds(value) for value in good if value not in ("", NO_DEADLINE))
        assert not any(map(deadline_seconds, bad))
    if name == "CompletionWindow":
        assert all(map(is_completion_window, good))
        assert not any(map(is_completion_window, bad))


NUMBERS = [name for name in ALL if source()["Parameters"][name]["Type"] == "Number"]


@pytest.mark.parametrize("name", NUMBERS)
def test_deployment_with_a_fraction_is_refused_where_the_functions_could_not_start(name: str):
    fraction = f"{ALL[name]}.5"
    stack = Stack.deploy(**{name: fraction})
    try:
        Settings.from_env(stack.environment("StartJobFunction"))
    except SettingsError:
        assert not accepts(name, fraction)


def test_functions_are_changed_after_the_whole_numbers_were_checked(stack: Stack):
    for function in stack.functions:
        assert "WholeNumbers" in made_before(transformed(), function)


class WatchedEnvironment(Mapping[str, str]):
    """An environment that notes which variables were asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


LIBRARY_VARIABLES = {"LOG_LEVEL", "POWERTOOLS_SERVICE_NAME"}
"""Read by Powertools, not by the settings."""


def test_functions_get_the_variables_that_the_settings_read(stack: Stack):
    for function in stack.functions:
        environment = WatchedEnvironment(stack.environment(function))
        Settings.from_env(environment)
        given = set(environment) | {"STATE_MACHINE_ARN"}
        assert given == environment.asked | LIBRARY_VARIABLES, function


def test_settings_are_the_parameters(stack: Stack):
    settings = Settings.from_env(stack.environment("StartJobFunction"))
    assert settings.bucket == "<Bucket>"
    assert settings.state_machine_arn == "<BatchJob>"
    assert settings.groq_base_url == PARAMETERS["GroqBaseUrl"]
    assert settings.groq_api_key_secret_name == PARAMETERS["GroqApiKeySecretName"]
    options = settings.default_options
    assert options.completion_window == "24h"
    assert options.skip_invalid_lines is False
    assert options.max_attempts == 3
    assert options.max_job_cost_usd == 0
    assert settings.max_requests_per_batch == 50_000
    assert settings.max_bytes_per_batch == 100_000_000
    assert settings.max_bytes_per_range == 2**30
    assert settings.poll_min_seconds == 5
    assert settings.poll_max_seconds == 900
    assert settings.delete_groq_files is True
    assert settings.work_retention_days == 30


@pytest.mark.parametrize(
    ("name", "variable", "bounds"),
    [
        ("MaxRequestsPerBatch", "MAX_REQUESTS_PER_BATCH", ("1", "50000")),
        ("MaxBytesPerBatch", "MAX_BYTES_PER_BATCH", ("1", "200000000")),
        ("MaxBytesPerRange", "MAX_BYTES_PER_RANGE", ("1", "4294967295")),
        ("MaxAttempts", "MAX_ATTEMPTS", ("1", str(MAX_ATTEMPTS_LIMIT))),
        ("PollMinSeconds", "POLL_MIN_SECONDS", ("1", "3600")),
        ("PollMaxSeconds", "POLL_MAX_SECONDS", ("300", "86400")),
        ("WorkRetentionDays", "WORK_RETENTION_DAYS", ("15", "3650")),
    ],
)
def test_settings_take_what_the_template_lets_pass(
    name: str, variable: str, bounds: tuple[str, str]
):
    assert (str(parameter(name)["MinValue"]), str(parameter(name)["MaxValue"])) == bounds
    for value in bounds:
        stack = Stack.deploy(**{name: value})
        environment = stack.environment("PrepareInputFunction")
        assert environment[variable] == value
        Settings.from_env(environment)


def test_only_the_start_function_knows_the_state_machine(stack: Stack):
    # The state machine names the others; one of them that named it in turn would be a circle.
    knowing = {name for name in stack.functions if "STATE_MACHINE_ARN" in stack.environment(name)}
    assert knowing == {"StartJobFunction"}


def test_environment_is_small_and_holds_no_secret(stack: Stack):
    for function in stack.functions:
        environment = stack.environment(function)
        assert sum(len(name) + len(value) for name, value in environment.items()) < 3_000
        named = {name for name in environment if re.search("KEY|SECRET|TOKEN|PASSWORD", name)}
        assert named == {"GROQ_API_KEY_SECRET_NAME"}
        assert environment["GROQ_API_KEY_SECRET_NAME"] == PARAMETERS["GroqApiKeySecretName"]
