"""Finding ids that were used on an earlier line."""

from __future__ import annotations

import pytest

from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import InvalidLine, LineChecker
from groq_batch.request_file.request_rules import (
    CheckedRequest,
)
from tests.unit.request_file.request_lines import (
    check_lines,
    request,
    with_body,
)


class TestDuplicates:
    def test_duplicate_problem_names_the_line_of_the_first_use(self) -> None:
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
    def test_id_on_an_invalid_line_counts_as_used(self, first: bytes, second: bytes) -> None:
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
    def test_id_on_an_unreadable_line_does_not_count_as_used(self, first: bytes) -> None:
        checker = LineChecker()
        assert isinstance(checker.check(1, first), Problem)
        assert isinstance(checker.check(2, request()), CheckedRequest)

    @pytest.mark.parametrize(
        ("one", "other"), [("a", "A"), ("é", "e\u0301"), ("a", "a "), ("1", "01")]
    )
    def test_similar_ids_are_not_duplicates(self, one: str, other: str) -> None:
        checker = LineChecker()
        for number, custom_id in enumerate((one, other), start=1):
            assert isinstance(checker.check(number, request(custom_id=custom_id)), CheckedRequest)
