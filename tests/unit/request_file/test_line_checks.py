"""Checking many lines at once: the same verdicts as for each line alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groq_batch.domain.cost import ModelEstimates
from groq_batch.domain.problem import Problem
from groq_batch.request_file.line_checks import InvalidLine, LineChecker, ValidLines
from groq_batch.request_file.lines import Lines
from groq_batch.request_file.request_rules import (
    CHAT_URL,
)
from tests.unit.request_file.request_lines import (
    BODY,
    check_lines,
    dump,
    request,
)

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
    def test_check_lines_yields_usual_lines_together_and_unchanged(self) -> None:
        lines = [request(custom_id=str(number)) + b"\n" for number in range(1000)]
        found = [one for one in check_lines(lines) if isinstance(one, ValidLines)]
        assert [len(one.lines) for one in found] == [512, 488]
        assert [one.offset for one in found] == [0, len(b"".join(lines[:512]))]
        assert [line for one in found for line in one.lines] == lines
        assert [name for one in found for name in one.custom_ids] == [*map(str, range(1000))]

    @pytest.mark.parametrize("change", SPOILING)
    @pytest.mark.parametrize("place", [0, 1, 9])
    def test_check_lines_with_one_invalid_line_accepts_the_others(
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
    def test_check_lines_accepts_unusual_line_among_usual_ones(
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
    def test_check_lines_after_a_run_of_unusual_lines_misses_none(
        self, odd: int, size: int
    ) -> None:
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

    def test_check_lines_replaces_windows_line_ends(self) -> None:
        lines = [request(custom_id=str(number)) + b"\r\n" for number in range(100)]
        (found,) = check_lines(lines)
        assert isinstance(found, ValidLines)
        assert found.offset is None
        assert found.lines == [line[:-2] + b"\n" for line in lines]

    def test_check_lines_finds_duplicates_within_and_between_blocks(self) -> None:
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
