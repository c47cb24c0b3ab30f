"""Checking how deeply a line is nested."""

from __future__ import annotations

import re

import pytest

from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_bytes import MAX_NESTING
from groq_batch.request_file.request_rules import (
    CheckedRequest,
)
from tests.unit.request_file.request_lines import (
    BODY,
    check,
    checked,
    dump,
    expected_size,
    problem,
    request,
    with_body,
)


class TestNesting:
    """The limit is one of ours, because the parser's own depends on the calls under way."""

    def nested(self, depth: int, kind: str = "[") -> bytes:
        """Return a request in which so many brackets are open at once."""
        opening, closing = ("[", "]") if kind == "[" else ('{"a":', "}")
        inner = opening * (depth - 2) + "1" + closing * (depth - 2)
        return with_body(x="@").replace(b'"@"', inner.encode())

    @pytest.mark.parametrize("kind", ["[", "{"])
    @pytest.mark.parametrize("depth", [MAX_NESTING + 1, 900, 2000])
    def test_check_refuses_nesting_beyond_the_limit(self, kind: str, depth: int) -> None:
        found = problem(self.nested(depth, kind))
        assert (found.custom_id, found.code) == (None, "invalid_json")
        assert str(MAX_NESTING) in found.message

    @pytest.mark.parametrize("kind", ["[", "{"])
    @pytest.mark.parametrize("before", [0, 100, 248, 252, 700, 1100, 5000])
    @pytest.mark.parametrize("behind", [0, 2000])
    def test_check_finds_deep_nesting_at_any_position(
        self, kind: str, before: int, behind: int
    ) -> None:
        """Lines without a bracket beyond their first bytes are not looked at more closely."""
        for depth, is_good in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
            data = self.nested(depth, kind)
            data = data.replace(b'"body": {', b'"body": {"p": "%s", ' % (b"p" * before))
            data = data.replace(b"}}", b', "q": "%s"}}' % (b"q" * behind))
            assert isinstance(check(data), CheckedRequest) == is_good

    @pytest.mark.parametrize("kind", ["[", "{"])
    def test_check_finds_deep_nesting_before_known_keys(self, kind: str) -> None:
        for depth, is_good in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
            data = self.nested(depth, kind)
            (nest,) = re.findall(rb', ("x": .*)}}\Z', data)
            early = data.replace(b", " + nest, b"").replace(
                b'{"custom_id"', b'{"body": {"model": "m", ' + nest + b'}, "custom_id"'
            )
            assert isinstance(check(early), CheckedRequest) == is_good

    def test_nesting_limit_does_not_depend_on_the_call_stack(self) -> None:
        def deeper(frames: int, data: bytes) -> CheckedRequest | Problem:
            return deeper(frames - 1, data) if frames else check(data)

        for frames in (0, 300):
            assert isinstance(deeper(frames, self.nested(MAX_NESTING)), CheckedRequest)
            assert isinstance(deeper(frames, self.nested(MAX_NESTING + 1)), Problem)

    @pytest.mark.parametrize("text", ["[" * 5000, '\\"{' * 5000, "\\\\[" * 5000, '"' * 5001])
    def test_check_ignores_brackets_in_texts(self, text: str) -> None:
        body = {**BODY, "x": text, "y": [{"content": text}] * 3}
        assert checked(request(body=body)).body_bytes == expected_size(dump(body).decode())

    def test_check_accepts_many_brackets_that_are_closed(self) -> None:
        assert checked(with_body(x=[{}] * 20_000)).custom_id == "a-1"

    def test_check_of_unterminated_text_is_linear(self) -> None:
        """Tried from every quote anew, this would take hours."""
        data = b"[" * 600 + b'"' + rb"\"" * 1_000_000
        assert problem(data).code == "invalid_json"
