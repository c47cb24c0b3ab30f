"""When to collect the shards whose batches have ended while others still run: pure functions.

The Map that collects runs ten shards side by side, and one of 100 MB takes some seven seconds: its
answers come from Groq and go to S3. What has been collected meanwhile is not waited for
after the last batch, ten shards less being one turn of the Map less.

A round costs 0.0001 to 0.0002 USD, whatever it collects: three states, one status check, the Map's
own calls of S3; and 0.000006 USD for each shard that it is given by name. A shard's own invocation
costs the same at any time. The cadence of the status checks pays 0.00003 to 0.0001 USD for a second
less of delay (twice the checks of a batch of 12 hours, or of 10 minutes, for half of it), so a
round that takes a turn of seven seconds off the end is worth its price, and one that takes nothing
off is not. Of ten shards or fewer there is only one turn, but their functions and downloads share
the limits of an account. They are collected early while that halves what is left at the end: at
most four times.

No round is begun that might last longer than the next wait. Until it has ended nobody looks at the
batches that run. ``bench/aws_model/assumptions.py`` says where the prices and times come from.
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
