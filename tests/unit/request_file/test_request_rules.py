"""Checking the fields of a request: what is accepted, and the problem of each mistake."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import InvalidLine, LineChecker, ValidLines
from groq_batch.request_file.request_rules import (
    ALLOWED_URLS,
    CHAT_URL,
    FIRST_CHECKS,
    CheckedRequest,
)
from tests.unit.request_file.request_lines import (
    ABSENT,
    AUDIO_BODY,
    BODY,
    REQUEST,
    SECRET,
    audio,
    check_lines,
    checked,
    dump,
    problem,
    request,
    with_body,
)


class TestGoodRequests:
    def test_check_valid_request_returns_its_facts(self) -> None:
        data = with_body(max_completion_tokens=200)
        body_bytes = len(dump({**BODY, "max_completion_tokens": 200}))
        assert checked(data) == CheckedRequest("a-1", "openai/gpt-oss-20b", body_bytes, 200)

    @pytest.mark.parametrize(
        "data",
        [
            pytest.param(request(), id="usual"),
            pytest.param(b"  " + request() + b"\t ", id="white space around"),
            pytest.param(json.dumps(REQUEST, indent=1).replace("\n", " ").encode(), id="spacious"),
            pytest.param(dump(dict(reversed(REQUEST.items()))), id="other order of keys"),
            pytest.param(request(note={"{": [1, "}"]}), id="a key of the user's own"),
            pytest.param(request().replace(b"custom_id", rb"custom\u005fid"), id="escaped key"),
            pytest.param(
                request().replace(b'{"custom_id"', b'{"custom_id": 5, "custom_id"'),
                id="the last of two equal keys counts",
            ),
            pytest.param(
                request().replace(b'{"custom_id"', b'{"body": {}, "method": "GET", "custom_id"'),
                id="the last of two bodies counts",
            ),
            pytest.param(
                request().replace(b'{"custom_id"', b'{"body": {"model": "x"}, "custom_id"'),
                id="the last of two good bodies counts",
            ),
            pytest.param(
                request().replace(b'{"custom_id"', b'{"custom_id": "{", "custom_id"'),
                id="the last of two good ids counts",
            ),
            pytest.param(
                with_body(stream=False).replace(b'"model"', b'"stream": true, "model"'),
                id="the last of two streams counts",
            ),
        ],
    )
    def test_check_accepts_other_spellings_of_a_request(self, data: bytes) -> None:
        found = checked(data)
        assert (found.custom_id, found.model) == ("a-1", "openai/gpt-oss-20b")

    @pytest.mark.parametrize("url", ALLOWED_URLS)
    def test_check_accepts_every_allowed_url(self, url: str) -> None:
        body = BODY if url == CHAT_URL else AUDIO_BODY
        assert checked(request(url=url, body=body)).custom_id == "a-1"

    @pytest.mark.parametrize(
        "body",
        [
            pytest.param({**BODY, "messages": ["Hi"]}, id="a message that is a text"),
            pytest.param({**BODY, "messages": [[], None, 1]}, id="messages of any kind"),
            pytest.param({**BODY, "url": 7, "file": {}}, id="keys of audio in a chat"),
        ],
    )
    def test_check_accepts_messages_of_any_content(self, body: Mapping[str, Any]) -> None:
        assert checked(request(body=body)).model == "openai/gpt-oss-20b"

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"file": None}, id="no file"),
            pytest.param({"messages": 7}, id="a key of chats in audio"),
            pytest.param({"url": " "}, id="a text"),
        ],
    )
    def test_check_accepts_audio_request(self, changes: Mapping[str, Any]) -> None:
        data = request(url="/v1/audio/translations", body={**AUDIO_BODY, **changes})
        assert checked(data).model == "whisper-large-v3"

    def test_allowed_urls_are_those_of_the_batch_guide(self) -> None:
        assert ALLOWED_URLS == (
            "/v1/chat/completions",
            "/v1/audio/transcriptions",
            "/v1/audio/translations",
        )

    @pytest.mark.parametrize(
        "custom_id",
        [" ", "{", '"', "a}}", "é", "日本", "\u2028\u2029\u0085", "😀", "\0", "x" * 100_000],
    )
    @pytest.mark.parametrize("ascii_only", [True, False])
    def test_check_accepts_any_text_as_custom_id(self, custom_id: str, ascii_only: bool) -> None:
        data = json.dumps({**REQUEST, "custom_id": custom_id}, ensure_ascii=ascii_only).encode()
        found = checked(data)
        assert found.custom_id == custom_id
        assert found.body_bytes == len(json.dumps(BODY, ensure_ascii=ascii_only).encode())

    @pytest.mark.parametrize(
        "value",
        ["1e400", "-1e400", "1" * 5000, "-0", "0.1e-7", '"\x7f"'],
    )
    def test_check_accepts_unusual_json_values(self, value: str) -> None:
        data = request(body={**BODY, "seed": "@"}).replace(b'"@"', value.encode())
        assert checked(data).body_bytes == len(dump({**BODY, "seed": "@"})) - 3 + len(value)

    @pytest.mark.parametrize("value", [False, None, "true", 1])
    def test_check_accepts_stream_other_than_true(self, value: object) -> None:
        assert checked(with_body(stream=value)).custom_id == "a-1"

    def test_check_accepts_service_tier_null(self) -> None:
        assert checked(with_body(service_tier=None)).custom_id == "a-1"

    @pytest.mark.parametrize(
        ("limits", "expected"),
        [
            pytest.param({}, None, id="none"),
            pytest.param({"max_tokens": 7}, 7, id="old name"),
            pytest.param({"max_completion_tokens": 8}, 8, id="new name"),
            pytest.param({"max_tokens": 7, "max_completion_tokens": 8}, 8, id="both"),
            pytest.param({"max_tokens": 7, "max_completion_tokens": None}, 7, id="new one null"),
            pytest.param({"max_tokens": 7, "max_completion_tokens": 0}, 7, id="new one zero"),
            pytest.param({"max_tokens": 7, "max_completion_tokens": "8"}, 7, id="new one a text"),
            pytest.param({"max_tokens": 7.0}, 7, id="whole, written as a fraction"),
            pytest.param({"max_tokens": 7.5}, None, id="fraction"),
            pytest.param({"max_tokens": -7}, None, id="negative"),
            pytest.param({"max_tokens": True}, None, id="true"),
            pytest.param({"max_tokens": [7]}, None, id="list"),
            pytest.param({"max_tokens": 2**53}, 2**53, id="largest"),
            pytest.param({"max_tokens": 2**53 + 1}, 2**53, id="beyond the largest"),
            pytest.param({"max_tokens": 10**400}, 2**53, id="huge"),
        ],
    )
    def test_check_returns_limit_of_output_tokens(
        self, limits: Mapping[str, object], expected: int | None
    ) -> None:
        assert checked(with_body(**limits)).max_output_tokens == expected

    def test_check_ignores_output_limit_beyond_all_floats(self) -> None:
        data = with_body(max_tokens="@").replace(b'"@"', b"1e400")
        assert checked(data).max_output_tokens is None


CASES: Sequence[tuple[str, bytes, str | None, str, str]] = [
    # what, the line, its id as far as it is known, code, words of the sentence
    ("latin-1", request().replace(b"a-1", b"\xe9"), None, "invalid_encoding", "Byte 16 .* UTF-8"),
    ("cut character", request() + b"\xe2\x82", None, "invalid_encoding", "Save the file as UTF-8"),
    ("utf-8 of a surrogate", b'"\xed\xa0\x80"', None, "invalid_encoding", "Byte 2 "),
    ("utf-16", b"\xff\xfe{\0", None, "invalid_encoding", "UTF-16.*Save the file as UTF-8"),
    ("gzip", b"\x1f\x8b\x08\x00", None, "invalid_encoding", r"name that ends in \.jsonl\.gz"),
    (
        "text",
        b"hello",
        None,
        "invalid_json",
        "invalid character near byte 1.*one JSON object on one",
    ),
    ("pretty", b"{", None, "invalid_json", r"ends too early\. It begins JSON.*jq -c \. FILE"),
    ("pretty list", b" [ {", None, "invalid_json", r"ends too early.*jq -c '\.\[\]' FILE"),
    (
        "pretty, later",
        b'  "body": {',
        None,
        "invalid_json",
        "trailing.*one JSON object on one line",
    ),
    ("cut off", request()[:-1], None, "invalid_json", "ends too early"),
    ("comma at the end", request()[:-1] + b",}", None, "invalid_json", "trailing comma"),
    (
        "python",
        str(REQUEST).encode(),
        None,
        "invalid_json",
        "near byte 2.*single quotes, as Python",
    ),
    (
        "python's null",
        with_body(x="@").replace(b'"@"', b"None"),
        None,
        "invalid_json",
        "word of Python.*json.dumps, or write null, true or false",
    ),
    (
        "curly quotes",
        request().decode().replace('"', "\u201c").encode(),
        None,
        "invalid_json",
        "curly quotes.*straight double quotes",
    ),
    ("comment", b"// of today", None, "invalid_json", "It has a comment.*Remove it"),
    ("comment behind", request() + b" # first", None, "invalid_json", "It has a comment"),
    ("comma behind", request() + b" ,", None, "invalid_json", "A comma follows the object. Remove"),
    ("two objects", request() * 2, None, "invalid_json", "trailing characters.*several objects"),
    ("objects of a list", b", ".join([request()] * 2), None, "invalid_json", "several objects"),
    ("cr", request() + b"\r" + request(), None, "invalid_json", "carriage return.*line feed"),
    (
        "javascript's escape",
        rb"""{"a":"it\'s"}""",
        None,
        "invalid_json",
        "backslash that begins no escape",
    ),
    (
        "tab before a bad value",
        b'{"a":\tundefined}',
        None,
        "invalid_json",
        "one JSON object on one",
    ),
    ("web page", b"<!DOCTYPE html>", None, "invalid_json", "web page or XML.*Download"),
    ("zip", b"PK\3\4\0\0", None, "invalid_json", "looks like a ZIP archive or an Excel workbook"),
    ("parquet", b"PAR1\x15\xff", None, "invalid_encoding", "begins like a Parquet file.*make"),
    ("bzip2", b"BZh91AY&SY\xff", None, "invalid_encoding", "compressed with bzip2. Decompress it"),
    ("nul", b"\0", None, "invalid_json", "near byte 1. It has NUL bytes from byte 1 on"),
    ("nuls behind", request()[:-9] + bytes(9), None, "invalid_json", "NUL bytes.*crash.*UTF-8"),
    ("utf-16 without mark", b"{\0}\0", None, "invalid_json", "NUL bytes from byte 2.*UTF-16"),
    ("macos", b"\0\5\x16\7\0\2\0\0Mac OS X", None, "invalid_json", r"macOS.*\._.*Leave it out"),
    ("macos, binary", b"\0\5\x16\7\0\xff", None, "invalid_encoding", "macOS.*Leave it out"),
    ("infinity", with_body(x=-math.inf), None, "invalid_json", "-Infinity, which JSON does not"),
    ("nan in a text", with_body(x="NaN")[:-1], None, "invalid_json", "too early.*one JSON object"),
    (
        "raw tab in a text",
        with_body(x="@").replace(b"@", b"\t"),
        None,
        "invalid_json",
        "near byte.*control character, such as a tab. Write it as an escape",
    ),
    (
        "nan",
        with_body(x=math.nan),
        None,
        "invalid_json",
        "invalid character near byte [0-9]+, NaN, which JSON does not allow. Write null",
    ),
    ("number with a zero in front", b"01", None, "invalid_json", "invalid number near byte"),
    ("bom in the middle", b"\xef\xbb\xbf" + request(), None, "invalid_json", "byte order mark.*Re"),
    (
        "half an emoji",
        with_body(x="@", y="filler").replace(b"@", rb"\ud83d"),
        None,
        "invalid_json",
        "half of an emoji.*Remove it or write it completely",
    ),
    (
        "half an emoji at the end",
        with_body(x="@").replace(b"@", rb"\ud83d"),
        None,
        "invalid_json",
        "half of an emoji",
    ),
    (
        "half a pair as id",
        request(custom_id="@").replace(b"@", rb"\udc00"),
        None,
        "invalid_json",
        "",
    ),
    ("cut escape", b'"\\u00', None, "invalid_json", ""),
    ("nested endlessly", b"[" * 100_000, None, "invalid_json", "Write a flatter request"),
    ("objects in objects", b'{"a":' * 100_000, None, "invalid_json", "nested too deeply"),
    ("list", b"[]", None, "not_an_object", "it is a list.*one JSON object on one line"),
    ("null", b"null", None, "not_an_object", "it is null"),
    ("json text", b'"Xyzzy"', None, "not_an_object", "it is a text"),
    ("number", b"-1", None, "not_an_object", "it is a number"),
    ("true", b"true", None, "not_an_object", "it is true or false"),
    (
        "no id",
        request(custom_id=ABSENT),
        None,
        "missing_custom_id",
        "Give every request a custom_id",
    ),
    ("empty object", b"{}", None, "missing_custom_id", "no custom_id"),
    ("id is empty", request(custom_id=""), None, "invalid_custom_id", "it is empty. Give every"),
    ("id is null", request(custom_id=None), None, "invalid_custom_id", "it is null"),
    ("id is a number", request(custom_id=1), None, "invalid_custom_id", "it is a number"),
    ("id is a list", request(custom_id=["a"]), None, "invalid_custom_id", "it is a list"),
    ("no method", request(method=ABSENT), "a-1", "invalid_method", 'missing. Set it to "POST"'),
    ("get", request(method="GET"), "a-1", "invalid_method", "another text"),
    ("small letters", request(method="post"), "a-1", "invalid_method", "another text"),
    ("method is null", request(method=None), "a-1", "invalid_method", "it is null"),
    ("no url", request(url=ABSENT), "a-1", "invalid_url", "/v1/chat/completions.*is missing"),
    ("whole url", request(url="https://Xyzzy"), "a-1", "invalid_url", "without host"),
    ("openai prefix", request(url="/openai/v1/chat/completions"), "a-1", "invalid_url", "/openai"),
    ("other endpoint", request(url="/v1/embeddings"), "a-1", "invalid_url", "another text"),
    ("url is a number", request(url=1), "a-1", "invalid_url", "it is a number"),
    (
        "no body",
        request(body=ABSENT),
        "a-1",
        "invalid_body",
        "it is missing. Put the request's par",
    ),
    ("body is a text", request(body="Xyzzy"), "a-1", "invalid_body", "it is a text"),
    ("body is null", request(body=None), "a-1", "invalid_body", "it is null"),
    ("body is a list", request(body=[BODY]), "a-1", "invalid_body", "it is a list"),
    ("no model", with_body(model=ABSENT), "a-1", "missing_model", "it is missing. Name one"),
    ("empty body", request(body={}), "a-1", "missing_model", "such as openai/gpt-oss-20b"),
    ("model is empty", with_body(model=""), "a-1", "missing_model", "it is empty"),
    ("model is null", with_body(model=None), "a-1", "missing_model", "it is null"),
    ("model is an object", with_body(model={}), "a-1", "missing_model", "it is an object"),
    (
        "no messages",
        with_body(messages=ABSENT),
        "a-1",
        "invalid_messages",
        "missing. Write the con",
    ),
    ("message", request(body={"model": "m", "message": []}), "a-1", "invalid_messages", "missing"),
    ("empty messages", with_body(messages=[]), "a-1", "invalid_messages", "it is empty"),
    ("a message", with_body(messages={}), "a-1", "invalid_messages", "it is an object"),
    ("messages of null", with_body(messages=None), "a-1", "invalid_messages", "it is null"),
    ("a prompt", with_body(messages="Xyzzy"), "a-1", "invalid_messages", "it is a text"),
    (
        "no audio",
        audio(url=ABSENT),
        "a-1",
        "missing_audio",
        "url must be a text, but it is missing",
    ),
    ("audio nowhere", audio(url=""), "a-1", "missing_audio", "it is empty. Put the audio where"),
    ("audio of null", audio(url=None), "a-1", "missing_audio", "it is null"),
    ("audio as a list", audio(url=["Xyzzy"]), "a-1", "missing_audio", "it is a list"),
    ("a file", audio(file="Xyzzy.mp3"), "a-1", "missing_audio", "file is set, but a batch takes"),
    ("a file alone", audio(url=ABSENT, file=""), "a-1", "missing_audio", "file is set, but"),
    ("stream", with_body(stream=True), "a-1", "unsupported_parameter", "Remove stream"),
    ("tier", with_body(service_tier="flex"), "a-1", "unsupported_parameter", "Remove service_tier"),
    ("empty tier", with_body(service_tier=""), "a-1", "unsupported_parameter", "service_tier is"),
]


@pytest.mark.parametrize(
    ("data", "custom_id", "code", "words"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_check_invalid_line_returns_code_and_message(
    data: bytes, custom_id: str | None, code: str, words: str
) -> None:
    found = problem(data)
    assert (found.line, found.custom_id, found.code) == (7, custom_id, code)
    assert re.search(words, found.message)
    assert SECRET not in found.message
    assert found.message.endswith(".")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(b"\xff{", "invalid_encoding", id="encoding before json"),
        pytest.param(b'{"custom_id": 1', "invalid_json", id="json before id"),
        pytest.param(b'["custom_id"]', "not_an_object", id="object before id"),
        pytest.param(b'{"method": 1}', "missing_custom_id", id="id before method"),
        pytest.param(b'{"custom_id": 1}', "invalid_custom_id", id="id that is none before method"),
        pytest.param(b'{"custom_id": "used"}', "duplicate_custom_id", id="used id before method"),
        pytest.param(b'{"custom_id": "a"}', "invalid_method", id="method before url"),
        pytest.param(b'{"custom_id": "a", "method": "POST"}', "invalid_url", id="url before body"),
        pytest.param(request(body=[]), "invalid_body", id="body before model"),
        pytest.param(request(body={"messages": []}), "missing_model", id="model before messages"),
        pytest.param(
            with_body(messages=[], stream=True), "invalid_messages", id="messages before stream"
        ),
        pytest.param(
            audio(url="", service_tier="flex"), "missing_audio", id="audio before service tier"
        ),
        pytest.param(
            with_body(model="other", stream=True), "unsupported_parameter", id="stream before model"
        ),
    ],
)
def test_check_line_with_two_problems_returns_the_first(data: bytes, code: str) -> None:
    used = request(custom_id="used")
    checker = LineChecker()
    assert isinstance(checker.check(1, used), CheckedRequest)
    found = checker.check(2, data)
    assert isinstance(found, Problem)
    assert found.code == code
    _, in_block = check_lines([used + b"\n", data + b"\n"])
    assert in_block == InvalidLine(data, found)


class TestModels:
    """By a list of models; what the list says is tested in test_model_checks."""

    class Few:
        """Knows the models that may be named."""

        def __init__(self, *names: str) -> None:
            self.names = names

        def problem(self, model: str, url: str) -> tuple[str, str] | None:
            if model not in self.names:
                return "unknown_model", "Name another."
            if model == "whisper-large-v3" and url == CHAT_URL:
                return "unsuitable_model", "Name another."
            return None

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            pytest.param(request(), None, id="known"),
            pytest.param(audio(), None, id="known and suitable"),
            pytest.param(with_body(model="other"), "unknown_model", id="unknown"),
            pytest.param(with_body(model="whisper-large-v3"), "unsuitable_model", id="unsuitable"),
            pytest.param(
                with_body(model="other", stream=True), "unsupported_parameter", id="stream first"
            ),
            pytest.param(with_body(model="other", messages=[]), "invalid_messages", id="messages"),
        ],
    )
    def test_check_with_models_returns_problem_of_model(
        self, data: bytes, code: str | None
    ) -> None:
        models = self.Few("openai/gpt-oss-20b", "whisper-large-v3")
        careful = LineChecker(models=models).check(7, data)
        (found,) = check_lines([data + b"\n"], 7, checker=LineChecker(models=models))
        if code is None:
            assert isinstance(careful, CheckedRequest)
            assert isinstance(found, ValidLines)
        else:
            assert isinstance(careful, Problem)
            assert (careful.line, careful.custom_id, careful.code) == (7, "a-1", code)
            assert found == InvalidLine(data, careful)

    @pytest.mark.parametrize("bad", [{0}, {9}, {3, 4, 5}, set(range(0, 40, 2)), set(range(40))])
    def test_check_lines_with_models_finds_each_refused_line(self, bad: set[int]) -> None:
        lines = [
            request(custom_id=str(n), body={**BODY, "model": "no" if n in bad else "m"}) + b"\n"
            for n in range(40)
        ]
        found = list(check_lines(lines, 1, checker=LineChecker(models=self.Few("m"))))
        told = [one.problem.line for one in found if isinstance(one, InvalidLine)]
        assert told == [number + 1 for number in sorted(bad)]
        good = [line for one in found if isinstance(one, ValidLines) for line in one.lines]
        assert good == [line for number, line in enumerate(lines) if number not in bad]

    def test_id_on_a_line_with_unknown_model_counts_as_used(self) -> None:
        lines = [with_body(model=model) + b"\n" for model in ("no", "m")]
        first, second = check_lines(lines, 1, checker=LineChecker(models=self.Few("m")))
        assert isinstance(first, InvalidLine)
        assert isinstance(second, InvalidLine)
        assert [first.problem.code, second.problem.code] == ["unknown_model", "duplicate_custom_id"]


@pytest.mark.parametrize("data", [with_body(messages=[]), audio(file="a")])
def test_first_checks_accept_lines_that_all_checks_refuse(data: bytes) -> None:
    for checks, kind in ((FIRST_CHECKS, ValidLines), (FIRST_CHECKS + 1, InvalidLine)):
        (found,) = check_lines([data + b"\n"], 1, checker=LineChecker(checks=checks))
        assert isinstance(found, kind)
