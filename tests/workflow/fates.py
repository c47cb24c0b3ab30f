"""Check one fate by itself: what was paid for is delivered, and every request has exactly one row.

``test_lives.py`` mixes all fates at random; in the tests that use this each is told apart, so that
a failure has a name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from tests.harness.jobs import Upload, check_end
from tests.harness.world import World

HOUR = 3_600.0
DAY = 24 * HOUR
ENVIRONMENT = {"MAX_REQUESTS_PER_BATCH": "2"}
WHILE_BATCHES_RUN = 60.0


def later(act: Callable[[], Any]) -> Iterator[float]:
    """Do something as a step of the world."""
    act()
    yield from ()


def answered(world: World, path: str = "a.jsonl") -> set[str]:
    """Return the ids of the requests that have an answer in the results."""
    data = world.s3.read(f"output/{path}") or b""
    rows = [json.loads(line) for line in data.splitlines()]
    return {row["custom_id"] for row in rows if (row["response"] or {}).get("status_code") == 200}


def paid(world: World, upload: Upload) -> set[str]:
    """Return the ids of the requests that Groq has answered."""
    counted = world.simulator.requests(upload.job_id(world.s3.bucket))
    return {custom_id for custom_id, one in counted.items() if one["succeeded"]}


def check(world: World, upload: Upload, *, files_may_be_left: bool = False) -> dict[str, Any]:
    """Check the end of a job, and that everything that was paid for is delivered."""
    (report,) = check_end(world, upload, files_may_be_left=files_may_be_left)
    assert answered(world, upload.path) == paid(world, upload)
    return report


def job_name(world: World, upload: Upload) -> str:
    return upload.job_id(world.s3.bucket)
