"""What each function must not do, tried with its own role: another's prefix, secret or function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.e2e.pipeline import Pipeline, secret_of

Act = Callable[[Any, Pipeline], Any]

FUNCTIONS = (
    "StartJob",
    "PrepareInput",
    "SubmitBatch",
    "CheckStatus",
    "DownloadResults",
    "FinishJob",
)
EVERYBODY = (*FUNCTIONS, "CancelJob")
WITHOUT_KEY = ("StartJob", "PrepareInput")


def _put(key: str) -> Act:
    return lambda session, stack: session.client("s3").put_object(
        Bucket=stack.bucket, Key=key, Body=b"x"
    )


def _get(key: str) -> Act:
    return lambda session, stack: session.client("s3").get_object(Bucket=stack.bucket, Key=key)


def _delete(key: str) -> Act:
    return lambda session, stack: session.client("s3").delete_object(Bucket=stack.bucket, Key=key)


def _secret(name: str | None) -> Act:
    return lambda session, stack: session.client("secretsmanager").get_secret_value(
        SecretId=name or secret_of(stack.parameters)
    )


def _start(session: Any, stack: Pipeline) -> Any:
    return session.client("stepfunctions").start_execution(
        stateMachineArn=stack.state_machine, name="forbidden", input="{}"
    )


def _publish(session: Any, _: Pipeline) -> Any:
    entry = {"Source": "groq-batch", "DetailType": "Batch Job Ended", "Detail": "{}"}
    return session.client("events").put_events(Entries=[entry])


def _invoke(session: Any, stack: Pipeline) -> Any:
    return session.client("lambda").invoke(
        FunctionName=stack.function("FinishJobFunction"), Payload=b"{}"
    )


def _others(*allowed: str) -> tuple[str, ...]:
    """Return the functions but those that may."""
    return tuple(one for one in EVERYBODY if one not in allowed)


CASES: list[tuple[str, str, Act]] = [
    *((one, "write an upload", _put("input/x.jsonl")) for one in EVERYBODY),
    *((one, "delete an upload", _delete("input/x.jsonl")) for one in EVERYBODY),
    *((one, "delete the record of a job", _delete("jobs/x")) for one in EVERYBODY),
    *((one, "read another secret", _secret("other/secret")) for one in EVERYBODY),
    *((one, "read the API key", _secret(None)) for one in WITHOUT_KEY),
    *((one, "read an upload", _get("input/x.jsonl")) for one in EVERYBODY if one != "PrepareInput"),
    *(
        (one, "write results", _put("output/x.jsonl"))
        for one in EVERYBODY
        if one not in ("FinishJob", "CancelJob")
    ),
    *((one, "write failed lines", _put("failed/x")) for one in _others("FinishJob", "CancelJob")),
    *(
        (one, "delete results", _delete("output/x.jsonl"))
        for one in _others("PrepareInput", "FinishJob", "CancelJob")
    ),
    *(
        (one, "write a report", _put("reports/x.json"))
        for one in _others("PrepareInput", "CheckStatus", "FinishJob", "CancelJob")
    ),
    *((one, "record a job", _put("jobs/x")) for one in _others("StartJob", "CancelJob")),
    *((one, "write a recurring file", _put("recurring/x.jsonl")) for one in EVERYBODY),
    *((one, "delete a recurring file", _delete("recurring/x.jsonl")) for one in EVERYBODY),
    *((one, "delete what a job has stored", _delete("work/x/job.json")) for one in EVERYBODY),
    ("StartJob", "write what a job stores", _put("work/x/job.json")),
    ("StartJob", "read what a job stores", _get("work/x/job.json")),
    *((one, "invoke a function", _invoke) for one in EVERYBODY),
    *((one, "start executions", _start) for one in FUNCTIONS if one != "StartJob"),
    *((one, "publish ends", _publish) for one in FUNCTIONS if one != "FinishJob"),
]


@pytest.fixture(scope="module")
def role_sessions(deployed: Pipeline) -> dict[str, Any]:
    """Return a session for each function's role; the roles trust Lambda alone."""
    sts = deployed.stack.client("sts")
    sessions = {}
    for name in EVERYBODY:
        role = deployed.resource(f"{name}FunctionRole")
        credentials = sts.assume_role(
            RoleArn=f"arn:aws:iam::000000000000:role/{role}", RoleSessionName="denials"
        )["Credentials"]
        sessions[name] = _Session(deployed, credentials)
    return sessions


class _Session:
    """Clients that act as one role."""

    def __init__(self, deployed: Pipeline, credentials: dict[str, str]) -> None:
        self._endpoint = deployed.stack.endpoint_url
        self._session = boto3.Session(
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            region_name=deployed.stack.region,
        )

    def client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._endpoint)


def test_the_roles_can_do_what_they_must(role_sessions: dict[str, Any], deployed: Pipeline) -> None:
    """Otherwise every denial below would be of a session that can do nothing at all."""
    _secret(None)(role_sessions["SubmitBatch"], deployed)
    _put("output/denials.jsonl")(role_sessions["FinishJob"], deployed)
    _put("jobs/denials")(role_sessions["StartJob"], deployed)


@pytest.mark.parametrize(
    ("function", "act"), [pytest.param(one, act, id=f"{one}-{what}") for one, what, act in CASES]
)
def test_denied(role_sessions: dict[str, Any], deployed: Pipeline, function: str, act: Act) -> None:
    with pytest.raises(ClientError) as denied:
        act(role_sessions[function], deployed)
    assert denied.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException")
