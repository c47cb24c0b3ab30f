"""One end for each job: one final report and one event, whoever comes back to write another.

Step Functions loses sight of a FinishJob that still runs, and starts it again. The repetition ends
the job; the next upload of the key takes the path over, so that the final report does not stand
there any more; then the first FinishJob goes on, at any of its calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import astuple

from groq_batch.domain import object_keys
from groq_batch.reports.report import event_detail
from tests.fakes.s3 import client_error
from tests.harness.invocations import Hold, Invocation, Trouble
from tests.harness.jobs import Upload, bad_line, check_end, good_lines, put
from tests.harness.world import START, World

# A held function closes nothing.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

KEY = "input/a.jsonl"
LOST_SIGHT = "Lambda.SdkClientException"


def _rejected(world: World) -> Upload:
    return put(world, KEY, [*good_lines(2), bad_line("bad")])


def _failed(world: World) -> Upload:
    right, world.groq.key = world.groq.key, "gsk_wrong"

    def mend() -> Any:
        world.groq.key = right
        yield from ()

    world.spawn(mend(), after=60)
    return put(world, KEY, good_lines(3))


def _cancelled(world: World) -> Upload:
    upload = put(world, KEY, good_lines(3))
    world.run_for(50)
    assert world.stop(upload.job_id("bucket"))
    return upload


def _partial(world: World) -> Upload:
    world.simulator.add_rule("fail", match={"custom_id": "r1"})
    return put(world, KEY, good_lines(3))


def _succeeded(world: World) -> Upload:
    return put(world, KEY, good_lines(3))


ENDS: dict[str, Callable[[World], Upload]] = {
    "rejected": _rejected,
    "failed": _failed,
    "cancelled": _cancelled,
    "partial": _partial,
    "succeeded": _succeeded,
}


@pytest.mark.parametrize("end", ["partial", "succeeded"])
@pytest.mark.parametrize("prefix", [object_keys.OUTPUT_PREFIX, object_keys.REPORTS_PREFIX])
def test_outage_of_s3_while_the_results_are_delivered_changes_no_status(
    prefix: str, end: str
) -> None:
    hours = 6 * 3600.0

    def is_out(operation: str, key: str) -> bool:
        is_delivering = world.invocations[-1].function in ("finish_job", "cancel_job")
        if is_delivering and key.startswith(prefix) and world.clock() < START + hours:
            raise client_error(operation, 503, "SlowDown", "Please reduce your request rate.")
        return False

    with World() as world:
        world.denies = is_out
        upload = ENDS[end](world)
        world.settle()
        (report,) = check_end(world, upload)
        assert {one.status for one in world.executions.values()} == {"FAILED"}
    assert report["status"] == end
    assert [error["code"] for error in report["errors"]] == (
        ["invalid_request_error"] if end == "partial" else []
    )


def test_usage_record_that_a_policy_denies_holds_nothing_up() -> None:
    with World() as world:
        world.denies = lambda _, key: key.startswith(object_keys.USAGE_PREFIX)
        upload = _partial(world)
        world.settle()
        assert world.open_jobs() == []
        assert world.s3.keys(object_keys.USAGE_PREFIX) == []
        (end,) = [detail for _, _, detail in world.events.published]
    assert end["status"] == "partial"
    assert upload.job_id("bucket") == end["job_id"]


def live(end: str, hold: Hold | None, *, until: float = 300.0) -> tuple[World, Upload, Upload]:
    """Let a job end while its first FinishJob is held, and a newer upload of its key after it.

    Args:
        end: How the job ends.
        hold: What happens to its first FinishJob.
        until: When the newer upload comes, in seconds; the job has ended by then.
    """
    world = World()
    seen: list[Invocation] = []

    def direct(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function != "finish_job":
            return ()
        seen.append(invocation)
        return (hold,) if hold is not None and len(seen) == 1 else ()

    world.director = direct
    older = ENDS[end](world)
    world.run_for(until)
    assert world.s3.read(object_keys.WorkKeys(older.job_id("bucket")).closed) is not None
    older.keeps_path = False
    newer = put(world, KEY, good_lines(2, "new"))
    world.settle()
    return world, older, newer


def final_reports(world: World, job_id: str) -> list[dict[str, Any]]:
    """Return the different final reports of a job that were ever written."""
    found: list[dict[str, Any]] = []
    for key in world.s3.keys(object_keys.REPORTS_PREFIX):
        if not key.endswith(".json"):
            continue
        for data in world.s3.history(key):
            report = json.loads(data) if data else {}
            is_final = report.get("status") != "running"
            if report.get("job_id") == job_id and is_final and report not in found:
                found.append(report)
    return found


def calls_of_finish_job(end: str) -> list[str]:
    """Return the calls that the first FinishJob of a job makes."""
    world, _, _ = live(end, None)
    with world:
        return next(one.trace for one in world.invocations if one.function == "finish_job")


NEWER_RUNS = 330.0
NEWER_ENDED = 800.0


@pytest.mark.parametrize(
    ("end", "seconds"),
    [*((end, NEWER_RUNS) for end in ENDS), ("rejected", NEWER_ENDED), ("partial", NEWER_ENDED)],
)
def test_finish_job_that_comes_back_tells_no_second_end(end: str, seconds: float) -> None:
    calls = calls_of_finish_job(end)
    publishing = next(n for n, call in enumerate(calls) if call.startswith("events.put_events"))
    for number, call in enumerate(calls):
        world, older, newer = live(end, Hold(at=call, seconds=seconds, lost=LOST_SIGHT))
        with world:
            job_id = older.job_id("bucket")
            told = [one for _, _, one in world.events.published if one["job_id"] == job_id]
            written = final_reports(world, job_id)
            assert len(written) == 1, f"{len(written)} final reports, held at {call}"
            assert written[0]["status"] == end
            # Who dies before it can note that it has told the end has it told once more.
            assert told in ([event_detail(written[0])] * n for n in (1, 2)), f"held at {call}"
            assert len(told) == 1 or number >= publishing, f"held at {call}"
            # Nothing of the older job stands beside the newer one's, nor where it was never told.
            check_end(world, newer)
            aside = object_keys.superseded_path(job_id, older.path)
            for key in astuple(object_keys.delivery_keys(aside)):
                assert world.s3.history(key) == [], f"held at {call}"
