"""Reads what was counted for the shards of an attempt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from groq_batch import layout
from groq_batch.jobs import ShardSummary
from groq_batch.storage import Storage

_READERS = 16


def load_summaries(storage: Storage, keys: layout.WorkKeys, attempt: int) -> list[ShardSummary]:
    """Return the summaries of an attempt's shards, in order of the shards."""
    names = [item.key for item in storage.objects(keys.summaries(attempt))]

    def read(key: str) -> ShardSummary | None:
        found = storage.get_json(key)
        return ShardSummary.from_json(found[0]) if found else None

    with ThreadPoolExecutor(max_workers=_READERS) as pool:
        return [summary for summary in pool.map(read, names) if summary is not None]
