"""The cadence of the status checks against fixed intervals, over the lives of batches."""

from __future__ import annotations

import itertools
import math

import pytest

from bench.cadence import (
    DAY,
    DURATIONS,
    EVENTS_OF_A_POLL,
    HISTORY_LIMIT,
    HOUR,
    MINUTE,
    POLICIES,
    REQUESTS,
    WAYS,
    Batch,
    Look,
    Outcome,
    batches,
    fixed,
    most_events,
    outcome,
    shipped,
    watch,
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """Return every policy over a fourth of all batches: they take long to watch."""
    lives = list(batches(seconds for _, seconds in DURATIONS))[::4]
    return {name: outcome(policy, lives) for name, policy in POLICIES}


@pytest.mark.parametrize("name", [name for name, policy in POLICIES if policy is not None])
def test_it_costs_less_than_every_fixed_interval_and_sees_every_end(
    outcomes: dict[str, Outcome], name: str
) -> None:
    ours, theirs = outcomes["this pipeline"], outcomes[name]
    assert ours.usd < theirs.usd / 3
    assert ours.polls < theirs.polls / 3
    assert ours.median_lag <= 0.1
    assert ours.never == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("days", [1, 3, 7])
def test_three_attempts_that_take_their_windows_stay_below_5000_events(way: str, days: int) -> None:
    # Windows of a day plan in the same interval whatever their number; those of a week do not.
    assert most_events(WAYS[way], window=days * DAY) < (5_000 if days == 7 else 6_000)


@pytest.mark.parametrize(
    ("queue", "tail", "bend"),
    list(itertools.product((0.0, 0.3, 0.6), (0.0, 0.001, 0.01, 0.3), (0.3, 1.0, 2.0))),
)
def test_no_way_of_progress_takes_a_job_of_weeks_to_5000_events(
    queue: float, tail: float, bend: float
) -> None:
    assert most_events({"queue": queue, "tail": tail, "bend": bend}) < 5_000


@pytest.mark.parametrize(("name", "seconds"), DURATIONS)
def test_the_lag_is_in_proportion_to_the_duration(name: str, seconds: float) -> None:
    for batch in batches([seconds]):
        life = watch(batch, shipped())
        share = 0.23 if batch.seconds > MINUTE else 1.0
        assert life.lag <= max(6.0, share * batch.seconds), (name, batch)


@pytest.mark.parametrize(("name", "seconds"), [one for one in DURATIONS if one[1] > MINUTE])
def test_the_end_is_seen_within_a_tenth_at_the_median(name: str, seconds: float) -> None:
    assert outcome(None, list(batches([seconds]))).median_lag <= 0.1, name


@pytest.mark.parametrize("seconds", [HOUR, 5 * HOUR, DAY])
def test_an_end_that_progress_foretells_is_seen_within_a_tenth(seconds: float) -> None:
    for way in ("steady", "fast, then slow"):
        batch = Batch(seconds, **WAYS[way])  # type: ignore[arg-type]
        assert watch(batch, shipped()).lag <= max(6.0, 0.1 * seconds)


# -- the simulation itself -------------------------------------------------------------------------


def test_a_fixed_interval_looks_as_often_as_it_fits_in() -> None:
    life = watch(Batch(100.0), fixed(30))
    assert life.polls == 5  # At 0, 30, 60, 90 and 120 seconds.
    assert life.lag == 20.0
    assert life.events == 5 * EVENTS_OF_A_POLL


def test_an_execution_whose_history_is_full_never_sees_the_end() -> None:
    life = watch(Batch(7 * DAY), fixed(3))
    assert math.isinf(life.lag)
    assert life.events <= HISTORY_LIMIT


def test_a_policy_is_told_what_the_batch_tells() -> None:
    looks: list[Look] = []

    def policy(look: Look) -> float:
        looks.append(look)
        return 10 * MINUTE

    watch(Batch(HOUR, queue=0.5, tail=0.25), policy, polls=7)
    assert [look.polls for look in looks] == [8, 9, 10, 11, 12, 13]
    assert [look.done for look in looks] == [0, 0, 0, 0, 33_333, REQUESTS]
    assert [look.progress_at for look in looks][-2:] == [40 * MINUTE, 50 * MINUTE]


def test_nothing_is_told_by_a_batch_that_tells_no_progress() -> None:
    batch = Batch(100.0, tells=False)
    assert [batch.done(second) for second in (0, 99.9, 100)] == [0, 0, REQUESTS]
