"""The suite can be started in the background, where shells let it ignore signals."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.signals import PASSED_ON, signals_reach_children

NUMBERS = [int(number) for number in PASSED_ON]
CHILD = f"""
import signal
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
print([n for n in {NUMBERS} if signal.getsignal(n) == signal.SIG_IGN or n in blocked])
"""


@pytest.fixture
def _as_in_the_background() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in PASSED_ON}
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_IGN)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    for number, handler in before.items():
        signal.signal(number, handler)


def unheard_by_a_child() -> str:
    child = [sys.executable, "-c", CHILD]
    return subprocess.run(child, check=True, capture_output=True, text=True).stdout


@pytest.mark.usefixtures("_as_in_the_background")
def test_children_hear_what_this_process_ignores() -> None:
    everything = f"{NUMBERS}\n"
    assert unheard_by_a_child() == everything

    with signals_reach_children():
        assert unheard_by_a_child() == "[]\n"
        signal.raise_signal(signal.SIGTERM)

    assert unheard_by_a_child() == everything
    assert all(signal.getsignal(number) == signal.SIG_IGN for number in PASSED_ON)


def test_children_of_any_test_hear_signals() -> None:
    assert unheard_by_a_child() == "[]\n"
