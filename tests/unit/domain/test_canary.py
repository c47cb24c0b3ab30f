"""What is decided about a canary."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from groq_batch.domain.canary import (
    CanaryResults,
    CanaryVerdict,
    is_sent_again_alone,
    judge_canary,
    unjudged_verdict,
)
from groq_batch.domain.shard import Shard
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord
from groq_batch.records.stored import from_record, to_record
from tests.samples import OPTIONS

RESULTS = CanaryResults(
    requests=50, answered=40, open=0, failed={"b": 4, "a": 6}, cost_usd=0.2, milliseconds=700.0
)


def judge(results: CanaryResults, *, percent: int = 50, cap: float = 0.0) -> CanaryVerdict:
    return judge_canary(
        results,
        rest_attempt=2,
        good=20_000,
        max_failed_percent=percent,
        cap_usd=cap,
        cap_is_of_stack=False,
    )


@pytest.mark.parametrize(
    ("failed", "percent", "passed"),
    [
        (0, 0, True),
        (1, 0, False),
        (25, 50, True),
        (26, 50, False),
        (49, 100, True),
        (49, 98, True),
        (49, 97, False),
    ],
)
def test_share_that_has_failed_for_good(failed: int, percent: int, passed: bool) -> None:
    results = structs.replace(
        RESULTS, answered=50 - failed, failed={"code": failed} if failed else {}
    )
    verdict = judge(results, percent=percent)
    assert verdict.passed is passed
    assert verdict.code == ("" if passed else "canary_failed")
    assert (verdict.requests, verdict.failed, verdict.rest_attempt) == (50, failed, 2)


def test_failure_names_the_commonest_code_and_what_was_not_sent() -> None:
    verdict = judge(RESULTS, percent=10)
    assert (
        verdict.message
        == (
            "10 of the first 50 requests, sent alone as a canary, failed for good; the limit "
            "is 10 %. The most common error is a (6 times). The other 19,950 requests were not "
            "sent. See the errors in the results, correct the requests, and upload the file again."
        )
        or verdict.passed
    )


def test_share_is_counted_of_all_requests_also_of_those_that_may_be_tried_again() -> None:
    results = structs.replace(RESULTS, answered=1, open=39)
    assert judge(results, percent=20).passed is True
    assert judge(results, percent=19).passed is False


@given(answered=st.integers(0, 50), opened=st.integers(0, 50), percent=st.integers(0, 100))
def test_canary_without_an_answer_never_passes(answered: int, opened: int, percent: int) -> None:
    opened = min(opened, 50 - answered)
    failed = 50 - answered - opened
    results = CanaryResults(
        requests=50, answered=answered, open=opened, failed={"x": failed} if failed else {}
    )
    assert is_sent_again_alone(results) is (answered == 0 and opened > 0)
    if is_sent_again_alone(results):
        return
    verdict = judge(results, percent=percent)
    assert verdict.passed is (answered > 0 and failed * 100 <= percent * 50)


def test_none_answered_is_said_so() -> None:
    verdict = judge(structs.replace(RESULTS, answered=0, failed={"x": 50}), percent=100)
    assert verdict.code == "canary_failed"
    assert verdict.message.startswith("None of the first 50 requests")
    assert "x (50 times)" in verdict.message


def test_projection_is_the_mean_of_the_answers_for_all_good_lines() -> None:
    assert judge(RESULTS).projected_cost_usd == pytest.approx(0.2 / 40 * 20_000)
    assert judge(structs.replace(RESULTS, cost_usd=None), cap=1.0).projected_cost_usd is None
    assert judge(structs.replace(RESULTS, cost_usd=None), cap=1.0).passed is True


@pytest.mark.parametrize(("cap", "passed"), [(0.0, True), (100.0, True), (99.9, False)])
def test_projection_is_held_against_the_cap(cap: float, passed: bool) -> None:
    verdict = judge(RESULTS, cap=cap)
    assert verdict.passed is passed
    if not passed:
        assert verdict.code == "canary_too_expensive"
        assert "all 20,000 will cost 100 USD, which is above the cap of 99.9 USD" in verdict.message
        assert "Raise max-job-cost-usd" in verdict.message


def test_cap_of_the_stack_can_only_be_changed_there() -> None:
    verdict = judge_canary(
        RESULTS,
        rest_attempt=2,
        good=20_000,
        max_failed_percent=50,
        cap_usd=1.0,
        cap_is_of_stack=True,
    )
    assert "deploy the stack with a larger MaxJobCostUsd" in verdict.message
    assert "max-job-cost-usd" not in verdict.message


def test_verdict_is_read_as_it_was_written() -> None:
    for verdict in (judge(RESULTS), unjudged_verdict(RESULTS, rest_attempt=3)):
        data = json.loads(json.dumps(to_record(verdict)))
        assert from_record(data, CanaryVerdict) == verdict
        assert from_record({**data, "of_a_later_version": 1}, CanaryVerdict) == verdict


def record(verdict: CanaryVerdict | None, *, has_canary: bool = True) -> JobRecord:
    shards = [Shard(number=n, requests=2, bytes=10, skipped=0) for n in (1, 2, 5)]
    return JobRecord(
        accepted=True,
        options=replace(OPTIONS, canary_requests=2),
        shards=tuple(shards),
        has_canary=has_canary,
        verdict=verdict,
    )


class TestRecord:
    """What the record of a job says of its attempts."""

    def test_without_a_canary(self) -> None:
        job = record(None, has_canary=False)
        assert not job.awaits_verdict
        assert [job.first_attempt_of(n) for n in (1, 2, 5)] == [1, 1, 1]
        assert (job.last_attempt, job.last_attempt_of(5), job.attempts_needed(1)) == (3, 3, 3)
        assert job.may_send(5, 1)
        assert (job.own_attempt(5, 2), job.attempt_of_request_lines(5)) == (2, 1)

    def test_before_the_verdict_the_rest_has_no_attempt(self) -> None:
        job = record(None)
        assert job.awaits_verdict
        assert [job.first_attempt_of(n) for n in (1, 2, 5)] == [1, None, None]
        assert (job.last_attempt, job.last_attempt_of(1)) == (3, 3)
        assert [job.attempts_needed(attempt) for attempt in (1, 3)] == [4, 6]
        assert job.may_send(1, 3)
        assert not any(job.may_send(5, attempt) for attempt in range(1, 20))
        with pytest.raises(ValueError, match="waits for what becomes of the canary"):
            job.last_attempt_of(2)

    @pytest.mark.parametrize("rest_attempt", [2, 3, 4])
    @pytest.mark.parametrize("passed", [True, False, None])
    def test_after_it_the_rest_counts_from_its_own_first(
        self, rest_attempt: int, passed: bool | None
    ) -> None:
        job = record(CanaryVerdict(rest_attempt=rest_attempt, requests=2, failed=0, passed=passed))
        assert [job.first_attempt_of(n) for n in (1, 2)] == [1, rest_attempt]
        assert [job.last_attempt_of(n) for n in (1, 2)] == [3, rest_attempt + 2]
        assert job.last_attempt == job.attempts_needed(1) == rest_attempt + 2
        assert job.own_attempt(2, rest_attempt) == 1
        assert job.may_send(2, rest_attempt) is (passed is True)
        assert not job.may_send(2, rest_attempt - 1)
        assert (job.attempt_of_request_lines(1), job.attempt_of_request_lines(2)) == (1, 2)

    def test_board_that_was_begun_before_the_verdict_takes_the_rest_in(self) -> None:
        verdict = CanaryVerdict(rest_attempt=2, requests=2, failed=0, passed=None)
        for attempt, numbers in ((1, [1]), (2, [1, 2, 5]), (3, [1])):
            state = AttemptState(attempt=attempt, started_at=0.0, entries={1: ShardState()})
            state.add_rest_shards(record(verdict))
            assert sorted(state.entries) == numbers
        state = AttemptState(attempt=2, started_at=0.0, entries={1: ShardState()})
        state.add_rest_shards(record(None))
        assert sorted(state.entries) == [1]
