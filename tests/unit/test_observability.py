"""What log lines tell of failed calls."""

from __future__ import annotations

import pytest

from groq_batch.errors import RequestRefusedError
from groq_batch.observability import facts


def refusal(code: str | None) -> RequestRefusedError:
    return RequestRefusedError("Groq refused it.", status=400, api_code=code, api_message="a text")


def test_a_code_is_told_and_the_text_is_not() -> None:
    told = facts(refusal("file_too_large"))
    assert told == {"kind": "RequestRefusedError", "status": 400, "code": "file_too_large"}


@pytest.mark.parametrize(
    "code", [None, "", "Say hello to Anna", "line\nbreak", "x" * 65, '{"prompt":1}', "schlüssel"]
)
def test_a_code_that_is_no_identifier_is_left_out(code: str | None) -> None:
    """It comes from the API, which may quote what it was sent."""
    assert facts(refusal(code))["code"] is None
