"""Writes ``docs/faults.md``: the fault table, and below it what came of random kills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from tests.faults.scenario import Scenario
from tests.faults.trial import Seen

TABLE = Path(__file__).parents[2] / "docs" / "faults.md"

_KILLS_HEADING = "## Killed at random"

_HEAD = """# Faults

This page shows the result of injecting faults into the deployed stack. `make faults` deploys the
template to the emulator with permissions enforced, runs a job of {requests} requests for each line
of the tables against the Groq simulator, and writes this file.
Last run: {date}, {good} of {all} as expected.

"Batches" counts the batches created at Groq over all attempts, "rows" the delivered result rows,
and "answered" the rows with an answer. In every line the rows were in the order of the requests, no
successful request was sent again, no shard attempt had two batches, and at the end no batch was
running and no file of the job was left at Groq.
"""


_ELSEWHERE = """
## Other tests

The shipped state machine and the functions also run in one process and in virtual time
(`tests/workflow`), where waiting costs nothing and every call can be made to fail:

- a function dies before and after each call that changes anything, or is held there while a second
  one does the same step, or while the execution is stopped;
- a stop in each state, time limits, redrives before and after everything has been delivered,
  collecting executions that fail;
- every error of Lambda in every step, and half an hour without Lambda;
- half an hour without Groq in every step, for each of nine kinds of outage;
- batches refused as a whole, at their creation and at validation, for one of the models or URLs of
  a file, in the first and in the last attempt, with all of these crashes, concurrent invocations
  and stops;
- twenty jobs of twenty shards whose functions die at random; hundreds of random scenarios in which
  all of this happens at once.

[The state machine](reference/state-machine.md#retries) shows how long each state is retried after
each error.

If a policy denies the functions an object (S3 answers 403), the result depends on the object:

- the key of the results or of the failed lines: both are delivered below `superseded/<job_id>/`,
  and the job ends `failed` with `permission_denied` and their addresses;
- all of `output/` or all of `failed/`: the other one is delivered, and the denied one stays shard
  by shard in the job's working files, whose address the report names;
- the report, from the start: nothing is sent;
- the report, later: the job waits for its batches and delivers the results, and the final report
  comes within 15 minutes of being allowed;
- reading the report of an earlier job of the key, which a former KMS key may encrypt: everything
  is delivered below `superseded/<job_id>/`, and the job ends `failed` with `permission_denied`;
- the working files: the job stops after some hours; the paid answers are delivered when the files
  are allowed.
"""

_KILLS = """{heading}

`make kills` runs jobs of {shards} shards, two at a time, and repeatedly kills (SIGKILL) the process
of a random function, whatever it is doing; the emulator then discards all other processes of that
function, too. Last run: {date}, {right} of {jobs} jobs as expected. {kills} kills
within {minutes:.0f} minutes; {batches} batches were created for {expected} shards, {rows} rows
delivered for {requests} requests, in order, none paid twice.
"""


@dataclass(frozen=True, slots=True)
class Kills:
    """What came of a run of jobs whose functions were killed at random.

    Attributes:
        jobs: How many jobs ran.
        right: How many of them came out as expected.
        shards: Shards of each, of ten requests.
        kills: Processes that were killed.
        batches: Batches created at Groq, by all jobs.
        rows: Rows delivered, by all jobs.
        minutes: How long all of it took.
    """

    jobs: int
    right: int
    shards: int
    kills: int
    batches: int
    rows: int
    minutes: float


def write_kills(path: Path, kills: Kills) -> None:
    """Write the section on random kills, below the table that stands at ``path``."""
    table, _ = _parts(path)
    section = _KILLS.format(
        heading=_KILLS_HEADING,
        date=datetime.now(UTC).date().isoformat(),
        expected=kills.jobs * kills.shards,
        requests=kills.jobs * kills.shards * 10,
        jobs=kills.jobs,
        right=kills.right,
        shards=kills.shards,
        kills=kills.kills,
        batches=kills.batches,
        rows=kills.rows,
        minutes=kills.minutes,
    )
    path.write_text(f"{table}\n{section}", encoding="utf-8")


def _parts(path: Path) -> tuple[str, str]:
    """Return the table that stands at ``path``, and the section below it or nothing."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    table, heading, rest = text.partition(_KILLS_HEADING)
    return table.rstrip("\n") + "\n", heading + rest


def write_table(path: Path, results: Sequence[tuple[Scenario, Seen]]) -> None:
    """Write the table of a whole run to ``path``; what stands below it stays."""
    _, kills = _parts(path)
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
    text = "\n".join(lines) + "\n" + _ELSEWHERE
    path.write_text(f"{text}\n{kills}" if kills else text, encoding="utf-8")
