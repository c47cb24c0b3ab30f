"""What log lines look like, and what they tell of failed calls."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path

import pytest

from groq_batch.groq.errors import RequestRefusedError, log_fields
from groq_batch.telemetry import plain_log
from groq_batch.telemetry.log import logger


def refusal(code: str | None) -> RequestRefusedError:
    return RequestRefusedError("Groq refused it.", status=400, code=code, api_message="a text")


def test_a_code_is_told_and_the_text_is_not() -> None:
    told = log_fields(refusal("file_too_large"))
    assert told == {"kind": "RequestRefusedError", "status": 400, "code": "file_too_large"}


@pytest.mark.parametrize(
    "code", [None, "", "Say hello to Anna", "line\nbreak", "x" * 65, '{"prompt":1}', "schlüssel"]
)
def test_a_code_that_is_no_identifier_is_left_out(code: str | None) -> None:
    """It comes from the API, which may quote what it was sent."""
    assert log_fields(refusal(code))["code"] is None


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.DEBUG, "DEBUG"),
        (logging.INFO, "INFO"),
        (logging.WARNING, "WARN"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "FATAL"),
    ],
)
def test_levels_and_times_are_written_as_lambda_reads_them(
    monkeypatch: pytest.MonkeyPatch, level: int, name: str
) -> None:
    """Without a level and a time that it knows Lambda takes every line for one of level INFO.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
    """
    stream = io.StringIO()
    for handler in logging.getLogger("groq-batch").handlers:
        monkeypatch.setattr(handler, "stream", stream)
    monkeypatch.setattr(logging.getLogger("groq-batch"), "level", logging.DEBUG)
    logger.log(level, "A line of %s", "Zoë", extra={"told": Path("x")})
    assert "Zoë" in stream.getvalue()
    written = json.loads(stream.getvalue())
    assert (written["level"], written["told"]) == (name, "x")
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    assert re.fullmatch(pattern, written["timestamp"])


def test_lines_of_the_plain_logger_have_the_form_and_subject_of_the_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    for handler in logging.getLogger("groq-batch").handlers:
        monkeypatch.setattr(handler, "stream", stream)
    with logger.append_context_keys(job_id="job-1"):
        plain_log.logger.warning("The report is locked", extra={"kind": "permission"})
    written = json.loads(stream.getvalue())
    told = [written[name] for name in ("level", "service", "message", "job_id", "kind")]
    assert told == ["WARN", "groq-batch", "The report is locked", "job-1", "permission"]
