"""What the figures are held against, and whether they pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench import cadence
from bench.aws_model.bill import FILES_OF_A_DAY
from bench.end_to_end import OURS
from bench.memory import NO_FUNCTIONS
from bench.store import Results
from bench.tables import digits, megabytes

PEAK_BYTES = 150_000_000
TUTORIAL_TIMES = 1.5
MSGSPEC_SHARE = 0.6
JSON_TIMES = 3.0
GROWTH = 1.2
BYTES_OF_A_LINE = 64
USD_OF_A_MILLION = 0.05
SWEEP_CALLS = 1020
SWEEP_SECONDS = 300
SMALL_JOB_USD = 0.0022
FILES_OF_A_DAY_USD = 22.0
WARM_SECONDS = 12.0
COLD_SECONDS = 17.0
LAG_SHARE = 0.1
MILLION_USD = 0.045
TUTORIAL = "tutorial script"


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise about a figure.

    Attributes:
        text: What is promised.
        found: What was measured.
        passes: Whether it holds.
    """

    text: str
    found: str
    passes: bool


def bars(results: Results) -> list[Bar]:
    """Return the promises about all parts that have been measured."""
    found: list[Bar] = []
    if "jobs" in results:
        found += _of_jobs(results["jobs"]["large"]["entries"])
    if "prepare" in results:
        found += _of_preparation(results["prepare"]["speeds"])
    if "memory" in results:
        found += _of_memory(results["memory"])
    if "joins" in results:
        moved = results["joins"]["shards"]
        count = moved["read_bytes"] + moved["written_bytes"]
        text = f"joining {moved['shards']:,} shards of {moved['bytes'] // moved['shards'] // 10**6}"
        found.append(Bar(f"{text} MB moves no bytes through the function", f"{count}", count == 0))
    if "cost" in results:
        total = results["cost"]["total_usd"]
        text = f"AWS cost of a million requests below {USD_OF_A_MILLION} USD"
        found.append(Bar(text, f"{total:.4f} USD", total < USD_OF_A_MILLION))
    if "aws" in results:
        found += _of_small_jobs(results["aws"])
    if "cadence" in results:
        lag = max(_lags_above_a_minute(results["cadence"]["durations"]))
        text = f"median lag of a look at a batch of more than a minute: at most {LAG_SHARE:.0%}"
        found.append(Bar(text, f"{lag:.1%}", lag <= LAG_SHARE))
    if "sweep" in results:
        known = results["sweep"]["known"]
        calls, seconds = sum(known["calls"].values()), known["cpu_seconds"]
        text = f"sweep of {known['uploads']:,} known uploads: at most"
        found.append(Bar(f"{text} {SWEEP_CALLS:,} calls", f"{calls:,}", calls <= SWEEP_CALLS))
        told = f"{digits(seconds)} s"
        found.append(Bar(f"{text} {SWEEP_SECONDS} s of a core", told, seconds <= SWEEP_SECONDS))
    return found


def _of_small_jobs(part: dict[str, Any]) -> list[Bar]:
    """Hold what the model says against what small jobs, and the largest, may cost and take."""
    small = part["costs"]["1"]["10 min"]
    day = small["busy"] * FILES_OF_A_DAY
    million = part["costs"]["1,000,000"]["10 min"]["alone"]
    text = "AWS cost of one request, batch of 10 minutes, at most"
    found = [
        Bar(
            f"{text} {SMALL_JOB_USD} USD",
            f"{small['alone']:.5f} USD",
            small["alone"] <= SMALL_JOB_USD,
        ),
        Bar(
            f"{FILES_OF_A_DAY:,} such jobs a day at most {FILES_OF_A_DAY_USD:.0f} USD",
            f"{day:.2f} USD",
            day <= FILES_OF_A_DAY_USD,
        ),
    ]
    for name, most in (("warm", WARM_SECONDS), ("cold", COLD_SECONDS)):
        seconds = sum(warm + cold for _, warm, cold in part["hops"][name])
        text = f"upload to output, {name}, Groq taking 5 s: at most {most:.0f} s"
        found.append(Bar(text, f"{seconds:.1f} s", seconds <= most))
    text = f"1,000,000 requests of 4 KB, all counted: at most {MILLION_USD} USD"
    found.append(Bar(text, f"{million:.4f} USD", million <= MILLION_USD))
    return found


def _lags_above_a_minute(durations: dict[str, Any]) -> list[float]:
    """Return the median lag of the pipeline's own cadence for each duration above a minute."""
    long = dict(cadence.DURATIONS)
    return [found[0]["median_lag"] for name, found in durations.items() if long[name] > 60]


def _of_jobs(entries: dict[str, Any]) -> list[Bar]:
    ours = entries[OURS]
    found = []
    tutorial = entries[TUTORIAL]
    if not tutorial["note"]:
        ratio = ours["seconds"] / tutorial["seconds"]
        text = f"183 MB job at most {TUTORIAL_TIMES} times the tutorial script's time"
        found.append(Bar(text, f"{ratio:.2f} times", ratio <= TUTORIAL_TIMES))
    others = {
        name: entry["seconds"]
        for name, entry in entries.items()
        if name not in (OURS, TUTORIAL) and not entry["note"]
    }
    if others:
        name, best = min(others.items(), key=lambda item: item[1])
        text = "183 MB job faster than every other tool"
        told = f"{digits(ours['seconds'])} s beside {digits(best)} s ({name})"
        found.append(Bar(text, told, ours["seconds"] < best))
    text = f"no function above {megabytes(PEAK_BYTES)} MB, boto3 included"
    peak = ours["peak_bytes"]
    found.append(Bar(text, f"{megabytes(peak)} MB", peak <= PEAK_BYTES))
    check = ours["check"]
    right = f"{check['right']:,} of {check['expected']:,}"
    exact = check["right"] == check["expected"] and check["in_order"]
    found.append(Bar("every row right, in order", right, exact))
    return found


def _of_preparation(speeds: dict[str, dict[str, float]]) -> list[Bar]:
    found = []
    for name, speed in speeds.items():
        share, times = speed["ours"] / speed["msgspec"], speed["ours"] / speed["json"]
        text = f"preparation, lines of {name}: at least {MSGSPEC_SHARE:.0%} of msgspec alone"
        found.append(Bar(text, f"{share:.0%}", share >= MSGSPEC_SHARE))
        text = f"preparation, lines of {name}: at least {JSON_TIMES:.0f} times json.loads"
        found.append(Bar(text, f"{times:.1f} times", times >= JSON_TIMES))
    return found


def _of_memory(part: dict[str, Any]) -> list[Bar]:
    """Hold the peak at 1 GB against that at 100 MB, for each function."""
    jobs, shard = part["job"], part["shard"]
    if not {"100", "1000"} <= jobs.keys():
        return []
    found = [
        _growth(name, jobs["100"][name], jobs["1000"][name], jobs["1000"]["lines"])
        for name in sorted(jobs["1000"].keys() - NO_FUNCTIONS)
    ]
    name = "download_results"
    found.append(
        _growth(
            f"{name}, one shard", shard["100"][name], shard["1000"][name], shard["1000"]["lines"]
        )
    )
    return found


def _growth(name: str, before: float, after: float, lines: int) -> Bar:
    most = GROWTH * before + BYTES_OF_A_LINE * lines
    text = f"{name}: peak at 1 GB at most {GROWTH} times that at 100 MB and 64 bytes a line"
    return Bar(text, f"{megabytes(after)} MB, allowed {megabytes(most)} MB", after <= most)
