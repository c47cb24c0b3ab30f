"""Failures replayed through each alarm's own rules: it rings, soon enough, and once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from groq_batch.domain.polling import wait_seconds
from groq_batch.steps.check_status.reasons import GRACE_SECONDS
from tests.infrastructure.alarm_model import MAX_EXTRA_PERIODS, MINUTE, Alarm, Point
from tests.infrastructure.stack import Stack

HOUR, DAY = 3_600.0, 86_400.0
RECONCILED_EVERY = 15 * MINUTE
A_LOOK_TAKES = 3.0
AN_UNANSWERED_LOOK_TAKES = 70.0
"""Connections that are given up, one or two of them."""

FIRST = 4 * DAY
"""When a failure begins: the jobs have run for a while."""

EXTRA_PERIODS = (0, 2, MAX_EXTRA_PERIODS)


@cache
def stack(**parameters: str) -> Stack:
    return Stack.deploy(NotificationEmail="team@example.com", **parameters)


def times_rung(
    name: str, points: list[Point], *, extra: int, end: float, begin: float = DAY, **parameters: str
) -> list[float]:
    """Return when an alarm of the stack goes on."""
    alarm = Alarm.read(stack(**parameters).properties(name), extra_periods=extra)
    return alarm.ringing(points, begin=begin, end=end)


# -- what is published ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A job that waits for a batch of which Groq tells no progress."""

    begin: float = 3 * DAY
    window: float = 7 * DAY
    attempts: int = 3
    longest: int = 900

    def looks(self, is_out: Callable[[float], bool]) -> Iterator[float]:
        """Yield when the job looks at its batch, by the rule that the functions follow."""
        deadline = self.begin + self.window + GRACE_SECONDS
        now = self.begin
        for polls in itertools.count(1):
            now += AN_UNANSWERED_LOOK_TAKES if is_out(now) else A_LOOK_TAKES
            yield now
            if now > deadline:
                return
            now += wait_seconds(
                elapsed_seconds=now - self.begin,
                idle_seconds=now - self.begin,
                done=0,
                total=50_000,
                polls=polls,
                remaining_seconds=deadline - now + (self.attempts - 1) * self.window,
                planned_seconds=self.attempts * self.window,
                attempts=self.attempts,
                shortest=5,
                longest=self.longest,
            )


def looks(jobs: list[Job], is_out: Callable[[float], bool], *, end: float) -> Iterator[float]:
    """Yield the looks of all jobs up to a time."""
    for job in jobs:
        yield from itertools.takewhile(lambda at: at <= end, job.looks(is_out))


def counts(
    *, end: float, overdue: Callable[[float], int], begin: float = 0.0, seed: int = 1
) -> list[Point]:
    """Return what the reconciler publishes: every 15 minutes, up to a minute late.

    It counts at once, or, with many open jobs, some minutes later.
    """
    chance = random.Random(seed)
    points = []
    at = begin
    while at < end:
        moment = at + chance.uniform(0, 60) + chance.choice([2.0, 2.0, 2.0, 400.0])
        points.append(Point(moment, overdue(moment)))
        at += RECONCILED_EVERY
    return points


def jobs(number: int, **changes: float) -> list[Job]:
    """Return jobs that were started some minutes one after the other."""
    return [
        Job(begin=3 * DAY + 7 * MINUTE * place, **changes)  # type: ignore[arg-type]
        for place in range(number)
    ]


LIVES = {
    "a-day": {"window": DAY, "attempts": 3},
    "a-week": {"window": 7 * DAY, "attempts": 3},
    "weeks": {"window": 7 * DAY, "attempts": 4},
}
"""What fits into the default retention, and so may be asked for by any upload."""


def failing(at: float, hours: float) -> Callable[[float], bool]:
    """Return a test for the time of an outage."""
    return lambda now: at <= now < at + hours * HOUR


# -- the failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("number", [1, 3, 10])
def test_a_key_revoked_for_60_hours_rings_once(number: int, life: str, extra: int):
    hours = 12 if life == "a-day" else 60  # Jobs of a day are given up after two.
    waiting = [one for one in jobs(number, **LIVES[life]) if one.begin < FIRST]
    begin = 3 * DAY + 2 * HOUR if life == "a-day" else FIRST
    is_out = failing(begin, hours)
    end = begin + (hours + 30) * HOUR
    points = [Point(at, 1) for at in looks(waiting, is_out, end=end) if is_out(at)]
    assert len(points) > number * 5
    (rung,) = times_rung("AccountErrorsAlarm", points, extra=extra, end=end)
    # A few minutes after the first look that met it.
    assert 0 <= rung - min(point.at for point in points) <= 4 * MINUTE


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("longest", [300, 3_600, 7_200, 21_600])
def test_a_key_revoked_rings_once_however_seldom_jobs_look(longest: int, extra: int):
    is_out = failing(FIRST, 60)
    end = FIRST + 90 * HOUR
    waiting = [Job(longest=longest)]
    points = [Point(at, 1) for at in looks(waiting, is_out, end=end) if is_out(at)]
    rung = times_rung(
        "AccountErrorsAlarm", points, extra=extra, end=end, PollMaxSeconds=str(longest)
    )
    assert len(rung) == 1


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
def test_a_key_revoked_rings_once_for_the_longest_jobs_of_all(extra: int):
    is_out = failing(FIRST, 60)
    end = FIRST + 90 * HOUR
    waiting = [Job(attempts=10)]
    points = [Point(at, 1) for at in looks(waiting, is_out, end=end) if is_out(at)]
    rung = times_rung("AccountErrorsAlarm", points, extra=extra, end=end, WorkRetentionDays="72")
    assert len(rung) == 1


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
def test_jobs_that_fail_at_every_firing_ring_once(extra: int):
    """A file below recurring/ fails every hour for a day; others end well in between."""
    failed = [Point(FIRST + number * HOUR, 1) for number in range(24)]
    others = [Point(FIRST + number * 10 * MINUTE + 30, 0) for number in range(-100, 400)]
    rung = times_rung("FailedJobsAlarm", failed + others, extra=extra, end=FIRST + 3 * DAY)
    assert len(rung) == 1
    assert rung[0] - FIRST <= 4 * MINUTE


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("life", LIVES)
@pytest.mark.parametrize("number", [1, 3, 10])
def test_groq_out_for_six_hours_rings_once(number: int, life: str, extra: int):
    begin = 3 * DAY + 12 * HOUR if life == "a-day" else FIRST + 2 * DAY
    is_out = failing(begin, 6)
    end = begin + 30 * HOUR
    points = groq_answers(jobs(number, **LIVES[life]), is_out, end=end)
    (rung,) = times_rung("GroqErrorsAlarm", points, extra=extra, end=end)
    assert begin < rung < begin + 5 * HOUR


def groq_answers(waiting: list[Job], is_out: Callable[[float], bool], *, end: float) -> list[Point]:
    """Return a nought for each look, and a one beside it for each that Groq did not answer."""
    made = list(looks(waiting, is_out, end=end))
    return [Point(at, 0) for at in made] + [Point(at, 1) for at in made if is_out(at)]


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
def test_errors_here_and_there_do_not_ring(extra: int):
    """A hundred jobs, one look in fifty without an answer; and one job, a single such look."""
    chance = random.Random(7)
    end = FIRST + DAY
    made = list(looks(jobs(100), lambda at: False, end=end))
    points = [Point(at, 0) for at in made]
    points += [Point(at, 1) for at in made if chance.random() < 0.02]
    assert times_rung("GroqErrorsAlarm", points, extra=extra, end=end) == []
    made = list(looks([Job()], lambda at: False, end=end))
    points = [Point(at, 0) for at in made] + [Point(made[-8], 1)]
    assert times_rung("GroqErrorsAlarm", points, extra=extra, end=end) == []


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("hours", [4, 24])
def test_functions_that_do_not_run_ring_once(hours: int, seed: int, extra: int):
    """Throttled, broken by a deployment, or the reconciler alone is dead: nothing is counted."""
    counted = counts(end=FIRST + 3 * DAY, overdue=lambda at: 0, seed=seed)
    is_out = failing(FIRST, hours)
    points = [point for point in counted if not is_out(point.at)]
    (rung,) = times_rung("OverdueJobsAlarm", points, extra=extra, end=FIRST + 3 * DAY)
    # The more periods it reads, the longer an old count holds it back.
    assert FIRST + 45 * MINUTE <= rung <= FIRST + (1.25 + extra / 2) * HOUR
    # Whatever is published only where something happens tells nothing of it.
    for name in ("AccountErrorsAlarm", "FailedJobsAlarm", "GroqErrorsAlarm", "FailureShareAlarm"):
        assert times_rung(name, [], extra=extra, end=FIRST, begin=FIRST) == []


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("seed", range(3))
def test_a_reconciler_that_runs_late_at_times_does_not_ring(seed: int, extra: int):
    points = counts(end=FIRST + 4 * DAY, overdue=lambda at: 0, seed=seed)
    # Two runs of it fail, and are not made up for.
    del points[200], points[201]
    assert times_rung("OverdueJobsAlarm", points, extra=extra, end=FIRST + 3 * DAY) == []


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
@pytest.mark.parametrize("seed", range(3))
def test_an_overdue_job_rings_once(seed: int, extra: int):
    is_overdue = failing(FIRST, 30)
    points = counts(end=FIRST + 4 * DAY, overdue=lambda at: int(is_overdue(at)), seed=seed)
    (rung,) = times_rung("OverdueJobsAlarm", points, extra=extra, end=FIRST + 3 * DAY)
    assert FIRST <= rung <= FIRST + 1.25 * HOUR


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
def test_a_new_stack_is_counted_within_minutes(extra: int):
    """The first count comes with the schedule; until it is published the alarm may be on."""
    points = counts(begin=FIRST, end=FIRST + DAY, overdue=lambda at: 0)
    rung = times_rung("OverdueJobsAlarm", points, extra=extra, begin=FIRST, end=FIRST + DAY)
    assert rung == [FIRST]
    alarm = Alarm.read(stack().properties("OverdueJobsAlarm"), extra_periods=extra)
    assert alarm.ringing(points, begin=points[0].at + 3 * MINUTE, end=FIRST + DAY) == []


@pytest.mark.parametrize("extra", EXTRA_PERIODS)
def test_a_dead_letter_rings_once_until_it_is_taken_away(extra: int):
    """SQS counts what waits every minute as long as something waits."""
    waits = failing(FIRST, 50)
    minutes = (FIRST - DAY + number * MINUTE for number in range(6_000))
    points = [Point(at, int(waits(at))) for at in minutes]
    (rung,) = times_rung("DeadLetterAlarm", points, extra=extra, end=FIRST + 3 * DAY)
    assert rung - FIRST <= 5 * MINUTE


# -- the model itself ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "needed", "if_missing_is_bad", "if_missing_is_good"),
    [
        ("0-X-X", 3, False, False),
        ("0----", 3, False, False),
        ("-----", 3, True, False),
        ("0XX-X", 3, True, True),
        ("--X--", 3, True, False),
        ("0-X-X", 2, True, True),
        ("00X0X", 2, True, True),
        ("0-X--", 2, True, False),
        ("----0", 2, True, False),
        ("---X-", 2, True, False),
    ],
)
def test_the_model_judges_as_the_tables_of_aws_do(
    shown: str, needed: int, if_missing_is_bad: bool, if_missing_is_good: bool
):
    """Both tables of "Configuring how CloudWatch alarms treat missing data"."""
    periods = [{"0": 0.0, "X": 1.0, "-": None}[one] for one in shown]
    judgements = {"breaching": if_missing_is_bad, "notBreaching": if_missing_is_good}
    for missing, expected in judgements.items():
        properties = {
            "ComparisonOperator": "GreaterThanThreshold",
            "Statistic": "Maximum",
            "Period": 300,
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": needed,
            "Threshold": 0.5,
            "TreatMissingData": missing,
        }
        assert Alarm.read(properties, extra_periods=2).rings(periods) == expected, missing
