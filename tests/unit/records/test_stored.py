"""How records are read and written, whatever version has written them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.records import stored

KEY = "work/a-job/thing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A record."""

    name: str
    count: int = 0
    by_shard: dict[int, tuple[int, int]] | None = None


THING = Thing(name="a", count=2, by_shard={3: (4, 5)})


def test_load_returns_what_put_wrote(storage: Storage) -> None:
    etag = stored.put(storage, KEY, THING, over=None)
    found = stored.load_with_etag(storage, KEY, Thing)
    assert found is not None
    assert (found.value, found.etag) == (THING, etag)
    data = storage.get_json(KEY)
    assert data is not None
    assert data.value["schema_version"] == 1


def test_load_of_a_missing_record_returns_none(storage: Storage) -> None:
    assert stored.load(storage, KEY, Thing) is None


def test_load_ignores_unknown_fields_and_fills_in_missing_ones(storage: Storage) -> None:
    storage.put_json(KEY, {"name": "a", "of_a_later_version": [1]})
    assert stored.load(storage, KEY, Thing) == Thing(name="a")


def test_load_of_a_later_form_names_key_and_version(storage: Storage) -> None:
    storage.put_json(KEY, {"schema_version": 2, "name": "a"})
    with pytest.raises(stored.NewerRecordError, match=f"{KEY} has schema_version 2"):
        stored.load(storage, KEY, Thing)


@pytest.mark.parametrize("data", [{}, {"name": 1}, {"name": "a", "count": "x"}])
def test_load_of_other_data_raises_value_error(storage: Storage, data: dict[str, object]) -> None:
    storage.put_json(KEY, data)
    with pytest.raises(ValueError, match=r"name|\$\."):
        stored.load(storage, KEY, Thing)


def test_put_over_another_record_raises_conflict(storage: Storage) -> None:
    etag = stored.put(storage, KEY, THING, over=None)
    stored.put(storage, KEY, Thing(name="b"), over=etag)
    with pytest.raises(ConflictError):
        stored.put(storage, KEY, Thing(name="c"), over=etag)
    with pytest.raises(ConflictError):
        stored.put(storage, KEY, Thing(name="c"), over=None)


def test_put_once_returns_the_first_record(storage: Storage) -> None:
    assert stored.put_once(storage, KEY, THING) == THING
    assert stored.put_once(storage, KEY, Thing(name="b")) == THING


def test_swap_over_its_own_record_returns_the_etag_of_that(storage: Storage) -> None:
    first = stored.put(storage, KEY, THING, over=None)
    second = stored.swap(storage, KEY, Thing(name="b"), over=first)
    # The SDK repeats a write whose response was lost.
    assert stored.swap(storage, KEY, Thing(name="b"), over=first) == second


def test_swap_over_another_record_raises_conflict(storage: Storage) -> None:
    first = stored.put(storage, KEY, THING, over=None)
    stored.swap(storage, KEY, Thing(name="b"), over=first)
    with pytest.raises(ConflictError):
        stored.swap(storage, KEY, Thing(name="c"), over=first)
