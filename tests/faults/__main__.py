"""``python -m tests.faults [NAME...]``: try the faults and write ``docs/faults.md``.

Exit status: 0 when every job came out as expected.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.e2e.pipeline import Pipeline, secret_of
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.table import TABLE, write_table
from tests.faults.trial import Seen, try_scenario

_AT_ONCE = 6


def main() -> int:
    """Run the scenarios, print them as they end, write the table of a whole run."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    chosen = parser.parse_args().names
    known = {scenario.name for scenario in SCENARIOS}
    if unknown := set(chosen) - known:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}; known: {sorted(known)}")
    scenarios = [one for one in SCENARIOS if not chosen or one.name in chosen]
    print("Deploying to the emulator ...", flush=True)
    with LocalStack(wait_scale=0.02) as stack:
        pipeline = deploy(stack, "faults", MaxRequestsPerBatch="1000")
        pipeline.simulator.configure(batch_seconds=0.5)
        seen = _try_all(pipeline, scenarios)
    if not chosen:
        write_table(TABLE, [(one, seen[one.name]) for one in SCENARIOS])
        print(f"Written: {TABLE.relative_to(Path.cwd())}")
    failed = [name for name, result in seen.items() if result.problems]
    print(f"{len(seen) - len(failed)} of {len(seen)} faults came out as expected.")
    return 1 if failed else 0


def _try_all(pipeline: Pipeline, scenarios: list[Scenario]) -> dict[str, Seen]:
    """Try scenarios: together those that do not meet each other, then one by one the others."""
    seen: dict[str, Seen] = {}

    def run(scenario: Scenario) -> None:
        begun = time.monotonic()
        seen[scenario.name] = result = try_scenario(pipeline, scenario)
        word = "; ".join(result.problems) or "as expected"
        print(f"{time.monotonic() - begun:5.0f} s  {scenario.fault}: {word}", flush=True)

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        list(pool.map(run, [one for one in scenarios if not one.alone]))
    for scenario in scenarios:
        if scenario.alone:
            run(scenario)
            pipeline.simulator.clear_faults()
            pipeline.simulator.set_keys({pipeline.stack.groq_api_key: "paid"})
            pipeline.stack.put_secret(secret_of(pipeline.parameters), pipeline.stack.groq_api_key)
    return seen


if __name__ == "__main__":
    sys.exit(main())
