"""How the requests of a refused shard are told apart, and put into parts."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.request_file.shard_parts import (
    AUDIO_URLS,
    MAX_PARTS,
    ShardContents,
    common_audio_url,
    part_key,
)

CHAT = "/v1/chat/completions"
SPEECH, TRANSLATION = AUDIO_URLS

PAIRS = st.tuples(st.sampled_from([CHAT, *AUDIO_URLS]), st.sampled_from(["a", "b", "c/d", "é"]))


def line(model: str, url: str = CHAT) -> bytes:
    return json.dumps(
        {"custom_id": "x", "method": "POST", "url": url, "body": {"input": [{}], "model": model}}
    ).encode()


def parts_of(lines: list[bytes]) -> list[list[bytes]]:
    """Return the lines of each part, as they are divided."""
    contents = ShardContents.of(lines)
    places = contents.places()
    parts: list[list[bytes]] = [[] for _ in range(contents.parts)]
    for one in lines:
        parts[places[part_key(one)]].append(one)
    return parts


def test_parts_of_one_url_and_model_is_one() -> None:
    contents = ShardContents.of([line("a"), line("a")])
    assert contents.parts == 1
    assert contents.audio_url is None


def test_places_orders_by_size_then_first_occurrence() -> None:
    lines = [line("b"), line("a"), line("a", SPEECH), line("c"), line("c")]
    assert parts_of(lines) == [[line("c")] * 2, [line("b")], [line("a")], [line("a", SPEECH)]]


@given(st.lists(PAIRS, min_size=1, max_size=40))
def test_places_puts_each_url_and_model_in_its_own_part(
    pairs: list[tuple[str, str]],
) -> None:
    lines = [line(model, url) for url, model in pairs]
    parts = parts_of(lines)
    assert len(parts) == len(set(pairs))
    assert sorted(one for part in parts for one in part) == sorted(lines)
    assert [len(part) for part in parts] == sorted(Counter(lines).values(), reverse=True)
    for part in parts:
        assert len(set(part)) == 1


@pytest.mark.parametrize("models", [MAX_PARTS - 1, MAX_PARTS, MAX_PARTS + 1, 3 * MAX_PARTS])
def test_places_of_many_models_puts_the_smallest_in_the_last_part(models: int) -> None:
    lines = [line(f"m{number}") for number in range(models) for _ in range(models - number)]
    parts = parts_of(lines)
    assert len(parts) == min(models, MAX_PARTS)
    assert [len(part) for part in parts[:-1]] == [models - n for n in range(len(parts) - 1)]
    assert set(parts[-1]) == {line(f"m{n}") for n in range(len(parts) - 1, models)}


def test_shard_contents_memory_does_not_grow_with_model_names() -> None:
    contents = ShardContents.of(line("m" * 10_000 + str(number)) for number in range(5))
    assert len(contents.counts) == 5
    assert max(map(len, contents.counts)) == 16


def test_part_key_separates_url_from_model() -> None:
    assert part_key(line("s", "/v1/a")) != part_key(line("", "/v1/as"))


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ([SPEECH], SPEECH),
        ([TRANSLATION, TRANSLATION], TRANSLATION),
        *((value, None) for value in ([SPEECH, TRANSLATION], [SPEECH, CHAT], [CHAT, CHAT], [])),
    ],
)
def test_common_audio_url_needs_all_lines(urls: list[str], expected: str | None) -> None:
    lines = [line("whisper-large-v3", url) for url in urls]
    assert common_audio_url(lines) == expected
    assert ShardContents.of(lines).audio_url == expected


def test_common_audio_url_reads_no_more_than_needed() -> None:
    lines = iter([line("a"), line("a", SPEECH)])
    assert common_audio_url(lines) is None
    assert len(list(lines)) == 1
