"""Fates of single batches: refused, stuck, lost, expired, misdated."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from groq_batch.domain.batch import Batch
from groq_batch.groq.decoding import batch_of
from local.groq_simulator.answers import success_row
from tests.harness.jobs import check_end, good_lines, put, report_of
from tests.harness.world import World
from tests.workflow.fates import DAY, ENVIRONMENT, HOUR, WHILE_BATCHES_RUN, answered, check, paid


def test_a_batch_that_runs_beyond_its_window_is_cancelled_and_its_rest_sent_again() -> None:
    with World() as world:
        world.simulator.add_fate(end="stuck", done=0.5, times=1)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(DAY - HOUR)
        assert report_of(world, "a.jsonl")["status"] == "running"
        assert world.simulator.batches()[0]["status"] == "in_progress"
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert [(one["status"], one["requests"], one["succeeded"]) for one in report["batches"]] == [
        ("cancelled", 4, 2),
        ("completed", 2, 2),
    ]


def test_a_batch_that_cannot_even_be_cancelled_is_given_up_a_day_later() -> None:
    with World() as world:
        world.simulator.add_fate(end="stuck", done=0.5, times=1)
        world.simulator.add_fault("cancel", status=500, times=None)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(2 * DAY - HOUR)
        assert report_of(world, "a.jsonl")["status"] == "running"
        world.run_for(2 * HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "failed"
        assert report["errors"][0]["code"] == "timed_out"
        world.simulator.clear_faults()
        world.settle()
        # What Groq had done by then is in no file that could be read.
        check_end(world)
        data = world.s3.read("output/a.jsonl") or b""
        ids = [json.loads(line)["custom_id"] for line in data.splitlines()]
        assert ids == [line.custom_id for line in job.lines]


@pytest.mark.parametrize(
    ("fate", "status", "succeeded", "batches"),
    [
        ({"end": "fail"}, "succeeded", 4, 2),
        ({"end": "fail", "errors_shape": "array"}, "succeeded", 4, 2),
        # What is said of a line that was not sent is said of none.
        ({"end": "fail", "errors": [{"code": "odd", "line": 99}]}, "succeeded", 4, 2),
        ({"end": "fail", "errors": [{"code": "invalid_method", "line": 4}]}, "partial", 3, 2),
        ({"end": "expire", "done": 0.5}, "succeeded", 4, 2),
        ({"end": "expire", "done": 0.5, "unfinished": "missing"}, "succeeded", 4, 2),
        ({"end": "expire", "done": 0.0}, "succeeded", 4, 2),
        # What an ended batch did not come to is told by lines, instead of by rows.
        (
            {
                "end": "expire",
                "done": 0.5,
                "unfinished": "missing",
                "errors": [{"code": "batch_expired", "line": line} for line in (3, 4)],
            },
            *("succeeded", 4, 2),
        ),
        ({"end": "cancel", "done": 0.5}, "succeeded", 4, 2),
        ({"status": "paused", "status_seconds": 5_000.0}, "succeeded", 4, 1),
        ({"status": "paused", "batch_seconds": 5_000.0}, "succeeded", 4, 1),
        ({"no_files": True, "all_requests": "missing"}, "succeeded", 4, 2),
        ({"all_requests": "fail"}, "partial", 0, 1),
        ({"all_requests": "error_in_output"}, "partial", 0, 1),
        ({"all_requests": "duplicated"}, "succeeded", 4, 1),
        ({"all_requests": "foreign"}, "succeeded", 4, 1),
        ({"errors": [{"code": "odd", "message": "m", "line": None}]}, "succeeded", 4, 1),
        ({"empty_error_file": True}, "succeeded", 4, 1),
        ({"override": {"error_file_id": {}}}, "succeeded", 4, 1),
    ],
    ids=str,
)
def test_fate_of_a_batch(fate: dict[str, Any], status: str, succeeded: int, batches: int) -> None:
    with World() as world:
        world.simulator.add_fate(times=1, **fate)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
    assert report["status"] == status
    assert report["requests"]["succeeded"] == succeeded
    assert len(report["batches"]) == batches


def test_a_model_that_is_withdrawn_while_batches_wait() -> None:
    """Half is answered; the other half, sent again for want of capacity, meets a model gone."""
    with World() as world:
        late = {"custom_id": ["r2", "r3"]}
        world.simulator.add_rule("capacity_exhausted", match=late, times=1)
        world.simulator.add_rule({"kind": "http_error", "status": 404}, match=late)
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
        sendings = world.simulator.requests(job.job_id("bucket"))
    assert report["status"] == "partial"
    assert report["requests"]["succeeded"] == 2
    # Such an answer stands: nothing is sent a third time.
    assert [sendings[f"r{number}"]["sent"] for number in range(4)] == [1, 1, 2, 2]
    assert [batch["attempt"] for batch in report["batches"]] == [1, 2]


def test_a_model_that_is_withdrawn_refuses_the_next_batch_as_a_whole() -> None:
    with World() as world:
        world.simulator.add_fate(end="expire", done=0.5, times=1)
        world.simulator.add_fate(
            end="fail",
            errors=[{"code": "model_decommissioned", "message": "gone", "line": None}],
            times=None,
        )
        job = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, job)
    assert report["status"] == "partial"
    assert report["requests"]["succeeded"] == 2
    # Such a refusal may pass, so that it is met in every attempt that is left.
    assert [one["status"] for one in report["batches"]] == ["expired", "failed", "failed"]


@pytest.mark.parametrize("shows_after", [0.0, 30.0, 55.0])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 504},
        {"status": 502, "body": "<html>bad gateway</html>"},
        {"status": 408},
        {"answer": "reset"},
        {"answer": "half_close"},
        {"answer": "stall"},
        {"answer": "garbage"},
        {"answer": "cut", "fraction": 0.5},
        {"answer": "cut", "fraction": 0.0},
    ],
    ids=str,
)
def test_a_batch_whose_answer_is_lost_is_found_though_it_shows_late(
    fault: dict[str, Any], shows_after: float
) -> None:
    with World() as world:
        world.simulator.add_foreign_batches(60)
        world.simulator.add_fault("create", act=True, visible_after=shows_after, times=1, **fault)
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        report = check(world, job)
        assert world.simulator.stats()["creates"] == 1
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 1


@pytest.mark.parametrize("answer", ["reset", "half_close", "stall"])
@pytest.mark.parametrize("act", [True, False])
def test_a_file_whose_answer_is_lost_is_used_or_sent_again(answer: str, act: bool) -> None:
    with World() as world:
        world.simulator.add_fault("upload", answer=answer, act=act, times=1)
        job = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        report = check(world, job)
    assert report["status"] == "succeeded"
    assert len(report["batches"]) == 1


def test_a_stopped_job_does_not_give_batches_up_for_a_404_of_a_moment() -> None:
    with World(ENVIRONMENT, simulator={"batch_seconds": 600}) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN)
        # They answer half of what they are asked, and cannot be cancelled for a while.
        for batch in world.simulator.batches():
            world.simulator.change_batch(batch["id"], end="stuck", done=0.5)
        world.simulator.add_fault("cancel", status=500, times=None)
        assert world.stop(upload.job_id("bucket"))
        world.run_for(800)
        for route in ("list_by_ids", "retrieve"):
            world.simulator.add_fault(route, status=404, body="<html>no</html>", times=None)
        world.run_for(300)
        world.simulator.clear_faults()
        world.settle()
        check(world, upload)
        assert len(answered(world)) == 2


@pytest.mark.parametrize("counts", [{}, {"override": {"request_counts": None}}])
@pytest.mark.parametrize("times", [3, None])
def test_results_that_were_cut_on_the_way_are_not_asked_for_and_paid_again(
    times: int | None, counts: dict[str, Any]
) -> None:
    with World({}) as world:
        world.simulator.add_fate(**counts)
        # What cuts it makes its length fit, so that nothing is missing by the look of it.
        row = success_row("r0", {}, "Echo: r0", row_id=f"{1:024d}", now=0)
        world.simulator.add_fault("content", status=200, body=json.dumps(row) + "\n", times=times)
        upload = put(world, "input/a.jsonl", good_lines(3))
        world.settle()
        assert len(world.simulator.batches()) == 1
        assert len(paid(world, upload)) == 3
        report = report_of(world, "a.jsonl")
        if times is not None:
            assert (report["status"], answered(world)) == ("succeeded", {"r0", "r1", "r2"})
            return
        assert (report["status"], answered(world)) == ("partial", {"r0"})
        assert [one["code"] for one in report["errors"]] == ["missing", "missing"]
        assert "could not be fetched" in report["errors"][0]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        {"output_file_id": None, "error_file_id": None, "request_counts": None},
        {"output_file_id": None, "error_file_id": None},
        # The file of the errors comes first.
        {"output_file_id": None},
    ],
    ids=["no counts", "no files", "errors only"],
)
def test_a_batch_whose_files_appear_after_its_end_is_not_sent_again(
    changes: dict[str, Any],
) -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r2"})
        upload = put(world, "input/a.jsonl", good_lines(3))
        while not world.simulator.stats()["creates"]:
            world.run_for(1.0)
        (batch,) = world.simulator.batches()
        world.clock.advance_to(world.clock() + 150.0)
        ended = world.groq.client().retrieve_batch(batch["id"])
        assert ended.status == "completed"
        told = {**world.simulator.batches()[0], **changes}
        world.simulator.add_fault("list_by_ids", body={"data": [told]}, status=200, times=1)
        world.simulator.add_fault("retrieve", body=told, status=200, times=2)
        world.settle()
        report = check(world, upload)
        assert world.simulator.stats()["creates"] == 1
    assert (report["status"], report["requests"]["succeeded"]) == ("partial", 2)


@pytest.mark.parametrize("created_at", [1_700_000_000, 2_000_000_000])
@pytest.mark.parametrize("has_end", [True, False])
def test_batches_with_dates_of_another_year_are_neither_expired_nor_left_for_days(
    monkeypatch: pytest.MonkeyPatch, created_at: int, has_end: bool
) -> None:
    dates = {"created_at": created_at, "expires_at": created_at + int(DAY) if has_end else None}

    def with_other_dates(data: object) -> Batch | None:
        found = batch_of(data)
        return replace(found, **dates) if found is not None else None

    monkeypatch.setattr("groq_batch.groq.decoding.batch_of", with_other_dates)
    monkeypatch.setattr("groq_batch.groq.client.batch_of", with_other_dates)
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.settle()
        report = check(world, upload)
        assert world.simulator.calls("cancel") == []
    assert report["status"] == "succeeded"
    timing = report["timing"]
    assert timing["seconds"] < 150
    assert timing["started_at"] <= timing["submitted_at"]


def test_a_create_whose_outcome_is_never_known_is_not_told_to_be_unsent() -> None:
    with World() as world:
        world.simulator.add_fault("create", answer="reset", act=True, times=1)
        world.simulator.add_fault("list", status=404, times=None)
        put(world, "input/a.jsonl", good_lines(2))
        world.settle()
        report = report_of(world, "a.jsonl")
        rows = [json.loads(line) for line in (world.s3.read("output/a.jsonl") or b"").splitlines()]
    assert (report["status"], report["errors"][0]["code"]) == ("failed", "timed_out")
    assert [row["error"]["code"] for row in rows] == ["outcome_unknown"] * 2
    assert "may have been billed" in rows[0]["error"]["message"]


def test_a_batch_that_vanishes_is_told_and_given_up_when_the_job_is_stopped() -> None:
    with World(ENVIRONMENT) as world:
        upload = put(world, "input/a.jsonl", good_lines(4))
        world.run_for(WHILE_BATCHES_RUN / 2)
        lost = world.simulator.batches()[1]["id"]
        world.simulator.forget_batch(lost)
        world.run_for(DAY)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "running"
        assert report["errors"][0]["code"] == "batch_not_found"
        assert lost in report["errors"][0]["message"]
        assert "stop the job's execution" in report["errors"][0]["message"]
        assert world.stop(upload.job_id("bucket"))
        world.run_for(300)
        report = report_of(world, "a.jsonl")
        assert "does not know it 10 minutes after" in report["errors"][0]["message"]
        world.run_for(HOUR)
        report = report_of(world, "a.jsonl")
        assert report["status"] == "cancelled"
        assert len(answered(world)) == 2
        world.settle()
        assert len(world.simulator.batches()) == 1
