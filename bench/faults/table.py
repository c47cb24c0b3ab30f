"""Writes the fault table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from bench.faults.scenario import Scenario
from bench.faults.trial import Seen

_HEAD = """# Faults

What goes wrong on a bad day, tried on the deployed stack: `make faults` deploys the template to the
emulator with permissions enforced, runs a job of {requests} requests for each line of this table
against the Groq simulator, and writes this file. Last run: {date}, {good} of {all} as expected.

"Batches" are those created at Groq over all attempts; "rows" are delivered result rows, of which so
many have an answer. In every line the rows stood in the order of the requests, no request that had
succeeded was sent again, no shard attempt had two batches, and at the end no batch ran and no file
of the job stood at Groq.
"""


def write_table(path: Path, results: Sequence[tuple[Scenario, Seen]]) -> None:
    """Write the table of a whole run to ``path``."""
    good = sum(not seen.problems for _, seen in results)
    head = _HEAD.format(
        requests=results[0][0].requests,
        date=datetime.now(UTC).date().isoformat(),
        good=good,
        all=len(results),
    )
    lines = [head]
    for group, members in groupby(results, key=lambda pair: pair[0].group):
        lines.append(f"\n## {group}\n")
        lines.append("| fault | expected | seen | batches | rows | answered | paid twice |")
        lines.append("|---|---|---|---:|---:|---:|---:|")
        for scenario, seen in members:
            word = seen.status if not seen.problems else "**" + "; ".join(seen.problems) + "**"
            expected = f"{scenario.status}, {scenario.batches} batch" + "es" * (
                scenario.batches != 1
            )
            lines.append(
                f"| {scenario.fault} | {expected}, {scenario.succeeded} answered | {word} | "
                f"{seen.batches} | {seen.rows} | {seen.succeeded} | {seen.paid_twice} |"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
