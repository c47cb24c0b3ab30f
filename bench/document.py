"""Writes ``docs/performance.md`` from what was measured; the prose stands here."""

# ruff: noqa: E501 (sentences with figures in them; they are wrapped when they are written)

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import cadence, cost, prices, whole_job
from bench.aws_model import page as aws_page
from bench.bars import bars
from bench.end_to_end import OURS
from bench.memory import NO_FUNCTIONS
from bench.million import template_sizes
from bench.sizes import (
    MAX_SHARD_ROWS,
    SLOWER_CORE,
    TIMEOUT_SECONDS,
    ids_bytes,
    reach,
    submit_seconds,
)
from bench.store import Results
from bench.tables import Table, digits, megabytes, percent, usd
from groq_batch.request_file.splitter import MAX_GZIP_CONTENT_BYTES, MAX_GZIP_LINES

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"

_HEAD = """# Performance

How fast the pipeline is, how much memory it takes, and what it costs at AWS, measured and counted
by `make bench`, which also writes this page. One part is measured anew with, for instance,
`make bench ARGS="prepare cadence"`; the others stay as they are. Values are medians; a megabyte is a
million bytes. Compare ratios: the machines of others have other seconds.

The functions run as they are shipped, each in a process of its own that is kept warm, as Lambda
does. S3 and Secrets Manager are the emulator MiniStack on the same machine, which keeps the memory of
objects that are gone for the next ones; Groq is the simulator of this repository. The waits of the
state machine are not slept.
"""

_WIDTH = 100

_NOT_MEASURED = "Not measured yet: `make bench ARGS={name}`.\n"


OPERATIONS = DOCUMENT.with_name("operations.md")
_BLOCK = "<!-- counted: many-files -->"
_BLOCK_END = "<!-- end of many-files -->"


def write(results: Results, path: Path = DOCUMENT) -> None:
    """Write the page anew, whole, and the table of it that the runbook has as well."""
    path.write_text(render(results), encoding="utf-8")
    if "aws" in results and path == DOCUMENT:
        OPERATIONS.write_text(with_many_files(OPERATIONS.read_text("utf-8"), results), "utf-8")


def with_many_files(text: str, results: Results) -> str:
    """Return the runbook with the table of many small files as it is now."""
    before, rest = text.split(_BLOCK)
    _, after = rest.split(_BLOCK_END)
    table = _wrapped(aws_page.many_files(results["aws"]["costs"]))
    return f"{before}{_BLOCK}\n\n{table}\n{_BLOCK_END}{after}"


def render(results: Results) -> str:
    """Return the page."""
    pieces = [_HEAD, _summary(results)]
    for name, (title, section) in SECTIONS.items():
        pieces.append(f"## {title}\n")
        part = results.get(name)
        if part is None:
            pieces.append(_NOT_MEASURED.format(name=name))
        else:
            pieces.append(section(part))
            pieces.append(_measured_on(part["machine"]))
    pieces.append(f"## Sizes of the functions\n\n{_sizes(results)}")
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


def _measured_on(machine: dict[str, str]) -> str:
    return (
        f"Measured on {machine['date']}: {machine['cpu']}, {machine['system']}, Python "
        f"{machine['python']}; load of the machine at the end {machine['load']}.\n"
    )


def _summary(results: Results) -> str:
    found = bars(results)
    rows = [[bar.text, bar.found, "yes" if bar.passes else "**no**"] for bar in found]
    table = Table(["What is promised", "found", "holds"], rows)
    missed = sum(not bar.passes for bar in found)
    word = f"{len(found) - missed} of {len(found)} promises hold."
    return f"## In short\n\n{word}\n\n{table.markdown()}\n" if rows else ""


# -- sections --------------------------------------------------------------------------------------


def _preparation(part: dict[str, Any]) -> str:
    rows = []
    for name, speed in part["speeds"].items():
        rows.append(
            [
                name,
                *(
                    digits(speed.get(who))
                    for who in ("ours", "json", "msgspec", "orjson", "bare read")
                ),
                f"{speed['ours'] / speed['msgspec']:.0%}",
                f"{speed['ours'] / speed['json']:.1f}",
            ]
        )
    heads = ["lines of", "this pipeline", "`json.loads`", "msgspec", "orjson", "bare read"]
    table = Table([*heads, "of msgspec", "times json"], rows)
    return f"""Megabytes per second of CPU time. The pipeline finds the lines, checks each of them in
every way, knows which ids were used before and hands shards on; the others are given the lines and
decode them, one after the other, and nothing else. The bare read takes the file from the disk's
cache.

{table.markdown()}
"""


def _jobs(part: dict[str, Any]) -> str:
    pieces = []
    for name, title in (("large", "Requests of 4 KB"), ("short", "Short requests")):
        if name in part:
            pieces.append(_workload(title, part[name]))
    return f"""The whole way, from the upload's event to the last row: all functions in the order of
the state machine, checks on, every row in order. Beside it the script of Groq's tutorial (written
anew: it posts the file, asks for the batch's status, saves what it gets; no checks, no order, no
S3), and other tools from PyPI in environments of their own, with the same simulator. Everything that
polls does so every 0.05 s. Time and CPU are counted from the moment a tool is loaded. Time includes
the work of the simulator, which runs each batch in a process of its own, two at a time, and for the
pipeline that of the emulated S3, which the other tools do without. CPU and memory are the client's
own: of the pipeline all functions' CPU, and the memory of the largest one. A tool that took longer
than 30 s was run once.

{"".join(pieces)}"""


def _workload(title: str, work: dict[str, Any]) -> str:
    rows = []
    ours = work["entries"][OURS]["seconds"]
    for name, entry in work["entries"].items():
        if entry["note"]:
            rows.append([name, "-", "-", "-", "-", str(entry["batches"]), "0", entry["note"]])
            continue
        check = entry["check"]
        rows.append(
            [
                name,
                digits(entry["seconds"]),
                f"{entry['seconds'] / ours:.2f}",
                digits(entry["cpu_seconds"]),
                megabytes(entry["peak_bytes"]),
                str(entry["batches"]),
                f"{check['right']:,}",
                "in order" if check["in_order"] else "not in order",
            ]
        )
    heads = ["", "s", "times ours", "CPU s", "peak MB", "batches", "right rows", "remark"]
    entry = work["entries"][OURS]
    steps = ", ".join(f"{step} {digits(seconds, 2)} s" for step, seconds in entry["steps"].items())
    functions = Table(
        ["function", "calls", "CPU s", "peak MB", "calls to S3", "MB from S3", "MB to S3"],
        [
            [
                name,
                str(use["invocations"]),
                digits(use["cpu_seconds"]),
                megabytes(use["peak_bytes"]),
                str(sum(n for call, n in use["calls"].items() if call.startswith("s3."))),
                megabytes(use["bytes"].get("read", 0)),
                megabytes(use["bytes"].get("written", 0)),
            ]
            for name, use in entry["functions"].items()
        ],
    )
    return f"""### {title}

{work["requests"]:,} requests, {megabytes(work["bytes"])} MB.

{Table(heads, rows).markdown()}

The pipeline step by step: {steps}.

{functions.markdown()}

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
    return f"""Each function in a process of its own for each size, boto3 and Python included. Of a
job, input and answers have about the same size ({lines} lines; answers of {answers} MB); in the last
row all answers belong to one shard, which has at most {MAX_SHARD_ROWS:,} rows.

{Table(heads, rows).markdown()}
"""


def _joins(part: dict[str, Any]) -> str:
    rows, shards, small = part["rows"], part["shards"], part["small_shards"]
    table = Table(
        ["shards", "MB", "S3 calls", "MB copied by S3", "MB read", "MB written"],
        [
            [
                f"{one['shards']:,} of {one['bytes'] / one['shards'] / 1e6:g} MB",
                megabytes(one["bytes"]),
                ", ".join(f"{count:,} {name}" for name, count in one["calls"].items()),
                megabytes(one["copied_bytes"]),
                megabytes(one["read_bytes"]),
                megabytes(one["written_bytes"]),
            ]
            for one in (shards, small)
        ],
    )
    return f"""Within a shard: {rows["rows"]:,} answers in an order of their own
({megabytes(rows["answer_bytes"])} MB), from a file on disk into the order of the requests
({megabytes(rows["request_bytes"])} MB), each read and understood, tokens and outcomes counted, written to
S3 (a double in memory): {digits(rows["seconds"])} s, {digits(rows["cpu_seconds"])} s of them CPU.

Of all shards: S3 copies what is large enough for a part of its own (5 MiB); only smaller objects pass
through the function. Counted with a double of S3 that keeps sizes instead of bytes.

{table.markdown()}
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
            ("older than the last complete sweep less eight days", part["known"]),
            ("younger, or of a first sweep", part["asked"]),
        )
    ]
    heads = ["uploads that have a job", "number", "calls", "s of a core", "µs each"]
    return f"""A firing with nothing to start, through botocore over answers in S3's own XML, without
a network. Most of it is botocore's reading of the lists.

{Table(heads, rows).markdown()}
"""


def _cost(part: dict[str, Any]) -> str:
    rows = [[name, amount, usd(amount_usd)] for name, amount, amount_usd in part["parts"]]
    rows.append(["**together**", "", f"**{usd(part['total_usd'])}**"])
    beside = [
        [
            "Internet egress to Groq",
            f"{part['input_bytes'] / cost.GB:.1f} GB",
            usd(part["egress_usd"]),
        ],
        [
            "Working files of a job that was stopped or failed, kept for 30 days (`WorkRetentionDays`)",
            f"{part['work_bytes'] / cost.GB:.1f} GB",
            usd(part["kept_usd"]),
        ],
    ]
    sources = " ".join(f"<{source}>" for source in prices.SOURCES)
    heads = ["part", "amount", "USD"]
    return f"""A job of {part["requests"]:,} requests of 4 KB ({part["input_bytes"] / cost.GB:.1f} GB) in
{part["shards"]} batches that take 24 hours. Calls to AWS were counted as the functions made them:
those that depend on the number of shards on a job of {part["shards"]} small shards, those that depend on
the size on one shard of full size, those of a status check on jobs with more and with fewer of them;
{part["polls"]:.0f} checks are what the cadence (below) makes of 24 hours. Seconds of Lambda are reckoned, on the
safe side: CPU time as measured here at the share of a core that the memory brings, then
{cost.S3_BYTES_PER_SECOND / 1e6:.0f} MB/s from and to S3, {cost.GROQ_BYTES_PER_SECOND / 1e6:.0f} MB/s to and from Groq and
{cost.CALL_SECONDS * 1000:.0f} ms for each call, all added up as if nothing happened at the same time. The copies of requests
and answers that are removed at the end stay as versions for a day, and until the next midnight. List
prices of {prices.REGION}, arm64, read in {prices.READ_AT}, without the free tier: {sources}

{Table(heads, rows).markdown()}

Not part of it, because they depend on the account and on what one chooses:

{Table(heads, beside).markdown()}

What a stack costs without any job (a secret, alarms, a dashboard, metrics) is in
[operations.md](operations.md).
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
    return f"""When to look at the batches again is one pure function
([polling.py](../functions/groq_batch/domain/polling.py)). Here it is played through, without a clock, over
batches of {len(part["durations"])} durations from 3 seconds to 7 days, each a little longer and shorter, and of
{len(part["ways"])} ways to tell progress ({ways}), beside fixed intervals. A check is {cadence.TRANSITIONS_OF_A_POLL} transitions
and {cadence.EVENTS_OF_A_POLL} events of the history, which ends an execution at {cadence.HISTORY_LIMIT:,}: an end that would
have come later is never seen, and counts as an infinite lag. The lag is the time from the end to the
check that sees it, as a share of the batch's duration. Means of a batch:

{Table(heads, rows).markdown()}

Checks and median lag by duration:

{Table(["the batch takes", *names], by_duration).markdown()}

A job of three attempts that take 7 days each comes to {worst:,} events at most, over all ways.
Fixed intervals that see the end sooner do so for many times the price, or not at all where batches are long.
"""


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "prepare": ("Preparation", _preparation),
    "jobs": ("Whole jobs", _jobs),
    "whole": ("Where the time goes", whole_job.section),
    "memory": ("Memory", _memory),
    "joins": ("Joins", _joins),
    "sweep": ("A sweep beside a million uploads", _sweep),
    "cost": ("Cost at AWS", _cost),
    "aws": ("A model of AWS", aws_page.section),
    "cadence": ("Cadence of the status checks", _cadence),
}


# -- sizes -----------------------------------------------------------------------------------------


def _sizes(results: Results) -> str:
    sizes = template_sizes()
    jobs, memory = results.get("jobs"), results.get("memory")
    if jobs is None or memory is None:
        return _NOT_MEASURED.format(name='"jobs memory"')
    entry = jobs["large"]["entries"][OURS]
    prepared = entry["functions"]["prepare_input"]
    found = reach(jobs["large"]["bytes"], prepared["cpu_seconds"], passes=1)
    unpacked = reach(jobs["large"]["bytes"], prepared["cpu_seconds"], passes=2)
    peaks = {name: use["peak_bytes"] for name, use in entry["functions"].items()}
    for job in memory["job"].values():
        peaks = {name: max(peak, job[name]) for name, peak in peaks.items()}
    for shard in memory["shard"].values():
        peaks["download_results"] = max(peaks["download_results"], shard["download_results"])
    rows = [
        [
            name,
            f"{sizes[name].memory_mb:,} MB",
            f"{megabytes(peaks[name])} MB",
            f"{sizes[name].memory_mb / 1769:.2f}",
            f"{sizes[name].disk_gb:g} GB",
            _WHY[name],
        ]
        for name in peaks
    ]
    heads = ["function", "memory", "peak here", "cores at AWS", "disk", "why"]
    ids = ids_bytes(MAX_GZIP_LINES)
    answers = statistics.fmean(
        shard["answer_bytes"] / shard["lines"] for shard in memory["shard"].values()
    )
    return f"""Lambda gives a core for each 1,769 MB, and a share of one to functions with less
(<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>). No function needs its memory for
data; it is chosen for the share of a core.

{Table(heads, rows).markdown()}

**Time-outs.** Every function ends itself after {TIMEOUT_SECONDS} s, below Lambda's 900 s, so that the state machine
(960 s) never takes a function that still runs for one that has died.

**What one invocation prepares.** Here one core checks and cuts {found.cpu_bytes_per_second / 1e6:.0f} MB/s
({megabytes(jobs["large"]["bytes"])} MB in {digits(prepared["cpu_seconds"])} s of CPU, S3's client included). At AWS take a core that
is {SLOWER_CORE:g} times slower, and {cost.S3_BYTES_PER_SECOND / 1e6:.0f} MB/s from S3, one after the other (S3 itself copies the shards): that is
1 / ({SLOWER_CORE:g} / {found.cpu_bytes_per_second / 1e6:.0f} + 1 / {cost.S3_BYTES_PER_SECOND / 1e6:.0f}) = {found.bytes_per_second / 1e6:.1f} MB/s, or {found.bytes / 1e9:.1f} GB within the time-out.
A plain file of more than two ranges of `MaxBytesPerRange` (1 GiB) is therefore prepared range by
range: a range takes about {1.0737e9 / found.bytes_per_second:.0f} s by the same reckoning, ten are worked on at a time, and a
retry repeats one range. A file of 200 GB has {200e9 / 2**30:.0f} ranges, each of which is read twice (to be checked,
to be cut): {2 * 200e9 / 2**30 / 10 * 2**30 / found.bytes_per_second / 60:.0f} minutes with ten at a time.

**Compressed files** cannot be entered in the middle. They are refused when they unpack to more than
{MAX_GZIP_CONTENT_BYTES / 2**30:.0f} GiB, which would take {MAX_GZIP_CONTENT_BYTES / unpacked.bytes_per_second:.0f} s by the reckoning above (what was unpacked is sent to S3 at the same rate), or to more than {MAX_GZIP_LINES:,} lines: an id
takes {ids / MAX_GZIP_LINES:.0f} bytes there (a hash, a place in a table), which is {ids / 1e6:,.0f} MB for so many.

**The largest shard** (200 MB) goes to Groq in {submit_seconds():.0f} s at {cost.GROQ_BYTES_PER_SECOND / 1e6:.0f} MB/s; the time-out leaves room for a connection of
{200e6 / TIMEOUT_SECONDS * 8 / 1e6:.1f} Mbit/s. Its answers stand on the disk of `download_results` before they are
joined: {MAX_SHARD_ROWS:,} rows fill its {sizes["download_results"].disk_gb:g} GB when a row has {sizes["download_results"].disk_gb * 1e9 / MAX_SHARD_ROWS / 1e3:.0f} KB; those measured here had
{answers / 1e3:.0f} KB.
"""


_WHY = {
    "start_job": "a few small objects for each job; lists of all uploads for a firing: one core",
    "prepare_input": "reads and checks all bytes: one core",
    "submit_batch": "passes bytes on; the network is the limit",
    "check_status": "small objects, and answers to wait for: what a job pays least for",
    "download_results": "reads and writes all answers: one core; they stand on its disk",
    "finish_job": "S3 copies; a full core for jobs of a thousand shards",
}
