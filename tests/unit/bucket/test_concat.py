"""The plan of the final join."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from groq_batch.bucket.concat import LARGEST_COPY_BYTES, Copy, Flush, Read, plan_join
from groq_batch.bucket.storage import StoredObject

MIB = 1024 * 1024
SIZES = st.one_of(
    st.integers(1, 3 * MIB),
    st.integers(4 * MIB, 12 * MIB),
    st.integers(5 * MIB - 2, 5 * MIB + 2),
    st.integers(LARGEST_COPY_BYTES - MIB, 2 * LARGEST_COPY_BYTES + 6 * MIB),
)


@given(st.lists(SIZES, max_size=30))
def test_plan_covers_everything_in_valid_parts(sizes: list[int]) -> None:
    sources = [StoredObject(f"{number:03d}", size) for number, size in enumerate(sizes)]
    covered: list[tuple[str, int, int]] = []
    parts: list[int] = []
    pending = 0
    for step in plan_join(sources):
        match step:
            case Flush():
                parts.append(pending)
                pending = 0
            case Read(key, first, length):
                covered.append((key, first, length))
                pending += length
                # The writer sends a part by itself from 6 MiB on; the plan never lets it.
                assert pending < 8 * MIB
            case Copy(key, first, length):
                assert pending == 0
                assert length <= LARGEST_COPY_BYTES
                # S3 copies ranges of larger objects only.
                assert sizes[int(key)] > 5 * MIB
                covered.append((key, first, length))
                parts.append(length)
    assert all(size >= 5 * MIB for size in parts)
    position = dict.fromkeys((source.key for source in sources), 0)
    for key, first, length in covered:
        assert position[key] == first
        position[key] += length
    assert position == {source.key: source.size for source in sources}
    assert [key for key, _, _ in covered] == sorted(key for key, _, _ in covered)


def test_large_shards_are_copied_whole() -> None:
    steps = list(plan_join(StoredObject(str(number), 6_000_000) for number in range(1000)))
    assert all(isinstance(step, Copy) for step in steps)


def test_small_shards_are_coalesced() -> None:
    steps = list(plan_join(StoredObject(str(number), 1000) for number in range(50)))
    assert steps == [Read(str(number), 0, 1000) for number in range(50)]


def test_a_shard_of_exactly_the_least_part_is_read() -> None:
    sources = [StoredObject("0", 5 * MIB), StoredObject("1", 5 * MIB), StoredObject("2", 9 * MIB)]
    assert list(plan_join(sources)) == [
        Read("0", 0, 5 * MIB),
        Read("1", 0, 1),
        Flush(),
        Read("1", 1, 5 * MIB - 1),
        Read("2", 0, 2),
        Flush(),
        Copy("2", 2, 9 * MIB - 2),
    ]
