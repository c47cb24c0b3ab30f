"""Error codes with their meaning and a message that the real code writes for an example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from botocore.exceptions import ClientError

from groq_batch.domain import canary, input_key, result_row
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
from local.reference.markdown import code, fenced, table
from local.reference.parameters import default_of


@dataclass(frozen=True, slots=True)
class Code:
    """One error code.

    Attributes:
        name: The code.
        meaning: What it means, in a few words.
        says: Writes the code's message for an example; None if there is no general message.
        example: The example as shown in the documentation.
    """

    name: str
    meaning: str
    says: Callable[[], str] | None = None
    example: str = ""


# ---------------------------------------------------------------- examples


def _says_of_line(line: bytes, *before: bytes) -> Callable[[], str]:
    def check() -> str:
        checker = LineChecker(models=MODELS)
        found: object = None
        for number, one in enumerate((*before, line), start=1):
            found = checker.check(number, one)
        if not isinstance(found, Problem):
            raise TypeError(f"{line!r} passes the checks")
        return found.message

    return check


def _line(name: str, meaning: str, line: bytes, *, before: Sequence[bytes] = ()) -> Code:
    shown = line.decode("ascii", "backslashreplace")
    return Code(name, meaning, _says_of_line(line, *before), shown)


def _says_of_key(key: str) -> Callable[[], str]:
    return lambda: _message(input_key.check_key(key))


def _says_of_option() -> str:
    options = JobOptions(
        completion_window="24h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=0
    )
    given = {"completion-window": "2d12h"}
    _, problems = parse_options(given, defaults=options, work_retention_days=30)
    return _message(problems[0])


def _says_of_answer(status: int, body: bytes) -> Callable[[], str]:
    def read() -> str:
        error = error_from_response(status, {}, body)
        if not isinstance(error, AccountError):
            raise TypeError(f"{body!r} is not an account error")
        return str(error)

    return read


class _Refusing:
    """Secrets Manager that refuses to return a secret."""

    def __init__(self, error_code: str, message: str) -> None:
        error = {"Error": {"Code": error_code, "Message": message}}
        self._error = ClientError(cast(Any, error), "GetSecretValue")

    def get_secret_value(self, **_: object) -> dict[str, Any]:
        raise self._error


def _says_of_secret(error_code: str, message: str = "") -> Callable[[], str]:
    def read() -> str:
        secrets = _Refusing(error_code, message)
        try:
            SecretApiKey(secret_name=default_of("GroqApiKeySecretName"), secrets=secrets)()
        except AccountError as error:
            return str(error)
        raise TypeError(f"{error_code} is not an account error")

    return read


def _message(problem: Problem | None) -> str:
    if problem is None:
        raise TypeError("The example passes the checks")
    return problem.message


_GOOD = (
    b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
    b'"body": {"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}}'
)
MODELS = ModelChecker(
    {
        "openai/gpt-oss-20b": ListedModel.from_api({"output_modalities": ["text"]}),
        "whisper-large-v3": ListedModel.from_api({"output_modalities": ["transcription"]}),
    }
)

# ---------------------------------------------------------------- the codes

LINES = (
    _line(
        "invalid_encoding",
        "Not UTF-8.",
        _GOOD.replace(b'"a"', b'"caf\xe9"'),
    ),
    Code(
        "line_too_long",
        "More bytes than `MaxBytesPerBatch`, or than 32 MiB.",
        lambda: too_long_message(HARD_LINE_LIMIT_BYTES + 1, HARD_LINE_LIMIT_BYTES),
        "",
    ),
    _line("invalid_json", "Not JSON, or nested too deeply.", b'{"custom_id": "a", "method": '),
    _line("not_an_object", "JSON, but not an object.", b'["a", "POST"]'),
    _line("missing_custom_id", "No `custom_id`.", b'{"method": "POST"}'),
    _line("invalid_custom_id", "The `custom_id` is not text, or empty.", b'{"custom_id": 7}'),
    _line(
        "duplicate_custom_id",
        "An earlier line has the same `custom_id`, even if that line is invalid.",
        _GOOD,
        before=(_GOOD,),
    ),
    _line("invalid_method", "The method is not `POST`.", b'{"custom_id": "a", "method": "post"}'),
    _line(
        "invalid_url",
        "An endpoint that the Batch API does not support.",
        _GOOD.replace(b"/v1/chat/completions", b"/v1/embeddings"),
    ),
    _line(
        "invalid_body",
        "The body is missing, or is not an object.",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}',
    ),
    _line(
        "missing_model",
        "The body names no model.",
        _GOOD.replace(b'"model": "openai/gpt-oss-20b", ', b""),
    ),
    _line(
        "invalid_messages",
        "A chat whose `messages` is not a list with at least one message.",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
        b'"body": {"model": "openai/gpt-oss-20b", "message": "Hi"}}',
    ),
    _line(
        "missing_audio",
        "Audio whose `url` is missing or not text, or audio with a `file`.",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/audio/transcriptions", '
        b'"body": {"model": "whisper-large-v3", "file": "a.mp3"}}',
    ),
    _line(
        "unsupported_parameter",
        "`stream` is true, or there is a `service_tier`.",
        _GOOD.replace(b'"messages"', b'"stream": true, "messages"'),
    ),
    _line(
        "unknown_model",
        "The Groq account's list of models does not contain the model, or says it is inactive. "
        "Checked only if the list could be read and `check-models` is `true`; `groq-batch check` "
        "does not check it.",
        _GOOD.replace(b"gpt-oss-20b", b"gpt-oss-20"),
    ),
    _line(
        "unsuitable_model",
        "According to the same list, the model does not support the line's URL: it accepts no "
        "audio, or generates no text.",
        _GOOD.replace(b"openai/gpt-oss-20b", b"whisper-large-v3"),
    ),
)
"""Codes of single lines, in the order of the checks; a line has the first one that applies."""

FILES = (
    Code(
        "empty_file", "The file has no lines but blank ones.", lambda: splitter.EMPTY_FILE.message
    ),
    Code(
        "not_gzip",
        "The name ends in `.gz`, but the file is not gzip, or is damaged or truncated.",
        lambda: splitter.NOT_GZIP.message,
    ),
    Code(
        "gzip_too_large",
        "The decompressed file is larger than one function can read.",
        lambda: splitter.GZIP_TOO_LARGE.message,
    ),
    Code(
        "too_expensive",
        "The estimate is above the cap, or there is a cap and a price or the length of audio is "
        "not known. The message names both amounts, or the models.",
    ),
    Code(
        "invalid_option",
        "An option in the upload's metadata has a value that is not allowed.",
        _says_of_option,
        "completion-window=2d12h",
    ),
    Code(
        "reserved_path",
        "Results of `input/recurring/` and `input/superseded/` would collide with other results.",
        _says_of_key("input/recurring/a.jsonl"),
        "input/recurring/a.jsonl",
    ),
    Code(
        "unsupported_name",
        "The name ends neither in `.jsonl` nor in `.jsonl.gz`.",
        _says_of_key("input/a.json"),
        "input/a.json",
    ),
    Code(
        "key_too_long",
        "The key has more than 900 bytes; the report is at `reports/<job_id>.json`.",
        _says_of_key("input/" + "a" * 900 + ".jsonl"),
        "",
    ),
)
"""Codes of the whole file; they reject it whatever ``OnInvalidLine`` says."""


def _says_of_canary(*, failed: int, answered: int, cost_usd: float) -> Callable[[], str]:
    def judge() -> str:
        results = canary.CanaryResults(
            requests=50,
            answered=answered,
            open=0,
            failed={"json_validate_failed": failed} if failed else {},
            cost_usd=cost_usd,
        )
        return canary.judge_canary(
            results,
            rest_attempt=2,
            good=20_000,
            max_failed_percent=50,
            cap_usd=10,
            cap_is_of_stack=False,
        ).message

    return judge


JOBS = (
    Code(
        "invalid_api_key",
        "Groq does not accept the key.",
        _says_of_answer(401, b'{"error": {"code": "invalid_api_key"}}'),
    ),
    Code(
        "plan_required",
        "The account's plan has no Batch API.",
        _says_of_answer(403, b'{"error": {"code": "not_available_for_plan"}}'),
    ),
    Code(
        "permission_denied",
        "Groq, its network front, or a bucket policy denies a call.",
        _says_of_answer(403, b'{"error": {"message": "Forbidden"}}'),
    ),
    Code(
        "spend_limit",
        "The organisation's spend limit is reached.",
        _says_of_answer(400, b'{"error": {"code": "blocked_api_access"}}'),
    ),
    Code(
        "secret_missing",
        "The secret does not exist.",
        _says_of_secret("ResourceNotFoundException"),
    ),
    Code(
        "secret_unreadable",
        "The secret contains no key, or the functions may not read it.",
        _says_of_secret("ResourceNotFoundException", "can't find the specified secret value"),
    ),
    Code("input_unreadable", "The upload is gone, archived, or encrypted with another key."),
    Code("cancelled", "Someone stopped the execution."),
    Code(
        "timed_out",
        "No result within the window and 24 more hours, or within the execution's time limit.",
    ),
    Code("internal_error", "A step failed after all its retries."),
)
"""Codes of jobs that end ``failed`` or ``cancelled``: the first entry of the report's errors."""

ENDED_BY_A_RULE = (
    Code(
        canary.CANARY_FAILED,
        "More of the canary's requests failed for good than `canary-max-failed-percent` allows, "
        "or none was answered.",
        _says_of_canary(failed=48, answered=2, cost_usd=0.002),
    ),
    Code(
        canary.CANARY_TOO_EXPENSIVE,
        "At the actual cost of the canary's requests, the whole file would exceed the cap.",
        _says_of_canary(failed=0, answered=50, cost_usd=0.05),
    ),
    Code(
        result_row.DEADLINE_PASSED,
        "Requests were left without an answer after the deadline, because the budget or the hour "
        "for ordinary calls was used up.",
    ),
)
"""Codes of jobs that end ``partial`` because of a rule of their options."""

RUNNING = (
    Code(
        "groq_unavailable",
        "Groq gave no usable answer to the last status check or submission, or it asks ordinary "
        "calls to pause for more than a minute.",
    ),
    Code("batch_not_found", "Groq does not know a batch of the job (any more)."),
    Code(
        result_row.BATCH_FAILED,
        "Groq refused batches; the message says why, and when they are sent again.",
    ),
)
"""Codes that only the report of a running job has, until the next status check."""

ROWS = (
    Code(result_row.NOT_SENT, "Its batch was never created; the message says why."),
    Code(result_row.MISSING, "Its batch ended without a row for it, in every attempt."),
    Code(
        result_row.BATCH_FAILED,
        "Groq refused its batch in the last attempt, or this line in any attempt; the message has "
        "the API's code and text.",
    ),
    Code(result_row.CANCELLED, "The job was stopped before it was answered."),
    Code(
        result_row.DEADLINE_PASSED,
        "The job's deadline had passed, and the request was not sent as an ordinary call, or not "
        "answered within the following hour. The message says why, and names its last error.",
    ),
    Code(
        result_row.OUTCOME_UNKNOWN,
        "An ordinary call for it was started after the deadline and returned no complete answer. "
        "It may have been billed, so it is not sent again automatically.",
    ),
)
"""Codes of rows that the pipeline writes itself, in addition to those of ``LINES``."""

READ_ROWS = (
    Code("no_response", "The API's row has neither a response nor an error. Retried."),
    Code("no_body", "The API's response has a 2xx status, but no body or null. Retried."),
    Code("unknown_error", "The API's row has an error without a code and without a status."),
)
"""Codes in the report for rows of the API without a code; the rows themselves are unchanged."""


def all_codes() -> set[str]:
    """Return every documented code."""
    groups = (LINES, FILES, JOBS, ENDED_BY_A_RULE, RUNNING, ROWS, READ_ROWS)
    return {one.name for group in groups for one in group}


# ---------------------------------------------------------------- blocks


def line_codes() -> str:
    """Return the codes of single lines, with an example of each."""
    return _with_examples(LINES)


def file_codes() -> str:
    """Return the codes of whole files."""
    return _with_examples(FILES)


def job_codes() -> str:
    """Return the codes of jobs that failed or were stopped."""
    return _with_sentences(JOBS)


def rule_codes() -> str:
    """Return the codes of jobs that ended because of one of their options."""
    return _with_sentences(ENDED_BY_A_RULE)


def running_codes() -> str:
    """Return the codes of running jobs that wait."""
    return _with_sentences(RUNNING)


def row_codes() -> str:
    """Return the codes of rows that the pipeline writes."""
    return _with_sentences(ROWS)


def read_row_codes() -> str:
    """Return the codes used for rows of the API without a code."""
    return _with_sentences(READ_ROWS)


def retryable() -> str:
    """Return which errors in rows of the API are retried."""
    statuses = ", ".join(code(str(one)) for one in sorted(result_row.RETRYABLE_STATUSES) if one)
    names = ", ".join(code(one) for one in sorted(result_row.RETRYABLE_CODES))
    return (
        f"- by status: {statuses}, every status from `500`, and a missing status\n"
        f"- by code or type, with any status but `413`: {names}"
    )


def _with_examples(codes: Sequence[Code]) -> str:
    """Return a section for each code, so that each can be linked to."""
    return "\n\n".join(
        "\n\n".join(
            part
            for part in (
                f"### {code(one.name)}",
                one.meaning,
                fenced(one.example, "text") if one.example else "",
                f"> {one.says()}" if one.says is not None else "",
            )
            if part
        )
        for one in codes
    )


def _with_sentences(codes: Sequence[Code]) -> str:
    if not any(one.says for one in codes):
        return table(["code", "meaning"], ([code(one.name), one.meaning] for one in codes))
    return table(
        ["code", "meaning", "example of the message"],
        ([code(one.name), one.meaning, _sentence(one)] for one in codes),
    )


def _sentence(one: Code) -> str:
    return one.says() if one.says is not None else ""
