"""One interruption at a time."""

from __future__ import annotations

import signal

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


def test_all_ways_to_end_it_are_taken_over() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    interrupts = Interrupts()
    try:
        interrupts.install()
        assert all(signal.getsignal(number) == interrupts.handle for number in numbers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
