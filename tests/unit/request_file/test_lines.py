from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.request_file.lines import (
    Lines,
    LongLinePiece,
    NotGzipError,
    RareBytes,
    decompress,
    split_lines,
)

BOM = b"\xef\xbb\xbf"
LIMIT = 8


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@st.composite
def chunked(draw: st.DrawFn, content: st.SearchStrategy[bytes]) -> list[bytes]:
    """Content cut at any places, empty chunks among them."""
    data = draw(content)
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def read(chunks: list[bytes], limit: int = LIMIT, **where: Any) -> list[tuple[int, bytes, bool]]:
    """Return number, bytes and whether it came in pieces, for each line.

    Whole lines come with their line ends, pieces without.
    """
    data = b"".join(chunks)
    found: list[tuple[int, bytes, bool]] = []
    pieces: list[bytes] = []
    for item in split_lines(chunks, max_line_bytes=limit, **where):
        if isinstance(item, Lines):
            assert not pieces
            assert item.lines
            block = b"".join(item.lines)
            assert data[item.offset : item.offset + len(block)] == block
            place = item.offset
            assert place == 0 or data[place - 1 : place] == b"\n" or data[:place] == BOM
            found += [(item.first + place, line, False) for place, line in enumerate(item.lines)]
        else:
            pieces.append(item.data)
            if item.is_last:
                found.append((item.number, b"".join(pieces), True))
                pieces = []
    assert not pieces
    return found


def expected(data: bytes, limit: int = LIMIT) -> list[tuple[int, bytes, bool]]:
    """The same, from the whole file in memory."""
    found = []
    for number, line in enumerate(data.removeprefix(BOM).split(b"\n"), start=1):
        content = line.rstrip(b"\r")
        is_long = len(content) > limit and bool(content.strip())
        found.append((number, content if is_long else line + b"\n", is_long))
    number, last, is_long = found.pop()
    last = last if is_long else last.removesuffix(b"\n")
    return [*found, (number, last, is_long)] if last else found


class TestSplitLines:
    @given(
        chunked(
            st.lists(
                st.sampled_from([b"a", b"\n", b"\r", b" ", b"\t", BOM, b"\xc2\x85", b"abcdefgh"]),
                max_size=40,
            ).map(b"".join)
        )
    )
    def test_split_lines_in_any_chunks_yields_the_lines_of_the_file(
        self, chunks: list[bytes]
    ) -> None:
        assert read(chunks) == expected(b"".join(chunks))

    def test_split_lines_yields_correct_offsets(self) -> None:
        """Offsets count a byte order mark, blank lines, line ends, and lines that are too long."""
        data = BOM + b"one\r\n\n123456789\r\ntwo\nthree\n1234567890\nlast"
        for size in (1, 2, 3, 5, 7, 100):
            places = {
                line: item.offset + sum(map(len, item.lines[:place]))
                for item in split_lines(cut(data, size), max_line_bytes=LIMIT)
                if isinstance(item, Lines)
                for place, line in enumerate(item.lines)
            }
            assert places == {
                line: data.index(line) if line.strip() else data.index(b"\n\n") + 1
                for line in (b"one\r\n", b"\n", b"two\n", b"three\n", b"last")
            }

    @given(chunked(st.lists(st.sampled_from([b"a", b"\\", b";", b"\xc3", b"\n"])).map(b"".join)))
    def test_split_lines_in_any_chunks_names_rare_bytes_of_lines(self, chunks: list[bytes]) -> None:
        for item in split_lines(chunks, max_line_bytes=LIMIT):
            if isinstance(item, Lines):
                content = b"".join(item.lines)
                assert item.rare.non_ascii or content.isascii()
                assert item.rare.backslashes or b"\\" not in content
                assert item.rare.semicolons or b";" not in content

    def test_split_lines_without_rare_bytes_in_block_names_none(self) -> None:
        blocks = split_lines([b"\\;\n", b"plain\n", b"\xc3\xa9\n"], max_line_bytes=LIMIT)
        assert [block.rare for block in blocks if isinstance(block, Lines)] == [
            RareBytes(non_ascii=False, backslashes=True, semicolons=True),
            RareBytes(non_ascii=False, backslashes=False, semicolons=False),
            RareBytes(non_ascii=True, backslashes=False, semicolons=False),
        ]

    def test_split_lines_of_a_part_numbers_from_its_first_line(self) -> None:
        """Its numbers go on, and a byte order mark is one at the beginning of the file alone."""
        chunks = [BOM + b"a\n", b"b"]
        assert read(chunks, first_line=7, begins_file=False) == [
            (7, BOM + b"a\n", False),
            (8, b"b", False),
        ]
        assert read(chunks, first_line=7) == [(7, b"a\n", False), (8, b"b", False)]

    @pytest.mark.parametrize("size", range(1, 12))
    def test_split_lines_at_every_chunk_boundary_is_the_same(self, size: int) -> None:
        data = BOM + b"one\r\n\n two\r\r\n" + BOM + b"\n12345678\r\n123456789\r\n\r\nlast\r"
        assert read(cut(data, size)) == [
            (1, b"one\r\n", False),
            (2, b"\n", False),
            (3, b" two\r\r\n", False),
            (4, BOM + b"\n", False),
            (5, b"12345678\r\n", False),
            (6, b"123456789", True),
            (7, b"\r\n", False),
            (8, b"last\r", False),
        ]

    @pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\v", "\f", "\x1c", "\r"])
    def test_split_lines_ends_lines_only_at_0x0a(self, separator: str) -> None:
        line = f"a{separator}b".encode()
        assert read([line + b"\nc"]) == [(1, line + b"\n", False), (2, b"c", False)]

    def test_split_lines_keeps_half_a_byte_order_mark(self) -> None:
        assert read([b"\xef", b"\xbb"]) == [(1, b"\xef\xbb", False)]

    def test_split_lines_yields_pieces_of_long_line_while_reading(self) -> None:
        def chunks():
            for number in range(5):
                seen.append(number)
                yield b"x" * 10
            yield b"\nshort\n"

        seen: list[int] = []
        items = split_lines(chunks(), max_line_bytes=15)
        first = next(items)
        assert first == LongLinePiece(1, b"x" * 20, is_last=False)
        assert seen == [0, 1]
        last = list(items)[-1]
        assert isinstance(last, Lines)
        assert (last.first, last.offset, last.lines) == (2, 51, [b"short\n"])

    def test_split_lines_of_long_line_drops_only_final_returns(self) -> None:
        assert read([b"123456789", b"\r\r", b"\rx\r", b"\r", b"\nb"]) == [
            (1, b"123456789\r\r\rx", True),
            (2, b"b", False),
        ]

    def test_split_lines_yields_long_blank_line_whole(self) -> None:
        assert read([b" " * 20, b"\t" * 20, b"\r\nx"]) == [
            (1, b" " * 20 + b"\t" * 20 + b"\r\n", False),
            (2, b"x", False),
        ]

    def test_split_lines_of_endless_white_space_holds_little(self) -> None:
        megabytes = 100
        tracemalloc.start()
        chunks = (b"\r" * 2**20 for _ in range(megabytes))
        pieces = [item.is_last for item in split_lines(chunks, max_line_bytes=LIMIT)]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert pieces[-1]
        assert peak < 80 * 2**20

    def test_split_lines_of_300_megabyte_line_holds_little(self) -> None:
        tracemalloc.start()
        size = sum(
            len(item.data)
            for item in split_lines((b"x" * 2**20 for _ in range(300)), max_line_bytes=2**20)
            if isinstance(item, LongLinePiece)
        )
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size == 300 * 2**20
        assert peak < 12 * 2**20


class TestDecompress:
    @given(
        st.lists(st.binary(max_size=200), min_size=1, max_size=4),
        st.integers(0, 5),
        st.integers(1, 50),
    )
    def test_decompress_members_and_padding_in_any_chunks_yields_content(
        self, members: list[bytes], padding: int, size: int
    ) -> None:
        data = b"".join(gzip.compress(member) + b"\0" * padding for member in members)
        assert b"".join(decompress(cut(data, size))) == b"".join(members) == gzip.decompress(data)

    def test_decompress_empty_stream_yields_nothing(self) -> None:
        assert list(decompress([])) == list(decompress([b""])) == []
        assert gzip.decompress(b"") == b""

    def test_decompress_truncated_stream_raises(self) -> None:
        data = gzip.compress(b"first") + gzip.compress(b"some content, some content")
        whole_member = len(gzip.compress(b"first"))
        for end in range(1, len(data)):
            if end != whole_member:
                with pytest.raises(NotGzipError):
                    list(decompress([data[:end]]))

    @pytest.mark.parametrize(
        "data",
        [
            b"{}\n",
            b"\0\0\0\0",
            b"\0" + gzip.compress(b"x", mtime=0),
            gzip.compress(b"x", mtime=0) + b"more",
            gzip.compress(b"x", mtime=0) + b"\0\0more",
            zlib.compress(b"x"),
            gzip.compress(b"x", mtime=0)[:-8] + b"\0" * 8,
            gzip.compress(b"xy", mtime=0)[:-1] + b"\1",
        ],
    )
    @pytest.mark.parametrize("size", [1, 1000])
    def test_decompress_other_format_raises(self, data: bytes, size: int) -> None:
        with pytest.raises(NotGzipError):
            list(decompress(cut(data, size)))

    def test_decompress_bomb_yields_small_pieces(self) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = io.BytesIO()
        for _ in range(60):
            packed.write(packer.compress(b"\0" * 2**20))
        packed.write(packer.flush())
        chunks = [packed.getvalue()]
        tracemalloc.start()
        total = 0
        for piece in decompress(chunks):
            assert len(piece) <= 2**20
            total += len(piece)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == 60 * 2**20
        assert peak < 4 * 2**20

    def test_decompress_many_tiny_members_yields_their_content(self) -> None:
        data = gzip.compress(b"x") * 20_000
        assert b"".join(decompress([data])) == b"x" * 20_000
