"""How fast ordinary calls are made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.domain.pacing import (
    FIRST_OPEN_CALLS,
    MAX_OF_ONE_FUNCTION,
    MAX_OPEN_CALLS,
    LimitsLeft,
    Pace,
)

NOTHING = LimitsLeft()


def begun(pace: Pace, wanted: int = 100, *, open_calls: int = 0, now: float = 0.0) -> int:
    return pace.count([10.0] * wanted, open_calls=open_calls, now=now)


def test_begins_with_a_few_calls() -> None:
    assert begun(Pace()) == FIRST_OPEN_CALLS
    assert begun(Pace(), open_calls=FIRST_OPEN_CALLS - 1) == 1
    assert begun(Pace(), open_calls=FIRST_OPEN_CALLS) == 0


def test_each_answer_allows_one_more_up_to_the_most() -> None:
    pace = Pace()
    for _ in range(200):
        pace.answered(NOTHING, now=0.0)
    assert begun(pace) == MAX_OF_ONE_FUNCTION < MAX_OPEN_CALLS


def test_a_refusal_halves_and_waits_as_long_as_it_says() -> None:
    pace = Pace(allowed=20)
    pace.refused(7.0, "Come back later.", now=100.0)
    assert pace.allowed == 10
    assert begun(pace, now=106.9) == 0
    assert begun(pace, now=107.0) == 10
    assert pace.reason == "Come back later."


def test_refusals_of_calls_that_were_open_together_count_once() -> None:
    pace = Pace(allowed=20)
    for _ in range(20):
        pace.refused(7.0, "", now=100.0)
    assert pace.allowed == 10


def test_refusals_without_a_time_back_off_and_an_answer_ends_that() -> None:
    pace, now, pauses = Pace(), 0.0, []
    for _ in range(8):
        pace.refused(None, "", now=now)
        pauses.append(pace.begins_at - now)
        now = pace.begins_at
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    pace.answered(NOTHING, now=now)
    pace.refused(None, "", now=now)
    assert pace.begins_at - now == 2


def test_no_call_is_begun_whose_tokens_are_not_left() -> None:
    pace = Pace(allowed=20)
    pace.answered(LimitsLeft(tokens=25.0, tokens_reset_in=30.0), now=100.0)
    assert begun(pace, now=100.0) == 2
    # While calls are open their answers will tell more; then it waits for the reset.
    assert begun(pace, open_calls=2, now=101.0) == 0
    assert pace.begins_at == 0.0
    assert begun(pace, now=101.0) == 0
    assert pace.begins_at == 130.0
    assert "tokens" in pace.reason
    assert begun(pace, now=130.0) > 0


def test_no_call_is_begun_when_none_are_left_for_the_day() -> None:
    pace = Pace(allowed=20)
    pace.answered(LimitsLeft(requests=1.0, requests_reset_in=900.0), now=0.0)
    assert begun(pace, now=0.0) == 1
    assert begun(pace, now=1.0) == 0
    assert pace.begins_at == 900.0


def test_what_never_fits_is_asked_alone_after_the_reset() -> None:
    pace = Pace()
    pace.answered(LimitsLeft(tokens=5.0, tokens_reset_in=10.0), now=0.0)
    assert pace.count([1e6], open_calls=0, now=0.0) == 0
    assert pace.count([1e6], open_calls=0, now=10.0) == 1


def test_the_calls_of_a_minute_are_learned_from_a_refusal() -> None:
    pace = Pace(allowed=40)
    assert begun(pace, 30, now=0.0) == 30
    for _ in range(10):
        pace.refused(60.0, "", is_limit=True, now=1.0)
    assert pace.per_minute == 20
    assert begun(pace, now=61.0) == 20
    assert begun(pace, now=62.0) == 0
    assert pace.begins_at == 121.0


def test_a_minute_without_a_refusal_allows_more() -> None:
    pace = Pace(per_minute=20)
    pace.answered(NOTHING, now=100.0)
    assert pace.per_minute == 30
    pace.answered(NOTHING, now=110.0)
    assert pace.per_minute == 30


def test_a_refusal_of_the_first_calls_tells_nothing_of_a_minute() -> None:
    pace = Pace()
    assert begun(pace) == 4
    for _ in range(4):
        pace.refused(2.0, "", is_limit=True, now=0.0)
    assert pace.per_minute is None
    assert begun(pace, now=2.0) == 2


def test_another_function_goes_on_within_the_minute() -> None:
    pace = Pace(allowed=40)
    pace.goes_on(30, now=1000.0)
    assert begun(pace, now=1000.0) <= 1
    assert 0 < begun(pace, now=1030.0) <= 16
    assert begun(Pace(allowed=40), now=0.0) == 40


ANSWERS = st.one_of(
    st.just("answer"),
    st.tuples(st.just("limit"), st.floats(0, 90)),
    st.tuples(st.just("busy"), st.none()),
)


@given(st.lists(st.tuples(ANSWERS, st.floats(0, 20)), max_size=60))
def test_never_stands_still_for_ever_nor_goes_beyond_the_most(
    happens: list[tuple[object, float]],
) -> None:
    pace, now = Pace(), 0.0
    for what, pause in happens:
        now += pause
        if what == "answer":
            pace.answered(NOTHING, now=now)
        else:
            assert isinstance(what, tuple)
            pace.refused(what[1], "", is_limit=what[0] == "limit", now=now)
        assert 1 <= pace.allowed <= MAX_OF_ONE_FUNCTION
        assert begun(pace, now=now) <= pace.allowed
    for _ in range(4):
        now = max(pace.begins_at, now)
        if begun(pace, now=now):
            return
    pytest.fail("no call is ever begun")
