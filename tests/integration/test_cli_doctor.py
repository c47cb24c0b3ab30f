"""``groq-batch doctor`` on an account in which one thing at a time is broken.

S3 is moto; of the other services each call has an answer, as AWS documents it, that a test changes.
"""

from __future__ import annotations

import datetime
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound
from moto import mock_aws

from groq_batch import __version__
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.job import JobRequest
from groq_batch.records.usage import UsageRecord
from groq_batch_cli.aws import Target
from groq_batch_cli.doctor import trial
from groq_batch_cli.doctor.trial import IDS, Trial
from groq_batch_cli.main import run
from tests.integration.aws_session import REGION, shared_session
from tests.samples import job_request

BUCKET = "bucket"
ACCOUNT = "123456789012"
NOW = datetime.datetime.now(datetime.UTC)
JOB = "requests-9d8a5b8dd38bc0d2965e"
S3_CALLS = {"PutObject", "DeleteObject", "GetObject", "HeadObject", "ListObjectsV2"}
OUTPUTS = {
    "BucketName": BUCKET,
    "StateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:machine",
    "StartJobFunctionName": "start",
    "CheckStatusFunctionName": "check",
    "DeadLetterQueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/dead",
    "Version": __version__,
}
PARAMETERS = {
    "TriggerMode": "both",
    "ScheduleExpression": "rate(1 hour)",
    "CompletionWindow": "24h",
    "GroqApiKeySecretName": "groq/api-key",
    "CheckModels": "true",
    "Paused": "false",
}
EXAMINED = {
    "version": __version__,
    "models": "yes",
    "batches": "yes",
    "batches_listed": 20,
    "has_next_page": True,
    "order": "newest_first",
}
WRITES = {
    "version": __version__,
    "conditional_writes": "yes",
    "conditional_deletes": "yes",
    "multipart_uploads": "yes",
    "is_removed": True,
}


def _event(number: int, kind: str, seconds: float) -> dict[str, Any]:
    at = NOW + datetime.timedelta(seconds=seconds)
    return {"id": number, "type": kind, "timestamp": at, "previousEventId": number - 1}


class Account:
    """A sound account with one stack."""

    def __init__(self) -> None:
        self.outputs = dict(OUTPUTS)
        self.parameters = dict(PARAMETERS)
        self.status = "UPDATE_COMPLETE"
        self.schedules = {
            "StartJobFunctionSweep": {"State": "ENABLED", "ScheduleExpression": "rate(1 hour)"},
            "CancelJobFunctionReconcile": {
                "State": "ENABLED",
                "ScheduleExpression": "rate(15 minutes)",
            },
        }
        self.examined: Any = dict(EXAMINED)
        self.writes: Any = dict(WRITES)
        self.answers: dict[str, dict[str, Any]] = {
            "GetCallerIdentity": {"Arn": f"arn:aws:iam::{ACCOUNT}:user/me"},
            "GetBucketVersioning": {"Status": "Enabled"},
            "GetBucketNotificationConfiguration": {"EventBridgeConfiguration": {}},
            "DescribeSecret": {"Name": "groq/api-key", "LastChangedDate": NOW},
            "GetAccountSettings": {
                "AccountLimit": {
                    "ConcurrentExecutions": 1000,
                    "UnreservedConcurrentExecutions": 900,
                }
            },
            "GetQueueAttributes": {
                "Attributes": {
                    "ApproximateNumberOfMessages": "0",
                    "ApproximateNumberOfMessagesNotVisible": "0",
                }
            },
            "GetExecutionHistory": {
                "events": [
                    _event(9, "MapRunSucceeded", 95),
                    _event(7, "MapRunStarted", 90),
                    _event(5, "MapRunSucceeded", 60),
                    _event(3, "MapRunStarted", 0),
                ]
            },
        }
        self.errors: dict[str, Exception] = {}
        self.called: list[str] = []
        self.start: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: {}
        self._make_call = BaseClient._make_api_call  # type: ignore[attr-defined]
        self.s3 = shared_session().client("s3")
        self.s3.create_bucket(Bucket=BUCKET)
        self.storage = Storage(s3=self.s3, bucket=BUCKET)
        self.storage.put_json(object_keys.job_key(JOB), {})

    def refuse(self, operation: str, code: str, message: str = "no") -> None:
        """Let a call be answered with an error."""
        self.errors[operation] = ClientError(
            {"Error": {"Code": code, "Message": message}}, operation
        )

    def call(self, client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        """Answer a call of boto3."""
        self.called.append(operation)
        if operation in self.errors:
            raise self.errors[operation]
        match operation:
            case "DescribeStacks":
                return {"Stacks": [self._stack(parameters["StackName"])]}
            case "DescribeStackResources":
                name = parameters["LogicalResourceId"]
                return {"StackResources": [{"PhysicalResourceId": name}]}
            case "GetSchedule":
                return self.schedules[parameters["Name"]]
            case "Invoke":
                return self._invoke(parameters)
        if operation in self.answers:
            return self.answers[operation]
        assert operation in S3_CALLS, f"{operation} is no call of this command"
        return self._make_call(client, operation, parameters)

    def _stack(self, name: str) -> dict[str, Any]:
        return {
            "StackName": name,
            "StackStatus": self.status,
            "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in self.outputs.items()],
            "Parameters": [
                {"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()
            ],
        }

    def _invoke(self, parameters: dict[str, Any]) -> dict[str, Any]:
        payload = json.loads(parameters["Payload"])
        if parameters["FunctionName"] == "start":
            answer: Any = self.start(payload)
        else:
            assert parameters["FunctionName"] == "check"
            assert payload.keys() == {"doctor"}
            answer = {True: self.examined, "bucket": self.writes}[payload["doctor"]]
        failed = isinstance(answer, dict) and "errorType" in answer
        error = {"FunctionError": "Unhandled"} if failed else {}
        return {"Payload": io.BytesIO(json.dumps(answer).encode()), **error}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with mock_aws():
        made = Account()

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            return made.call(client, operation, parameters)

        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        monkeypatch.setattr(Target, "session", lambda _: shared_session())
        yield made


Said = pytest.CaptureFixture[str]


def lines(capsys: Said, status: int) -> dict[str, str]:
    """Run the command; returns its lines by what they look at."""
    assert run(["doctor"]) == status
    found = {}
    for line in capsys.readouterr().out.splitlines():
        match = re.fullmatch("(ok|to do|denied|unknown) +([^:]+): (.*)", line)
        assert match is not None, line
        found[match[2]] = f"{match[1]}: {match[3]}"
    return found


def test_doctor_sound_stack_is_ok_throughout(account: Account, capsys: Said) -> None:
    assert lines(capsys, 0) == {
        "credentials": "ok: found (env)",
        "region": "ok: us-east-1",
        "stack": "ok: groq-batch is UPDATE_COMPLETE",
        "caller": f"ok: arn:aws:iam::{ACCOUNT}:user/me",
        "versions": f"ok: {__version__} on both sides",
        "bucket's versioning": "ok: on",
        "bucket's events": "ok: go to EventBridge",
        "conditional writes": "ok: S3 accepts If-None-Match and If-Match",
        "conditional deletes": "ok: S3 accepts ETags",
        "multipart uploads": "ok: sent and copied parts make one object",
        "secret": f"ok: groq/api-key, changed {NOW:%Y-%m-%d}",
        "key": "ok: Groq accepts it",
        "plan": "ok: Groq lists batches",
        "Groq's list of batches": "ok: 20 batches, newest first, more pages by cursor",
        "Lambda's concurrency": "ok: 1,000 at a time, 900 of them not reserved",
        "schedule": "ok: on, rate(1 hour)",
        "reconciler": "ok: on, rate(15 minutes)",
        "dead letters": "ok: none",
        "open jobs": "ok: none",
        "last Map Run": f"ok: 5 s, of the job {JOB}",
    }
    assert not {"GetSecretValue", "PutObject", "DeleteObject"} & {*account.called}


def _no_output(name: str) -> Callable[[Account], None]:
    return lambda account: account.outputs.pop(name) and None


def _parameters(**changes: str) -> Callable[[Account], None]:
    return lambda account: account.parameters.update(changes)


def _answer(operation: str, answer: dict[str, Any]) -> Callable[[Account], None]:
    return lambda account: account.answers.update({operation: answer})


def _schedule(name: str, **changes: str) -> Callable[[Account], None]:
    return lambda account: account.schedules[name].update(changes)


def _examined(**changes: Any) -> Callable[[Account], None]:
    return lambda account: account.examined.update(changes)


def _written(**changes: Any) -> Callable[[Account], None]:
    return lambda account: account.writes.update(changes)


def _writes_answer(answer: Any) -> Callable[[Account], None]:
    return lambda account: setattr(account, "writes", answer)


def _status(status: str) -> Callable[[Account], None]:
    return lambda account: setattr(account, "status", status)


def _function_answers(answer: Any) -> Callable[[Account], None]:
    return lambda account: setattr(account, "examined", answer)


def _refused(operation: str, code: str) -> Callable[[Account], None]:
    return lambda account: account.refuse(operation, code)


BROKEN: list[tuple[Callable[[Account], None], str, str]] = [
    (_status("UPDATE_IN_PROGRESS"), "stack", "Wait until the deployment"),
    (_status("UPDATE_ROLLBACK_FAILED"), "stack", "describe-stack-events"),
    (lambda one: one.outputs.update(Version="0.9.0"), "versions", "is of version 0.9.0"),
    (_no_output("Version"), "versions", "is of an older version"),
    (_answer("GetBucketVersioning", {}), "bucket's versioning", "is off, .*Status=Enabled"),
    (
        _answer("GetBucketVersioning", {"Status": "Suspended"}),
        "bucket's versioning",
        "is Suspended",
    ),
    (_answer("GetBucketNotificationConfiguration", {}), "bucket's events", "start no jobs"),
    (
        _written(conditional_deletes="no"),
        "conditional deletes",
        "S3 does not do what it documents. Report this as a bug",
    ),
    (
        _written(multipart_uploads="InvalidRequest at UploadPart"),
        "multipart uploads",
        "failed with InvalidRequest at UploadPart. The log of the function has .* Report this",
    ),
    (
        _written(conditional_writes="AccessDenied at PutObject"),
        "conditional writes",
        "failed with AccessDenied at PutObject. A policy denies it to the role CheckStatusF",
    ),
    (_written(is_removed=False), "object of the checks", r"Delete what is in s3://bucket/work/doc"),
    (_writes_answer({"errorType": "Sandbox.Timedout"}), "writes to the bucket", "Sandbox.Timedout"),
    (_writes_answer(dict(EXAMINED)), "writes to the bucket", "too old for this check"),
    (_writes_answer(None), "writes to the bucket", "too old for this check"),
    (_refused("DescribeSecret", "ResourceNotFoundException"), "secret", "create-secret --name"),
    (_answer("DescribeSecret", {"DeletedDate": NOW}), "secret", "restore-secret"),
    (_examined(models="no"), "key", "lists no models .*CheckModels=false"),
    (_examined(models="permission_denied"), "key", "Allow the key to list models"),
    (_examined(batches="plan_required"), "plan", "Upgrade it to the Developer tier"),
    (_examined(batches="unreachable"), "plan", "Try again in some minutes"),
    (_examined(version="0.9.0"), "version of the functions", "they run 0.9.0, .*after sam build"),
    (_no_output("CheckStatusFunctionName"), "key and plan", "no output CheckStatusFunctionName"),
    (_no_output("CheckStatusFunctionName"), "writes to the bucket", "no output CheckStatusFun"),
    (_function_answers({"errorType": "KeyError"}), "key and plan", "too old for this check"),
    (_function_answers({"errorType": "SettingsError"}), "key and plan", r"fails \(SettingsError\)"),
    (_function_answers(None), "key and plan", "response cannot be read"),
    (
        _answer(
            "GetAccountSettings",
            {"AccountLimit": {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}},
        ),
        "Lambda's concurrency",
        "--quota-code L-B99A9384",
    ),
    (
        _answer(
            "GetAccountSettings",
            {"AccountLimit": {"ConcurrentExecutions": 100, "UnreservedConcurrentExecutions": 19}},
        ),
        "Lambda's concurrency",
        "Reserve less",
    ),
    (_schedule("StartJobFunctionSweep", State="DISABLED"), "schedule", "is DISABLED"),
    (
        _schedule("StartJobFunctionSweep", ScheduleExpression="rate(9 days)"),
        "schedule",
        r"rate\(9 days\) instead of rate\(1 hour\)",
    ),
    (_refused("GetSchedule", "ResourceNotFoundException"), "schedule", "no longer exists"),
    (_schedule("CancelJobFunctionReconcile", State="DISABLED"), "reconciler", "may stay open"),
    (
        _answer("GetQueueAttributes", {"Attributes": {"ApproximateNumberOfMessages": "2"}}),
        "dead letters",
        "2 events .*Alarm: dead letters",
    ),
    (_no_output("DeadLetterQueueUrl"), "dead letters", "no output DeadLetterQueueUrl"),
    (
        lambda one: one.errors.update(
            GetAccountSettings=EndpointConnectionError(endpoint_url="https://lambda")
        ),
        "Lambda's concurrency",
        "https://lambda does not answer",
    ),
]


ALSO = {
    "schedule": "reconciler",
    "versions": "version of the functions",
    "key and plan": "writes to the bucket",
    "writes to the bucket": "key and plan",
}
"""Lines that may tell of the same fault."""


@pytest.mark.parametrize(("break_it", "name", "expected"), BROKEN)
def test_doctor_one_thing_broken_says_what_to_do(
    break_it: Callable[[Account], None],
    name: str,
    expected: str,
    account: Account,
    capsys: Said,
) -> None:
    break_it(account)
    found = lines(capsys, 1)
    assert re.search(f"^to do: .*{expected}", found[name]), found[name]
    wrong = {other for other, text in found.items() if not text.startswith(("ok", "unknown"))}
    assert wrong <= {name, ALSO.get(name, name)}


WELL: list[tuple[Callable[[Account], None], str, str]] = [
    (_status("UPDATE_ROLLBACK_COMPLETE"), "stack", "ok: groq-batch is UPDATE_ROLLBACK_COMPLETE"),
    (
        _examined(order=None, has_next_page=False, batches_listed=1),
        "Groq's list of batches",
        "unknown: 1 batch on one page: too few to show pages and order",
    ),
    (_answer("GetExecutionHistory", {"events": []}), "last Map Run", "unknown: the history of the"),
    (_refused("GetExecutionHistory", "ExecutionDoesNotExist"), "last Map Run", "unknown: the hist"),
    (_refused("GetAccountSettings", "NotImplemented"), "Lambda's concurrency", "unknown: not kno"),
]


@pytest.mark.parametrize(("change", "name", "expected"), WELL)
def test_doctor_what_needs_nothing_done_does_not_fail(
    change: Callable[[Account], None], name: str, expected: str, account: Account, capsys: Said
) -> None:
    change(account)
    assert lines(capsys, 0)[name].startswith(expected)


@pytest.mark.parametrize(
    ("parameters", "state", "expected"),
    [
        ({"TriggerMode": "upload"}, "DISABLED", "ok: off, as TriggerMode=upload says"),
        ({"Paused": "true"}, "DISABLED", "ok: Paused=true: neither"),
        ({"TriggerMode": "schedule"}, "ENABLED", "ok: on, rate(1 hour)"),
    ],
)
def test_doctor_schedule_as_the_parameters_say_is_ok(
    parameters: dict[str, str], state: str, expected: str, account: Account, capsys: Said
) -> None:
    account.parameters.update(parameters)
    account.schedules["StartJobFunctionSweep"]["State"] = state
    assert lines(capsys, 0)["schedule"].startswith(expected)


def test_doctor_key_without_models_is_ok_where_none_are_checked(
    account: Account, capsys: Said
) -> None:
    account.parameters["CheckModels"] = "false"
    account.examined["models"] = "permission_denied"
    assert lines(capsys, 0)["key"].startswith("ok: Groq accepts it")


@pytest.mark.parametrize(
    ("operation", "name", "permission"),
    [
        ("GetBucketVersioning", "bucket's versioning", "s3:GetBucketVersioning"),
        ("GetBucketNotificationConfiguration", "bucket's events", "s3:GetBucketNotification"),
        ("DescribeSecret", "secret", "secretsmanager:DescribeSecret"),
        ("Invoke", "key and plan", "lambda:InvokeFunction"),
        ("Invoke", "writes to the bucket", "lambda:InvokeFunction"),
        ("GetAccountSettings", "Lambda's concurrency", "lambda:GetAccountSettings"),
        ("GetSchedule", "schedule", "scheduler:GetSchedule"),
        ("DescribeStackResources", "reconciler", "cloudformation:DescribeStackResources"),
        ("GetQueueAttributes", "dead letters", "sqs:GetQueueAttributes"),
        ("ListObjectsV2", "open jobs", "s3:ListBucket"),
        ("GetExecutionHistory", "last Map Run", "states:GetExecutionHistory"),
    ],
)
def test_doctor_denied_look_names_the_permission(
    operation: str, name: str, permission: str, account: Account, capsys: Said
) -> None:
    account.refuse(operation, "AccessDeniedException")
    found = lines(capsys, 1)
    assert found[name].startswith("denied: AWS denies access. Ask for ")
    assert permission in found[name]
    assert found["caller"].startswith("ok")
    assert "last Map Run" in found


def test_doctor_denied_the_stacks_key_names_the_permission(account: Account, capsys: Said) -> None:
    account.refuse("GetExecutionHistory", "KmsAccessDeniedException")
    found = lines(capsys, 1)
    assert found["last Map Run"].startswith("denied: AWS denies access. Ask for ")
    assert "kms:Decrypt on the stack's key" in found["last Map Run"]


def test_doctor_denied_to_find_the_stack_ends_there(account: Account, capsys: Said) -> None:
    account.refuse("DescribeStacks", "AccessDenied")
    found = lines(capsys, 1)
    assert list(found) == ["credentials", "region", "stack"]
    assert "cloudformation:DescribeStacks" in found["stack"]


def test_doctor_of_a_profile_that_does_not_exist_ends_there(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def session(_: Target) -> Any:
        raise ProfileNotFound(profile="nope")

    monkeypatch.setattr(Target, "session", session)
    found = lines(capsys, 1)
    assert list(found) == ["credentials"]
    assert "There is no AWS profile nope." in found["credentials"]


def test_doctor_of_an_impossible_region_is_a_wrong_usage(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(Target, "session", lambda _: boto3.session.Session(region_name="mars!"))
    assert run(["doctor", "--region", "mars!"]) == 2
    assert "'mars!' is not the name of a region." in capsys.readouterr().err


def test_doctor_without_the_stack_says_how_to_name_it(account: Account, capsys: Said) -> None:
    account.refuse("DescribeStacks", "ValidationError", "Stack with id x does not exist")
    assert "to do: could not be checked. There is no stack" in lines(capsys, 1)["stack"]


def test_doctor_without_credentials_ends_there(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    session = boto3.session.Session()
    monkeypatch.setattr(session, "get_credentials", lambda: None)
    monkeypatch.setattr(Target, "session", lambda _: session)
    found = lines(capsys, 1)
    assert list(found) == ["credentials"]
    assert found["credentials"].startswith("to do: there are none. Sign in")
    assert account.called == []


def test_doctor_without_a_region_ends_there(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Target, "session", lambda _: boto3.session.Session())
    found = lines(capsys, 1)
    assert list(found) == ["credentials", "region"]
    assert found["region"] == "to do: none is set. Set it with --region or AWS_REGION."


@pytest.mark.parametrize(
    ("endpoint", "state"),
    [("http://127.0.0.1:4566", "unknown"), ("http://localhost:4566", "unknown"), ("", "to do")],
)
def test_doctor_concurrency_of_an_emulator_is_no_accounts(
    endpoint: str, state: str, account: Account, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
    limit = {"ConcurrentExecutions": 6, "UnreservedConcurrentExecutions": 6}
    account.answers["GetAccountSettings"] = {"AccountLimit": limit}
    found = lines(capsys, 1 if state == "to do" else 0)
    assert found["Lambda's concurrency"].startswith(state)


def test_doctor_jobs_that_hang_are_named(account: Account, capsys: Said) -> None:
    account.storage.put_json(object_keys.open_job_key(JOB), {})
    assert lines(capsys, 0)["open jobs"].startswith("ok: 1, the oldest for ")

    # Counted from here: the job was opened in this test, however long ago the module was loaded.
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=26, minutes=5)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return later

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("groq_batch_cli.verbs.doctor.datetime", Later)
        found = lines(capsys, 1)["open jobs"]
        # As in the alarm, the rest of a file gets a window of its own after the canary.
        account.parameters["CanaryRequests"] = "10"
        assert lines(capsys, 0)["open jobs"].startswith("ok: 1, the oldest for 1 d 2 h")
        account.parameters["CanaryRequests"] = "0"
        account.parameters["CompletionWindow"] = "7d"
        assert lines(capsys, 0)["open jobs"].startswith("ok: 1, the oldest for 1 d 2 h")
    assert found.startswith(f"to do: 1 job of 1 should have ended: {JOB}. `groq-batch status JOB`")


def test_doctor_as_json_has_every_field(account: Account, capsys: Said) -> None:
    account.refuse("GetAccountSettings", "AccessDeniedException")
    account.answers["GetBucketVersioning"] = {}
    assert run(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["stack"], document["version"], document["ok"]) == (
        "groq-batch",
        __version__,
        False,
    )
    looks = {look["name"]: look for look in document["looks"]}
    assert looks["Lambda's concurrency"] == {
        "name": "Lambda's concurrency",
        "state": "denied",
        "text": "AWS denies access",
        "advice": "Ask for lambda:GetAccountSettings, or name a profile that has it with "
        "--profile.",
        "permission": "lambda:GetAccountSettings",
    }
    assert looks["bucket's versioning"]["state"] == "to do"
    assert looks["key"] == {
        "name": "key",
        "state": "ok",
        "text": "Groq accepts it",
        "advice": "",
        "permission": None,
    }


# -- a job ---------------------------------------------------------------------------------------


class Pipeline:
    """Ends each job at once; a test says how."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.payloads: list[dict[str, Any]] = []
        self.rows = [_row(custom_id) for custom_id in IDS]
        self.changes: dict[str, Any] = {}
        self.ends = True
        self.records_usage = True
        self.usage_changes: dict[str, Any] = {}
        account.start = self.start

    def start(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.payloads.append(payload)
        key, storage = payload["key"], self.account.storage
        assert storage.head(key) is not None
        job_id = f"doctor-{len(self.payloads):020d}"
        request = job_request(job_id, key=key, started_at="2026-11-30T00:00:00.000Z")
        storage.put_json(object_keys.job_key(request.job_id), stored.to_record(request))
        keys = object_keys.delivery_keys(request.path)
        if self.ends:
            storage.put_bytes(keys.results, b"".join(self.rows))
            report = self._report(request)
            storage.put_json(keys.report, report)
            if self.records_usage:
                record = UsageRecord.of_report(report, [])
                replace(record, **self.usage_changes).write(storage)
        else:
            storage.put_json(object_keys.open_job_key(request.job_id), {})
        return {"job_id": request.job_id, "status": "started", "report": keys.report}

    def _report(self, request: JobRequest) -> dict[str, Any]:
        return {
            "job_id": request.job_id,
            "status": "succeeded",
            "requests": {"total": 3, "succeeded": 3, "failed": 0, "invalid": 0},
            "usage": {"prompt_tokens": 240, "completion_tokens": 90, "total_tokens": 330},
            "cost_usd": {"estimated": 0.00005, "actual": 0.00003},
            "input": {"key": request.key, "bytes": 900},
            "batches": [{}],
            "timing": {
                "started_at": request.started_at,
                "finished_at": "2026-11-30T00:00:08.000Z",
                "seconds": 8.0,
            },
            "errors": [],
            "version": "2.0.0",
            "outputs": {"results": self.account.storage.url("output/x"), "failed": None},
            **self.changes,
        }


def _row(custom_id: str, **changes: Any) -> bytes:
    body = {"choices": [{"message": {"content": "well"}}]}
    response = {"status_code": 200, "body": body}
    row = {"custom_id": custom_id, "response": response, "error": None, **changes}
    return json.dumps(row).encode() + b"\n"


@pytest.fixture
def pipeline(account: Account, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Return the account's pipeline; a look at the clock takes two seconds, and waiting none."""
    ticks = itertools.count(step=2.0)
    in_virtual_time = partial(Trial, clock=lambda: next(ticks), sleep=lambda _: None)
    monkeypatch.setattr("groq_batch_cli.verbs.doctor.Trial", in_virtual_time)
    return Pipeline(account)


def job_lines(capsys: Said, status: int) -> tuple[dict[str, str], str]:
    assert run(["doctor", "--job"]) == status
    said = capsys.readouterr()
    pairs = [line.split(": ", 1) for line in said.out.splitlines()]
    return {name: text for name, text in pairs if " job" in name and "open" not in name}, said.err


def test_doctor_job_runs_a_file_twice_and_checks_it(pipeline: Pipeline, capsys: Said) -> None:
    found, _ = job_lines(capsys, 0)
    assert found == {
        "ok       job": "3 of 3 answered, in order, in 8 s for $0.000030",
        "ok       job, again": "3 of 3 answered, in order, in 8 s for $0.000030",
    }
    first, second = pipeline.payloads
    assert re.fullmatch(r"input/doctor/[0-9TZ-]+\.jsonl", first["key"])
    assert (first, second) == ({"key": first["key"]}, {"key": first["key"], "again": True})
    head = pipeline.account.storage.head(first["key"])
    assert head is not None
    assert head.metadata == {
        "max-job-cost-usd": "0.001000",
        "batch-deadline": "none",
        "canary-requests": "0",
    }
    requests = [json.loads(line) for line in trial.requests().splitlines()]
    assert [one["body"]["model"] for one in requests] == ["openai/gpt-oss-20b"] * 3


@pytest.mark.parametrize(
    ("rows", "changes", "expected"),
    [
        (IDS[::-1], {}, "the rows are not in the order of the requests"),
        (IDS[:2], {}, "2 rows instead of one for each of 3 requests"),
        ((*IDS, IDS[0]), {}, "4 rows instead of one for each of 3 requests"),
        (
            IDS,
            {"status": "failed", "errors": [{"code": "plan_required", "message": "No plan."}]},
            "it ended as failed (plan_required: No plan.)",
        ),
        (
            IDS,
            {"requests": {"total": 3, "succeeded": 2, "failed": 1, "invalid": 0}},
            "the report counts 2 of 3 requests as answered",
        ),
        (
            IDS,
            {"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
            "the report has no tokens",
        ),
        (IDS, {"cost_usd": {"estimated": None, "actual": None}}, "the cost is not known"),
        (IDS, {"cost_usd": {"estimated": 1, "actual": 0.002}}, "it cost 0.002000 USD instead of"),
    ],
)
def test_doctor_job_with_a_fault_says_which(
    rows: tuple[str, ...],
    changes: dict[str, Any],
    expected: str,
    pipeline: Pipeline,
    capsys: Said,
) -> None:
    pipeline.rows = [_row(custom_id) for custom_id in rows]
    pipeline.changes = changes
    found, _ = job_lines(capsys, 1)
    assert list(found) == ["to do    job"]
    assert expected in found["to do    job"]
    assert len(pipeline.payloads) == 1


def test_doctor_job_row_without_an_answer_is_a_fault(pipeline: Pipeline, capsys: Said) -> None:
    pipeline.rows[1] = _row(IDS[1], response={"status_code": 500, "body": {}})
    found, _ = job_lines(capsys, 1)
    assert "not every row holds an answer" in found["to do    job"]


def test_doctor_job_that_takes_long_says_how_to_come_back(pipeline: Pipeline, capsys: Said) -> None:
    pipeline.ends = False
    found, err = job_lines(capsys, 1)
    path = pipeline.payloads[0]["key"].removeprefix("input/")
    assert "has not ended in time. It continues by itself" in found["to do    job"]
    assert (
        f"groq-batch status {path} --watch and groq-batch results {path}" in (found["to do    job"])
    )
    assert "waiting for doctor-00000000000000000001, 15 minutes at most" in err


def test_doctor_job_that_may_not_be_uploaded_names_the_permissions(
    pipeline: Pipeline, capsys: Said
) -> None:
    pipeline.account.refuse("PutObject", "AccessDenied")
    found, _ = job_lines(capsys, 1)
    assert "s3:PutObject on input/doctor/*, lambda:InvokeFunction" in found["denied   job"]


def test_doctor_job_interrupted_says_how_to_come_back(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    pipeline.ends = False

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("groq_batch_cli.verbs.doctor.Trial", partial(Trial, sleep=interrupt))
    assert run(["doctor", "--job"]) == 130
    assert "Check it with groq-batch status doctor/" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"requests": 2}, "its usage record says requests 2, its report 3"),
        ({"status": "partial"}, "its usage record says status partial, its report succeeded"),
        ({"actual_usd": None}, "its usage record says actual_usd None, its report 3e-05"),
        ({"prompt_tokens": 1}, "its usage record says prompt_tokens 1, its report 240"),
    ],
)
def test_doctor_job_finds_a_usage_record_that_differs(
    changes: dict[str, Any], expected: str, pipeline: Pipeline, capsys: Said
) -> None:
    pipeline.usage_changes = changes
    found, _ = job_lines(capsys, 1)
    assert expected in found["to do    job"]


def test_doctor_job_misses_a_usage_record(pipeline: Pipeline, capsys: Said) -> None:
    pipeline.records_usage = False
    found, _ = job_lines(capsys, 1)
    assert "it has no usage record at usage/date=2026-11-30/" in found["to do    job"]


def test_doctor_job_of_a_stack_of_version_1_wants_no_usage_record(
    pipeline: Pipeline, capsys: Said
) -> None:
    pipeline.records_usage = False
    pipeline.changes = {"version": None}
    found, _ = job_lines(capsys, 0)
    assert len(found) == 2
