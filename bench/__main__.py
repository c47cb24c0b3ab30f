"""``python -m bench [PART...]``: measure, and write ``docs/performance.md``.

Parts that are not named stay as they were measured last (``bench/results.json``).
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

# Measure the functions of this tree.
sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))

from bench import cadence, document, end_to_end, memory, preparation, store, sweeps, whole_job
from bench.aws_model import part as aws_model


def _progress(text: str) -> None:
    print(f"  {text}", flush=True)


PARTS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "cadence": ("cadence of the status checks", cadence.measure),
    "prepare": ("preparation against decoders", lambda: {"speeds": preparation.measure()}),
    "aws": ("a model of AWS, from counted calls", lambda: aws_model.measure(_progress)),
    "jobs": ("one job from S3 to S3, against other tools", lambda: end_to_end.measure(_progress)),
    "whole": ("one job, step by step", lambda: whole_job.measure(_progress)),
    "sweep": ("a sweep of a million uploads", lambda: sweeps.measure(_progress)),
    "memory": ("peak memory by size", lambda: memory.measure(_progress)),
}


def main() -> None:
    """Measure the chosen parts."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument(
        "--page", action="store_true", help="measure nothing, write the page from stored results"
    )
    options = parser.parse_args()
    chosen = options.parts
    if unknown := set(chosen) - PARTS.keys():
        parser.error(f"no part is called {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, _leave)
    results = store.load()
    for name, (title, measure) in PARTS.items():
        if options.page or (chosen and name not in chosen):
            continue
        print(f"{name}: {title} ...", flush=True)
        begun = time.monotonic()
        values = measure()
        results = store.save_part(name, values)
        print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    document.write(results)
    print(f"Written: {document.DOCUMENT.relative_to(Path(__file__).parents[1])}")


def _leave(number: int, _frame: FrameType | None) -> None:
    # As an exception, so that every process that was started is ended.
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
