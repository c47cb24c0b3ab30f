"""The checks of a request line."""

from __future__ import annotations

import json
import math
import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groq_batch.domain.cost import ModelEstimate, ModelEstimates
from groq_batch.domain.problem import MAX_SHOWN_CHARACTERS, Problem, problem_row, shown
from groq_batch.request_file.line_bytes import MAX_NESTING
from groq_batch.request_file.line_checks import InvalidLine, LineChecker, ValidLines
from groq_batch.request_file.lines import Lines
from groq_batch.request_file.request_rules import (
    ALLOWED_URLS,
    CHAT_URL,
    FIRST_CHECKS,
    CheckedRequest,
)

SECRET = "Xyzzy"
"""Stands wherever a line may hold content; no sentence may repeat it."""

BODY: Mapping[str, Any] = {
    "model": "openai/gpt-oss-20b",
    "messages": [{"role": "user", "content": SECRET}],
}
REQUEST: Mapping[str, Any] = {
    "custom_id": "a-1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": BODY,
}
AUDIO_BODY: Mapping[str, Any] = {
    "model": "whisper-large-v3",
    "url": "https://example.com/Xyzzy.mp3",
    "response_format": "verbose_json",
}
ABSENT = object()


def request(**changes: Any) -> bytes:
    """Return a good request with some of its values changed, or left out."""
    fields = {**REQUEST, **changes}
    return dump({name: value for name, value in fields.items() if value is not ABSENT})


def with_body(**changes: Any) -> bytes:
    """Return a good request with some values of its body changed, or left out."""
    fields = {**BODY, **changes}
    return request(body={name: value for name, value in fields.items() if value is not ABSENT})


def audio(**changes: Any) -> bytes:
    """Return a good request for audio with some values of its body changed, or left out."""
    fields = {**AUDIO_BODY, **changes}
    body = {name: value for name, value in fields.items() if value is not ABSENT}
    return request(url="/v1/audio/transcriptions", body=body)


def dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def check(data: bytes) -> CheckedRequest | Problem:
    """Check a line both ways, which must agree."""
    careful = LineChecker().check(7, data)
    assert_agree(list(check_lines([data + b"\n"], 7)), careful, data)
    return careful


def check_lines(
    lines: list[bytes], number: int = 1, *, checker: LineChecker | None = None
) -> Iterator[ValidLines | InvalidLine]:
    """Check the lines of a block."""
    return (checker or LineChecker()).check_lines(Lines(number, 0, lines))


def assert_agree(
    found: Sequence[ValidLines | InvalidLine], careful: CheckedRequest | Problem, data: bytes
) -> None:
    """Compare what was found in a block of one line with what the careful way says of the line."""
    if isinstance(careful, Problem):
        assert found == [InvalidLine(data, careful)]
        return
    line = data + b"\n"
    (good,) = found
    assert isinstance(good, ValidLines)
    (estimate,) = good.models.values()
    if estimate.body_bytes != careful.body_bytes:
        assert has_equal_keys(data), "of equal keys the size may be that of all values"
        assert careful.body_bytes < estimate.body_bytes < len(data)
    assert good == ValidLines(
        [line],
        len(line),
        offset=0,
        custom_ids=[careful.custom_id],
        models={
            careful.model: ModelEstimate(1, estimate.body_bytes, careful.max_output_tokens or 0)
        },
    )


def has_equal_keys(data: bytes) -> bool:
    """Tell whether a key of the line itself, not of its values, stands twice."""
    pairs: list[tuple[str, Any]] = json.loads(data, object_pairs_hook=list)
    return len({name for name, _ in pairs}) < len(pairs)


def checked(data: bytes) -> CheckedRequest:
    """Check a line that must be good."""
    found = check(data)
    assert isinstance(found, CheckedRequest), found
    return found


def problem(data: bytes) -> Problem:
    """Check a line that must be bad."""
    found = check(data)
    assert isinstance(found, Problem), found
    return found


class TestGoodRequests:
    def test_what_matters_of_a_request(self) -> None:
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
    def test_forms_of_one_request(self, data: bytes) -> None:
        found = checked(data)
        assert (found.custom_id, found.model) == ("a-1", "openai/gpt-oss-20b")

    @pytest.mark.parametrize("url", ALLOWED_URLS)
    def test_urls(self, url: str) -> None:
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
    def test_what_messages_are_is_the_apis_affair(self, body: Mapping[str, Any]) -> None:
        assert checked(request(body=body)).model == "openai/gpt-oss-20b"

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"file": None}, id="no file"),
            pytest.param({"messages": 7}, id="a key of chats in audio"),
            pytest.param({"url": " "}, id="a text"),
        ],
    )
    def test_audio(self, changes: Mapping[str, Any]) -> None:
        data = request(url="/v1/audio/translations", body={**AUDIO_BODY, **changes})
        assert checked(data).model == "whisper-large-v3"

    def test_the_urls_are_those_of_the_batch_guide(self) -> None:
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
    def test_any_text_is_a_custom_id(self, custom_id: str, ascii_only: bool) -> None:
        data = json.dumps({**REQUEST, "custom_id": custom_id}, ensure_ascii=ascii_only).encode()
        found = checked(data)
        assert found.custom_id == custom_id
        assert found.body_bytes == len(json.dumps(BODY, ensure_ascii=ascii_only).encode())

    @pytest.mark.parametrize(
        "value",
        ["1e400", "-1e400", "1" * 5000, "-0", "0.1e-7", '"\x7f"'],
    )
    def test_odd_values_that_are_json(self, value: str) -> None:
        data = request(body={**BODY, "seed": "@"}).replace(b'"@"', value.encode())
        assert checked(data).body_bytes == len(dump({**BODY, "seed": "@"})) - 3 + len(value)

    @pytest.mark.parametrize(
        ("written", "size"),
        [
            pytest.param(r"\u0000", 1, id="no character"),
            pytest.param(r"\u00e9", 2, id="two bytes"),
            pytest.param(r"\uFFFD", 3, id="three bytes"),
            pytest.param(r"\ud83d\ude00", 4, id="a pair"),
            pytest.param(r"\n\/\"\\\\u0041", 10, id="short ones, and two backslashes before a u"),
            pytest.param("é" * 200 + r"\u00e9\n" * 200, 1000, id="long"),
        ],
    )
    def test_an_escape_counts_as_its_character(self, written: str, size: int) -> None:
        data = with_body(x="@").replace(b"@", written.encode())
        assert checked(data).body_bytes == len(dump({**BODY, "x": ""})) + size
        # In two texts as well.
        data = with_body(x="@", y="\n").replace(b"@", written.encode())
        assert checked(data).body_bytes == len(dump({**BODY, "x": "", "y": " "})) + size

    def test_a_data_url_counts_four_thousand_bytes(self) -> None:
        url = "data:image/png;base64,"
        data = with_body(x=url + "A" * 1_500_000, y=[f"{url}AA", "\n", f"see {url}AA"])
        empty = {**BODY, "x": url, "y": [url, " ", f"see {url}AA"]}
        assert checked(data).body_bytes == len(dump(empty)) + 2 * 4000

    @pytest.mark.parametrize("value", [False, None, "true", 1])
    def test_only_true_streams(self, value: object) -> None:
        assert checked(with_body(stream=value)).custom_id == "a-1"

    def test_a_service_tier_of_null_is_none(self) -> None:
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
    def test_limit_of_output_tokens(
        self, limits: Mapping[str, object], expected: int | None
    ) -> None:
        assert checked(with_body(**limits)).max_output_tokens == expected

    def test_a_number_beyond_all_floats_is_no_limit(self) -> None:
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
    ("pretty", b"{", None, "invalid_json", "ends too early.*one JSON object on one line"),
    ("cut off", request()[:-1], None, "invalid_json", "ends too early"),
    ("comma at the end", request()[:-1] + b",}", None, "invalid_json", "trailing comma"),
    ("python", str(REQUEST).encode(), None, "invalid_json", "near byte 2"),
    ("two objects", request() * 2, None, "invalid_json", "trailing characters near byte"),
    ("nul", b"\0", None, "invalid_json", "near byte 1. It has NUL bytes from byte 1 on"),
    ("nuls behind", request()[:-9] + bytes(9), None, "invalid_json", "NUL bytes.*crash.*UTF-8"),
    ("utf-16 without mark", b"{\0}\0", None, "invalid_json", "NUL bytes from byte 2.*UTF-16"),
    ("macos", b"\0\5\x16\7\0\2\0\0Mac OS X", None, "invalid_json", r"macOS.*\._.*Leave it out"),
    ("macos, binary", b"\0\5\x16\7\0\xff", None, "invalid_encoding", "macOS.*Leave it out"),
    ("infinity", with_body(x=-math.inf), None, "invalid_json", "-Infinity, for which JSON has no"),
    ("nan in a text", with_body(x="NaN")[:-1], None, "invalid_json", "too early.*one JSON object"),
    ("raw tab in a text", with_body(x="@").replace(b"@", b"\t"), None, "invalid_json", "near byte"),
    (
        "nan",
        with_body(x=math.nan),
        None,
        "invalid_json",
        "invalid character near byte [0-9]+, NaN, for which JSON has no form. Write null",
    ),
    ("number with a zero in front", b"01", None, "invalid_json", "invalid number near byte"),
    ("bom in the middle", b"\xef\xbb\xbf" + request(), None, "invalid_json", "byte order mark.*Re"),
    (
        "half an emoji",
        with_body(x="@", y="filler").replace(b"@", rb"\ud83d"),
        None,
        "invalid_json",
        "half of an emoji.*Remove it or write it whole",
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
def test_problems(data: bytes, custom_id: str | None, code: str, words: str) -> None:
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
def test_the_first_problem_in_order_is_told(data: bytes, code: str) -> None:
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
    def test_a_line(self, data: bytes, code: str | None) -> None:
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
    def test_bad_models_among_good_ones(self, bad: set[int]) -> None:
        lines = [
            request(custom_id=str(n), body={**BODY, "model": "no" if n in bad else "m"}) + b"\n"
            for n in range(40)
        ]
        found = list(check_lines(lines, 1, checker=LineChecker(models=self.Few("m"))))
        told = [one.problem.line for one in found if isinstance(one, InvalidLine)]
        assert told == [number + 1 for number in sorted(bad)]
        good = [line for one in found if isinstance(one, ValidLines) for line in one.lines]
        assert good == [line for number, line in enumerate(lines) if number not in bad]

    def test_an_id_is_used_on_a_line_whose_model_is_unknown(self) -> None:
        lines = [with_body(model=model) + b"\n" for model in ("no", "m")]
        first, second = check_lines(lines, 1, checker=LineChecker(models=self.Few("m")))
        assert isinstance(first, InvalidLine)
        assert isinstance(second, InvalidLine)
        assert [first.problem.code, second.problem.code] == ["unknown_model", "duplicate_custom_id"]


@pytest.mark.parametrize("data", [with_body(messages=[]), audio(file="a")])
def test_first_checks_of_a_file_whose_checking_had_begun_are_those_before(data: bytes) -> None:
    for checks, kind in ((FIRST_CHECKS, ValidLines), (FIRST_CHECKS + 1, InvalidLine)):
        (found,) = check_lines([data + b"\n"], 1, checker=LineChecker(checks=checks))
        assert isinstance(found, kind)


class TestNesting:
    """The limit is one of ours, because the parser's own depends on the calls under way."""

    def nested(self, depth: int, kind: str = "[") -> bytes:
        """Return a request in which so many brackets are open at once."""
        opening, closing = ("[", "]") if kind == "[" else ('{"a":', "}")
        inner = opening * (depth - 2) + "1" + closing * (depth - 2)
        return with_body(x="@").replace(b'"@"', inner.encode())

    @pytest.mark.parametrize("kind", ["[", "{"])
    def test_at_the_limit(self, kind: str) -> None:
        assert checked(self.nested(MAX_NESTING, kind)).custom_id == "a-1"

    @pytest.mark.parametrize("kind", ["[", "{"])
    @pytest.mark.parametrize("depth", [MAX_NESTING + 1, 900, 2000])
    def test_beyond_the_limit(self, kind: str, depth: int) -> None:
        found = problem(self.nested(depth, kind))
        assert (found.custom_id, found.code) == (None, "invalid_json")
        assert str(MAX_NESTING) in found.message

    @pytest.mark.parametrize("kind", ["[", "{"])
    @pytest.mark.parametrize("before", [0, 100, 248, 252, 700, 1100, 5000])
    @pytest.mark.parametrize("behind", [0, 2000])
    def test_wherever_the_brackets_stand(self, kind: str, before: int, behind: int) -> None:
        """Lines without a bracket beyond their first bytes are not looked at more closely."""
        for depth, is_good in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
            data = self.nested(depth, kind)
            data = data.replace(b'"body": {', b'"body": {"p": "%s", ' % (b"p" * before))
            data = data.replace(b"}}", b', "q": "%s"}}' % (b"q" * behind))
            assert isinstance(check(data), CheckedRequest) == is_good

    @pytest.mark.parametrize("kind", ["[", "{"])
    def test_before_the_first_key_that_matters(self, kind: str) -> None:
        for depth, is_good in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
            data = self.nested(depth, kind)
            (nest,) = re.findall(rb', ("x": .*)}}\Z', data)
            early = data.replace(b", " + nest, b"").replace(
                b'{"custom_id"', b'{"body": {"model": "m", ' + nest + b'}, "custom_id"'
            )
            assert isinstance(check(early), CheckedRequest) == is_good

    @pytest.mark.parametrize("place", [0, 1, 4])
    def test_one_deep_line_among_others(self, place: int) -> None:
        lines = [request(custom_id=str(number)) + b"\n" for number in range(5)]
        lines[place] = self.nested(MAX_NESTING + 1) + b"\n"
        found = list(check_lines(lines))
        (bad,) = [one for one in found if isinstance(one, InvalidLine)]
        assert (bad.problem.line, bad.problem.code) == (place + 1, "invalid_json")
        assert sum(len(one.lines) for one in found if isinstance(one, ValidLines)) == 4

    def test_the_limit_does_not_depend_on_the_calls_under_way(self) -> None:
        def deeper(frames: int, data: bytes) -> CheckedRequest | Problem:
            return deeper(frames - 1, data) if frames else check(data)

        for frames in (0, 300):
            assert isinstance(deeper(frames, self.nested(MAX_NESTING)), CheckedRequest)
            assert isinstance(deeper(frames, self.nested(MAX_NESTING + 1)), Problem)

    @pytest.mark.parametrize("text", ["[" * 5000, '\\"{' * 5000, "\\\\[" * 5000, '"' * 5001])
    def test_brackets_within_texts_are_open_nowhere(self, text: str) -> None:
        body = {**BODY, "x": text, "y": [{"content": text}] * 3}
        assert checked(request(body=body)).body_bytes == expected_size(dump(body).decode())

    def test_many_brackets_beside_each_other(self) -> None:
        assert checked(with_body(x=[{}] * 20_000)).custom_id == "a-1"

    def test_a_text_without_end_takes_no_time(self) -> None:
        """Tried from every quote anew, this would take hours."""
        data = b"[" * 600 + b'"' + rb"\"" * 1_000_000
        assert problem(data).code == "invalid_json"


class TestDuplicates:
    def test_every_line_after_the_first_use_names_it(self) -> None:
        checker = LineChecker()
        assert isinstance(checker.check(3, request()), CheckedRequest)
        for number in (5, 9):
            found = checker.check(number, request())
            assert isinstance(found, Problem)
            assert (found.line, found.custom_id) == (number, "a-1")
            assert found.code == "duplicate_custom_id"
            assert "already used on line 3." in found.message
            assert "Give every request a custom_id of its own" in found.message

    @pytest.mark.parametrize(
        "first",
        [
            pytest.param(request(method="GET"), id="method"),
            pytest.param(request(url="/"), id="url"),
            pytest.param(request(body=None), id="body"),
            pytest.param(with_body(model=None), id="model"),
            pytest.param(with_body(stream=True), id="parameter"),
            pytest.param(request(note=1), id="good, in an unusual form"),
        ],
    )
    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(request(), id="good"),
            pytest.param(request(method="PUT"), id="bad"),
            pytest.param(request(custom_id="@").replace(b"@", rb"\u0061-1"), id="escaped"),
        ],
    )
    def test_an_id_is_used_also_on_a_line_that_is_bad(self, first: bytes, second: bytes) -> None:
        checker = LineChecker()
        checker.check(1, first)
        found = checker.check(2, second)
        assert isinstance(found, Problem)
        assert (found.custom_id, found.code) == ("a-1", "duplicate_custom_id")
        assert "on line 1." in found.message
        _, in_block = check_lines([first + b"\n", second + b"\n"])
        assert in_block == InvalidLine(second, found)

    @pytest.mark.parametrize(
        "first", [request()[:-1], request() + b"\xff", request() + b"x", b'["a-1"]']
    )
    def test_an_id_that_cannot_be_read_is_not_used(self, first: bytes) -> None:
        checker = LineChecker()
        assert isinstance(checker.check(1, first), Problem)
        assert isinstance(checker.check(2, request()), CheckedRequest)

    @pytest.mark.parametrize(
        ("one", "other"), [("a", "A"), ("é", "e\u0301"), ("a", "a "), ("1", "01")]
    )
    def test_ids_are_compared_as_they_are_written(self, one: str, other: str) -> None:
        checker = LineChecker()
        for number, custom_id in enumerate((one, other), start=1):
            assert isinstance(checker.check(number, request(custom_id=custom_id)), CheckedRequest)

    @given(st.lists(st.text(min_size=1, max_size=3), max_size=200))
    def test_first_lines_are_those_of_a_dictionary(self, ids: list[str]) -> None:
        checker = LineChecker()
        first: dict[str, int] = {}
        for number, custom_id in enumerate(ids, start=1):
            found = checker.check(number, request(custom_id=custom_id))
            if custom_id in first:
                assert isinstance(found, Problem)
                assert f"on line {first[custom_id]}." in found.message
            else:
                assert isinstance(found, CheckedRequest)
                first[custom_id] = number

    def test_many_ids_in_few_bytes(self) -> None:
        """None is forgotten while the table of them grows, also right after it has."""
        count = 40_000
        lines = [
            request(custom_id=f"{number:040d}", body={"model": "m", "messages": [1]})
            for number in range(count)
        ]
        checker = LineChecker()
        tracemalloc.start()
        fresh = sum(
            isinstance(checker.check(number, data), CheckedRequest)
            for number, data in enumerate(lines, start=1)
        )
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert fresh == count
        assert held < 50 * count
        assert peak < 60 * count
        seen = (1, 2, 614, 615, 2457, 2458, 39_321, 39_322, count)
        for place, number in enumerate(seen, start=count + 1):
            found = checker.check(place, lines[number - 1])
            assert isinstance(found, Problem)
            assert f"on line {number}." in found.message


class TestShowing:
    def test_a_problem_as_a_row(self) -> None:
        custom_id = "é\n" + "x" * 1000
        row = problem_row(Problem(3, custom_id, "invalid_url", "Do this."))
        assert row.endswith(b"}\n")
        assert row.count(b"\n") == 1
        assert json.loads(row) == {
            "line": 3,
            "custom_id": custom_id,
            "code": "invalid_url",
            "message": "Do this.",
        }

    def test_what_is_long_is_cut_in_reports(self) -> None:
        assert shown(None) is None
        assert shown("x" * MAX_SHOWN_CHARACTERS) == "x" * MAX_SHOWN_CHARACTERS
        assert shown("x" * 100_000) == "x" * MAX_SHOWN_CHARACTERS + "…"


# -- both ways of checking, against each other and against Python's own parser ---------------------

ODD_VALUES = st.sampled_from(
    [None, True, False, 0, 1, -3, 2.0, 1.5, 10**30, "", "POST", "{", "}}", "é", "\u2028", [], {}]
)
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "custom_id": st.text(min_size=1, max_size=4),
    "method": st.just("POST"),
    "url": st.sampled_from([*ALLOWED_URLS, "https://example.com/a.mp3"]),
    "model": st.sampled_from(["m", "openai/gpt-oss-20b"]),
    "stream": st.sampled_from([False, None, True]),
    "service_tier": st.sampled_from([None, "auto"]),
    "max_tokens": st.integers(1, 5000),
    "max_completion_tokens": st.integers(1, 5000),
    "messages": st.sampled_from(
        [[{"role": "user", "content": 'He said: "{}" \\ [1]' * count}] for count in (1, 50)]
    ),
    "file": st.sampled_from([None, "a.mp3"]),
    "other": ODD_VALUES,
    "text": st.one_of(
        st.text(max_size=20),
        st.text('\\"u0041/\n\t😀é;', max_size=20),
        st.text('\\"ué😀', min_size=300, max_size=320),
        st.sampled_from(
            [
                f"{begin}data:image/png;base64,{end}"
                for begin in ("", " ")
                for end in ("", "A\n" * 300)
            ]
        ),
    ),
}


@st.composite
def json_objects(draw: st.DrawFn, required: Sequence[str], optional: Sequence[str]) -> str:
    """The text of an object near that of a good request: keys may miss, come twice, have odd
    values, and stand in any order."""
    names = [name for name in required if draw(st.integers(0, 19))]
    names += draw(st.lists(st.sampled_from([*required, *optional]), max_size=2))
    if draw(st.booleans()):
        names = draw(st.permutations(names))
    items = []
    for name in names:
        if name == "body":
            value = draw(json_objects(["model", "messages", "url"], list(VALUES)[4:]))
        else:
            usual = draw(st.integers(0, 9)) > 0
            drawn = draw(VALUES[name] if usual else ODD_VALUES)
            value = json.dumps(drawn, ensure_ascii=draw(st.booleans()))
        space = draw(st.sampled_from(["", " "]))
        items.append(f'"{name}":{space}{value}')
    return "{" + draw(st.sampled_from([",", ", "])).join(items) + "}"


@st.composite
def near_requests(draw: st.DrawFn) -> bytes:
    """Good and nearly good lines, some with a byte taken out, put in or changed."""
    data = draw(json_objects(["custom_id", "method", "url", "body"], ["other"])).encode()
    if draw(st.integers(0, 3)):
        return data
    place = draw(st.integers(0, len(data)))
    inserted = draw(
        st.sampled_from(
            [b"", b" ", b"{", b"}", b'"', b"\\", rb"\ud800", b",", b"\xff", b"\0", b"1"]
        )
    )
    return data[:place] + inserted + data[place + draw(st.integers(0, 1)) :]


def verdict(found: CheckedRequest | Problem) -> tuple[Any, ...]:
    if isinstance(found, Problem):
        return found.code, found.custom_id
    return "good", found.custom_id, found.model, found.max_output_tokens


def read(data: bytes) -> Any:
    """Read a line with Python's own parser.

    Raises:
        ValueError: It is no JSON, or holds text that cannot be written as UTF-8.
    """
    texts: list[str] = []

    def take(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Of a key that stands twice the value that does not count is read as well.
        texts.extend(text for pair in pairs for text in pair if isinstance(text, str))
        return dict(pairs)

    def refuse(name: str) -> None:
        raise ValueError(name)

    value = json.loads(data.decode(), object_pairs_hook=take, parse_constant=refuse)
    json.dumps([value, texts], ensure_ascii=False).encode()
    return value


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def first_true(*conditions: tuple[bool, str]) -> str | None:
    return next((code for holds, code in conditions if holds), None)


def expected_limit(body: Mapping[str, Any]) -> int | None:
    for limit in (body.get("max_completion_tokens"), body.get("max_tokens")):
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if is_number and 0 < limit <= 2**53 and limit == int(limit):
            return int(limit)
    return None


SUBJECT_CODES = {
    url: "invalid_messages" if url == CHAT_URL else "missing_audio" for url in ALLOWED_URLS
}


def has_subject(url: object, body: Mapping[str, Any]) -> bool:
    """Tell whether a body says what is to be answered."""
    if url == CHAT_URL:
        messages = body.get("messages")
        return isinstance(messages, list) and len(messages) > 0
    return is_text(body.get("url")) and body.get("file") is None


TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


def expected_size(body: str) -> int:
    """What a body counts for the estimate, by Python's own parser."""

    def size(text: str) -> int:
        value: str = json.loads(text)
        head, mark, _ = value.partition(";base64,")
        if value.startswith("data:") and mark:
            return len((head + mark).encode()) + 4000 + 2
        return len(value.encode()) + 2

    between = len(TEXT.sub("", body).encode())
    return between + sum(map(size, TEXT.findall(body)))


def expected_verdict(data: bytes) -> tuple[Any, ...]:
    """The verdict that the codes promise, from Python's own parser."""
    try:
        line = read(data)
    except UnicodeDecodeError:
        return "invalid_encoding", None
    except ValueError:
        return "invalid_json", None
    if not isinstance(line, dict):
        return "not_an_object", None
    custom_id, body = line.get("custom_id"), line.get("body")
    if not is_text(custom_id):
        return "invalid_custom_id" if "custom_id" in line else "missing_custom_id", None
    parameters = body if isinstance(body, dict) else {}
    code = first_true(
        (line.get("method") != "POST", "invalid_method"),
        (line.get("url") not in list(ALLOWED_URLS), "invalid_url"),
        (not isinstance(body, dict), "invalid_body"),
        (not is_text(parameters.get("model")), "missing_model"),
        (not has_subject(line.get("url"), parameters), SUBJECT_CODES.get(str(line.get("url")), "")),
        (parameters.get("stream") is True, "unsupported_parameter"),
        (parameters.get("service_tier") is not None, "unsupported_parameter"),
    )
    if code is not None:
        return code, custom_id
    return "good", custom_id, parameters["model"], expected_limit(parameters)


@given(near_requests())
@example(request())
@example(request(custom_id="{"))
@example(with_body(max_tokens=5, max_completion_tokens=0))
@example(request().replace(b"a-1", rb"\ud83d\ude00"))
@example(request().replace(b'"body": {', b'"body": {"x": "' + rb"\ud83d" + b'", '))
def test_both_ways_come_to_the_expected_verdict(data: bytes) -> None:
    assert verdict(check(data)) == expected_verdict(data)
    # White space after a request changes nothing of it, and keeps it off the fast way.
    assert verdict(check(data + b" ")) == expected_verdict(data)


@given(
    json_objects(["model", "messages"], ["other", "text", "text", "max_tokens"]),
    st.text(min_size=1),
)
@example('{"model": "m", "messages": [1], "x": "\\\\", "y": "\\n"}', "a")
@example('{"model": "m", "messages": [1], "x": "data:\\"data:;base64,\\\\", "y": ";"}', "a")
def test_both_ways_measure_the_body(body: str, custom_id: str) -> None:
    line = json.dumps({**REQUEST, "custom_id": custom_id, "body": "@"})
    data = line.replace('"body": "@"', f'"body": {body}').encode()
    found = check(data)
    if isinstance(found, CheckedRequest):
        assert found == check(data + b" ")
        assert found.body_bytes == expected_size(body)


# -- blocks of lines -------------------------------------------------------------------------------

IDS = st.integers(0, 12).map("id-{}".format)
MODELS = st.sampled_from(["m", "n", "openai/gpt-oss-20b", "é", "x" * 600])
USUAL = st.builds(
    lambda custom_id, model, limits: request(
        custom_id=custom_id, body={**BODY, "model": model, **limits}
    ),
    st.integers(0, 10**6).map(str) | IDS,
    MODELS,
    st.sampled_from([{}, {}, {"max_tokens": 7}, {"max_completion_tokens": 9, "max_tokens": 7}]),
)
ACCENTS = st.builds(
    lambda custom_id, text: request(custom_id=custom_id, body={**BODY, "x": text}),
    IDS | st.sampled_from(["é", "日本", "😀"]),
    st.sampled_from(["é", "\u2028", "😀" * 300, "{[" * 300]),
)
UNUSUAL: Sequence[Callable[[bytes], bytes]] = [
    lambda line: b" " + line,
    lambda line: line + b"\t",
    lambda line: line[:-1] + b" }",
    lambda line: line.replace(b'{"custom_id": "', b'{"custom_id": "{'),
    lambda line: line.replace(b'{"custom_id": "', rb'{"custom_id": "\u007b'),
    lambda line: line.replace(b'{"custom_id": "', rb'{"custom_id": "\ud83d\ude00'),
    lambda line: line.replace(b'{"custom_id"', b'{"note": {}, "custom_id"'),
    lambda line: line.replace(b'{"custom_id"', rb'{"custom\u005fid"'),
    lambda line: dump(dict(reversed(json.loads(line).items()))),
    lambda line: line.replace(b'"body": {', b'"body": {"stream": false, '),
    lambda line: line.replace(b'"body": {', b'"body": {"max_tokens": 7.0, '),
    lambda line: line.replace(b'"body": {', b'"body": {"max_completion_tokens": -1, '),
    lambda line: line.replace(b'"body": {', b'"body": {"service_tier": null, '),
    lambda line: line.replace(b'"body": {', rb'"body": {"x": "\u00e9\n\\", '),
    lambda line: line.replace(b'"body": {', b'"body": {"x": "%s", ' % (rb"\n\"\u20ac" * 100)),
    lambda line: line.replace(b'"body": {', rb'"body": {"x": "data:a\/b;base64,AA", '),
    lambda line: line.replace(b'"body": {', rb'"body": {"str\u0065am": "%s", ' % (b"x" * 300)),
    lambda line: line.replace(b'"body": {', b'"body": {"x": %s, ' % (b"[" * 498 + b"]" * 498)),
    lambda line: line.replace(b'"body": {', b'"body": {"x": "%s", ' % (b"[" * 2000)),
]
SPOILING: Sequence[Callable[[bytes], bytes]] = [
    lambda line: line[:-1],
    lambda line: line + b"}",
    lambda line: line * 2,
    lambda line: line.replace(b"POST", b"PUT"),
    lambda line: line.replace(b"/v1/", b"/v2/"),
    lambda line: line.replace(b'"body": {', b'"body": {"stream": true, '),
    lambda line: line.replace(b'"body": {', b'"body": {"service_tier": "auto", '),
    lambda line: line.replace(b'"model"', b'"Model"'),
    lambda line: line.replace(b'"messages"', b'"message"'),
    lambda line: line.replace(CHAT_URL.encode(), b"/v1/audio/translations"),
    lambda line: line.replace(
        b'"body": {', rb'"body": {"%s\u0041": 1, "str\u0065am": true, ' % (b"x" * 300)
    ),
    lambda line: line.replace(b'"custom_id": "', b'"custom_id": 5, "x": "'),
    lambda line: line.replace(b'"custom_id"', b'"id"'),
    lambda line: line.replace(b'"body": {', b'"body": {"x": "\xe9", '),
    lambda line: line.replace(b'"body": {', b'"body": {"x": "\xe2\x82", '),
    lambda line: line.replace(b'"body": {', rb'"body": {"x": "\ud83d", '),
    lambda line: line.replace(b'"body": {', b'"body": {"x": %s, ' % (b"[" * 499 + b"]" * 499)),
    lambda line: line.replace(b'{"custom_id": "', b'{"custom_id": "\xff'),
    lambda line: b"\xef\xbb\xbf" + line,
    lambda _line: b"[]",
    lambda _line: b"{}",
    lambda _line: b"{",
    lambda _line: b"\x1f\x8b",
]
BLANKS = st.sampled_from([b"", b" ", b"\t ", b"\r", b" \r\r"])


def changed(changes: Sequence[Callable[[bytes], bytes]]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda change, line: change(line), st.sampled_from(changes), USUAL)


@st.composite
def blocks(draw: st.DrawFn) -> list[bytes]:
    """Lines of all kinds with line ends: long runs of usual ones, and others among them."""
    kinds = [USUAL, ACCENTS, changed(UNUSUAL), changed(SPOILING), BLANKS]
    lines: list[bytes] = []
    for _ in range(draw(st.integers(1, 5))):
        lines += draw(st.lists(USUAL, max_size=12))
        lines += draw(st.lists(st.one_of(kinds), max_size=4))
    lines = lines or [draw(st.one_of(kinds))]
    ends = draw(st.sampled_from([[b"\n"], [b"\n"], [b"\r\n"], [b"\n", b"\r\n", b"\r\r\n"]]))
    lines = [line + draw(st.sampled_from(ends)) for line in lines]
    if draw(st.booleans()):
        lines[-1] = lines[-1].removesuffix(b"\n")
    return lines if lines[-1] else lines[:-1]


def expected_of(lines: Sequence[bytes]) -> tuple[list[object], ModelEstimates]:
    """What the careful way finds in lines: a good line's place and id, a bad line's problem."""
    checker, models = LineChecker(), ModelEstimates()
    expected: list[object] = []
    for number, line in enumerate(lines, start=1):
        data = line.rstrip(b"\r\n")
        if not data.strip():
            continue
        found = checker.check(number, data)
        if isinstance(found, Problem):
            expected.append(InvalidLine(data, found))
        else:
            expected.append((data + b"\n", found.custom_id))
            models[found.model].add(found.body_bytes, found.max_output_tokens)
    return expected, models


def assert_describes(valid: ValidLines, data: bytes) -> None:
    """Compare the facts about valid lines with the lines and with the data they come from."""
    assert valid.size == sum(map(len, valid.lines))
    assert len(valid.custom_ids) == len(valid.lines) > 0
    assert sum(one.requests for one in valid.models.values()) == len(valid.lines)
    if valid.offset is not None:
        assert data[valid.offset : valid.offset + valid.size] == b"".join(valid.lines)
    else:
        assert b"\r" in data or not data.endswith(b"\n")


@settings(deadline=None)
@given(blocks(), st.integers(1, 40))
def test_check_lines_of_any_block_agrees_with_check_of_each_line(
    lines: list[bytes], size: int
) -> None:
    data = b"".join(lines)
    for sizes in (size, len(lines) or 1):
        checker, models = LineChecker(), ModelEstimates()
        found: list[object] = []
        for begin in range(0, len(lines), sizes):
            offset = sum(map(len, lines[:begin]))
            block = Lines(begin + 1, offset, lines[begin : begin + sizes])
            for one in checker.check_lines(block):
                if isinstance(one, InvalidLine):
                    found.append(one)
                    continue
                assert_describes(one, data)
                models.merge(one.models)
                found += zip(one.lines, one.custom_ids, strict=True)
        assert (found, models) == expected_of(lines)


class TestBlocks:
    def test_usual_lines_come_as_one_stretch_as_they_were_given(self) -> None:
        lines = [request(custom_id=str(number)) + b"\n" for number in range(1000)]
        (found,) = check_lines(lines)
        assert isinstance(found, ValidLines)
        assert (found.offset, found.lines) == (0, lines)
        assert found.custom_ids == [str(number) for number in range(1000)]

    @pytest.mark.parametrize("change", SPOILING)
    @pytest.mark.parametrize("place", [0, 1, 9])
    def test_a_bad_line_leaves_the_others_good(
        self, change: Callable[[bytes], bytes], place: int
    ) -> None:
        lines = [request(custom_id=str(number)) for number in range(10)]
        lines[place] = change(lines[place])
        found = list(check_lines([line + b"\n" for line in lines]))
        (bad,) = [one for one in found if isinstance(one, InvalidLine)]
        assert bad.problem.line == place + 1
        good = [one for one in found if isinstance(one, ValidLines)]
        assert sum(len(one.lines) for one in good) == 9

    @pytest.mark.parametrize("change", UNUSUAL)
    @pytest.mark.parametrize("place", [0, 1, 9])
    def test_an_unusual_line_is_good_and_so_are_the_others(
        self, change: Callable[[bytes], bytes], place: int
    ) -> None:
        lines = [request(custom_id=str(number)) for number in range(10)]
        lines[place] = change(lines[place])
        given_lines = [line + b"\n" for line in lines]
        found = list(check_lines(given_lines))
        assert all(isinstance(one, ValidLines) and one.offset is not None for one in found)
        assert [line for one in found for line in one.lines] == given_lines  # type: ignore[union-attr]

    @pytest.mark.parametrize("size", [1, 5, 150, 300])
    @pytest.mark.parametrize("odd", [0, 1, 2, 63, 64, 65, 200])
    def test_runs_of_unusual_lines(self, odd: int, size: int) -> None:
        """Behind a long run of them the usual ones are found again, and none is passed over."""
        lines = [
            (b" " if number % 100 < odd else b"") + request(custom_id=str(number)) + b"\n"
            for number in range(300)
        ]
        checker = LineChecker()
        found = [
            (line, custom_id)
            for begin in range(0, 300, size)
            for one in check_lines(lines[begin : begin + size], begin + 1, checker=checker)
            if isinstance(one, ValidLines)
            for line, custom_id in zip(one.lines, one.custom_ids, strict=True)
        ]
        assert found == [(lines[number], str(number)) for number in range(300)]

    def test_windows_line_ends(self) -> None:
        lines = [request(custom_id=str(number)) + b"\r\n" for number in range(100)]
        (found,) = check_lines(lines)
        assert isinstance(found, ValidLines)
        assert found.offset is None
        assert found.lines == [line[:-2] + b"\n" for line in lines]

    def test_duplicates_within_and_between_blocks(self) -> None:
        checker = LineChecker()
        ids = ["a", "b", "a", "c", "a", "b"]
        lines = [request(custom_id=custom_id) + b"\n" for custom_id in ids]
        for number, repeats in ((1, {3: 1, 5: 1, 6: 2}), (11, {11: 1, 12: 2, 13: 1, 14: 4, 15: 1})):
            bad = [
                one
                for one in check_lines(lines, number, checker=checker)
                if isinstance(one, InvalidLine)
            ]
            for line, first in repeats.items():
                (problem,) = [one.problem for one in bad if one.problem.line == line]
                assert problem.code == "duplicate_custom_id"
                assert f"on line {first}." in problem.message
            assert len(bad) == len(repeats) + (number == 11)

    def test_models_beyond_those_that_are_told_apart_count_as_one(self) -> None:
        lines = [
            request(custom_id=str(number), body={"model": f"m-{number}", "messages": [{}]}) + b"\n"
            for number in range(1500)
        ]
        (found,) = check_lines(lines)
        assert isinstance(found, ValidLines)
        assert len(found.models) == 1001
        assert found.models["(other models)"].requests == 500
