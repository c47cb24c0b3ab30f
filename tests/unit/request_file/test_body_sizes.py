"""What the bytes of a body count for the estimate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groq_batch.request_file.body_sizes import DATA_URL_BYTES, estimated_bytes, without_long_texts

TEXTS = st.one_of(
    st.text(max_size=30),
    st.text('\\"u0041/\n\t😀é', max_size=20),
    st.text('\\"né€😀', min_size=290, max_size=300),
)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)
URL = "data:image/png;base64,"


def plain_size(value: Any) -> int:
    """The size of a value as Python writes it, with no character escaped."""
    if isinstance(value, str):
        return len(value.encode()) + 2
    if isinstance(value, dict):
        inner = sum(plain_size(key) + 2 + plain_size(one) for key, one in value.items())
        return 2 + inner + 2 * max(len(value) - 1, 0)
    if isinstance(value, list):
        return 2 + sum(map(plain_size, value)) + 2 * max(len(value) - 1, 0)
    return len(json.dumps(value))


@given(VALUES)
@example("\\")
@example(["\\", "\\n"])
@example({"\\u0041": "\\\\u0041", "é": "€"})
@example(["😀", "\n"])
def test_estimated_bytes_with_and_without_escapes_is_the_same(value: Any) -> None:
    for ascii_only in (True, False):
        body = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert estimated_bytes(body) == plain_size(value)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        pytest.param(rb'{"a": "\/\b\f\u00e9"}', 5, id="every kind"),
        pytest.param(rb'{"a": "\uD83D\uDE00"}', 4, id="capitals"),
        pytest.param('{"a": "é\\u00e9é"}'.encode(), 6, id="both ways of writing a character"),
        pytest.param(rb'{"a": "\\\\\u00e9"}', 4, id="backslashes before an escape"),
    ],
)
def test_estimated_bytes_of_an_escape_is_the_utf8_size_of_its_character(
    body: bytes, size: int
) -> None:
    assert estimated_bytes(body) == len(b'{"a": ""}') + size
    # Likewise with escapes in a second text.
    assert estimated_bytes(body[:-1] + rb', "\n": 1}') == len(b'{"a": "", "x": 1}') + size


@pytest.mark.parametrize(
    ("body", "left", "urls"),
    [
        pytest.param({"u": URL + "A" * 100_000}, {"u": URL}, 1, id="a picture"),
        pytest.param({"u": URL}, {"u": URL}, 1, id="an empty one"),
        pytest.param([URL + "A", "x", {"y": URL + "B"}], [URL, "x", {"y": URL}], 2, id="two"),
        pytest.param({URL + "A": 1}, {URL: 1}, 1, id="a key"),
        pytest.param({"u": "data:;base64,A;base64,B"}, {"u": "data:;base64,"}, 1, id="twice"),
        pytest.param({"u": "data:text/plain,A"}, {"u": "data:text/plain,A"}, 0, id="not base64"),
        pytest.param({"u": " " + URL + "A"}, {"u": " " + URL + "A"}, 0, id="not at the beginning"),
        pytest.param({"u": "DATA:;base64,A"}, {"u": "DATA:;base64,A"}, 0, id="capitals"),
        pytest.param({"u": '"' + URL + "A"}, {"u": '"' + URL + "A"}, 0, id="behind a quote"),
        pytest.param(
            {"u": 'data:a="\\";base64,A"B\\', "v": "\n"},
            {"u": 'data:a="\\";base64,', "v": "\n"},
            1,
            id="with quotes and backslashes",
        ),
    ],
)
def test_estimated_bytes_of_data_url_content_is_4000(body: Any, left: Any, urls: int) -> None:
    for ascii_only in (True, False):
        found = estimated_bytes(json.dumps(body, ensure_ascii=ascii_only).encode())
        assert found == plain_size(left) + urls * DATA_URL_BYTES


def test_estimated_bytes_of_data_url_with_escaped_slashes_is_4000() -> None:
    body = rb'{"u": "data:image\/png;base64,AA\/A"}'
    assert estimated_bytes(body) == len(b'{"u": "data:image/png;base64,"}') + DATA_URL_BYTES


class TestLongTexts:
    LONG = r"\n\"" * 200

    def shortened(self, line: str) -> tuple[str, int | None]:
        found = without_long_texts([line.encode()])
        assert found.escaped == ([] if 0 in found.texts or "\\" not in line else [0])
        return found.lines[0].decode(), found.texts.get(0)

    def test_without_long_texts_removes_a_single_long_text(self) -> None:
        assert self.shortened(f'{{"a": "{self.LONG}", "b": 1}}') == ('{"a": "", "b": 1}', 400)
        assert self.shortened(f'["x", "{self.LONG}é"]') == ('["x", ""]', 402)

    @pytest.mark.parametrize(
        "line",
        [
            pytest.param('{"a": "xyz"}', id="no escape"),
            pytest.param(r'{"a": "\n"}', id="short"),
            pytest.param(rf'{{"{LONG}": 1}}', id="a key"),
            pytest.param(rf'{{"{LONG}" : 1}}', id="a key, spaced"),
            pytest.param(rf'{{"a": "{LONG}", "b": "\n"}}', id="another text has an escape"),
            pytest.param(rf'{{"a": "\n", "b": "{LONG}"}}', id="an earlier one has"),
            pytest.param(rf'{{"a": "data:{LONG}"}}', id="a data URL, perhaps"),
            pytest.param(rf'{{"a": "{LONG}\x"}}', id="no escape of JSON"),
            pytest.param(rf'{{"a": "{LONG}\ud83d"}}', id="half a pair"),
            pytest.param(rf'{{"a": "{LONG}', id="without end"),
            pytest.param("\\" * 600, id="no JSON at all"),
            pytest.param(f'["{LONG}"', id="cut behind the text"),
        ],
    )
    def test_without_long_texts_keeps_other_lines(self, line: str) -> None:
        assert self.shortened(line) == (line, None)

    def test_without_long_texts_keeps_bytes_that_are_not_utf8(self) -> None:
        line = b'{"a": "%s\xff"}' % self.LONG.encode()
        assert without_long_texts([line]).lines == [line]

    @given(VALUES, st.sampled_from([", ", ","]))
    def test_without_long_texts_rest_and_text_make_the_line(self, value: Any, comma: str) -> None:
        line = json.dumps([value], separators=(comma, ":"), ensure_ascii=False).encode()
        (rest,), texts, _ = without_long_texts([line])
        assert estimated_bytes(rest) + texts.get(0, 0) == estimated_bytes(line)
        assert (rest == line) is (texts == {})
        if texts:
            assert json.dumps(json.loads(rest)) != json.dumps([value])

    def test_without_long_texts_returns_indexes_of_lines(self) -> None:
        long, short, none = f'["{self.LONG}"]'.encode(), rb'["\n"]', b"[]"
        found = without_long_texts([none, long, short, long, none])
        assert found.lines == [none, b'[""]', short, b'[""]', none]
        assert found.texts == {1: 400, 3: 400}
        assert found.escaped == [2]
