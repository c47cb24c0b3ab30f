"""What is known of a job, for tests of what is decided by it."""

from __future__ import annotations

from typing import Any

from groq_batch.domain import object_keys
from groq_batch.domain.batch import Batch
from groq_batch.domain.only_shard import StepAnswer
from groq_batch.domain.shard import Shard
from groq_batch.domain.times import timestamp_of
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord
from groq_batch.records.submission import Stage
from groq_batch.steps.check_status.situation import Situation
from tests.samples import OPTIONS, SETTINGS

KEYS = object_keys.WorkKeys("a-job")
NOW = 1_800_000_000.0


def batch(status: str = "in_progress", **fields: Any) -> Batch:
    return Batch(id="b", status=status, **{"created_at": int(NOW) - 7200, **fields})


def sent(status: str = "in_progress", **fields: Any) -> ShardState:
    return ShardState(stage=Stage.CREATED, batch=batch(status), **fields)


def job(**fields: Any) -> JobRecord:
    shards = tuple(Shard(number=number, requests=2) for number in (1, 2, 3))
    return JobRecord(
        **{
            "accepted": True,
            "options": OPTIONS,
            "shards": shards,
            "prepared_at": timestamp_of(NOW - 2 * 86_400),
            **fields,
        }
    )


def known(*entries: ShardState, state: dict[str, Any] | None = None, **fields: Any) -> Situation:
    """Return what is known of an attempt with these shards; its step knows only shards."""
    return Situation(
        **{
            "keys": KEYS,
            "job": job(),
            "state": AttemptState(
                **{
                    "attempt": 1,
                    "started_at": NOW - 7200,
                    "entries": dict(enumerate(entries, 1)),
                    **(state or {}),
                }
            ),
            "settings": SETTINGS,
            "step": StepAnswer(knows_only_shards=True),
            "makes_calls": True,
            "now": NOW,
            "polls": 7,
            "resume_in": 0,
            **fields,
        }
    )
