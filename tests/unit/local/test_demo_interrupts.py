"""One interruption at a time."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from local.demo.interrupts import Interrupts


def test_second_signal_is_left_out_until_allowed_again() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(signal.SIGINT, None)
    interrupts.handle(signal.SIGTERM, None)
    interrupts.allow_another()
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(signal.SIGHUP, None)


def test_no_signal_counts_at_the_end() -> None:
    interrupts = Interrupts()
    interrupts.end()
    interrupts.handle(signal.SIGINT, None)


NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def _handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers_restored")
def test_all_ways_to_end_it_are_taken_over() -> None:
    for number in NUMBERS:
        signal.signal(number, signal.SIG_DFL)
    interrupts = Interrupts()
    interrupts.install()
    assert all(signal.getsignal(number) == interrupts.handle for number in NUMBERS)


@pytest.mark.usefixtures("_handlers_restored")
def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    Interrupts().install()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
