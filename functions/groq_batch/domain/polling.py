"""Calculate when to check the batches again.

A fixed interval fails at both ends: too slow for a batch of a minute, too expensive for one of a
week. Waiting a fraction of the time already waited keeps the detection lag proportional to the
duration, and the number of checks logarithmic: with a fraction of 0.22, half of all ends are
detected within a tenth of the batch's duration. In the first minute each wait equals the time
before it, because there a check costs more than a few seconds are worth. If the API reports
progress, the end is predicted and checked at that time; if progress stops, the wait grows again.
"""

from __future__ import annotations

import math

LAG_SHARE = 0.22
"""Length of the next interval as a fraction of the time already waited (or without progress)."""
FIRST_SECONDS = 60.0
"""Up to about this many seconds each wait equals the time already waited, as long as longer batches
keep their proportional lag."""
NEAR_SHARE = 0.1
"""Minimum length of an interval, as a fraction of the time already waited, if the end is predicted:
the end of a week need not be known to the second."""
PLATEAU_CHECKS = 288
"""Number of checks that a job may make at its longest interval. A job with long windows and many
attempts gets a longer one than ``PollMaxSeconds``."""
SHORT_CHECKS = 80
"""Checks per attempt that may come sooner than the longest interval. When a job has used them up,
its waits grow to the longest, so that three attempts of seven days stay below 5,000 events,
whatever their progress."""
POLL_BUDGET = 2_000
"""Maximum of status checks per execution. A check, its Wait and its Choice add 9 events to the
execution's history (18,000 in total), and Step Functions ends an execution at 25,000. The rest is
for the Maps, for retries and for a job's other states. See
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html."""
FIRST_PAUSE_SECONDS = 30
"""Seconds before a new round for shards that the first round of a Map left open; every further
round doubles the pause."""
_GRACE_SECONDS = 24 * 3600


def wait_seconds(
    *,
    elapsed_seconds: float,
    idle_seconds: float,
    done: int,
    total: int,
    polls: int,
    remaining_seconds: float,
    planned_seconds: float,
    attempts: int = 1,
    shortest: int,
    longest: int,
    wanted_within: float = math.inf,
) -> int:
    """Return how long to wait before the next status check, in whole seconds.

    Args:
        elapsed_seconds: Time since the attempt's first batch was created.
        idle_seconds: Time since the last progress, that is, the last new outcome of a request.
        done: Requests of the attempt that have an outcome.
        total: Requests of the attempt; 0 if unknown.
        polls: Status checks made so far by this execution.
        remaining_seconds: Longest time that the job may still take.
        planned_seconds: The completion windows of all attempts together.
        attempts: Maximum number of attempts of the job, including finished ones.
        shortest: The stack's ``PollMinSeconds``.
        longest: The stack's ``PollMaxSeconds``.
        wanted_within: Seconds until something else is due, such as a new try to send a shard.

    Returns:
        At least ``shortest``, at most ``longest`` or a fraction of ``planned_seconds``, but always
        long enough that the remaining checks of the budget last for ``remaining_seconds``.
    """
    wait = elapsed_seconds * LAG_SHARE
    latest = FIRST_SECONDS * (1 + LAG_SHARE)
    wait = max(wait, min(elapsed_seconds, latest - elapsed_seconds))
    if 0 < done <= total:
        # At the pace so far the rest takes this long.
        rest = elapsed_seconds * (total - done) / done
        near = elapsed_seconds * NEAR_SHARE
        wait = min(wait, max(rest, idle_seconds * LAG_SHARE, near))
    ceiling = max(shortest, longest, planned_seconds / PLATEAU_CHECKS)
    wait = min(max(min(wait, wanted_within), shortest), ceiling)
    # Short waits cost nothing as long as the longest ones can cover the rest of the time.
    budget = (planned_seconds + _GRACE_SECONDS) / ceiling + SHORT_CHECKS * attempts
    checks_left = max(min(budget, POLL_BUDGET) - polls, 1)
    if checks_left - remaining_seconds / ceiling < 1:
        wait = max(wait, remaining_seconds / checks_left)
    return max(1, math.ceil(wait))


def within_deadline(seconds: int, *, deadline_at: float | None, now: float) -> int:
    """Shorten a wait so that it ends at the job's deadline, if that is in the future.

    Args:
        seconds: The wait in seconds.
        deadline_at: The deadline, in seconds since 1970; None without one.
        now: Seconds since 1970.
    """
    if deadline_at is None or now >= deadline_at:
        return seconds
    return max(min(seconds, math.ceil(deadline_at - now)), 1)
