"""The seven functions: what they run, for how long, and with what."""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

from groq_batch.bootstrap import _AWS_CONFIG as AWS_CONFIG
from groq_batch.groq.calls import Timeouts
from groq_batch.records.submission import LEASE_SECONDS, QUARANTINE_SECONDS, RENEW_SECONDS
from local.asl import states_of
from local.function_environment import PARAMETER_DEFAULTS
from tests.infrastructure.stack import MACHINE, PROJECT, TEMPLATE, Stack, machine, source

HANDLERS = {
    "StartJobFunction": "start_job",
    "PrepareInputFunction": "prepare_input",
    "SubmitBatchFunction": "submit_batch",
    "CheckStatusFunction": "check_status",
    "DownloadResultsFunction": "download_results",
    "AnswerRequestsFunction": "answer_requests",
    "FinishJobFunction": "finish_job",
    "CancelJobFunction": "cancel_job",
}

LONGEST_LAMBDA_SECONDS = 900


def tasks() -> dict[str, dict[str, Any]]:
    """Return every Task of the state machine by name."""
    return {one.name: one.fields for one in states_of(machine()) if one.fields["Type"] == "Task"}


def test_every_folder_of_a_handler_is_a_function(stack: Stack):
    folders = {path.parent.name for path in (PROJECT / "functions").glob("*/app.py")}
    assert folders == set(HANDLERS.values())
    assert {name: properties["Handler"] for name, properties in stack.functions.items()} == {
        name: f"{folder}.app.lambda_handler" for name, folder in HANDLERS.items()
    }


@pytest.mark.parametrize("folder", HANDLERS.values())
def test_handler_exists(folder: str):
    assert callable(importlib.import_module(f"{folder}.app").lambda_handler)


def test_runtime_and_architecture_are_the_same_for_all(stack: Stack):
    for properties in stack.functions.values():
        assert properties["Runtime"] == "python3.13"
        assert properties["Architectures"] == ["arm64"]
    other = Stack.deploy(PythonRuntime="python3.11", Architecture="x86_64")
    for properties in other.functions.values():
        assert properties["Runtime"] == "python3.11"
        assert properties["Architectures"] == ["x86_64"]


def test_logs_are_json_in_one_group_that_does_not_grow_for_ever(stack: Stack):
    for properties in stack.functions.values():
        assert properties["LoggingConfig"] == {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "WARN",
            "LogGroup": "<LogGroup>",
        }
    assert stack.properties("LogGroup") == {"RetentionInDays": "30"}
    kept_longer = Stack.deploy(LogRetentionDays="365").properties("LogGroup")
    assert kept_longer["RetentionInDays"] == "365"


def test_traces_are_made_without_a_library(stack: Stack):
    # AWS gives X-Ray's SDKs up on 2027-02-25; what Lambda and Step Functions trace needs none:
    # https://docs.aws.amazon.com/xray/latest/devguide/xray-daemon-eos.html
    for properties in stack.functions.values():
        assert properties["TracingConfig"] == {"Mode": "Active"}
    assert stack.properties("BatchJob")["TracingConfiguration"] == {"Enabled": True}
    requirements = (PROJECT / "functions" / "requirements.txt").read_text("utf-8")
    assert "xray" not in requirements
    assert "opentelemetry" not in requirements


def test_no_function_needs_a_share_of_the_concurrency(stack: Stack):
    # New accounts have 10 concurrent executions, of which nothing can be reserved.
    for properties in stack.functions.values():
        assert "ReservedConcurrentExecutions" not in properties
        assert "VpcConfig" not in properties


def test_memory_and_disk(stack: Stack):
    memory = {name: properties["MemorySize"] for name, properties in stack.functions.items()}
    # A whole processor (1,769 MB) for those whose time is mostly computing.
    for name in ("PrepareInputFunction", "FinishJobFunction"):
        assert memory[name] >= 1769
    # Half a processor for the one that waits for the network and computes by turns.
    assert memory["DownloadResultsFunction"] >= 1024
    # The lists of a million uploads, and of ten thousand open jobs, are work for the processor too.
    for name in ("StartJobFunction", "CancelJobFunction"):
        assert memory[name] >= 1769
    assert min(memory.values()) >= 512
    disks = {
        name: properties["EphemeralStorage"]["Size"]
        for name, properties in stack.functions.items()
        if "EphemeralStorage" in properties
    }
    # 50,000 answers of 16 KB are 800 MB; what Lambda gives by itself is 512 MB.
    assert disks == {"DownloadResultsFunction": 10240, "CancelJobFunction": 10240}


def test_timeouts_lie_within_each_other(stack: Stack):
    http = Timeouts()
    longest_http = max(http.connect + http.read, http.connect + http.transfer)
    longest_aws = AWS_CONFIG.connect_timeout + AWS_CONFIG.read_timeout
    by_arn = {f"${{{name}Arn}}": properties for name, properties in stack.functions.items()}
    assert tasks()
    for name, task in tasks().items():
        function_seconds = by_arn[task["Arguments"]["FunctionName"]]["Timeout"]
        # Two silent calls one after the other still end before Lambda ends the function.
        assert 2 * max(longest_http, longest_aws) < function_seconds, name
        assert function_seconds < LONGEST_LAMBDA_SECONDS, name
        # The state machine must not give up a call that still runs.
        assert function_seconds + 60 <= task["TimeoutSeconds"], name
        assert task["TimeoutSeconds"] < machine()["TimeoutSeconds"], name
    assert stack.functions["StartJobFunction"]["Timeout"] < LONGEST_LAMBDA_SECONDS


def test_a_lease_outlives_missed_renewals_and_ends_long_before_a_retry_budget():
    assert RENEW_SECONDS * 3 < LEASE_SECONDS < QUARANTINE_SECONDS


def test_reconciler_ends_before_it_starts_again(stack: Stack):
    assert stack.properties("CancelJobFunctionReconcile")["ScheduleExpression"] == (
        "rate(15 minutes)"
    )
    assert stack.functions["CancelJobFunction"]["Timeout"] < 15 * 60


def test_failed_invocations_go_to_the_dead_letter_queue(stack: Stack):
    configured = {
        properties["FunctionName"]: properties
        for properties in stack.of_type("AWS::Lambda::EventInvokeConfig").values()
    }
    # Those that are invoked by events; Step Functions waits for the others itself.
    assert set(configured) == {"<StartJobFunction>", "<CancelJobFunction>"}
    for name, properties in configured.items():
        assert properties["MaximumRetryAttempts"] == 2
        destination = properties["DestinationConfig"]["OnFailure"]["Destination"]
        assert destination == "<DeadLetterQueue.Arn>"
        role = stack.role(f"{name[1:-1]}Role")
        assert role.allows("sqs:SendMessage", "<DeadLetterQueue.Arn>")


def test_no_resource_has_a_name_that_a_second_stack_would_want(notified: Stack):
    naming = {"BucketName", "FunctionName", "LogGroupName", "Name", "QueueName", "RoleName"}
    naming |= {"StateMachineName", "TopicName", "AlarmName", "ManagedPolicyName", "GroupName"}
    for name, resource in notified.resources.items():
        named = naming & set(resource["Properties"])
        if resource["Type"] in ("AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission"):
            named -= {"FunctionName"}
        assert not named, name
    assert "Name" not in source()["Resources"]["BatchJob"]["Properties"]


def test_nothing_is_bound_to_one_partition_region_or_account():
    for text in (TEMPLATE.read_text("utf-8"), MACHINE.read_text("utf-8")):
        assert "arn:aws" not in text
        assert "us-east-1" not in text
        assert "amazonaws.com.cn" not in text


def requirements() -> dict[str, list[str]]:
    """Return the hashes of every package that is installed, by name and version."""
    text = (PROJECT / "functions" / "requirements.txt").read_text("utf-8")
    found: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line and not line.lstrip().startswith("#"):
            package, *options = line.split()
            found[package] = options
    return found


def test_versions_and_files_of_what_is_installed_are_pinned():
    required = requirements()
    assert required
    for package, hashes in required.items():
        # With one hash pip wants one for every package, those that others bring included.
        assert re.fullmatch(r"[a-z0-9-]+==[a-z0-9.]+", package), package
        assert hashes, package
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), package
    # The Lambda runtimes bring boto3.
    assert not any(package.startswith(("boto3", "botocore")) for package in required)


def test_demo_and_development_pin_the_same_versions():
    """They are installed into one folder, in any order."""
    demo, development = (
        set(re.findall(r"^[\w.-]+(?:\[[\w,]+\])?==\S+", text, re.MULTILINE))
        for text in (
            (PROJECT / f"requirements-{name}.txt").read_text("utf-8") for name in ("demo", "dev")
        )
    )
    assert demo
    assert demo < development


def test_pins_come_from_the_short_list():
    """``make requirements`` was run after the last change of the short list."""
    short_list = (PROJECT / "functions" / "requirements.in").read_text("utf-8").splitlines()
    asked_for = {line for line in short_list if line and not line.startswith("#")}
    assert asked_for
    assert asked_for <= set(requirements())
    development = (PROJECT / "requirements-dev.txt").read_text("utf-8")
    for package in requirements():
        assert re.search(rf"^{re.escape(package)}\s", development, re.MULTILINE), package


def test_parameter_defaults_are_those_of_the_template(stack: Stack):
    environment = stack.environment("PrepareInputFunction")
    assert PARAMETER_DEFAULTS.items() <= environment.items()
