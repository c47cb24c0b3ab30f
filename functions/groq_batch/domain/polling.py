"""When to look at the batches again: one pure function.

A fixed interval is wrong at both ends: too slow for a batch of a minute, too dear for one of a
week. Waiting a fraction of the time already waited keeps the detection lag in proportion to the
duration and the number of checks logarithmic: with a fraction of 0.22 half of all ends are seen
within a tenth of what the batch took. In the first minute the wait is as long as the time before
it, for there a look costs more than some seconds are worth. Where the API tells progress, the end
is foreseen and the next look is then; where progress rests, the wait grows again.
"""

from __future__ import annotations

import math

LAG_SHARE = 0.22
"""Part of the time already waited (or rested) that the next interval lasts."""
FIRST_SECONDS = 60.0
"""Up to here the time already waited is doubled, as long as that keeps the lag of what takes longer
in its proportion."""
NEAR_SHARE = 0.1
"""Part of the time already waited that an interval lasts at least where the end is foreseen: nobody
needs to know the end of a week to the second."""
PLATEAU_CHECKS = 288
"""Checks that a job may spend at its longest interval. A job of long windows and many attempts gets
a longer one than ``PollMaxSeconds``."""
SHORT_CHECKS = 80
"""Checks for each attempt that may come sooner than the longest interval. When a job has used them
up its waits grow to the longest, so that three attempts of seven days stay below 5,000 events,
whatever their progress looks like."""
POLL_BUDGET = 2_000
"""Most status checks of an execution. A check, its Wait and its Choice add 9 events to the
execution's history (18,000 in all) and Step Functions ends an execution at 25,000; the rest is for
the Maps, for retries and for a job's other states."""
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
        idle_seconds: Time since the last request was seen to have an outcome.
        done: Requests of the attempt that have an outcome.
        total: Requests of the attempt; 0 when not known.
        polls: Status checks made so far by this execution.
        remaining_seconds: Longest time that the job may still take.
        planned_seconds: The completion windows of all attempts together.
        attempts: Most attempts of the job; those that are done count as well.
        shortest: The stack's ``PollMinSeconds``.
        longest: The stack's ``PollMaxSeconds``.
        wanted_within: When something else is due, such as another try to send a shard, in seconds.

    Returns:
        At least ``shortest``, at most ``longest`` or a part of ``planned_seconds``, but always long
        enough that the checks left in the budget last for ``remaining_seconds``.
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
    # Short waits are free as long as the rest of the time can be covered with the longest ones.
    budget = (planned_seconds + _GRACE_SECONDS) / ceiling + SHORT_CHECKS * attempts
    checks_left = max(min(budget, POLL_BUDGET) - polls, 1)
    if checks_left - remaining_seconds / ceiling < 1:
        wait = max(wait, remaining_seconds / checks_left)
    return max(1, math.ceil(wait))


FIRST_PAUSE_SECONDS = 30
"""Waiting time after the first round of a Map before what it left undone is tried again; every
further round doubles it."""
