"""Parts of a divided shard: written once, whoever does it, and as often as it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.attempt_plan import AttemptPlan
from groq_batch.steps.download_results import divide
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error

KEYS = object_keys.WorkKeys("a-job")


def line(number: int, model: str) -> bytes:
    body = {"model": model}
    return json.dumps({"custom_id": f"r{number}", "url": "/v1/c", "body": body}).encode() + b"\n"


LINES = [line(number, model) for number, model in enumerate("abcab" * 3)]


@pytest.fixture
def storage(s3: FakeS3) -> Storage:
    found = s3.storage()
    found.put_bytes(KEYS.shard(1, 1), b"".join(LINES))
    AttemptPlan(attempt=2, divided={1: (5, 3)}, origins={5: 1, 6: 1, 7: 1}).write(found, KEYS)
    return found


def parts(s3: FakeS3) -> dict[str, Any]:
    return {key.rsplit("/", 1)[-1]: s3.read(key) for key in s3.keys(KEYS.shards(2))}


EXPECTED = {
    f"{number:05d}.jsonl": b"".join(one for one in LINES if f'"{model}"'.encode() in one)
    for number, model in zip((5, 6, 7), "abc", strict=True)
}


def test_shard_is_divided_as_planned(s3: FakeS3, storage: Storage) -> None:
    divide.divide_shard(storage, KEYS, 1, 1)
    assert parts(s3) == EXPECTED


def test_parts_are_written_some_at_a_time(
    s3: FakeS3, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(divide, "_WRITTEN_AT_ONCE", 2)
    divide.divide_shard(storage, KEYS, 1, 1)
    assert parts(s3) == EXPECTED


def test_divide_after_a_death_completes_the_parts(s3: FakeS3, storage: Storage) -> None:
    storage.put_bytes(KEYS.shard(2, 6), EXPECTED["00006.jsonl"])
    before = s3.history(KEYS.shard(2, 6))
    divide.divide_shard(storage, KEYS, 1, 1)
    assert parts(s3) == EXPECTED
    assert s3.history(KEYS.shard(2, 6)) == before


def test_divide_keeps_the_part_that_was_written_first(
    s3: FakeS3, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A twin has written all of them since this invocation looked.
    for key, data in EXPECTED.items():
        storage.put_bytes(f"{KEYS.shards(2)}{key}", data)
    before = [s3.history(key) for key in s3.keys(KEYS.shards(2))]
    first_looks, look = [False] * len(EXPECTED), storage.exists
    monkeypatch.setattr(
        storage, "exists", lambda key: first_looks.pop() if first_looks else look(key)
    )
    divide.divide_shard(storage, KEYS, 1, 1)
    assert [s3.history(key) for key in s3.keys(KEYS.shards(2))] == before


def test_divide_part_that_nobody_could_write_is_an_error(s3: FakeS3, storage: Storage) -> None:
    def conflict(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "put_object":
            raise client_error("PutObject", 409, "ConditionalRequestConflict", "at the same time")
        return act()

    with pytest.raises(ConflictError):
        divide.divide_shard(Storage(s3=s3.client(conflict), bucket=s3.bucket), KEYS, 1, 1)


@pytest.mark.parametrize(("attempt", "number"), [(1, 2), (2, 1), (3, 1)])
def test_other_shards_are_left_alone(
    s3: FakeS3, storage: Storage, attempt: int, number: int
) -> None:
    divide.divide_shard(storage, KEYS, attempt, number)
    assert parts(s3) == {}


def test_divide_of_changed_shard_writes_nothing(s3: FakeS3, storage: Storage) -> None:
    storage.put_bytes(KEYS.shard(1, 1), LINES[0])
    with pytest.raises(ValueError, match="makes 1 parts, not 3 as planned"):
        divide.divide_shard(storage, KEYS, 1, 1)
    assert parts(s3) == {}
