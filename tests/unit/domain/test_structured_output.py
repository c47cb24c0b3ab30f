"""Which answers have the form that their requests ask for."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.result_row import RowOutcome, classify_row
from groq_batch.domain.structured_output import (
    DEEPEST,
    AskedForm,
    asked_form,
    given_form,
    is_strict_json,
    parse_json,
)
from groq_batch.steps.download_results import schema_checks
from groq_batch.steps.download_results.output_checks import is_invalid_output
from groq_batch.steps.download_results.schema_checks import SchemaChecks

OBJECT = {"type": "json_object"}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def as_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


def request(form: Any = None, url: str = "/v1/chat/completions") -> bytes:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    if form is not None:
        body["response_format"] = form
    return json.dumps({"custom_id": "a", "method": "POST", "url": url, "body": body}).encode()


def row(*contents: Any, reason: str = "stop", **message: Any) -> bytes:
    choices = [
        {"index": n, "message": {"content": content, **message}, "finish_reason": reason}
        for n, content in enumerate(contents)
    ]
    return row_of({"choices": choices})


def row_of(body: Any) -> bytes:
    response = {"status_code": 200, "request_id": "r", "body": body}
    return json.dumps({"custom_id": "a", "response": response, "error": None}).encode()


@pytest.fixture(scope="module")
def schemas() -> Iterator[SchemaChecks]:
    with SchemaChecks() as checks:
        yield checks


# -- what is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        *((value, None) for value in (None, "text", "json", {"type": "text"}, {"type": 5}, {}, [])),
        (OBJECT, AskedForm()),
        ({"type": "json_object", "json_schema": 5}, AskedForm()),
        ({"type": "json_schema"}, AskedForm()),
        ({"type": "json_schema", "json_schema": None}, AskedForm()),
        ({"type": "json_schema", "json_schema": {"schema": None}}, AskedForm()),
        (as_schema({"type": "object"}), AskedForm(b'{"type": "object"}')),
        (as_schema(True), AskedForm(b"true")),
    ],
    ids=str,
)
def test_asked_form_of_a_request(form: Any, asked: AskedForm | None) -> None:
    assert asked_form(request(form)) == asked


def test_asked_form_under_an_escaped_name() -> None:
    line = request(OBJECT).replace(b"response_format", b"response\\u005fformat")
    assert asked_form(line) == AskedForm()


# -- what is JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        " [1, 2]\n",
        "null",
        '"text"',
        "1e999",
        "9" * 5000,
        '"\\ud83d"',
        '{"a": "é\ud83d"}',
    ],
)
def test_text_is_json(text: str) -> None:
    assert is_strict_json(text)
    parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure! {}",
        '{"a": 1',
        '{"a": 1,}',
        "{'a': 1}",
        "NaN",
        '{"a": Infinity}',
        '"a\nb"',
        "```json\n{}\n```",
        "{} {}",
        "\ufeff{}",
        "[" * 100_000,
    ],
)
def test_text_is_no_json(text: str) -> None:
    assert not is_strict_json(text)


def test_json_beyond_the_deepest_is_json_that_cannot_be_validated() -> None:
    text = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)
    assert is_strict_json(text)
    with pytest.raises(ValueError, match="levels deep"):
        parse_json(text)


@given(st.text(alphabet=st.sampled_from('{}[]",:\\ue-+.0123456789 NaInfty\ud83d\n'), max_size=30))
def test_text_is_json_exactly_where_python_takes_it_strictly(text: str) -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        assert not is_strict_json(text)
    else:
        assert is_strict_json(text)


# -- what an answer shows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "is_invalid"),
    [
        (row('{"name": "Ada", "age": 36}'), False),
        (row('{"name": "Ada", "age": "36"}'), True),
        (row('{"name": "Ada"}'), True),
        (row('{"name": "Ada", "age": 36, "x": 1}'), True),
        (row('[{"name": "Ada", "age": 36}]'), True),
        (row('{"name": "Ada", "age": 36}', reason="length"), True),
        (row(""), True),
        (row(None), True),
        (row(5), True),
        # Every choice has to be right.
        (row('{"name": "Ada", "age": 36}', '{"name": "Bob", "age": 1}'), False),
        (row('{"name": "Ada", "age": 36}', "Bob"), True),
        (row('{"name": "Ada", "age": 36}', '{"name": "Bob"}'), True),
        # Parts are one text.
        (row([{"type": "text", "text": '{"name": "Ada", '}, {"text": '"age": 36}'}]), False),
        (row([]), True),
        # A call of a tool is no answer yet; a refusal has its own field.
        (row(None, tool_calls=[{"id": "c"}], reason="tool_calls"), False),
        (row("Let me look.", tool_calls=[{"id": "c"}], reason="tool_calls"), False),
        (row(None, tool_calls=[{"id": "c"}], reason="length"), True),
        (row("Ada", tool_calls=[]), True),
        (row(None, refusal="I cannot."), False),
        (row("", refusal="I cannot."), False),
        (row([{"type": "refusal", "refusal": "I cannot."}]), False),
        (row("Ada", refusal="I cannot."), True),
        # Bodies of other forms.
        (row_of({"choices": []}), True),
        (row_of({}), True),
        (row_of([]), True),
        (row_of({"choices": ["Ada"]}), True),
        (row_of({"choices": [{"text": '{"name": "Ada", "age": 36}'}]}), False),
        (row_of('{"name": "Ada", "age": 36}'), False),
        (row_of("Ada"), True),
    ],
)
def test_answer_to_a_request_with_a_schema(
    answer: bytes, is_invalid: bool, schemas: SchemaChecks
) -> None:
    assert is_invalid_output(answer, request(as_schema(PERSON)), schemas) is is_invalid


def test_answer_that_only_a_careful_reader_takes_is_read(schemas: SchemaChecks) -> None:
    answer = row('{"name": "Ada", "age": 36}').replace(b'"status_code": 200', b'"status_code": NaN')
    assert not is_invalid_output(answer, request(as_schema(PERSON)), schemas)


def test_object_asked_for_without_a_schema_needs_to_be_json_alone(schemas: SchemaChecks) -> None:
    assert not is_invalid_output(row('{"any": 1}'), request(OBJECT), schemas)
    assert is_invalid_output(row("any"), request(OBJECT), schemas)


def test_answer_to_a_request_for_no_json_is_never_invalid(schemas: SchemaChecks) -> None:
    assert not is_invalid_output(row("any", reason="length"), request(), schemas)
    assert not is_invalid_output(row("any"), request({"type": "text"}), schemas)


def test_process_is_started_for_schemas_alone() -> None:
    with SchemaChecks(command=["/there/is/no/such/program"]) as checks:
        assert not is_invalid_output(row("{}"), request(OBJECT), checks)
        assert is_invalid_output(row("text"), request(as_schema(PERSON)), checks)
        assert not is_invalid_output(row("text"), request(), checks)
        assert checks.unknown == 0


@given(
    st.sampled_from(
        [row('{"a": "é"}', "[1]"), row(None, refusal="No."), row_of("text"), row_of([])]
    ),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=4),
)
def test_form_of_any_answer_is_told(answer: bytes, changes: list[tuple[int, bytes]]) -> None:
    for place, data in changes:
        answer = answer[:place] + data + answer[place + len(data) :]
    known = classify_row(answer)
    if known is not None and known.outcome is RowOutcome.SUCCESS:
        for text in given_form(answer).texts:
            assert is_strict_json(text)


@given(st.binary(max_size=200))
def test_form_that_any_line_asks_for_is_told(line: bytes) -> None:
    assert asked_form(line) is None or b"json" in line


def test_given_form_of_an_answer_with_several_choices() -> None:
    assert given_form(row("1", "2")).texts == ("1", "2")


# -- schemas -------------------------------------------------------------------------------------


def doubling(depth: int) -> dict[str, Any]:
    """Return a small schema that takes 2 to the power of ``depth`` steps."""
    steps: dict[str, Any] = {
        f"s{n}": {"anyOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(depth)
    }
    return {"$defs": {**steps, f"s{depth}": {"type": "string"}}, "$ref": "#/$defs/s0"}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "text", "breaks"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, json.dumps("a" * 50_000 + "b"), True),
        ({"type": "string", "pattern": "^(?=E)"}, '"Echo"', False),
        ({"type": "string", "pattern": "^(?=E)"}, '"echo"', True),
        ({"$ref": "#"}, "1", False),
        ({"allOf": [{"$ref": "#"}, {"type": "integer"}]}, '"a"', True),
        ({"type": "object", "additionalProperties": {"$ref": "#"}}, '{"a": {"a": {}}}', False),
        ({"type": "object", "additionalProperties": {"$ref": "#"}}, '{"a": {"a": 1}}', True),
        # No reader of results can hold it either.
        ({"type": "number"}, "1e999", True),
        ({"type": "string"}, '"\\ud83d"', False),
        (True, "1", False),
        (False, "1", True),
    ],
)
def test_schema_is_held_against_a_text(
    schema: Any, text: str, breaks: bool, schemas: SchemaChecks
) -> None:
    before = schemas.unknown
    assert schemas.breaks_schema(json.dumps(schema).encode(), [text]) is breaks
    assert schemas.unknown == before


@pytest.mark.parametrize(
    "schema",
    [
        5,
        {"type": "no type"},
        {"type": "string", "pattern": "("},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/hostname"},
        {"$schema": "http://127.0.0.1:9/schema"},
        {"$id": "http://127.0.0.1:9/", "$ref": "other"},
        nested(5_000 // 10),
        {"enum": ["x" * schema_checks.LARGEST_SCHEMA_BYTES]},
    ],
    ids=lambda schema: str(schema)[:50],
)
def test_schema_that_cannot_be_compiled_lets_answers_stand(
    schema: Any, schemas: SchemaChecks
) -> None:
    before = schemas.unknown
    assert not schemas.breaks_schema(json.dumps(schema).encode(), ['"x"'])
    assert schemas.unknown == before + 1


def test_text_that_nests_too_deeply_lets_the_answer_stand(schemas: SchemaChecks) -> None:
    text = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)
    before = schemas.unknown
    assert not schemas.breaks_schema(b'{"type": "array"}', [text])
    assert schemas.unknown == before + 1


def test_schema_that_takes_for_ever_is_given_up_and_others_are_not() -> None:
    with SchemaChecks() as checks:
        for_ever = json.dumps(doubling(60)).encode()
        assert not checks.breaks_schema(for_ever, ["1"])
        assert not checks.breaks_schema(for_ever, ["2"])
        assert checks.unknown == 2
        assert checks.breaks_schema(b'{"type": "object"}', ["1"])
        assert checks.unknown == 2


def test_checks_are_given_up_when_too_many_processes_are_lost() -> None:
    with SchemaChecks(command=["/bin/false"]) as checks:
        for number in range(schema_checks.MAX_LOST + 2):
            assert not checks.breaks_schema(json.dumps({"const": number}).encode(), ["9"])
        assert checks.unknown == schema_checks.MAX_LOST + 2


def test_checks_are_given_up_when_they_have_taken_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schema_checks, "MAX_SECONDS", -1.0)
    with SchemaChecks(command=["/there/is/no/such/program"]) as checks:
        assert not checks.breaks_schema(b'{"type": "object"}', ["1"])
        assert checks.unknown == 1


def test_process_has_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with SchemaChecks() as checks:
        checks.breaks_schema(b"true", ["1"])
        process = checks._process
        assert process is not None
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"AWS" not in environment


SMALL_SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer"},
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["a", 1]},
            {"type": "string", "maxLength": 2},
            {"type": "number", "minimum": 0},
        ]
    ),
    lambda inner: st.one_of(
        inner.map(lambda one: {"type": "array", "items": one}),
        inner.map(lambda one: {"type": "object", "properties": {"a": one}, "required": ["a"]}),
        st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=5,
)
SMALL_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["", "a", "abc"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b"]), inner)
    ),
    max_leaves=5,
)


@given(SMALL_SCHEMAS, SMALL_VALUES)
def test_validator_agrees_with_another_one(
    schemas: SchemaChecks, schema: dict[str, Any], value: Any
) -> None:
    breaks = not jsonschema.Draft202012Validator(schema).is_valid(value)
    assert schemas.breaks_schema(json.dumps(schema).encode(), [json.dumps(value)]) is breaks


def test_number_of_thousands_of_digits_is_read_as_one_beyond_all_bounds() -> None:
    assert parse_json("-" + "9" * 5000) == -math.inf
