"""Writes ``docs/performance.md`` from the measurements; contains its prose."""

# ruff: noqa: E501 (sentences with figures in them; they are wrapped when they are written)

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import cadence, cost, whole_job
from bench.aws_model import page as aws_page
from bench.aws_model.bill import FILES_OF_A_DAY
from bench.aws_model.part import GROQ_SECONDS, SMALL, TEN_MINUTES
from bench.end_to_end import OURS
from bench.memory import NO_FUNCTIONS
from bench.peers.driver import POLL_SECONDS
from bench.sizes import (
    MAX_SHARD_ROWS,
    SLOWER_CORE,
    TIMEOUT_SECONDS,
    ids_bytes,
    reach,
    submit_seconds,
    template_sizes,
)
from bench.store import Results
from bench.tables import Table, digits, megabytes, percent, usd
from groq_batch.request_file.splitter import MAX_GZIP_CONTENT_BYTES, MAX_GZIP_LINES

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"

_HEAD = """# Performance

What jobs cost at AWS, how long they take, how that compares with other tools, how much memory the
functions need, and [how all of it was measured](#how-it-was-measured). `make bench` measures and writes
this page. A megabyte is a million bytes.
"""

_WIDTH = 100

_NOT_MEASURED = "Not measured yet: `make bench ARGS={name}`.\n"


OPERATIONS = DOCUMENT.with_name("operations.md")
_BLOCK = "<!-- counted: many-files -->"
_BLOCK_END = "<!-- end of many-files -->"


def write(results: Results, path: Path = DOCUMENT) -> None:
    """Rewrite the page, and its table that the runbook repeats."""
    path.write_text(render(results), encoding="utf-8")
    if "aws" in results and path == DOCUMENT:
        OPERATIONS.write_text(with_many_files(OPERATIONS.read_text("utf-8"), results), "utf-8")


def with_many_files(text: str, results: Results) -> str:
    """Return the runbook with an updated table of many small files."""
    before, rest = text.split(_BLOCK)
    _, after = rest.split(_BLOCK_END)
    table = _wrapped(aws_page.many_files(results["aws"]["costs"]))
    return f"{before}{_BLOCK}\n\n{table}\n{_BLOCK_END}{after}"


def render(results: Results) -> str:
    """Return the page."""
    pieces = [_HEAD, _in_short(results)]
    for title, name, section in SECTIONS:
        part = results.get(name)
        pieces.append(f"{title}\n")
        pieces.append(section(part) if part else _NOT_MEASURED.format(name=name))
    pieces.append(f"### Sizes of the functions\n\n{_sizes(results)}")
    pieces.append(f"## How it was measured\n\n{_measured(results)}")
    pieces.append(f"### What is assumed of AWS\n\n{aws_page.assumptions_table()}\n")
    return _wrapped("\n".join(pieces))


def _wrapped(text: str) -> str:
    """Wrap the paragraphs of a page; tables and titles stay as they are."""
    paragraphs = text.strip().split("\n\n")
    return (
        "\n\n".join(
            paragraph.strip("\n")
            if paragraph.lstrip("\n").startswith(("|", "#"))
            else textwrap.fill(
                " ".join(paragraph.split()),
                _WIDTH,
                break_long_words=False,
                break_on_hyphens=False,
            )
            for paragraph in paragraphs
            if paragraph.strip()
        )
        + "\n"
    )


# -- in short --------------------------------------------------------------------------------------


def _in_short(results: Results) -> str:
    rows = [*_costs_and_times(results), *_comparison(results), *_limits(results)]
    return f"## In short\n\n{Table(['what', 'found'], rows).markdown()}\n" if rows else ""


def _costs_and_times(results: Results) -> list[list[str]]:
    rows = []
    if aws := results.get("aws"):
        small = aws["costs"][SMALL][TEN_MINUTES]
        million = aws["costs"][f"{aws_page.MANY:,}"][TEN_MINUTES]["alone"]
        warm, cold = (sum(sum(hop[1:]) for hop in aws["hops"][name]) for name in ("warm", "cold"))
        rows += [
            ["one request, batch of 10 minutes, at AWS", f"{small['alone']:.4f} USD"],
            [
                f"{FILES_OF_A_DAY:,} such files a day",
                f"{small['busy'] * FILES_OF_A_DAY:.2f} USD a day",
            ],
            [f"{aws_page.MANY:,} requests of 4 KB in one file", f"{million:.4f} USD"],
            [
                f"from upload to output, one request, Groq taking {GROQ_SECONDS:.0f} s",
                f"{warm:.1f} s; {cold:.1f} s when everything is cold",
            ],
        ]
    if found := results.get("cadence"):
        long = dict(cadence.DURATIONS)
        lag = max(
            policies[0]["median_lag"]
            for name, policies in found["durations"].items()
            if long[name] > 60
        )
        text = f"{percent(lag)} of its duration at most"
        rows.append(["median lag at the end of a batch of more than a minute", text])
    return rows


def _comparison(results: Results) -> list[list[str]]:
    jobs = results.get("jobs")
    if jobs is None:
        return []
    entries = jobs["entries"]
    others = sorted(
        (entry["seconds"], name)
        for name, entry in entries.items()
        if name != OURS and not entry["note"]
    )
    told = ", ".join(f"{name} {digits(seconds)} s" for seconds, name in others[:2])
    what = f"{jobs['requests']:,} requests, {megabytes(jobs['bytes'])} MB, from S3 to S3"
    return [[what, f"{digits(entries[OURS]['seconds'])} s; {told}"]]


def _limits(results: Results) -> list[list[str]]:
    rows = []
    if memory := results.get("memory"):
        peaks = [
            (peak, name)
            for jobs in (*memory["job"].values(), *memory["shard"].values())
            for name, peak in jobs.items()
            if name not in NO_FUNCTIONS
        ]
        peak, name = max(peaks)
        what = f"most memory of a function, up to {max(map(int, memory['job']))} MB of requests"
        rows.append([what, f"{megabytes(peak)} MB ({name})"])
    if sweep := results.get("sweep"):
        known = sweep["known"]
        calls = sum(known["calls"].values())
        told = f"{calls:,} calls of S3, {digits(known['cpu_seconds'])} s of a core"
        rows.append([f"a sweep of {known['uploads']:,} known uploads", told])
    return rows


# -- sections --------------------------------------------------------------------------------------


def _jobs(part: dict[str, Any]) -> str:
    ours, beyond = part["entries"][OURS], part["beyond"]
    rows = []
    for name, entry in part["entries"].items():
        through = beyond["right"].get(name) == beyond["requests"]
        if entry["note"]:
            rows.append([name, *["-"] * 6, entry["note"], "-"])
            continue
        check = entry["check"]
        rows.append(
            [
                name,
                digits(entry["seconds"]),
                digits(entry["all_seconds"][0]),
                f"{entry['seconds'] / ours['seconds']:.2f}",
                digits(entry["cpu_seconds"]),
                megabytes(entry["peak_bytes"]),
                f"{check['right']:,}",
                "as asked" if check["in_order"] else "as answered",
                "yes" if through else "no",
            ]
        )
    heads = ["", "s", "least s", "times ours", "CPU s", "peak MB", "right rows", "order"]
    calls = sum(
        number
        for use in ours["functions"].values()
        for name, number in use["calls"].items()
        if name.startswith("s3.")
    )
    table = Table([*heads, f"{beyond['requests']:,} requests"], rows)
    return f"""{part["requests"]:,} requests of 4 KB, {megabytes(part["bytes"])} MB, in one file. **Every tool starts
and ends in S3**: the requests are an object in the bucket, and the time ends when the answers are, too.
The pipeline runs its functions in the order of the shipped state machine, with all checks; its time ends
even later, when its report is written and its files at Groq are deleted. The other tools get a download and
an upload with boto3's transfer manager, as their users would write them:
the script of Groq's tutorial (rewritten: it posts the file, polls the batch's status, and saves the
results), and tools from PyPI. The numbers are medians of {part["rounds"]} rounds in one run, in which the tools take turns;
a tool that took longer than 30 s ran once.

{table.markdown()}

CPU and memory are those of the client, including boto3; for the pipeline, the CPU of all functions and the
memory of the largest one. They make {calls:,} calls to S3, which the emulator, a Python program, serves on
the same cores. The last column says whether a file of {beyond["requests"]:,} short requests, more than
the 50,000 that a batch can have, came back complete.
"""


def _preparation(part: dict[str, Any]) -> str:
    rows = [
        [
            name,
            *(digits(speed[who]) for who in ("ours", "msgspec", "json")),
            f"{speed['ours'] / speed['msgspec']:.0%}",
        ]
        for name, speed in part["speeds"].items()
    ]
    heads = ["lines of", "this pipeline", "msgspec", "`json.loads`", "of msgspec"]
    return f"""Megabytes per second of CPU time. The pipeline splits the input into lines, runs all checks on
each, detects duplicate ids and writes shards; the others get the lines and
only decode them, one after the other.

{Table(heads, rows).markdown()}
"""


def _memory(part: dict[str, Any]) -> str:
    jobs, shard = part["job"], part["shard"]
    sizes = list(jobs)
    names = [name for name in jobs[sizes[0]] if name not in NO_FUNCTIONS]
    rows = [[name, *(megabytes(jobs[size][name]) for size in sizes)] for name in names]
    rows.append(
        [
            "download_results, one shard's answers",
            *(megabytes(shard[size]["download_results"]) for size in sizes),
        ]
    )
    lines = ", ".join(f"{jobs[size]['lines']:,}" for size in sizes)
    answers = ", ".join(megabytes(jobs[size]["answer_bytes"]) for size in sizes)
    heads = ["peak resident memory, MB", *(f"{size} MB" for size in sizes)]
    return f"""Each function runs in a separate process for each size; the numbers include boto3 and Python. The
input and the answers of a job have about the same size ({lines} lines; answers of {answers} MB); in the last
row all answers belong to one shard, which has at most {MAX_SHARD_ROWS:,} rows.

{Table(heads, rows).markdown()}
"""


def _sweep(part: dict[str, Any]) -> str:
    rows = [
        [
            what,
            f"{one['uploads']:,}",
            ", ".join(f"{count:,} {name}" for name, count in one["calls"].items()),
            digits(one["cpu_seconds"]),
            digits(one["cpu_seconds"] / one["uploads"] * 1e6),
        ]
        for what, one in (
            ("older than eight days before the last complete sweep", part["known"]),
            ("newer, or in a first sweep", part["asked"]),
        )
    ]
    heads = ["uploads that have a job", "number", "calls", "s of a core", "µs each"]
    return f"""A scheduled run with nothing to start, with botocore and responses in S3's XML, but without
a network. botocore spends most of the time on parsing the lists.

{Table(heads, rows).markdown()}
"""


def _cadence(part: dict[str, Any]) -> str:
    rows = [
        [
            name,
            digits(one["polls"]),
            digits(one["transitions"]),
            usd(one["usd"]),
            f"{one['most_events']:,}",
            percent(one["median_lag"]),
            percent(one["never"]),
        ]
        for name, one in part["policies"].items()
    ]
    heads = ["policy", "checks", "transitions", "USD", "most events", "median lag", "never seen"]
    names = list(part["policies"])
    by_duration = [
        [duration, *(f"{digits(one['polls'])}, {percent(one['median_lag'])}" for one in found)]
        for duration, found in part["durations"].items()
    ]
    ways = ", ".join(part["ways"])
    worst = max(part["three_attempts"].values())
    return f"""A pure function decides when the batches are checked again
([polling.py](../functions/groq_batch/domain/polling.py)). Here it is simulated, without a clock, for
batches of {len(part["durations"])} durations from 3 seconds to 7 days, each with small variations, and for
{len(part["ways"])} ways to report progress ({ways}), and compared with fixed intervals. A check takes {cadence.TRANSITIONS_OF_A_POLL} transitions
and {cadence.EVENTS_OF_A_POLL} history events; the execution ends at {cadence.HISTORY_LIMIT:,} events, so a later end of the batch
is never seen, and counts as an infinite lag. The lag is the time from the end to the
check that sees it, as a share of the batch's duration. Means for one batch:

{Table(heads, rows).markdown()}

Checks and median lag by duration:

{Table(["the batch takes", *names], by_duration).markdown()}

A job of three attempts of 7 days each has at most {worst:,} events, whatever the progress.
Fixed intervals that see the end sooner cost many times as much, or never see the end of long batches.
"""


Section = Callable[[dict[str, Any]], str]

SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("## What it costs", "aws", aws_page.cost_section),
    ("### A sweep of a million uploads", "sweep", _sweep),
    ("## How long it takes", "aws", aws_page.time_section),
    ("### Where the time of a large job goes", "whole", whole_job.section),
    ("### Cadence of the status checks", "cadence", _cadence),
    ("## How it compares", "jobs", _jobs),
    ("### Checking compared with decoding", "prepare", _preparation),
    ("## Memory", "memory", _memory),
)
"""Title, part and text, in the order of the page. A part may have several."""


def _measured(results: Results) -> str:
    names = dict.fromkeys(name for _, name, _ in SECTIONS)
    rows = [
        [f"`make bench ARGS={name}`", *(results[name]["machine"][key] for key in _MACHINE)]
        for name in names
        if name in results
    ]
    table = Table(["part", "date", "machine", "system", "Python", "load at the end"], rows)
    return f"""The functions run as shipped, each in a separate process that is kept warm, as in Lambda.
The shipped state machine calls them; the interpreter that the tests use runs it, and shortens its waits
to {POLL_SECONDS} s, which is also how often the other tools poll their batches. S3 and Secrets Manager are
emulated by MiniStack on the same machine, which reuses the memory of deleted objects for new
ones; Groq is the simulator of this repository, whose batches take 0.1 s and the time that a core needs for
their answers, more than two seconds for 45,000. It runs two batches at a time, on a core each, so it answers the pipeline's two
batches in half the time that one batch with all requests takes. The other tools run in separate environments with pinned packages
([bench/peers](../bench/peers)). Time is measured from the moment a program is loaded. It includes the work of
emulator and simulator, which use the same cores, so only ratios within one
run are meaningful; the machine also did other work, as its load shows.

{table.markdown()}

To measure single parts again and keep the others, name them: `make bench ARGS="jobs memory"`. `make counts` counts the AWS calls of jobs.
"""


_MACHINE = ("date", "cpu", "system", "python", "load")


# -- sizes -----------------------------------------------------------------------------------------


def _sizes(results: Results) -> str:
    sizes = template_sizes()
    jobs, memory = results.get("jobs"), results.get("memory")
    if jobs is None or memory is None:
        return _NOT_MEASURED.format(name='"jobs memory"')
    entry = jobs["entries"][OURS]
    prepared = entry["functions"]["prepare_input"]
    found = reach(jobs["bytes"], prepared["cpu_seconds"], passes=1)
    unpacked = reach(jobs["bytes"], prepared["cpu_seconds"], passes=2)
    rows = [
        [
            name,
            f"{sizes[name].memory_mb:,} MB",
            f"{sizes[name].memory_mb / 1769:.2f}",
            f"{sizes[name].disk_gb:g} GB",
            _WHY[name],
        ]
        for name in _WHY
    ]
    heads = ["function", "memory", "cores at AWS", "disk", "why"]
    ids = ids_bytes(MAX_GZIP_LINES)
    answers = statistics.fmean(
        shard["answer_bytes"] / shard["lines"] for shard in memory["shard"].values()
    )
    return f"""Lambda allocates one core for each 1,769 MB, and a share of a core to functions with less
(<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). No function needs its memory for
data; the size is chosen for the share of a core.

{Table(heads, rows).markdown()}

**Time-outs.** Every function ends itself after {TIMEOUT_SECONDS} s, below Lambda's 900 s, so that the state machine
(960 s) never treats a running function as dead.

**What one invocation prepares.** Here one core checks and cuts {found.cpu_bytes_per_second / 1e6:.0f} MB/s
({megabytes(jobs["bytes"])} MB in {digits(prepared["cpu_seconds"])} s of CPU, including S3's client). For AWS, assume a core that
is {SLOWER_CORE:g} times slower, and {cost.S3_BYTES_PER_SECOND / 1e6:.0f} MB/s from S3, one after the other (S3 itself copies the shards): that is
1 / ({SLOWER_CORE:g} / {found.cpu_bytes_per_second / 1e6:.0f} + 1 / {cost.S3_BYTES_PER_SECOND / 1e6:.0f}) = {found.bytes_per_second / 1e6:.1f} MB/s, or {found.bytes / 1e9:.1f} GB within the time-out.
A plain file of more than two ranges of `MaxBytesPerRange` (1 GiB) is therefore prepared range by
range: a range takes about {1.0737e9 / found.bytes_per_second:.0f} s by the same calculation, ten are processed at a time, and a
retry repeats one range. A file of 200 GB has {200e9 / 2**30:.0f} ranges, each of which is read twice (first to check
it, then to cut it): {2 * 200e9 / 2**30 / 10 * 2**30 / found.bytes_per_second / 60:.0f} minutes with ten at a time.

**Compressed files** can only be read from the beginning. They are refused if they decompress to more than
{MAX_GZIP_CONTENT_BYTES / 2**30:.0f} GiB, which would take {MAX_GZIP_CONTENT_BYTES / unpacked.bytes_per_second:.0f} s by the calculation above (the decompressed data is sent to S3 at the same rate), or to more than {MAX_GZIP_LINES:,} lines: an id
takes {ids / MAX_GZIP_LINES:.0f} bytes there (a hash and an entry of a table), which is {ids / 1e6:,.0f} MB for that many.

**The largest shard** (200 MB) goes to Groq in {submit_seconds():.0f} s at {cost.GROQ_BYTES_PER_SECOND / 1e6:.0f} MB/s; the time-out leaves room for a connection of
{200e6 / TIMEOUT_SECONDS * 8 / 1e6:.1f} Mbit/s. `download_results` stores its answers on disk before it
merges them: {MAX_SHARD_ROWS:,} rows fill its {sizes["download_results"].disk_gb:g} GB if a row has {sizes["download_results"].disk_gb * 1e9 / MAX_SHARD_ROWS / 1e3:.0f} KB; those measured here had
{answers / 1e3:.0f} KB.
"""


_WHY = {
    "start_job": "a few small objects for each job; lists of all uploads for a sweep: one core",
    "prepare_input": "reads and checks all bytes: one core",
    "submit_batch": "passes bytes on; the network is the limit",
    "check_status": "small objects, and waiting for responses: the smallest share of a job's cost",
    "download_results": "waits for Groq and S3 most of the time; stores all answers on its disk",
    "finish_job": "S3 copies; a full core for jobs of a thousand shards",
}
