"""The error codes: what each means, with a sentence that the code itself has just written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from aws_lambda_powertools.utilities.parameters import SecretsProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
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
        says: Writes the sentence that comes with it, from an example; None where the sentence is
            made of what happened.
        example: The example, as it is shown.
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
            raise TypeError(f"{body!r} is no fault of the account")
        return str(error)

    return read


class _Refusing:
    """Secrets Manager for a secret that it cannot give."""

    def __init__(self, error_code: str, message: str) -> None:
        error = {"Error": {"Code": error_code, "Message": message}}
        self._error = ClientError(cast(Any, error), "GetSecretValue")

    def get(self, name: str, **_: object) -> str:
        raise GetParameterError(name) from self._error


def _says_of_secret(error_code: str, message: str = "") -> Callable[[], str]:
    def read() -> str:
        provider = cast(SecretsProvider, _Refusing(error_code, message))
        try:
            SecretApiKey(secret_name=default_of("GroqApiKeySecretName"), provider=provider)()
        except AccountError as error:
            return str(error)
        raise TypeError(f"{error_code} is no fault of the account")

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
    _line("not_an_object", "JSON, but no object.", b'["a", "POST"]'),
    _line("missing_custom_id", "No `custom_id`.", b'{"method": "POST"}'),
    _line("invalid_custom_id", "The `custom_id` is no text, or empty.", b'{"custom_id": 7}'),
    _line(
        "duplicate_custom_id",
        "An earlier line has the same `custom_id`; also one that is bad for another reason.",
        _GOOD,
        before=(_GOOD,),
    ),
    _line("invalid_method", "The method is not `POST`.", b'{"custom_id": "a", "method": "post"}'),
    _line(
        "invalid_url",
        "An endpoint that batches do not have.",
        _GOOD.replace(b"/v1/chat/completions", b"/v1/embeddings"),
    ),
    _line(
        "invalid_body",
        "No body, or one that is no object.",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}',
    ),
    _line(
        "missing_model",
        "The body names no model.",
        _GOOD.replace(b'"model": "openai/gpt-oss-20b", ', b""),
    ),
    _line(
        "invalid_messages",
        "A chat whose `messages` is not a list with a message in it.",
        b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", '
        b'"body": {"model": "openai/gpt-oss-20b", "message": "Hi"}}',
    ),
    _line(
        "missing_audio",
        "Audio without a `url` that is a text, or with a `file`.",
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
        "The Groq account's list of models does not name it, or calls it inactive. Only where the "
        "list could be read and `check-models` is `true`; never by `groq-batch check`.",
        _GOOD.replace(b"gpt-oss-20b", b"gpt-oss-20"),
    ),
    _line(
        "unsuitable_model",
        "By the same list the model cannot answer the line's URL: it takes no audio, or gives no "
        "text.",
        _GOOD.replace(b"openai/gpt-oss-20b", b"whisper-large-v3"),
    ),
)
"""Codes of single lines, in the order of the checks: of each line the first that applies."""

FILES = (
    Code("empty_file", "No line but blank ones.", lambda: splitter.EMPTY_FILE.message),
    Code(
        "not_gzip",
        "The name ends in `.gz`, and the file is not gzip, damaged or cut short.",
        lambda: splitter.NOT_GZIP.message,
    ),
    Code(
        "gzip_too_large",
        "A compressed file that unpacks to more than one function can read.",
        lambda: splitter.GZIP_TOO_LARGE.message,
    ),
    Code(
        "too_expensive",
        "The estimate is above the cap, or with a cap a price or the length of audio is not known. "
        "The sentence names both amounts, or the models.",
    ),
    Code(
        "invalid_option",
        "An option in the upload's metadata that cannot be used.",
        _says_of_option,
        "completion-window=2d12h",
    ),
    Code(
        "reserved_path",
        "`input/recurring/` and `input/superseded/` would collide with other results.",
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
        "Groq does not know the key.",
        _says_of_answer(401, b'{"error": {"code": "invalid_api_key"}}'),
    ),
    Code(
        "plan_required",
        "The account's plan has no Batch API.",
        _says_of_answer(403, b'{"error": {"code": "not_available_for_plan"}}'),
    ),
    Code(
        "permission_denied",
        "Groq, the network before it, or a policy of the bucket denies a call.",
        _says_of_answer(403, b'{"error": {"message": "Forbidden"}}'),
    ),
    Code(
        "spend_limit",
        "The organisation's spend limit is reached.",
        _says_of_answer(400, b'{"error": {"code": "blocked_api_access"}}'),
    ),
    Code(
        "secret_missing",
        "There is no such secret.",
        _says_of_secret("ResourceNotFoundException"),
    ),
    Code(
        "secret_unreadable",
        "The secret holds no key, or may not be read.",
        _says_of_secret("ResourceNotFoundException", "can't find the specified secret value"),
    ),
    Code("input_unreadable", "The upload is gone, archived, or encrypted with another key."),
    Code("cancelled", "Someone stopped the execution."),
    Code("timed_out", "No result within the window and 24 hours, or within the execution's limit."),
    Code("internal_error", "A step failed after all its retries."),
)
"""Codes of jobs that end ``failed`` or ``cancelled``: the first entry of the report's errors."""

ENDED_BY_A_RULE = (
    Code(
        canary.CANARY_FAILED,
        "More of the first requests failed for good than `canary-max-failed-percent` allows, or "
        "none was answered.",
        _says_of_canary(failed=48, answered=2, cost_usd=0.002),
    ),
    Code(
        canary.CANARY_TOO_EXPENSIVE,
        "By the real cost of the first requests the whole file would cost more than the cap.",
        _says_of_canary(failed=0, answered=50, cost_usd=0.05),
    ),
    Code(
        result_row.DEADLINE_PASSED,
        "The deadline left requests without an answer: the budget was too small for them, or the "
        "hour after it too short.",
    ),
)
"""Codes of jobs that end ``partial`` because of a rule of their options."""

RUNNING = (
    Code(
        "groq_unavailable",
        "Groq gave no usable answer: to the last look, or to what was sent; or it asks ordinary "
        "calls to pause for more than a minute.",
    ),
    Code("batch_not_found", "Groq does not know a batch of the job (any more)."),
    Code(
        result_row.BATCH_FAILED,
        "Groq refused batches; the message says why, and when it is tried again.",
    ),
)
"""Codes that stand in the report of a running job alone, until the next status check."""

ROWS = (
    Code(result_row.NOT_SENT, "Its batch was never created; the message says why."),
    Code(result_row.MISSING, "Its batch ended without a row for it, in every attempt."),
    Code(
        result_row.BATCH_FAILED,
        "Groq refused its batch in the last attempt, or this line of it in any; the message has "
        "the API's code and text.",
    ),
    Code(result_row.CANCELLED, "The job was stopped before it was answered."),
    Code(
        result_row.DEADLINE_PASSED,
        "The job's deadline had passed, and it was not asked by an ordinary call, or not answered "
        "within the hour after it. The message says why, and what its last error was.",
    ),
    Code(
        result_row.OUTCOME_UNKNOWN,
        "An ordinary call for it was begun after the deadline, and no whole answer came. It may "
        "have been paid for, so nothing asks it again by itself.",
    ),
)
"""Codes of rows that the pipeline writes itself, beside those of ``LINES``."""

READ_ROWS = (
    Code("no_response", "The API's row has neither a response nor an error. Tried again."),
    Code("no_body", "The API's response has a good status and no body, or null. Tried again."),
    Code("unknown_error", "The API's row has an error without a code and without a status."),
)
"""Codes in the report for rows of the API that name none; the rows themselves stay as they are."""


def all_codes() -> set[str]:
    """Return every code that is written down."""
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
    """Return the codes of jobs that a rule of their options has ended."""
    return _with_sentences(ENDED_BY_A_RULE)


def running_codes() -> str:
    """Return the codes of what a running job waits for."""
    return _with_sentences(RUNNING)


def row_codes() -> str:
    """Return the codes of rows that the pipeline writes."""
    return _with_sentences(ROWS)


def read_row_codes() -> str:
    """Return the codes that stand in for those that the API's rows lack."""
    return _with_sentences(READ_ROWS)


def retryable() -> str:
    """Return which errors of the API's rows are tried again."""
    statuses = ", ".join(code(str(one)) for one in sorted(result_row.RETRYABLE_STATUSES) if one)
    names = ", ".join(code(one) for one in sorted(result_row.RETRYABLE_CODES))
    return (
        f"- by status: {statuses}, every status from `500`, and none at all\n"
        f"- by code or type, whatever the status but `413`: {names}"
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
        ["code", "meaning", "what it says, for example"],
        ([code(one.name), one.meaning, _sentence(one)] for one in codes),
    )


def _sentence(one: Code) -> str:
    return one.says() if one.says is not None else ""
