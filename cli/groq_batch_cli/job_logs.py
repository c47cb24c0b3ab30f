"""Read the log lines of one job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from groq_batch_cli.aws import Stack
from groq_batch_client.text import one_line

LOG_GROUP = "LogGroup"
"""Logical id of the log group in the template."""

_STANDARD_FIELDS = frozenset(
    {
        "level",
        "location",
        "message",
        "timestamp",
        "service",
        "cold_start",
        "function_name",
        "function_memory_size",
        "function_arn",
        "function_request_id",
        "job_id",
        "exception",
        "exception_name",
        "stack_trace",
        "xray_trace_id",
        "sampling_rate",
    }
)
"""Fields that every line has or that have their own display."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """A line of the log.

    Attributes:
        id: Its id in CloudWatch.
        milliseconds: When it was written, in milliseconds since 1970.
        fields: Its fields.
        text: The unchanged line.
    """

    id: str
    milliseconds: int
    fields: dict[str, Any]
    text: str


def log_group(stack: Stack) -> str:
    """Return the name of the log group of a stack."""
    found = stack.client("cloudformation").describe_stack_resource(
        StackName=stack.name, LogicalResourceId=LOG_GROUP
    )
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def job_events(
    stack: Stack, group: str, job_id: str, *, since_milliseconds: int
) -> Iterator[LogEvent]:
    """Yield the log lines of a job, oldest first.

    Args:
        stack: The stack.
        group: Its log group.
        job_id: The job.
        since_milliseconds: Time to start from, in milliseconds since 1970.
    """
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=group,
            filterPattern=f'{{ $.job_id = "{job_id}" }}',
            startTime=since_milliseconds,
        )
    )
    for page in pages:
        for event in page["events"]:
            fields = _fields(event["message"])
            # An emulator may ignore the filter.
            if fields.get("job_id") == job_id:
                yield LogEvent(
                    str(event.get("eventId", "")),
                    int(event["timestamp"]),
                    fields,
                    event["message"].rstrip("\n"),
                )


def _fields(message: str) -> dict[str, Any]:
    try:
        fields = json.loads(message)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def function_of(fields: dict[str, Any]) -> str:
    """Return the short name of the function that wrote a line: ``PrepareInput``."""
    name = str(fields.get("function_name", ""))
    part = next((part for part in name.split("-") if part.endswith("Function")), name)
    return part.removesuffix("Function")


def extras_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that not every line has."""
    return {name: value for name, value in fields.items() if name not in _STANDARD_FIELDS}


def extra_text(fields: dict[str, Any]) -> str:
    """Return the fields that not every line has, as ``name=value``."""
    return " ".join(
        f"{name}={one_line(value if isinstance(value, str) else json.dumps(value))}"
        for name, value in extras_of(fields).items()
    )
