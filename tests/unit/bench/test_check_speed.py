"""The measurement of ``groq-batch check``."""

from __future__ import annotations

from bench.check_speed import CheckSpeed, measure


def test_it_measures_real_processes() -> None:
    found = measure(0.1, rounds=1)
    assert 0.09 < found.megabytes < 0.11
    assert found.check_seconds > 0
    assert found.help_seconds > found.python_seconds / 2
    assert 0 < found.processor_ratio < 10


def test_ratios_are_shares_of_the_speed_of_msgspec_alone() -> None:
    found = CheckSpeed(183.0, 2.0, 1.5, 0.8, 0.6, 0.2, 0.05)
    assert found.ratio == 0.75
    assert round(found.processor_ratio, 6) == 0.75
