"""The emulator with its corrections answers as AWS does, where the project leans on it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.emulator import Emulator, EmulatorOptions
from local.emulator_corrections import WRITTEN_FOR, UnknownVersionError, check_version
from local.environment import PROJECT_ROOT, REGION
from local.function_limits import FunctionLimits

BUCKET = "bucket"
LIMITS = FunctionLimits(concurrent=2, processes=3)
ROLE = "arn:aws:iam::000000000000:role/any"
FUNCTION = """
import os, time, uuid

def handler(event, context):
    event = event.get("detail", event)
    with open(os.path.join(event["folder"], uuid.uuid4().hex), "w") as run:
        run.write(f"{os.getpid()} {os.path.realpath(__file__)}")
    time.sleep(event.get("seconds", 0))
    if event.get("fails"):
        raise ValueError("told to fail")
"""
"""A function that leaves a file for each run, with its process's id and the place of its code."""

_PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Yield a running emulator for all tests of this file."""
    log_file = tmp_path_factory.mktemp("emulator") / "log"
    options = EmulatorOptions(wait_scale=0.02, check_permissions=False, limits=LIMITS)
    with Emulator.start(log_file, options) as running:
        yield running


def client(emulator: Emulator, service: str) -> Any:
    return boto3.client(service, endpoint_url=emulator.endpoint_url)


# -- versions of MiniStack ------------------------------------------------------------------------


def test_corrections_are_for_the_version_that_is_pinned() -> None:
    pinned = (PROJECT_ROOT / "requirements-demo.in").read_text(encoding="utf-8").splitlines()
    assert f"ministack=={WRITTEN_FOR}" in pinned


def test_another_version_is_refused() -> None:
    with pytest.raises(UnknownVersionError, match=r"MiniStack 9\.9 is installed.*make setup"):
        check_version("9.9")
    check_version(WRITTEN_FOR)


# -- S3 -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versioned(emulator: Emulator) -> tuple[Any, str]:
    """A client of S3, and the older of two versions of the object ``key``."""
    s3 = client(emulator, "s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    older = s3.put_object(Bucket=BUCKET, Key="key", Body=b"0123456789", Metadata={"a": "b"})
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"abcdefghijklmno")
    return s3, older["VersionId"]


@pytest.mark.parametrize(
    ("wanted", "expected", "place"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
    ],
)
def test_range_of_a_version_is_answered_with_that_range(
    wanted: str, expected: bytes, place: str, versioned: tuple[Any, str]
) -> None:
    s3, older = versioned
    answer = s3.get_object(Bucket=BUCKET, Key="key", VersionId=older, Range=wanted)
    assert answer["Body"].read() == expected
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (answer["ContentRange"], answer["ContentLength"]) == (place, len(expected))
    assert (answer["VersionId"], answer["Metadata"]) == (older, {"a": "b"})


def test_range_beyond_a_version_is_refused(versioned: tuple[Any, str]) -> None:
    s3, older = versioned
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(Bucket=BUCKET, Key="key", VersionId=older, Range="bytes=10-")


def test_version_without_a_range_is_answered_whole(versioned: tuple[Any, str]) -> None:
    s3, older = versioned
    answer = s3.get_object(Bucket=BUCKET, Key="key", VersionId=older)
    assert answer["Body"].read() == b"0123456789"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_version_that_is_fetched_in_parts_is_whole(
    versioned: tuple[Any, str], tmp_path: Path
) -> None:
    s3, _ = versioned
    content = bytes(range(256)) * (80 * 1024)
    stored = s3.put_object(Bucket=BUCKET, Key="large", Body=content)
    target = tmp_path / "large"
    s3.download_file(BUCKET, "large", str(target), {"VersionId": stored["VersionId"]})
    assert target.read_bytes() == content


def test_completed_upload_has_the_etag_that_s3_makes_of_its_parts(
    versioned: tuple[Any, str],
) -> None:
    s3, _ = versioned
    # The second part comes twice, and what came last counts.
    bodies = [b"a" * 5 * 1024**2, b"c" * 10]
    upload = {"Bucket": BUCKET, "Key": "joined"}
    upload |= {"UploadId": s3.create_multipart_upload(**upload)["UploadId"]}
    s3.upload_part(**upload, PartNumber=2, Body=b"b" * 10)
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, start=1)
    ]
    answer = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in bodies)
    expected = hashlib.md5(digests, usedforsecurity=False).hexdigest()
    assert answer["ETag"] == f'"{expected}-2"'
    assert s3.get_object(Bucket=BUCKET, Key="joined")["Body"].read() == b"".join(bodies)


# -- Lambda and Step Functions --------------------------------------------------------------------


@pytest.fixture(scope="module")
def functions(emulator: Emulator) -> list[str]:
    """The ARNs of three functions; see ``FUNCTION``."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("function.py", FUNCTION)
    aws = client(emulator, "lambda")
    return [
        aws.create_function(
            FunctionName=f"function-{number}",
            Runtime="python3.12",
            Handler="function.handler",
            Role=ROLE,
            Timeout=30,
            Code={"ZipFile": code.getvalue()},
        )["FunctionArn"]
        for number in range(3)
    ]


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[int]]:
    """Tell the process of each run of a function that was given this test's folder."""

    def look() -> list[int]:
        texts = [path.read_text() for path in tmp_path.iterdir()]
        return [int(text.split()[0]) for text in texts if text]

    return look


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it has not come to pass"
        time.sleep(0.05)


def execute(emulator: Emulator, name: str, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run six tasks at once on a state machine; returns the execution when it has ended."""
    states = client(emulator, "stepfunctions")
    definition = {
        "StartAt": "All",
        "States": {
            "All": {
                "Type": "Map",
                "ItemsPath": "$",
                "MaxConcurrency": 6,
                "ItemProcessor": {"StartAt": "Run", "States": {"Run": {**task, "End": True}}},
                "End": True,
            }
        },
    }
    machine = states.create_state_machine(
        name=name, definition=json.dumps(definition), roleArn=ROLE
    )["stateMachineArn"]
    items = [{"folder": str(folder), "seconds": 0.5}] * 6
    arn = states.start_execution(stateMachineArn=machine, input=json.dumps(items))["executionArn"]
    wait_until(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING")
    found: dict[str, Any] = states.describe_execution(executionArn=arn)
    return found


def test_throttled_task_fails_as_on_aws(
    emulator: Emulator, functions: list[str], tmp_path: Path
) -> None:
    task = {"Type": "Task", "Resource": functions[0]}
    ended = execute(emulator, "throttled", task, tmp_path)
    assert (ended["status"], ended["error"]) == ("FAILED", "Lambda.TooManyRequestsException")
    assert "Rate Exceeded" in ended["cause"]


def test_throttled_tasks_are_repeated_until_all_have_run(
    emulator: Emulator, functions: list[str], tmp_path: Path, runs: Callable[[], list[int]]
) -> None:
    retrier = {
        "ErrorEquals": ["Lambda.TooManyRequestsException"],
        "IntervalSeconds": 4,
        "BackoffRate": 1,
        "MaxAttempts": 60,
        "JitterStrategy": "FULL",
    }
    task = {"Type": "Task", "Resource": functions[0], "Retry": [retrier]}
    ended = execute(emulator, "repeated", task, tmp_path)
    assert ended["status"] == "SUCCEEDED", ended
    assert len(runs()) == 6


def send(emulator: Emulator, target: str, count: int, **detail: Any) -> None:
    """Have EventBridge send events to a function."""
    events = client(emulator, "events")
    source = f"test.{detail['folder']}"
    name = f"rule-{abs(hash(source))}"
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=name, Targets=[{"Id": "function", "Arn": target}])
    entry = {"Source": source, "DetailType": "any", "Detail": json.dumps(detail)}
    events.put_events(Entries=[entry] * count)


def test_throttled_events_are_delivered_later(
    emulator: Emulator, functions: list[str], tmp_path: Path, runs: Callable[[], list[int]]
) -> None:
    send(emulator, functions[0], 9, folder=str(tmp_path), seconds=0.3)
    wait_until(lambda: len(runs()) == 9)


def test_event_of_a_function_that_fails_is_tried_thrice_and_kept(
    emulator: Emulator, functions: list[str], tmp_path: Path, runs: Callable[[], list[int]]
) -> None:
    queues = client(emulator, "sqs")
    url = queues.create_queue(QueueName="letters")["QueueUrl"]
    letters = f"arn:aws:sqs:{REGION}:000000000000:letters"
    client(emulator, "lambda").put_function_event_invoke_config(
        FunctionName=functions[1],
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": letters}},
    )

    send(emulator, functions[1], 1, folder=str(tmp_path), fails=True)

    messages = queues.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
    assert len(runs()) == 3
    letter = json.loads(messages[0]["Body"])
    assert letter["requestPayload"]["detail"]["folder"] == str(tmp_path)
    assert letter["responsePayload"]["errorMessage"] == "told to fail"


def test_idle_processes_make_room_for_others(
    emulator: Emulator, functions: list[str], tmp_path: Path, runs: Callable[[], list[int]]
) -> None:
    for number, function in enumerate(functions, start=1):
        # Two processes of each function, were they all kept.
        send(emulator, function, 2, folder=str(tmp_path), seconds=1)
        wait_until(lambda count=2 * number: len(runs()) == count)  # type: ignore[misc]

    wait_until(lambda: sum(is_alive(process) for process in set(runs())) <= LIMITS.processes)


def test_processes_of_a_function_share_its_code(
    emulator: Emulator, functions: list[str], tmp_path: Path, runs: Callable[[], list[int]]
) -> None:
    send(emulator, functions[2], 2, folder=str(tmp_path), seconds=1)
    wait_until(lambda: len(runs()) == 2)
    assert len(set(runs())) == 2
    assert len({path.read_text().split()[1] for path in tmp_path.iterdir()}) == 1


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
