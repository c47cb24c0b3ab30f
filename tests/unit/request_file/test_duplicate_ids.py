"""Finding ids that were used on an earlier line."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

    @given(st.lists(st.text(min_size=1, max_size=3), max_size=200))
    def test_duplicates_are_those_a_dictionary_finds(self, ids: list[str]) -> None:
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

    def test_many_ids_take_few_bytes_and_none_is_lost(self) -> None:
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
