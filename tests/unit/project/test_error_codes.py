"""docs/reference/error-codes.md explains every code, in the words of the code itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from groq_batch.domain import canary, input_key, result_row
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.job_options import JobOptions, parse_options
from groq_batch.domain.models import ListedModel
from groq_batch.domain.problem import Problem
from groq_batch.groq.api_key import SecretApiKey
from groq_batch.groq.error_mapping import error_from_response
from groq_batch.groq.errors import AccountError
from groq_batch.request_file import splitter
from groq_batch.request_file.line_checks import LineChecker
from groq_batch.request_file.model_checks import ModelChecker
from groq_batch.request_file.syntax_messages import too_long_message
from groq_batch.settings import HARD_LINE_LIMIT_BYTES
from tests.found_codes import codes_in, codes_of

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "reference" / "error-codes.md").read_text("utf-8")
LINES = PAGE.partition("\n## Lines\n")[2].partition("\n## ")[0]
MODELS = ModelChecker(
    {
        "openai/gpt-oss-20b": ListedModel.from_api({"output_modalities": ["text"]}),
        "whisper-large-v3": ListedModel.from_api({"output_modalities": ["transcription"]}),
    }
)


def sections(text: str) -> dict[str, tuple[str, str]]:
    """Return the example and the message of each code that has a section."""
    found = {}
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        example = re.search(r"^```text\n(.*)\n```$", part, re.MULTILINE)
        message = re.search(r"^> (.*)$", part, re.MULTILINE)
        found[part.split("`")[1]] = (example[1] if example else "", message[1] if message else "")
    return found


def rows() -> dict[str, str]:
    """Return the last cell of each code that has a row: the message, if its table has any."""
    return {
        code: line.split("|")[-2].strip()
        for line in PAGE.splitlines()
        for code in re.findall(r"^\| `([a-z_]+)` \|", line)
    }


def problem_of(line: bytes, *before: bytes) -> Problem:
    checker = LineChecker(models=MODELS)
    for number, one in enumerate(before, start=1):
        checker.check(number, one)
    found = checker.check(len(before) + 1, line)
    assert isinstance(found, Problem)
    return found


def test_page_has_every_code_of_the_enum_and_no_other() -> None:
    assert {*sections(PAGE), *rows()} == set(ErrorCode)


def test_source_writes_no_other_codes() -> None:
    assert codes_in(PROJECT / "functions" / "groq_batch") <= set(ErrorCode)


def test_codes_are_found_wherever_they_are_written() -> None:
    source = """
def check() -> tuple[str, str] | None:
    return "a_returned", f"sentence"
def text() -> str:
    return "not_a_code"
Problem(3, None, "a_problem", "text")
AccountError("text", code="named")
AccountError("text", code=ErrorCode.SPEND_LIMIT)
failure = {"code": "recorded", "message": "not this"}
self._problem("first", "text")
Problem(3, None, variable, "text")
"""
    found = set(codes_of(source))
    assert found == {"a_returned", "a_problem", "named", "recorded", "first", "spend_limit"}


def test_line_codes_stand_in_the_order_of_the_checks() -> None:
    """An example with the faults of all later codes has the first of them."""
    line = b'{"custom_id": "", "method": "GET", "url": "/x", "body": 3}'
    found = [problem_of(line).code]
    for wrong, right in (
        (b'""', b'"a"'),
        (b'"GET"', b'"POST"'),
        (b'"/x"', b'"/v1/chat/completions"'),
        (b"3", b'{"stream": true}'),
        (b'{"stream"', b'{"model": "m", "stream"'),
    ):
        line = line.replace(wrong, right)
        found.append(problem_of(line).code)
    assert found == [name for name in sections(LINES) if name in found]
    assert len(found) == 6


@pytest.mark.parametrize("code", [one for one in sections(LINES) if one != "line_too_long"])
def test_example_line_has_its_code_and_its_message(code: str) -> None:
    example, message = sections(LINES)[code]
    line = example.encode("ascii").replace(rb"\xe9", b"\xe9")
    found = problem_of(line, *([line] if code == "duplicate_custom_id" else []))
    assert (found.code, found.message) == (code, message)


def of_key(key: str) -> str:
    problem = input_key.check_key(key)
    return problem.message if problem is not None else ""


def of_option() -> str:
    options = JobOptions(
        completion_window="24h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=0
    )
    given = {"completion-window": "2d12h"}
    return parse_options(given, defaults=options, work_retention_days=30)[1][0].message


def of_answer(status: int, body: bytes) -> str:
    error = error_from_response(status, {}, body)
    assert isinstance(error, AccountError)
    return str(error)


class RefusingSecrets:
    """Secrets Manager that refuses to return a secret."""

    def __init__(self, code: str, message: str) -> None:
        error = {"Error": {"Code": code, "Message": message}}
        self._error = ClientError(cast(Any, error), "GetSecretValue")

    def get_secret_value(self, **_: object) -> dict[str, Any]:
        raise self._error


def of_secret(message: str = "") -> str:
    secrets = RefusingSecrets("ResourceNotFoundException", message)
    with pytest.raises(AccountError) as caught:
        SecretApiKey(secret_name="groq/api-key", secrets=secrets)()
    return str(caught.value)


def of_canary(failed: dict[str, int], *, answered: int, cost_usd: float) -> str:
    results = canary.CanaryResults(
        requests=50, answered=answered, open=0, failed=failed, cost_usd=cost_usd
    )
    return canary.judge_canary(
        results,
        rest_attempt=2,
        good=20_000,
        max_failed_percent=50,
        cap_usd=10,
        cap_is_of_stack=False,
    ).message


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("line_too_long", lambda: too_long_message(2**25 + 1, HARD_LINE_LIMIT_BYTES)),
        ("empty_file", lambda: splitter.EMPTY_FILE.message),
        ("not_gzip", lambda: splitter.NOT_GZIP.message),
        ("gzip_too_large", lambda: splitter.GZIP_TOO_LARGE.message),
        ("invalid_option", of_option),
        ("reserved_path", lambda: of_key("input/recurring/a.jsonl")),
        ("unsupported_name", lambda: of_key("input/a.json")),
        ("key_too_long", lambda: of_key("input/" + "a" * 900 + ".jsonl")),
        ("invalid_api_key", lambda: of_answer(401, b"{}")),
        ("plan_required", lambda: of_answer(403, b'{"code": "not_available_for_plan"}')),
        ("permission_denied", lambda: of_answer(403, b'{"message": "Forbidden"}')),
        ("spend_limit", lambda: of_answer(400, b'{"code": "blocked_api_access"}')),
        ("secret_missing", of_secret),
        ("secret_unreadable", lambda: of_secret("can't find the specified secret value")),
        (
            "canary_failed",
            lambda: of_canary({"json_validate_failed": 48}, answered=2, cost_usd=0.002),
        ),
        ("canary_too_expensive", lambda: of_canary({}, answered=50, cost_usd=0.05)),
    ],
)
def test_message_on_the_page_is_that_of_the_code(code: str, message: Callable[[], str]) -> None:
    _, shown = sections(PAGE).get(code) or ("", rows()[code])
    assert shown == message()


def test_errors_that_are_retried_are_all_listed() -> None:
    text = PAGE.partition("\n## Rows of the API\n")[2]
    statuses, codes = (re.findall(r"`([a-z0-9_]+)`", line) for line in text.splitlines()[4:6])
    retried = {str(status) for status in result_row.RETRYABLE_STATUSES if status}
    assert set(statuses) == retried | {"500"}
    assert set(codes) == result_row.RETRYABLE_CODES | {"413"}
