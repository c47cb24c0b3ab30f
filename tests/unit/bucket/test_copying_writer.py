"""The lines of a shard: what S3 copies from the input, and what is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from groq_batch.bucket import copying_writer, multipart_writer
from groq_batch.bucket.copying_writer import CopyingWriter, CopySource
from groq_batch.bucket.pending_upload import PendingUpload
from groq_batch.bucket.s3_errors import MissingObjectError, UnreadableObjectError
from groq_batch.domain.json_data import from_json_data, to_json_data
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3, refusing

MIB = 1024 * 1024
PART, SMALLEST, LARGEST = 60, 60, 640
"""S3's bounds and the code's, at a scale on which many cases are tried in no time."""
MIN_PART = 50


@contextmanager
def small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying_writer, "SMALLEST_COPY_BYTES", SMALLEST)
        patch.setattr(copying_writer, "LARGEST_COPY_BYTES", LARGEST)
        patch.setattr(multipart_writer, "PART_BYTES", PART)
        yield


@pytest.fixture
def small() -> Iterator[None]:
    with small_bounds():
        yield


@dataclass
class Sent:
    """What was done at S3, by operation."""

    calls: list[Call] = field(default_factory=list)

    def __call__(self, call: Call, act: Callable[[], Any]) -> Any:
        self.calls.append(call)
        return act()

    def count(self, operation: str) -> int:
        return sum(call.operation == operation for call in self.calls)

    @property
    def bytes(self) -> int:
        return sum(
            len(call.arguments["Body"]) for call in self.calls if call.operation == "upload_part"
        )

    @property
    def copied(self) -> list[str]:
        """The ranges that were copied, in the order of their parts."""
        copies = [call.arguments for call in self.calls if call.operation == "upload_part_copy"]
        return [one["CopySourceRange"] for one in sorted(copies, key=lambda one: one["PartNumber"])]


class Input:
    """An input object, of which every byte tells its place, and an upload of a shard."""

    def __init__(
        self,
        size: int = 10_000,
        *,
        begins_at: int = 0,
        versioned: bool = True,
        least: int = MIN_PART,
        wire: Wire = plain_wire,
    ) -> None:
        self.s3 = FakeS3(smallest_part_bytes=least)
        self.data = (b"%07d\n" * (size // 8 + 1)) % tuple(range(size // 8 + 1))
        put = self.s3.client().put_object(Bucket="bucket", Key="input", Body=self.data)
        # What stands at the key now is another version.
        self.s3.client().put_object(Bucket="bucket", Key="input", Body=b"other" * size)
        self.begins_at = begins_at
        self.sent = Sent()
        source = CopySource("input", put["VersionId"], begins_at) if versioned else None

        def both(call: Call, act: Callable[[], Any]) -> Any:
            return self.sent(call, lambda: wire(call, act))

        self.storage = self.s3.storage(both)
        self.upload = CopyingWriter(self.storage, "shard", source)
        self.expected = b""

    def give(self, first: int, size: int, *, known: bool = True) -> None:
        """Give the lines at an offset of the stream; their place can be told or not."""
        place = self.begins_at + first
        data = self.data[place : place + size] if known else b"~" * (size - 1) + b"\n"
        assert len(data) == size
        self.upload.write_lines(
            [data[: size // 2], data[size // 2 :]], size, first if known else None
        )
        self.expected += data

    def finish(self) -> None:
        """Complete the upload and see that nothing but the expected bytes became of it."""
        assert self.s3.read("shard") is None
        held = self.upload.hold()
        assert self.s3.read("shard") is None
        assert held.size == len(self.expected) == self.upload.bytes_written
        stored = from_json_data(json.loads(json.dumps(to_json_data(held))), PendingUpload)
        stored.complete(self.storage)
        assert self.s3.read("shard") == self.expected
        assert self.s3.open_uploads == []


PIECES = st.lists(
    st.tuples(
        st.integers(0, 3).map(lambda gap: gap * 3),
        st.one_of(
            st.integers(1, 90),
            st.sampled_from([SMALLEST - 1, SMALLEST, SMALLEST + 1, LARGEST - 1, LARGEST]),
        ),
        st.sampled_from([True, True, True, False]),
        st.booleans(),
    ),
    min_size=1,
    max_size=25,
)
"""Lines: what is left out before them, their size, whether they are as they stand, and whether
nothing is left out after all."""


@settings(max_examples=400, deadline=None)
@given(pieces=PIECES, begins_at=st.integers(0, 40), versioned=st.sampled_from([True, True, False]))
@example(pieces=[(0, 59, True, True), (0, 1, True, True)], begins_at=0, versioned=True)
@example(
    pieces=[(0, 60, True, True), (3, 59, True, False), (3, 60, True, False)],
    begins_at=1,
    versioned=True,
)
def test_the_object_is_the_lines_whatever_is_copied(
    pieces: list[tuple[int, int, bool, bool]], begins_at: int, versioned: bool
) -> None:
    with small_bounds():
        made = Input(20_000, begins_at=begins_at, versioned=versioned)
        place = 0
        for gap, size, known, joins in pieces:
            place += 0 if joins else gap
            made.give(place, size, known=known)
            place += size
        made.finish()
    copies = made.sent.count("upload_part_copy")
    event(f"copies: {min(copies, 3)}, parts sent: {min(made.sent.count('upload_part'), 3)}")
    assert versioned or not copies
    assert made.sent.count("create_multipart_upload") == 1


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=25))
def test_of_an_unchanged_input_nothing_is_sent_but_a_short_end(sizes: list[int]) -> None:
    with small_bounds():
        made = Input()
        place = 0
        for size in sizes:
            made.give(place, size)
            place += size
        made.finish()
    assert made.sent.bytes < SMALLEST
    ranges = [tuple(map(int, text[6:].split("-"))) for text in made.sent.copied]
    copied = [made.data[first : last + 1] for first, last in ranges]
    assert b"".join(copied) == made.expected[: len(made.expected) - made.sent.bytes]
    assert all(SMALLEST <= len(one) <= LARGEST + 200 for one in copied)


@pytest.mark.parametrize(
    ("size", "copied"), [(6 * MIB - 1, []), (6 * MIB, ["bytes=3-6291458"])], ids=["below", "at"]
)
def test_the_shortest_stretch_at_the_scale_of_s3(size: int, copied: list[str]) -> None:
    made = Input(7 * MIB, begins_at=3, least=5 * MIB)
    made.give(0, size)
    made.finish()
    assert made.sent.copied == copied
    assert made.sent.bytes == (0 if copied else size)


@pytest.mark.usefixtures("small")
class TestCopies:
    def test_a_long_stretch_is_copied_while_the_rest_is_checked(self) -> None:
        made = Input()
        made.give(0, LARGEST - 1)
        assert made.upload.upload_id is None, "nothing is under way yet"
        made.give(LARGEST - 1, 1)
        assert made.upload.upload_id is not None
        made.upload.seal()
        assert made.sent.copied == [f"bytes=0-{LARGEST - 1}"]

    def test_what_follows_a_copy_and_is_short_is_its_last_part(self) -> None:
        made = Input()
        made.give(0, 100)
        made.give(100, 5, known=False)
        made.finish()
        assert made.sent.copied == ["bytes=0-99"]
        assert made.sent.bytes == 5

    def test_bytes_that_wait_are_joined_by_what_comes_next(self) -> None:
        """A part of its own would be too small for S3."""
        made = Input()
        made.give(0, 10, known=False)
        made.give(10, 200)
        made.give(210, 300)
        made.finish()
        assert made.sent.bytes == 210
        assert made.sent.copied == ["bytes=210-509"]

    def test_lines_that_stand_elsewhere_are_another_copy(self) -> None:
        made = Input()
        made.give(0, 100)
        made.give(107, 100)
        made.finish()
        assert made.sent.copied == ["bytes=0-99", "bytes=107-206"]
        assert made.sent.bytes == 0

    def test_the_stream_may_begin_within_the_object(self) -> None:
        made = Input(begins_at=1000)
        made.give(50, 100)
        made.finish()
        assert made.sent.copied == ["bytes=1050-1149"]

    def test_the_version_is_named(self) -> None:
        made = Input()
        made.give(0, 100)
        made.finish()
        [call] = [one for one in made.sent.calls if one.operation == "upload_part_copy"]
        assert call.arguments["CopySource"] == {
            "Bucket": "bucket",
            "Key": "input",
            "VersionId": "v00000001",
        }


@pytest.mark.usefixtures("small")
class TestEnds:
    @pytest.mark.parametrize("sizes", [[10], [100], [100, 10], [700, 100]])
    def test_a_sealed_upload_has_all_parts_at_s3(self, sizes: list[int]) -> None:
        made = Input()
        for number, size in enumerate(sizes):
            made.give(1000 * number, size)
        made.upload.seal()
        parts = made.sent.count("upload_part") + made.sent.count("upload_part_copy")
        assert parts == len(sizes)
        made.finish()
        assert made.sent.count("upload_part") + made.sent.count("upload_part_copy") == parts

    @pytest.mark.parametrize("sizes", [[], [10], [100], [700, 10], [700, 100]])
    @pytest.mark.parametrize("sealed", [False, True])
    def test_an_aborted_upload_leaves_nothing(self, sizes: list[int], sealed: bool) -> None:
        made = Input()
        for number, size in enumerate(sizes):
            made.give(1000 * number, size)
        if sealed and sizes:
            made.upload.seal()
        for _ in range(2):
            made.upload.abort()
        assert made.s3.open_uploads == []
        assert made.upload.upload_id is None
        with pytest.raises(ValueError, match="nothing to be held back for shard"):
            made.upload.hold()
        assert made.s3.open_uploads == []
        assert made.s3.keys() == ["input"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "NoSuchKey", MissingObjectError),
        (404, "NoSuchVersion", MissingObjectError),
        (403, "AccessDenied", UnreadableObjectError),
        (500, "InternalError", ClientError),
    ],
)
def test_a_copy_that_fails(status: int, code: str, expected: type[Exception]) -> None:
    made = Input(wire=refusing("upload_part_copy", status, code))
    made.give(0, 100)
    with pytest.raises(expected, match="input" if expected is not ClientError else code):
        made.upload.seal()
    made.upload.abort()
    assert made.s3.open_uploads == []
    assert made.s3.keys() == ["input"]
