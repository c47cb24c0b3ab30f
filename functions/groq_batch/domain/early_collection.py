"""Decide when to collect ended shards while other batches still run: pure functions.

The collecting Map processes ten shards at a time, and one of 100 MB takes some seven seconds: its
answers come from Groq and go to S3. Shards that were collected early need no time
after the last batch; ten shards less are one turn of the Map less.

A round costs 0.0001 to 0.0002 USD, whatever it collects: three states, one status check, the Map's
own calls of S3; and 0.000006 USD for each shard that it is given by name. A shard's own invocation
costs the same at any time. The cadence of the status checks pays 0.00003 to 0.0001 USD for a second
less of delay (twice the checks of a batch of 12 hours, or of 10 minutes, for half of it), so a
round that saves a turn of seven seconds at the end is worth its price, and one that saves nothing
is not. Ten shards or fewer take only one turn, but their functions and downloads share
the limits of an account. They are collected early if that halves the work left at the end: at
most four times.

No round is started that might last longer than the next wait, because the running batches are not
checked until it ends. ``bench/aws_model/assumptions.py`` has the sources of the prices and times.
"""

from __future__ import annotations

import math

SIDE_BY_SIDE = 10
"""Shards that the Map collects at the same time: its ``MaxConcurrency``."""
SHARD_SECONDS = 7
"""What a shard of 100 MB takes: 70 MB of answers are 3.5 s from Groq at 20 MB/s and 1.4 s to S3 at
50 MB/s, and a new environment takes 2 s to begin. Batches that end within seconds of each other are
collected together, side by side: one after the other they took a tenth longer."""
MAP_SECONDS = 5
"""What a Distributed Map takes to begin and to end."""


def is_worth_a_round(*, ended: int, running: int, wait_seconds: float) -> bool:
    """Tell whether to collect now what has ended.

    Args:
        ended: Shards whose batches have ended, and that no such round has had.
        running: Shards whose batches still run.
        wait_seconds: How long the job waits otherwise until its next look.
    """
    if not ended or wait_seconds < round_seconds(ended):
        return False
    return ended >= running or _turns(ended + running) > _turns(running)


def round_seconds(shards: int) -> int:
    """Return what collecting some shards takes, in seconds."""
    if shards == 1:
        return SHARD_SECONDS
    return MAP_SECONDS + _turns(shards) * SHARD_SECONDS


def _turns(shards: int) -> int:
    return math.ceil(shards / SIDE_BY_SIDE)
