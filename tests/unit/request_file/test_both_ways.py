"""Both ways of checking a line, compared with each other and with Python's own parser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from groq_batch.domain.problem import Problem
from groq_batch.request_file.request_rules import (
    ALLOWED_URLS,
    CHAT_URL,
    CheckedRequest,
)
from tests.unit.request_file.request_lines import (
    REQUEST,
    check,
    expected_size,
    request,
    with_body,
)

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
def test_both_ways_return_the_verdict_of_pythons_parser(data: bytes) -> None:
    assert verdict(check(data)) == expected_verdict(data)
    # White space after a request changes nothing of it, and keeps it off the fast way.
    assert verdict(check(data + b" ")) == expected_verdict(data)


@given(
    json_objects(["model", "messages"], ["other", "text", "text", "max_tokens"]),
    st.text(min_size=1),
)
@example('{"model": "m", "messages": [1], "x": "\\\\", "y": "\\n"}', "a")
@example('{"model": "m", "messages": [1], "x": "data:\\"data:;base64,\\\\", "y": ";"}', "a")
def test_both_ways_return_the_body_size_of_pythons_parser(body: str, custom_id: str) -> None:
    line = json.dumps({**REQUEST, "custom_id": custom_id, "body": "@"})
    data = line.replace('"body": "@"', f'"body": {body}').encode()
    found = check(data)
    if isinstance(found, CheckedRequest):
        assert found == check(data + b" ")
        assert found.body_bytes == expected_size(body)
