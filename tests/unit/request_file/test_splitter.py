"""Cutting an input into shards: what comes out is what went in, and every shard fits."""

from __future__ import annotations

import gzip
import itertools
import json
import tracemalloc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict

from groq_batch.domain.problem import MAX_SHOWN_CHARACTERS, Problem
from groq_batch.domain.shard import IdsLocation, Shard, SplitLimits
from groq_batch.request_file.byte_ranges import divide, owned_lines
from groq_batch.request_file.input_summary import MAX_KEPT_PROBLEMS, InputSummary
from groq_batch.request_file.lines import LongLinePiece, NotGzipError, decompress
from groq_batch.request_file.seen_ids import SeenIds
from groq_batch.request_file.split_events import (
    InputEnded,
    LinesAdded,
    LineSkipped,
    ProblemFound,
    ShardEnded,
    ShardStarted,
    SplitEvent,
    summary_of,
)
from groq_batch.request_file.splitter import FilePart, split_input
from tests.samples import chat_line

BOM = b"\xef\xbb\xbf"
ROOMY = SplitLimits(max_requests=50_000, max_bytes=100_000_000, max_line_bytes=32 * 2**20)


def request(custom_id: str, content: str = "", model: str = "m", **body: Any) -> bytes:
    """Return a good line without its end."""
    return chat_line(custom_id, content, model=model, **body)


def sized(custom_id: str, size: int) -> bytes:
    """Return a good line of so many bytes."""
    line = request(custom_id, "x" * (size - len(request(custom_id))))
    assert len(line) == size
    return line


@dataclass
class WrittenShard:
    """What the events of one shard add up to.

    Attributes:
        requests: Its request lines.
        blocks: How many events brought them.
        in_place: Bytes of its request lines that have an offset in the input.
        skipped: Its skipped lines, with line ends.
        index: The position, the size and the problem of each skipped line.
        has_ended: Whether its end has come.
    """

    requests: bytes = b""
    blocks: int = 0
    in_place: int = 0
    skipped: bytes = b""
    index: list[LineSkipped] = field(default_factory=list)
    has_ended: bool = False

    @property
    def lines(self) -> list[bytes]:
        """The lines of the shard, skipped ones included, as later steps put them together."""
        good = iter(self.requests.split(b"\n")[:-1])
        skipped = self.skipped
        lines: list[bytes] = []
        for one in self.index:
            while len(lines) < one.position:
                lines.append(next(good))
            lines.append(skipped[: one.size])
            assert skipped[one.size : one.size + 1] == b"\n"
            skipped = skipped[one.size + 1 :]
        assert skipped == b""
        return [*lines, *good]


class Split:
    """What the events of an input add up to; checks their order.

    Attributes:
        shards: The shards by number.
        found: All problems, in order.
        ids: The ids of all shards, as JSON Lines.
        summary: The totals.
    """

    def __init__(self, source: bytes, events: Iterable[SplitEvent], *, first_shard: int = 1):
        self.shards: dict[int, WrittenShard] = {}
        self.found: list[Problem] = []
        self.ids = b""
        self._source = source
        self._next_shard = first_shard
        self._open: WrittenShard | None = None
        summary = None
        for event in events:
            assert summary is None, "no event comes after the end"
            if isinstance(event, InputEnded):
                summary = event.summary
            else:
                self._add(event)
        assert summary is not None
        self.summary = summary

    def _add(self, event: SplitEvent) -> None:
        match event:
            case ShardStarted():
                assert self._open is None, "the shard before has ended"
                assert event.number == self._next_shard
                self._next_shard += 1
                self._open = self.shards[event.number] = WrittenShard()
            case LinesAdded():
                self._add_lines(event)
            case LongLinePiece():
                self.open_shard.skipped += event.data
            case LineSkipped():
                self.open_shard.skipped += event.data + b"\n"
                self.open_shard.index.append(event)
                self.found.append(event.problem)
            case ProblemFound():
                self.found.append(event.problem)
            case ShardEnded():
                shard = self.open_shard
                assert event.shard.requests == shard.requests.count(b"\n")
                assert event.shard.skipped == len(shard.index)
                shard.has_ended = True
                self._open = None

    def _add_lines(self, event: LinesAdded) -> None:
        data = b"".join(event.lines)
        assert event.size == len(data) > 0
        assert all(line.endswith(b"\n") for line in event.lines)
        shard = self.open_shard
        if event.offset is not None:
            assert self._source[event.offset : event.offset + event.size] == data
            shard.in_place += event.size
        shard.requests += data
        shard.blocks += 1
        self.ids += event.custom_ids

    @property
    def open_shard(self) -> WrittenShard:
        assert self._open is not None, "a shard has started"
        return self._open

    @property
    def requests(self) -> list[bytes]:
        """The request lines of each shard."""
        return [shard.requests for shard in self.shards.values() if shard.requests]

    @property
    def problems(self) -> list[dict[str, Any]]:
        return [asdict(problem) for problem in self.found]

    @property
    def codes(self) -> list[tuple[int | None, str]]:
        return [(row["line"], row["code"]) for row in self.problems]

    @property
    def custom_ids(self) -> list[list[str]]:
        """The ids of each shard, as they are read by later steps."""
        data = self.ids
        found, end = [], 0
        for shard in self.summary.shards:
            assert shard.ids.first == end, "the ids of shards follow each other"
            end += shard.ids.size
            found.append([json.loads(row) for row in data[shard.ids.first : end].splitlines()])
        assert end == len(data)
        return found

    @property
    def lines_at_fault(self) -> list[int]:
        return [row["line"] for row in self.problems if row["line"] is not None]


def split(
    data: bytes | Iterable[bytes],
    limits: SplitLimits = ROOMY,
    *,
    skip: bool = False,
    gzipped: bool = False,
    check_only: bool = False,
) -> Split:
    chunks = [data] if isinstance(data, bytes) else list(data)
    events = split_input(
        chunks, gzipped=gzipped, limits=limits, skip_invalid=skip, check_only=check_only
    )
    return Split(unpacked(chunks) if gzipped else b"".join(chunks), events)


def unpacked(chunks: list[bytes]) -> bytes:
    """Return the content of gzip, as far as it can be read."""
    content = b""
    with suppress(NotGzipError):
        for piece in decompress(chunks):
            content += piece
    return content


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# -- properties ------------------------------------------------------------------------------------

LINES = st.one_of(
    st.builds(
        request,
        st.integers(0, 60).map("id-{}".format),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    ),
    st.integers(150, 900).map(lambda size: sized(f"sized-{size}", size)),
    st.sampled_from(
        [b"", b" ", b"\t", b"\r", b"{", b"[]", b"{}", b"\xff", b"\x85", BOM, b'{"custom_id": "b"}']
    ),
)
LIMITS = st.builds(
    SplitLimits,
    max_requests=st.integers(1, 5),
    max_bytes=st.integers(160, 1500),
    max_line_bytes=st.integers(150, 1000),
)


@dataclass
class File:
    """A file of lines, cut somewhere."""

    lines: list[bytes]
    data: bytes
    chunks: list[bytes]

    @property
    def content(self) -> list[bytes]:
        """Its lines that are not blank, without what the API refuses."""
        first, *others = [*self.lines, b""]
        stripped = [first.removeprefix(BOM).rstrip(b"\r"), *(line.rstrip(b"\r") for line in others)]
        return [line for line in stripped if line.strip()]


ENDS = (b"\n", b"\r\n", b"\r\r\n")


@st.composite
def files(draw: st.DrawFn, ends: Sequence[bytes] = ENDS) -> File:
    # In most files all lines end alike.
    ends = draw(st.sampled_from([ends, *([end] for end in ends)]))
    lines = draw(st.lists(LINES, max_size=25))
    data = draw(st.sampled_from([b"", BOM]))
    for line in lines:
        data += line + draw(st.sampled_from(ends))
    if lines and lines[-1] and draw(st.booleans()):
        data = data.removesuffix(b"\n")
    lines = data.removesuffix(b"\n").split(b"\n") if data.removeprefix(BOM) else []
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    chunks = [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
    return File(lines, data, chunks)


@given(files(), LIMITS)
def test_split_skipping_invalid_lines_keeps_every_line_in_place(
    file: File, limits: SplitLimits
) -> None:
    found = split(file.chunks, limits, skip=True)
    summary = found.summary
    assert summary.lines == len(file.lines)
    assert summary.total == summary.good + summary.invalid == len(file.content)
    if summary.good:
        shards = [found.shards[shard.number].lines for shard in summary.shards]
        assert [line for shard in shards for line in shard] == file.content
        assert [len(shard) for shard in shards] == [
            shard.requests + shard.skipped for shard in summary.shards
        ]
    else:
        assert summary.shards == []
        assert found.requests == []
    assert sum(shard.requests for shard in summary.shards) == summary.good


@given(files(), LIMITS, st.booleans())
def test_split_fills_every_shard_up_to_a_limit(file: File, limits: SplitLimits, skip: bool) -> None:
    found = split(file.chunks, limits, skip=skip)
    summaries, shards = found.summary.shards, found.requests
    assert [shard.number for shard in summaries] == list(range(1, len(shards) + 1))
    for shard, data in zip(summaries, shards, strict=True):
        assert shard.bytes == len(data) <= limits.max_bytes
        assert shard.requests == data.count(b"\n") <= limits.max_requests
        assert shard.requests > 0
    for shard, following in itertools.pairwise(shards):
        next_line = following.index(b"\n") + 1
        assert shard.count(b"\n") == limits.max_requests or (
            len(shard) + next_line > limits.max_bytes
        )


@given(files(), LIMITS)
def test_split_yields_a_problem_for_each_invalid_line(file: File, limits: SplitLimits) -> None:
    found = split(file.chunks, limits, skip=True)
    summary = found.summary
    good = b"".join(found.requests).split(b"\n")[:-1]
    expected, rest = [], iter([*good, None])
    wanted = next(rest)
    for number, line in enumerate(file.lines, start=1):
        content = (line.removeprefix(BOM) if number == 1 else line).rstrip(b"\r")
        if not content.strip():
            continue
        if content == wanted:
            wanted = next(rest)
        else:
            expected.append(number)
    assert wanted is None
    assert found.lines_at_fault == expected
    assert len(expected) == summary.invalid
    assert summary.problems_total == len(found.problems)


@settings(deadline=None)
@given(files(), LIMITS, st.booleans(), st.integers(1, 40))
def test_split_in_any_chunks_or_compressed_is_the_same(
    file: File, limits: SplitLimits, skip: bool, size: int
) -> None:
    half = len(file.data) // 2
    members = gzip.compress(file.data[:half]) + gzip.compress(file.data[half:])
    expected = split(file.data, limits, skip=skip)
    for found in (
        split(file.chunks, limits, skip=skip),
        split(cut(file.data, size), limits, skip=skip),
        split(cut(members, size), limits, skip=skip, gzipped=True),
    ):
        assert found.summary == expected.summary
        assert found.requests == expected.requests
        assert found.problems == expected.problems
        assert found.shards.keys() == expected.shards.keys()
        for number, shard in found.shards.items():
            assert shard.skipped == expected.shards[number].skipped
            assert [(one.position, one.size) for one in shard.index] == [
                (one.position, one.size) for one in expected.shards[number].index
            ]


@given(files(), LIMITS, st.booleans())
def test_split_yields_ids_by_shard_in_order(file: File, limits: SplitLimits, skip: bool) -> None:
    found = split(file.chunks, limits, skip=skip)
    assert found.custom_ids == [
        [json.loads(line)["custom_id"] for line in shard.split(b"\n")[:-1]]
        for shard in found.requests
    ]
    assert {shard.ids.part for shard in found.summary.shards} <= {1}


@settings(deadline=None)
@given(files(ends=[b"\n"]), LIMITS)
def test_split_gives_offsets_of_all_unchanged_lines(file: File, limits: SplitLimits) -> None:
    """Only a last line without line end is not: the sink compares all others with the input."""
    found = split(file.chunks, limits, skip=True)
    in_place = sum(shard.in_place for shard in found.shards.values())
    written = sum(map(len, found.requests))
    last = file.data.removeprefix(BOM).split(b"\n")[-1]
    is_good = last.strip() and len(file.lines) not in found.lines_at_fault
    if b"\r" not in file.data:
        assert written - in_place == (len(last) + 1 if is_good else 0)


@settings(deadline=None)
@given(files(), LIMITS, st.integers(50, 3000), st.integers(20, 1000))
def test_split_of_parts_equals_split_of_the_file(
    file: File, limits: SplitLimits, range_bytes: int, chunk_bytes: int
) -> None:
    """Of a part the offsets count from its own beginning, as those of its ids do."""
    seen_ids, lines, shards = SeenIds(), 0, 0
    good: list[bytes] = []
    problems: list[dict[str, Any]] = []
    for number, part in enumerate(divide(len(file.data), range_bytes), start=1):
        starts = range(part.read_from, len(file.data), chunk_bytes)
        chunks = (file.data[start : start + chunk_bytes] for start in starts)
        first, rest = owned_lines(chunks, part)
        events = split_input(
            rest,
            gzipped=False,
            limits=limits,
            skip_invalid=True,
            part=FilePart(
                number=number,
                begins_file=first == 0,
                first_line=lines + 1,
                first_shard=shards + 1,
                duplicates=seen_ids,
            ),
        )
        found = Split(file.data[first:], events, first_shard=shards + 1)
        summary = found.summary
        assert [shard.number for shard in summary.shards] == [
            shards + place for place in range(1, len(summary.shards) + 1)
        ]
        assert {shard.ids.part for shard in summary.shards} <= {number}
        written = [
            found.shards[shard.number].requests.split(b"\n")[:-1] for shard in summary.shards
        ]
        assert found.custom_ids == [
            [json.loads(line)["custom_id"] for line in shard] for shard in written
        ]
        good += itertools.chain.from_iterable(written)
        problems += found.problems
        lines += summary.lines
        shards += len(summary.shards)
    whole = split(file.data, limits, skip=True)
    assert good == b"".join(whole.requests).split(b"\n")[:-1]
    assert problems == [row for row in whole.problems if row["line"] is not None]
    assert lines == whole.summary.lines


@given(files(), LIMITS)
def test_split_after_rejecting_line_checks_on_without_adding_lines(
    file: File, limits: SplitLimits
) -> None:
    strict, lenient = split(file.chunks, limits), split(file.chunks, limits, skip=True)
    assert strict.problems == lenient.problems
    for count in ("lines", "good", "invalid", "models", "problems", "problems_total", "fatal"):
        assert getattr(strict.summary, count) == getattr(lenient.summary, count)
    assert not any(shard.skipped or shard.index for shard in strict.shards.values())
    if strict.summary.invalid:
        assert strict.shards == {} or not strict.shards[max(strict.shards)].has_ended
    first_bad = strict.problems[0]["line"] if strict.summary.invalid else None
    before = file.lines[: first_bad - 1] if first_bad else file.lines
    count = len(File(before, b"", []).content)
    assert b"".join(strict.requests).count(b"\n") == count
    assert sum(shard.requests for shard in strict.summary.shards) == count


@given(files(), LIMITS, st.booleans())
def test_split_check_only_yields_problems_but_no_shards(
    file: File, limits: SplitLimits, skip: bool
) -> None:
    found, expected = (
        split(file.chunks, limits, skip=skip, check_only=True),
        split(file.data, limits),
    )
    assert found.shards == {}
    assert found.summary.shards == []
    assert found.problems == expected.problems
    assert found.summary.models == expected.summary.models
    assert (found.summary.lines, found.summary.good) == (
        expected.summary.lines,
        expected.summary.good,
    )


# -- examples --------------------------------------------------------------------------------------


class TestShards:
    def test_split_removes_only_bom_returns_and_blank_lines(self) -> None:
        """A byte order mark, returns before line ends, blank lines; nothing else."""
        one, two = request("é\u2028\u2029\u0085"), b"\t" + request("b") + b"  "
        found = split(BOM + one + b"\r\n\r\n  \n" + two + b"\r\r\n\n\n")
        assert found.requests == [one + b"\n" + two + b"\n"]
        assert found.summary.lines == 6
        assert found.summary.total == found.summary.good == 2
        assert found.problems == []

    def test_split_ends_shard_at_the_limit_of_requests(self) -> None:
        limits = SplitLimits(max_requests=2, max_bytes=10_000, max_line_bytes=10_000)
        lines = [request(str(number)) + b"\n" for number in range(5)]
        found = split(b"".join(lines), limits)
        assert found.requests == [lines[0] + lines[1], lines[2] + lines[3], lines[4]]
        assert found.summary.shards == [
            Shard(1, 2, len(lines[0]) * 2, ids=IdsLocation(1, 0, 8)),
            Shard(2, 2, len(lines[0]) * 2, ids=IdsLocation(1, 8, 8)),
            Shard(3, 1, len(lines[0]), ids=IdsLocation(1, 16, 4)),
        ]

    def test_split_ends_shard_at_the_limit_of_bytes(self) -> None:
        lines = [sized(str(number), 199) + b"\n" for number in range(4)]
        exactly = SplitLimits(max_requests=9, max_bytes=400, max_line_bytes=10_000)
        one_less = SplitLimits(max_requests=9, max_bytes=399, max_line_bytes=10_000)
        assert [len(shard) for shard in split(b"".join(lines), exactly).requests] == [400, 400]
        assert [len(shard) for shard in split(b"".join(lines), one_less).requests] == [200] * 4

    def test_split_puts_invalid_lines_into_the_shard_before(self) -> None:
        limits = SplitLimits(max_requests=2, max_bytes=10_000, max_line_bytes=10_000)
        good = [request(str(number)) for number in range(3)]
        lines = [b"[1]", good[0], b"", b"[2]", good[1], b"[3]", good[2], b"[4]"]
        found = split(b"\n".join(lines), limits, skip=True)
        assert found.shards[1].lines == [b"[1]", good[0], b"[2]", good[1], b"[3]"]
        assert found.shards[2].lines == [good[2], b"[4]"]
        assert [(one.position, one.problem.line, one.size) for one in found.shards[1].index] == [
            (0, 1, 3),
            (2, 4, 3),
            (4, 6, 3),
        ]
        assert [shard.skipped for shard in found.summary.shards] == [3, 1]

    def test_split_yields_skipped_line_whole_with_its_problem(self) -> None:
        custom_id = "x" * 2000
        bad = request(custom_id).replace(b"POST", b"PUT") + b" "
        found = split(b"\n".join([request("a"), bad]), skip=True)
        (skipped,) = found.shards[1].index
        assert skipped == LineSkipped(bad, len(bad), 1, found.found[0])
        assert (skipped.problem.code, skipped.problem.custom_id) == ("invalid_method", custom_id)

    def test_split_without_valid_line_summarizes_no_shard(self) -> None:
        found = split(b"[1]\n[2]\n", skip=True)
        assert found.summary.shards == []
        assert (found.summary.good, found.summary.invalid) == (0, 2)
        assert found.summary.fatal is None

    def test_split_yields_the_lines_of_a_chunk_together(self) -> None:
        lines = [request(str(number)) for number in range(5000)]
        chunks = cut(b"\n".join(lines), 50_000)
        found = split(chunks)
        # The last line stands alone: it has no line end.
        assert found.shards[1].blocks == len(chunks) + 1
        assert found.requests == [b"\n".join(lines) + b"\n"]

    def test_split_of_too_many_models_counts_the_rest_as_one(self) -> None:
        lines = [request(f"{number}", model=f"m-{number}") for number in range(1500)]
        models = split([b"\n".join(lines)]).summary.models
        assert len(models) == 1001
        assert models["(other models)"].requests == 500


class TestLongLines:
    LIMITS = SplitLimits(max_requests=9, max_bytes=300, max_line_bytes=10_000)

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    @pytest.mark.parametrize("size", [7, 100, 1000])
    def test_split_accepts_line_that_fills_a_shard_exactly(self, end: bytes, size: int) -> None:
        line = sized("a", 299)
        found = split(cut(line + end, size), self.LIMITS)
        assert found.problems == []
        assert found.requests == [line + b"\n"]
        assert found.summary.shards[0].bytes == 300

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
    @pytest.mark.parametrize("size", [7, 100, 1000])
    def test_split_refuses_line_one_byte_too_long(self, end: bytes, size: int) -> None:
        found = split(cut(request("b") + b"\n" + sized("a", 300) + end, size), self.LIMITS)
        assert found.codes == [(2, "line_too_long")]
        row = found.problems[0]
        assert row["custom_id"] is None
        assert "300 bytes" in row["message"]
        assert "at most 299 bytes" in row["message"]
        assert "Shorten the request." in row["message"]

    def test_split_refuses_line_above_a_lower_line_limit(self) -> None:
        limits = SplitLimits(max_requests=9, max_bytes=10_000, max_line_bytes=200)
        found = split(sized("a", 200) + b"\n" + sized("b", 201), limits, skip=True)
        assert found.codes == [(2, "line_too_long")]
        assert "at most 200 bytes" in found.problems[0]["message"]

    @pytest.mark.parametrize("size", [1, 3, 299, 5000])
    @pytest.mark.parametrize(
        ("bad", "position"),
        [
            pytest.param(b"x" * 400 + b"\xff" + b"x" * 100, 401, id="wrong byte"),
            pytest.param("é".encode() * 200 + b"\xe2\x82", 401, id="cut at the end"),
            pytest.param("é".encode() * 200 + b"\xe2\x82x", 401, id="cut in the middle"),
            pytest.param(b"\xff" * 400, 1, id="only the first is told"),
        ],
    )
    def test_split_of_long_line_reports_wrong_encoding_first(
        self, bad: bytes, position: int, size: int
    ) -> None:
        found = split(cut(bad + b"\r\n" + request("a"), size), self.LIMITS, skip=True)
        assert found.codes == [(1, "invalid_encoding")]
        assert f"Byte {position} " in found.problems[0]["message"]
        assert found.shards[1].lines == [bad, request("a")]

    def test_split_of_long_line_decodes_characters_across_pieces(self) -> None:
        line = "é😀".encode() * 100
        for size in range(1, 8):
            assert split(cut(line, size), self.LIMITS).codes == [(1, "line_too_long")]

    def test_split_of_long_gzip_line_says_so(self) -> None:
        found = split(cut(b"\x1f\x8b\xff" + b"\xff" * 1000, 64), self.LIMITS)
        assert found.codes == [(1, "invalid_encoding")]
        assert ".jsonl.gz" in found.problems[0]["message"]

    def test_split_of_long_line_uses_no_id(self) -> None:
        found = split(sized("a", 400) + b"\n" + request("a"), self.LIMITS, skip=True)
        assert found.codes == [(1, "line_too_long")]
        assert found.summary.good == 1

    def test_split_of_long_line_that_is_not_json_says_too_long(self) -> None:
        assert split(b"x" * 400, self.LIMITS).codes == [(1, "line_too_long")]

    def test_split_ignores_long_blank_line(self) -> None:
        found = split(cut(b" " * 1000 + b"\n" + request("a"), 64), self.LIMITS)
        assert found.problems == []
        assert (found.summary.lines, found.summary.total) == (2, 1)


class TestProblems:
    def test_split_counts_blank_lines_in_line_numbers(self) -> None:
        found = split(b"\n\r\n[1]\n   \n[2]")
        assert found.codes == [(3, "not_an_object"), (5, "not_an_object")]
        assert (found.summary.lines, found.summary.total) == (5, 2)

    def test_split_summary_keeps_100_problems_events_have_all(self) -> None:
        data = b"".join(b"[%d]\n" % number for number in range(250))
        found = split(data)
        assert len(found.summary.problems) == MAX_KEPT_PROBLEMS == 100
        assert [problem.line for problem in found.summary.problems] == list(range(1, 101))
        assert found.summary.problems_total == found.summary.invalid == 250
        assert [row["line"] for row in found.problems] == list(range(1, 251))

    def test_split_summary_truncates_long_ids_events_do_not(self) -> None:
        custom_id = "x" * 3000
        found = split(b"\n".join([request(custom_id)] * 2))
        assert found.problems[0]["custom_id"] == custom_id
        assert found.summary.problems[0].custom_id == "x" * MAX_SHOWN_CHARACTERS + "…"

    @pytest.mark.parametrize(
        ("chunks", "lines"),
        [
            pytest.param([], 0, id="nothing"),
            pytest.param([b""], 0, id="no bytes"),
            pytest.param([BOM], 0, id="byte order mark"),
            pytest.param([b"\n"], 1, id="line end"),
            pytest.param([b" \n\r\n\t"], 3, id="blank lines"),
        ],
    )
    def test_split_without_request_reports_empty_file(
        self, chunks: list[bytes], lines: int
    ) -> None:
        for found in (
            split(chunks),
            split(chunks, skip=True),
            split([gzip.compress(b"".join(chunks))], gzipped=True),
        ):
            assert found.codes == [(None, "empty_file")]
            assert (
                "Write each request as one JSON object on one line" in found.problems[0]["message"]
            )
            assert found.summary.fatal is not None
            assert found.summary.problems == [found.summary.fatal]
            assert (found.summary.lines, found.summary.total) == (lines, 0)
            assert found.summary.problems_total == 1

    @pytest.mark.parametrize(
        ("data", "good"),
        [
            pytest.param(request("a") + b"\n", 0, id="plain"),
            pytest.param(gzip.compress(request("a") + b"\n" + request("b"))[:-1], 1, id="cut"),
            pytest.param(gzip.compress(request("a") + b"\n")[:-8] + b"\0" * 8, 1, id="checksum"),
            pytest.param(gzip.compress(request("a") + b"\n") + b"more", 1, id="more behind it"),
            pytest.param(b"PK\3\4", 0, id="zip"),
        ],
    )
    @pytest.mark.parametrize("skip", [True, False])
    def test_split_of_bad_gzip_reports_not_gzip(self, data: bytes, good: int, skip: bool) -> None:
        found = split(cut(data, 10), gzipped=True, skip=skip)
        summary = found.summary
        assert found.codes == [(None, "not_gzip")]
        assert "Compress it again, or upload it uncompressed" in found.problems[0]["message"]
        assert summary.fatal is not None
        assert summary.problems == [summary.fatal]
        assert (summary.good, summary.lines) == (good, good)

    def test_split_summary_has_the_file_problem_first(self) -> None:
        data = b"".join(b"[%d]\n" % number for number in range(150))
        found = split(gzip.compress(data)[:-1], gzipped=True)
        assert [problem.code for problem in found.summary.problems[:2]] == [
            "not_gzip",
            "not_an_object",
        ]
        assert len(found.summary.problems) == MAX_KEPT_PROBLEMS
        assert found.summary.problems_total == 151
        assert found.summary.invalid == 150
        assert len(found.problems) == 151


def test_split_summary_counts_valid_requests_by_model() -> None:
    lines = [
        request("1", "é", model="a", max_tokens=5),
        request("2", model="b"),
        request("3", model="a", max_completion_tokens=7, max_tokens=100),
        request("4", model="c", stream=True),
    ]
    bodies = [json.dumps(json.loads(line)["body"], ensure_ascii=False).encode() for line in lines]
    models: Mapping[str, Any] = split(b"\n".join(lines), skip=True).summary.models
    assert set(models) == {"a", "b"}
    assert (models["a"].requests, models["a"].output_tokens) == (2, 12)
    assert models["a"].body_bytes == len(bodies[0]) + len(bodies[2])
    assert (models["b"].requests, models["b"].output_tokens) == (1, 0)
    assert models["b"].body_bytes == len(bodies[1])


class TestMemory:
    """The file is never held: neither its lines, nor its shards, nor its problems."""

    def peak(self, chunks: Iterator[bytes], *, skip: bool) -> tuple[InputSummary, int]:
        tracemalloc.start()
        summary = summary_of(split_input(chunks, gzipped=False, limits=ROOMY, skip_invalid=skip))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return summary, peak

    @pytest.mark.parametrize("skip", [True, False])
    def test_split_of_large_file_holds_little(self, skip: bool) -> None:
        """100 MB, every other line bad."""
        content = "x" * 100_000

        def chunks() -> Iterator[bytes]:
            for number in range(500):
                yield request(str(number), content) + b"\n"
                yield request(str(number), content) + b"\n"

        summary, peak = self.peak(chunks(), skip=skip)
        assert (summary.good, summary.invalid) == (500, 500)
        assert peak < 3_000_000

    def test_split_of_large_line_holds_little(self) -> None:
        summary, peak = self.peak((b"x" * 2**20 for _ in range(200)), skip=True)
        assert [problem.code for problem in summary.problems] == ["line_too_long"]
        assert peak < 4 * ROOMY.max_line_bytes

    def test_split_of_many_models_counts_at_most_1000_apart(self) -> None:
        lines = [request(str(number), model=f"{number}" * 200) for number in range(5000)]
        summary, _ = self.peak(iter(line + b"\n" for line in lines), skip=False)
        assert summary.good == 5000
        assert len(summary.models) <= 1001
        assert sum(item.requests for item in summary.models.values()) == 5000


class TestTooLargeToUnpack:
    """A compressed file can only be read from its beginning, by one function."""

    LINES = b"".join(request(f"id-{number}") + b"\n" for number in range(100))

    @pytest.mark.parametrize(
        ("name", "limit"), [("MAX_GZIP_CONTENT_BYTES", len(LINES) - 1), ("MAX_GZIP_LINES", 99)]
    )
    def test_split_above_a_gzip_limit_reports_gzip_too_large(
        self, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"groq_batch.request_file.splitter.{name}", limit)
        found = split(gzip.compress(self.LINES), gzipped=True)
        assert found.summary.fatal is not None
        assert found.codes == [(None, "gzip_too_large")]
        assert "Upload it uncompressed" in found.summary.fatal.message

    @pytest.mark.parametrize(
        ("name", "limit"), [("MAX_GZIP_CONTENT_BYTES", len(LINES)), ("MAX_GZIP_LINES", 100)]
    )
    def test_split_at_a_gzip_limit_is_accepted(
        self, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"groq_batch.request_file.splitter.{name}", limit)
        assert split(gzip.compress(self.LINES), gzipped=True).summary.good == 100

    def test_split_of_plain_file_has_no_gzip_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("groq_batch.request_file.splitter.MAX_GZIP_LINES", 9)
        assert split(self.LINES).summary.good == 100
