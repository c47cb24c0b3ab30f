"""What log lines look like, and what they tell of failed calls."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from groq_batch.groq.errors import RequestRefusedError, log_fields
from groq_batch.telemetry.log import logger


def refusal(code: str | None) -> RequestRefusedError:
    return RequestRefusedError("Groq refused it.", status=400, api_code=code, api_message="a text")


def test_a_code_is_told_and_the_text_is_not() -> None:
    told = log_fields(refusal("file_too_large"))
    assert told == {"kind": "RequestRefusedError", "status": 400, "code": "file_too_large"}


@pytest.mark.parametrize(
    "code", [None, "", "Say hello to Anna", "line\nbreak", "x" * 65, '{"prompt":1}', "schlüssel"]
)
def test_a_code_that_is_no_identifier_is_left_out(code: str | None) -> None:
    """It comes from the API, which may quote what it was sent."""
    assert log_fields(refusal(code))["code"] is None


def test_times_are_written_as_lambda_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a time as of RFC 3339 Lambda takes every line for one of level INFO."""
    stream = io.StringIO()
    for handler in logging.getLogger("groq-batch").handlers:
        monkeypatch.setattr(handler, "stream", stream)
    logger.warning("A line")
    written = json.loads(stream.getvalue())
    assert written["level"] == "WARNING"
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
    assert re.fullmatch(pattern, written["timestamp"])
