"""Dividing a file: every line belongs to exactly one range, whatever stands at its ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groq_batch.request_file.byte_ranges import ByteRange, divide, owned_lines


def pieces(data: bytes, size: int, read: list[int]) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        read.append(len(data[start : start + size]))
        yield data[start : start + size]


def owned(data: bytes, part: ByteRange, piece: int = 4) -> bytes:
    """Return the lines of a range, after a look whether they stand where they are said to."""
    first, lines = owned_lines(pieces(data[part.read_from :], piece, []), part)
    found = b"".join(lines)
    assert data[first : first + len(found)] == found
    return found


def test_divide_covers_the_file_without_gaps() -> None:
    assert divide(10, 4) == [ByteRange(0, 4), ByteRange(4, 8), ByteRange(8, 10)]
    assert divide(8, 4) == [ByteRange(0, 4), ByteRange(4, 8)]
    assert divide(0, 4) == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"abc\ndef\nghi\n", [b"abc\n", b"def\n", b"ghi\n"], id="lines fill ranges"),
        pytest.param(b"a\nbcdefg\nhi", [b"a\nbcdefg\n", b"", b"hi"], id="a line over two ranges"),
        pytest.param(b"abcdefghij\nk", [b"abcdefghij\n", b"", b"k"], id="a line over all"),
        pytest.param(b"abcdefghijkl", [b"abcdefghijkl", b"", b""], id="one line"),
        pytest.param(b"\n\n\n\n\n\n\n\n\n\n\n\n", [b"\n\n\n\n"] * 3, id="blank lines"),
    ],
)
def test_owned_lines_are_those_whose_first_byte_is_in_the_range(
    data: bytes, expected: list[bytes]
) -> None:
    assert [owned(data, part) for part in divide(len(data), 4)] == expected


@given(
    data=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"\n\n"]), max_size=60).map(
        b"".join
    ),
    range_bytes=st.integers(1, 30),
    piece=st.integers(1, 40),
)
@example(data=b"a\n", range_bytes=1, piece=1)
def test_owned_lines_of_all_ranges_are_the_file(data: bytes, range_bytes: int, piece: int) -> None:
    parts = divide(len(data), range_bytes)
    found = [owned(data, part, piece) for part in parts]
    assert b"".join(found) == data
    position = 0
    for part, lines in zip(parts, found, strict=True):
        if lines:
            chunks = pieces(data[part.read_from :], piece, [])
            assert owned_lines(chunks, part)[0] == position
            assert part.first <= position < part.end, "its first line begins in the range"
            assert position == 0 or data[position - 1 : position] == b"\n"
        position += len(lines)


def test_owned_lines_reads_no_more_chunks_than_needed() -> None:
    data = b"".join(b"line %04d\n" % number for number in range(1000))
    read: list[int] = []
    part = ByteRange(1000, 2000)
    first, lines = owned_lines(pieces(data[part.read_from :], 100, read), part)
    assert sum(read) <= 100, "where the first line begins is known before the others are read"
    assert (first, b"".join(lines)) == (1000, data[1000:2000])
    assert sum(read) <= 1100


def test_owned_lines_of_range_without_line_stops_at_its_end() -> None:
    data = b"x" * 10_000 + b"\n"
    read: list[int] = []
    _, lines = owned_lines(pieces(data[999:], 100, read), ByteRange(1000, 2000))
    assert list(lines) == []
    assert sum(read) <= 1100
