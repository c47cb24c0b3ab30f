"""Limit the concurrent functions of the emulated Lambda to what this machine can hold."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")
_MEMORY_SHARE = 0.25
_WORKING_BYTES = 200 * 1024**2
"""Memory of a function that works on a typical file; 60 MB of it are Python and boto3."""

_IDLE_BYTES = 75 * 1024**2
_CONCURRENT_FOR_A_CORE = 3
"""A function waits for S3 and Groq for much of its time."""

_PROCESSES = 6
"""Processes that may live for each function that runs: a job has a row of six functions, each with
processes of its own, which are slow to start."""

_LEAST = 4
_MOST = 1000
"""The quota of an AWS account: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionLimits:
    """Limits of the emulated Lambda.

    Attributes:
        concurrent: Functions that run at once; more are throttled, as by an account's quota.
        processes: Processes of functions that live at once, idle ones among them.
    """

    concurrent: int
    processes: int

    @classmethod
    def of_concurrency(cls, concurrent: int) -> FunctionLimits:
        """Return the limits for a number of concurrent functions."""
        return cls(concurrent=concurrent, processes=_PROCESSES * concurrent)


def fitting_limits(*, cores: float, memory_bytes: int) -> FunctionLimits:
    """Return the limits that fit a machine.

    Args:
        cores: Cores that may be used.
        memory_bytes: Memory that may be used, by everything together.
    """
    each = _WORKING_BYTES + (_PROCESSES - 1) * _IDLE_BYTES
    by_memory = int(memory_bytes * _MEMORY_SHARE / each)
    by_cores = int(cores * _CONCURRENT_FOR_A_CORE)
    return FunctionLimits.of_concurrency(max(_LEAST, min(by_memory, by_cores, _MOST)))


def limits_of_this_machine() -> FunctionLimits:
    """Return the limits that fit this machine, or the container that this process runs in."""
    return fitting_limits(cores=_cores(), memory_bytes=_memory_bytes())


def _cores() -> float:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _control_group_text("cpu.max").partition(" ")
    by_quota = int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None
    return min(usable or 1, by_quota or float("inf"))


def _memory_bytes() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = _control_group_text("memory.max")
    return min(physical, int(allowed)) if allowed.isdecimal() else physical


def _control_group_text(name: str) -> str:
    """Return the content of a control group file of Linux; empty if there is none."""
    try:
        return (_CONTROL_GROUP / name).read_text(encoding="ascii").strip()
    except OSError:
        return ""
