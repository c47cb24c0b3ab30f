"""``python -m tests.load.many_shards``: one job of 1,000 shards on the deployed stack.

Prepares the file range by range, sends every shard as a batch of its own, waits, joins. Checks
every row, and counts what the limits of Step Functions are about: the parent's history, the largest
state, the calls to Groq of each look at the batches.

Exit status: 0 when all is as it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.e2e.pipeline import Pipeline, request_file

MAX_STATE_BYTES = 32 * 1024
MAX_HISTORY_EVENTS = 2_000
BATCHES_OF_A_CALL = 200
_STATUS_ROUTES = ("list_by_ids", "retrieve")
_HOUR = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyShards:
    """What was seen of one job.

    Attributes:
        requests: Requests of its file.
        shards: Batches that were created.
        seconds: From upload to final report, with waits shortened.
        rows_in_order: Whether row after row answers the request that it should.
        history_events: Events of the parent execution.
        largest_state_bytes: Longest input or output of any of its states.
        status_checks: Looks at the batches.
        calls: Calls to Groq by route.
    """

    requests: int
    shards: int
    seconds: float
    rows_in_order: bool
    history_events: int
    largest_state_bytes: int
    status_checks: int
    calls: dict[str, int]

    @property
    def calls_of_a_check(self) -> float:
        """Calls to Groq of one look at the batches."""
        return sum(self.calls.get(route, 0) for route in _STATUS_ROUTES) / self.status_checks

    def problems(self) -> list[str]:
        """Return what is not as it should be."""
        most_calls = -(-self.shards // BATCHES_OF_A_CALL)
        found = {
            "the rows are not in order": not self.rows_in_order,
            f"{self.history_events} events": self.history_events > MAX_HISTORY_EVENTS,
            f"a state of {self.largest_state_bytes} bytes": (
                self.largest_state_bytes > MAX_STATE_BYTES
            ),
            f"{self.calls_of_a_check:.1f} calls of a status check, not {most_calls}": (
                self.calls_of_a_check > most_calls + 1
            ),
        }
        return [text for text, is_wrong in found.items() if is_wrong]


def run_many_shards(pipeline: Pipeline, requests: int) -> ManyShards:
    """Run one job on a stack whose batches hold ten requests."""
    ids = [f"request-{number:06d}" for number in range(requests)]
    begun = time.monotonic()
    report = pipeline.run("many.jsonl", request_file(ids), seconds=_HOUR)
    seconds = time.monotonic() - begun
    if report["status"] != "succeeded":
        raise SystemExit(f"The job ended {report['status']}: {report['errors'][:3]}")
    rows = pipeline.rows("output/many.jsonl")
    events = _history(pipeline, report["job_id"])
    calls = Counter(str(call["route"]) for call in pipeline.simulator.calls())
    checks = sum(
        one.get("stateEnteredEventDetails", {}).get("name") == "CheckStatus" for one in events
    )
    return ManyShards(
        requests=requests,
        shards=len(report["batches"]),
        seconds=seconds,
        rows_in_order=[row["custom_id"] for row in rows] == ids,
        history_events=len(events),
        largest_state_bytes=max(_state_bytes(event) for event in events),
        status_checks=checks,
        calls=dict(calls),
    )


def _history(pipeline: Pipeline, job_id: str) -> list[dict[str, Any]]:
    pages = pipeline.states.get_paginator("get_execution_history").paginate(
        executionArn=pipeline.execution_arn(job_id)
    )
    return [event for page in pages for event in page["events"]]


def _state_bytes(event: dict[str, Any]) -> int:
    details = [value for value in event.values() if isinstance(value, dict)]
    texts = [str(one.get(name, "")) for one in details for name in ("input", "output")]
    return max((len(text.encode()) for text in texts), default=0)


def main() -> int:
    """Run the job and print what was seen."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.many_shards", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    requests = parser.parse_args().requests
    print("Deploying to the emulator ...", flush=True)
    with LocalStack(wait_scale=0.02) as stack:
        pipeline = deploy(stack, "many", MaxRequestsPerBatch="10", MaxBytesPerRange="200000")
        pipeline.simulator.configure(batch_seconds=5)
        seen = run_many_shards(pipeline, requests)
    print(json.dumps({**asdict(seen), "calls_of_a_check": seen.calls_of_a_check}, indent=2))
    for problem in seen.problems():
        print(f"Not as it should be: {problem}")
    return 1 if seen.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
