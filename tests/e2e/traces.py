"""All that a deployed stack leaves behind, as text that can be searched."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.e2e.pipeline import Pipeline


@dataclass(frozen=True)
class Trace:
    """One thing that is left.

    Attributes:
        kind: Where it stands: ``log``, ``execution``, ``event``, ``mail``, ``object`` and so on.
        name: What it is called there, such as an object's key.
        text: Its content.
    """

    kind: str
    name: str
    text: str


class Listeners:
    """Queues that keep the events of the bus and the mails of a stack, from now on."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._sqs = pipeline.stack.client("sqs")
        self._events = self._queue(f"{pipeline.stack_name}-events")
        self._mails = self._queue(f"{pipeline.stack_name}-mails")
        rules = pipeline.stack.client("events")
        rule = f"{pipeline.stack_name}-everything"
        sources = ["groq-batch", "aws.states", "aws.s3"]
        rules.put_rule(Name=rule, EventPattern=json.dumps({"source": sources}))
        rules.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": self._arn(self._events)}])
        anybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage"}
        self._sqs.set_queue_attributes(
            QueueUrl=self._mails,
            Attributes={
                "Policy": json.dumps(
                    {"Statement": [{**anybody, "Resource": self._arn(self._mails)}]}
                )
            },
        )
        pipeline.stack.client("sns").subscribe(
            TopicArn=pipeline.resource("NotificationTopic"),
            Protocol="sqs",
            Endpoint=self._arn(self._mails),
        )

    def events(self) -> Iterator[Trace]:
        """Yield what was published on the bus."""
        return self._messages("event", self._events)

    def mails(self) -> Iterator[Trace]:
        """Yield what was sent to whoever is notified."""
        return self._messages("mail", self._mails)

    def _queue(self, name: str) -> str:
        return str(self._sqs.create_queue(QueueName=name)["QueueUrl"])

    def _arn(self, url: str) -> str:
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def _messages(self, kind: str, url: str) -> Iterator[Trace]:
        yield from messages(self._sqs, kind, url)


def messages(sqs: Any, kind: str, url: str) -> Iterator[Trace]:
    """Take all messages out of a queue."""
    while True:
        answer = sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        if not answer.get("Messages"):
            return
        for message in answer["Messages"]:
            yield Trace(kind, message["MessageId"], _text(message))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def logs(pipeline: Pipeline) -> Iterator[Trace]:
    """Yield every line that the stack's functions wrote, metrics among them."""
    client = pipeline.stack.client("logs")
    group = pipeline.resource("LogGroup")
    for page in client.get_paginator("describe_log_streams").paginate(logGroupName=group):
        for stream in page["logStreams"]:
            name = stream["logStreamName"]
            found = client.get_log_events(
                logGroupName=group, logStreamName=name, startFromHead=True, limit=10_000
            )
            for entry in found["events"]:
                yield Trace("log", name, entry["message"])


def executions(pipeline: Pipeline) -> Iterator[Trace]:
    """Yield every execution with its whole history, children of maps among them."""
    own = {"stateMachineArn": pipeline.state_machine}
    for arn in _arns(pipeline, own):
        yield _execution(pipeline, arn)
        runs = pipeline.states.list_map_runs(executionArn=arn)["mapRuns"]
        for run in runs:
            described = pipeline.states.describe_map_run(mapRunArn=run["mapRunArn"])
            yield Trace("map run", run["mapRunArn"], _text(described))
            for child in _arns(pipeline, {"mapRunArn": run["mapRunArn"]}):
                yield _execution(pipeline, child, kind="child execution")


def _arns(pipeline: Pipeline, of: dict[str, str]) -> list[str]:
    pages = pipeline.states.get_paginator("list_executions").paginate(**of)
    return [one["executionArn"] for page in pages for one in page["executions"]]


def _execution(pipeline: Pipeline, arn: str, kind: str = "execution") -> Trace:
    pages = pipeline.states.get_paginator("get_execution_history").paginate(executionArn=arn)
    history = [event for page in pages for event in page["events"]]
    described = pipeline.states.describe_execution(executionArn=arn)
    return Trace(kind, arn, _text(described) + _text(history))


def objects(pipeline: Pipeline) -> Iterator[Trace]:
    """Yield every version of every object, with what it says about itself, unpacked."""
    bucket = pipeline.bucket
    pages = pipeline.s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for version in page.get("Versions", []):
            named = {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
            answer = pipeline.s3.get_object(**named)
            text = _unpacked(answer.pop("Body").read()).decode("utf-8", "replace")
            yield Trace("object", version["Key"], text)
            yield Trace("metadata", version["Key"], _text(answer) + _text(_tags(pipeline, named)))


def _tags(pipeline: Pipeline, named: dict[str, str]) -> Any:
    try:
        return pipeline.s3.get_object_tagging(**named)["TagSet"]
    except ClientError:
        return []


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return data


def configuration(pipeline: Pipeline) -> Iterator[Trace]:
    """Yield what stands in the stack itself: functions with their environment, template, events."""
    cloudformation = pipeline.stack.client("cloudformation")
    named = {"StackName": pipeline.stack_name}
    described = cloudformation.describe_stacks(**named)["Stacks"]
    yield Trace("stack", pipeline.stack_name, _text(described))
    yield Trace("stack", "template", _text(cloudformation.get_template(**named)["TemplateBody"]))
    yield Trace("stack", "events", _text(cloudformation.describe_stack_events(**named)))
    client = pipeline.stack.client("lambda")
    resources = cloudformation.describe_stack_resources(**named)["StackResources"]
    for resource in resources:
        if resource["ResourceType"] == "AWS::Lambda::Function":
            name = resource["PhysicalResourceId"]
            found = client.get_function_configuration(FunctionName=name)
            yield Trace("environment", name, _text(found))
        elif resource["ResourceType"] == "AWS::SSM::Parameter":
            name = resource["PhysicalResourceId"]
            found = pipeline.stack.client("ssm").get_parameter(Name=name)
            yield Trace("stack", name, _text(found))


def dead_letters(pipeline: Pipeline) -> Iterator[Trace]:
    """Yield what waits in the dead-letter queue."""
    url = pipeline.resource("DeadLetterQueue")
    return messages(pipeline.stack.client("sqs"), "dead letter", url)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
