"""What result rows mean, however odd they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groq_batch.domain.problem import MAX_MESSAGE_LENGTH
from groq_batch.domain.result_row import (
    Row,
    RowOutcome,
    Usage,
    classify_row,
    is_retryable_status,
    model_of,
    pipeline_row,
)

SUCCESS, RETRYABLE, FINAL = RowOutcome.SUCCESS, RowOutcome.RETRYABLE, RowOutcome.FINAL

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "openai/gpt-oss-20b",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}],
    "usage": {
        "queue_time": 0.1,
        "prompt_tokens": 80,
        "completion_tokens": 20,
        "total_tokens": 100,
        "total_time": 0.06,
    },
    "usage_breakdown": None,
    "x_groq": {"id": "req_1", "seed": 1},
    "service_tier": "batch",
}
ABSENT: Any = object()
NO_ERROR = (ABSENT, None, "", {}, [], False, {"code": None, "message": ""}, {"code": 0})


def encode(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def make_row(
    *, status: Any = 200, body: Any = ANSWER, response: Any = ABSENT, error: Any = ABSENT
) -> bytes:
    row: dict[str, Any] = {"id": "batch_req_out_1", "custom_id": "r-1"}
    if response is ABSENT:
        response = {"status_code": status, "request_id": "req_1", "body": body}
    if response is not None or error is not ABSENT:
        row["response"] = response
    if error is not ABSENT:
        row["error"] = error
    return encode(row)


def classify(line: bytes) -> Row:
    row = classify_row(line)
    assert row is not None
    assert row.custom_id == "r-1"
    return row


# Answers


@pytest.mark.parametrize("error", NO_ERROR)
@pytest.mark.parametrize("error_in_body", NO_ERROR)
def test_an_answer_is_a_success_whatever_an_empty_error_looks_like(
    error: Any, error_in_body: Any
) -> None:
    body = ANSWER if error_in_body is ABSENT else ANSWER | {"error": error_in_body}
    row = classify(make_row(body=body, error=error))
    assert row == Row(
        "r-1", SUCCESS, usage=Usage(80, 20, 100), model="openai/gpt-oss-20b", seconds=0.06
    )


@pytest.mark.parametrize("status", [200, 201, 299, "200", 200.0, " 200 "])
def test_statuses_of_success(status: Any) -> None:
    assert classify(make_row(status=status)).outcome is SUCCESS


@pytest.mark.parametrize("status", [None, True, 0, 199, 300, -200, 200.5, "2000", "ok", [200], {}])
def test_other_statuses_are_no_success(status: Any) -> None:
    assert classify(make_row(status=status)).outcome is not SUCCESS


@pytest.mark.parametrize(
    "content",
    [
        b'"\\ud83d"',  # half of a surrogate pair, as a text cut within an emoji has it
        b'"\xff\xfe"',
        b'"\x01\t\x7f"',
        b'"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85"',
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1" + b"0" * 5000,
        b"[" * 300 + b"]" * 300,
        b"[" * 990 + b"]" * 990,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"b": "}]\\"[", "c": ' * 5_000 + b"null" + b"}, 7]" * 5_000,
        b'{"a": 1, "a": 2}',
    ],
)
@pytest.mark.parametrize("usage", [b'{"prompt_tokens":3,"completion_tokens":4}', b"null"])
def test_a_paid_answer_that_strict_readers_refuse_is_still_an_answer(
    content: bytes, usage: bytes
) -> None:
    row = classify(
        b'{"custom_id":"r-1","response":{"status_code":200,"body":{"choices":[%s],"usage":%s}}}\n'
        % (content, usage)
    )
    assert row.outcome is SUCCESS
    assert row.usage == (None if usage == b"null" else Usage(3, 4, 7))


def test_classify_row_audio_with_usage_and_duration_keeps_both() -> None:
    row = classify(make_row(body={"text": "hello", "duration": 30.5, "usage": ANSWER["usage"]}))
    assert (row.usage, row.audio_seconds) == (Usage(80, 20, 100), 30.5)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b" \r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \t"])
def test_bytes_around_a_row(start: bytes, ending: bytes) -> None:
    assert classify(start + make_row() + ending).outcome is SUCCESS


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        *((value, None) for value in (ABSENT, None, "80", [], {}, {"total": 3})),
        ({"prompt_tokens": 80}, Usage(80, 0, 80)),
        ({"prompt_tokens": 80, "completion_tokens": 20}, Usage(80, 20, 100)),
        ({"total_tokens": 100}, Usage(0, 0, 100)),
        ({"prompt_tokens": 80.0, "completion_tokens": 20.5}, Usage(80, 0, 80)),
        ({"prompt_tokens": -1, "completion_tokens": 20, "total_tokens": 20}, Usage(0, 20, 20)),
        ({"prompt_tokens": True, "completion_tokens": 20, "total_tokens": 20}, Usage(0, 20, 20)),
        ({"prompt_tokens": 10**30, "completion_tokens": 1, "total_tokens": 1}, Usage(0, 1, 1)),
        ({"prompt_tokens": {"x": 1}, "completion_tokens": "2", "total_tokens": None}, None),
    ],
)
def test_usage(usage: Any, expected: Usage | None) -> None:
    body = {name: value for name, value in ANSWER.items() if name != "usage"}
    row = classify(make_row(body=body if usage is ABSENT else body | {"usage": usage}))
    assert row.outcome is SUCCESS
    assert row.usage == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.25, 0.25),
        (3, 3.0),
        (0, 0.0),
        *((value, None) for value in (None, "0.25", True, -1, 10**12, {})),
    ],
)
def test_seconds(value: Any, expected: float | None) -> None:
    row = classify(make_row(body=ANSWER | {"usage": ANSWER["usage"] | {"total_time": value}}))
    assert row.outcome is SUCCESS
    assert row.seconds == expected
    assert row.usage == Usage(80, 20, 100)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((12.5, 12.5), (0, 0.0), (3, 3.0), ("8.470000267028809", 8.470000267028809), ("7", 7.0)),
        *((value, None) for value in (-1, True, "-1", "7 s", "", "1e5", "9" * 16, None)),
    ],
)
def test_length_of_audio(value: Any, expected: float | None) -> None:
    row = classify(make_row(body={"text": "Hello", "duration": value}))
    assert (row.outcome, row.usage, row.model) == (SUCCESS, None, None)
    assert row.audio_seconds == expected


@pytest.mark.parametrize(
    "line",
    [
        b'{"custom_id": "a", "body": {"model": "m", "url": "x"}, "url": "u", "method": "POST"}',
        b'{"body": {"messages": [{"model": "no"}], "model": "m"}, "model": "no"}\n',
    ],
)
def test_the_model_that_a_request_asks(line: bytes) -> None:
    assert model_of(line) == "m"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([{"finish_reason": "length"}, {"finish_reason": "stop"}], "length"),
        *((value, None) for value in ([{"finish_reason": None}], [{}], [], None)),
        *((value, None) for value in ([{"finish_reason": 7}], ["stop"], {"finish_reason": "stop"})),
    ],
)
def test_finish_reason(choices: Any, expected: str | None) -> None:
    row = classify(make_row(body=ANSWER | {"choices": choices}))
    assert row.outcome is SUCCESS
    assert row.finish_reason == expected


@pytest.mark.parametrize(("model", "expected"), [("m", "m"), (None, None), (7, None), ({}, None)])
def test_model(model: Any, expected: str | None) -> None:
    assert classify(make_row(body=ANSWER | {"model": model})).model == expected


@pytest.mark.parametrize("status", [200, 201, "200", 299.0])
@pytest.mark.parametrize("error", [ABSENT, None, {}, ""])
@pytest.mark.parametrize(
    "body",
    [
        *("", " ", "text", {}, [], [1], [None], [{"error": {"code": "x"}}], 0, 7, -0.5),
        *(True, False, {"error": None}, {"error": {}}, {"text": ""}, {"choices": None}),
        {"object": "error", "message": "m", "type": "server_error", "code": 503},
    ],
    ids=repr,
)
def test_any_body_with_a_status_of_success_is_an_answer(body: Any, error: Any, status: Any) -> None:
    assert classify(make_row(status=status, body=body, error=error)) == Row("r-1", SUCCESS)


@pytest.mark.parametrize("response", [{"status_code": 200, "body": None}, {"status_code": 200}])
def test_success_without_a_body_is_none(response: Any) -> None:
    row = classify(make_row(response=response))
    assert (row.outcome, row.code) == (RETRYABLE, "no_body")
    assert row.message


@pytest.mark.parametrize("body", ["", "text", [], [1], 7, True])
def test_a_body_that_is_no_object_does_not_make_a_failure_a_success(body: Any) -> None:
    row = classify(make_row(status=500, body=body))
    assert (row.outcome, row.code) == (RETRYABLE, "http_500")


def test_a_body_that_is_an_error_itself_names_the_failure() -> None:
    body = {"object": "error", "message": "m", "type": "invalid_request_error", "code": 400}
    row = classify(make_row(status=400, body=body))
    assert row == Row("r-1", FINAL, "invalid_request_error", "m")


# Errors


@pytest.mark.parametrize("response", [ABSENT, None, {}, [], "", "text", 7])
def test_no_response(response: Any) -> None:
    line = encode({"custom_id": "r-1"} | ({} if response is ABSENT else {"response": response}))
    row = classify(line)
    assert (row.outcome, row.code) == (RETRYABLE, "no_response")


@pytest.mark.parametrize(
    "response",
    [
        *(None, {}),
        *({"status_code": 200, "body": body} for body in ("", "t", {}, [], [1], 7, True, ANSWER)),
    ],
)
@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("capacity_exhausted", RETRYABLE),
        ("capacity_exceeded", RETRYABLE),
        ("batch_expired", RETRYABLE),
        ("batch_cancelled", RETRYABLE),
        ("request_timeout", RETRYABLE),
        ("rate_limit_exceeded", RETRYABLE),
        ("server_error", RETRYABLE),
        ("internal_server_error", RETRYABLE),
        ("internal_error", RETRYABLE),
        ("service_unavailable", RETRYABLE),
        ("overloaded", RETRYABLE),
        ("Overloaded_Error", RETRYABLE),
        ("json_validate_failed", RETRYABLE),
        ("model_not_found", FINAL),
        ("model_decommissioned", FINAL),
        ("invalid_api_key", FINAL),
        ("something_new", FINAL),
    ],
)
def test_an_error_of_the_row_decides_whatever_the_response(
    response: Any, code: str, outcome: RowOutcome
) -> None:
    row = classify(make_row(response=response, error={"code": code, "message": "Why."}))
    assert row == Row("r-1", outcome, code, "Why.")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, RETRYABLE),
        *((value, FINAL) for value in (400, 401, 403, 404)),
        (408, RETRYABLE),
        (409, RETRYABLE),
        (413, FINAL),
        (422, FINAL),
        *((value, RETRYABLE) for value in (424, 429, 498, 500, 502, 503, 529, "503")),
        ("404", FINAL),
    ],
)
@pytest.mark.parametrize("where", ["body", "row", "row and body", "nowhere"])
def test_http_errors_are_classified_by_status(status: Any, outcome: RowOutcome, where: str) -> None:
    error = {"code": "some_code", "message": "Why."}
    row = classify(
        make_row(
            status=status,
            body={"error": error} if "body" in where else {},
            error=error if "row" in where else None,
        )
    )
    if status == 0 and "row" in where:
        # The row names its error; the status beside it is an empty field.
        outcome = FINAL
    assert row.outcome is outcome
    if where == "nowhere":
        assert (row.code, row.message) == (f"http_{status}", None)
    else:
        assert (row.code, row.message) == ("some_code", "Why.")


def test_a_code_may_be_worth_another_attempt_where_its_status_is_not() -> None:
    def of(status: int, code: str) -> RowOutcome:
        return classify(make_row(status=status, body={"error": {"code": code}})).outcome

    assert of(400, "json_validate_failed") is RETRYABLE
    assert of(400, "model_not_found") is FINAL
    # The request is larger than the account's limit of tokens in a minute: it always will be.
    assert of(413, "rate_limit_exceeded") is FINAL


@pytest.mark.parametrize(
    ("error", "code", "message", "outcome"),
    [
        ({"type": "server_error", "message": "m"}, "server_error", "m", RETRYABLE),
        ({"code": "x", "type": "server_error"}, "x", None, RETRYABLE),
        ({"code": "", "type": "invalid_request_error"}, "invalid_request_error", None, FINAL),
        ({"code": 503, "message": "m"}, "http_503", "m", RETRYABLE),
        ({"code": 404, "type": "NotFound"}, "NotFound", None, FINAL),
        ({"code": "429"}, "http_429", None, RETRYABLE),
        ({"message": "only a text"}, "unknown_error", "only a text", FINAL),
        ({"message": {"text": "nested"}}, "unknown_error", None, FINAL),
        ({"code": ["list"], "message": 7}, "unknown_error", None, FINAL),
        ("capacity_exhausted", "capacity_exhausted", None, RETRYABLE),
        ("It went wrong.", "unknown_error", "It went wrong.", FINAL),
        (["a"], "unknown_error", None, FINAL),
        (True, "unknown_error", None, FINAL),
        (7, "unknown_error", None, FINAL),
    ],
)
def test_shapes_of_errors(error: Any, code: str, message: str | None, outcome: RowOutcome) -> None:
    assert classify(make_row(response=None, error=error)) == Row("r-1", outcome, code, message)


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "m", "type": "invalid_request_error"}},
        ANSWER | {"error": {"message": "m", "type": "invalid_request_error"}},
    ],
)
def test_an_error_with_status_200_is_an_error(body: Any) -> None:
    assert classify(make_row(body=body)) == Row("r-1", FINAL, "invalid_request_error", "m")


def test_texts_of_the_api_are_cut() -> None:
    row = classify(make_row(response=None, error={"code": "c" * 999, "message": "m" * 9999}))
    assert row.code == "c" * 100
    assert row.message == "m" * MAX_MESSAGE_LENGTH


# What is no row


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{",
        b"null",
        b"7",
        b'"text"',
        b'["r-1"]',
        b"<html>502 Bad Gateway</html>",
        make_row()[:-20],
        make_row() + make_row(),
        encode({"response": {"status_code": 200, "body": ANSWER}, "error": None}),
        *(encode({"custom_id": odd, "error": None}) for odd in (None, 7, True, [], {}, ["r-1"])),
        b"[" * 100_000,
        b'{"custom_id":"r-1","error":' + b'{"a":' * 100_000,
        b"\xff\xfe{\x00",
    ],
)
def test_what_is_no_row(line: bytes) -> None:
    assert classify_row(line) is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=20)
    | st.sampled_from(["r-1", "200", "error", "rate_limit_exceeded"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["code", "type", "message", "error", "usage", "object", "model", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
statuses = st.sampled_from([200, 400, 404, 429, 503, 0]) | json_values


@given(
    response=json_values
    | st.fixed_dictionaries(
        {}, optional={"status_code": statuses, "body": json_values | st.just(ANSWER)}
    ),
    error=json_values,
    ascii_only=st.booleans(),
)
@example(response={"status_code": 10**5000}, error={}, ascii_only=True)
@example(response={}, error={"code": 10**5000, "message": "\ud800"}, ascii_only=True)
def test_every_row_is_read_without_an_exception(
    response: Any, error: Any, ascii_only: bool
) -> None:
    # Of more digits than Python converts by itself.
    digits = "1" + "0" * 5000
    text = json.dumps(
        {"custom_id": "r-1", "response": response, "error": error}
        if not _is_huge(response, error)
        else {"custom_id": "r-1", "response": {"status_code": "HUGE"}, "error": {"code": "HUGE"}},
        ensure_ascii=ascii_only,
    ).replace('"HUGE"', digits)
    row = classify(text.encode("utf-8", "surrogatepass"))
    if row.outcome is SUCCESS:
        assert (row.code, row.message) == (None, None)
        assert not error or not any(error.values())
    else:
        assert row.code
        assert row.usage is None
    if row.usage is not None:
        assert min(row.usage.prompt_tokens, row.usage.completion_tokens) >= 0
        assert row.usage.total_tokens >= 0


def _is_huge(response: Any, error: Any) -> bool:
    values = [response.get("status_code")] if isinstance(response, dict) else []
    values += [error.get("code")] if isinstance(error, dict) else []
    return any(isinstance(value, int) and abs(value) >= 10**4000 for value in values)


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda tail: make_row()[:-9] + tail))
def test_arbitrary_bytes_are_read_without_an_exception(line: bytes) -> None:
    row = classify_row(line)
    assert row is None or isinstance(row.custom_id, str)


# Rows of the pipeline


@given(custom_id=st.none() | st.text(st.characters(exclude_categories=[])), message=st.text())
def test_pipeline_rows(custom_id: str | None, message: str) -> None:
    line = pipeline_row(custom_id, code="not_sent", message=message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "id": None,
        "custom_id": custom_id,
        "response": None,
        "error": {"code": "not_sent", "message": message},
    }
    row = classify_row(line)
    if custom_id is None:
        assert row is None
    else:
        assert row is not None
        assert (row.custom_id, row.outcome, row.code) == (custom_id, FINAL, "not_sent")


@pytest.mark.parametrize("status", [408, 409, 424, 429, 498, 500, 503, 599])
def test_retryable_status_of_a_passing_failure_is_true(status: int) -> None:
    assert is_retryable_status(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 413, 422, 499])
def test_retryable_status_of_a_final_answer_is_false(status: int) -> None:
    assert not is_retryable_status(status)
