"""Formats the model's results for ``docs/performance.md`` and ``docs/operations.md``."""

# ruff: noqa: E501 (sentences with figures in them; they are wrapped when they are written)

from __future__ import annotations

from typing import Any

from bench import cost, prices
from bench.aws_model import assumptions, counts
from bench.aws_model.bill import FILES_OF_A_DAY
from bench.aws_model.part import GROQ_SECONDS, SMALL, TEN_MINUTES
from bench.aws_model.upkeep import UPLOADS
from bench.tables import Table, digits, usd

_DAYS_OF_A_MONTH = 30
MANY = 1_000_000


def cost_section(part: dict[str, Any]) -> str:
    """Return the section on the AWS cost of jobs, of many files, and of scheduled work."""
    return f"""The AWS calls of jobs are counted: the shipped state machine runs with the real handlers in
virtual time, and a test counts again whenever code or definition change
([bench/aws_model](../bench/aws_model)). The time and price of each call are assumptions
([below](#what-is-assumed-of-aws)), rather too high than too low. Nothing here was measured on AWS.
Requests have {counts.LINE_BYTES / 1000:.0f} KB, parameters have their defaults, and
[list prices](../bench/prices.py) are those of {prices.REGION}, arm64, read in {prices.READ_AT}, without the free tier.

{_costs(part["costs"])}

"Alone" means that nothing else runs on the stack: each function starts cold, and so does each status check more
than {assumptions.KEPT_WARM_SECONDS / 60:.0f} minutes after the last one. On a busy stack, {assumptions.COLD_SHARE:.0%} of all invocations start cold.

One request in a batch of ten minutes, alone:

{_bill(part["bill"])}

Not included, because they depend on the account and its settings, for {MANY:,} requests:

{_beside()}

For the cost of a stack without any job (a secret, alarms, a dashboard, metrics), see
[operations.md](operations.md).

### Many files

{many_files(part["costs"])}

Scheduled work in a month, with {FILES_OF_A_DAY:,} files a day and {UPLOADS:,} uploads since the beginning:

{_upkeep(part["upkeep"])}

With a schedule of every six hours, the sweep costs a sixth.
"""


def time_section(part: dict[str, Any]) -> str:
    """Return the section on the time of one request, and on bursts."""
    return f"""One request, whose batch takes Groq {GROQ_SECONDS:.0f} seconds; the last step ends when `output/`
is written. The counts and assumptions are the same as for the costs.

{_hops(part["hops"])}

### Bursts

Uploads that arrive within one minute, each with a batch of ten minutes, in an account that runs this many
functions at once ("lost" is a step whose retries are used up; paid results are still collected).
The retries are those of the shipped definition; each retry is a transition.

{_bursts(part["bursts"])}
"""


def many_files(costs: dict[str, Any]) -> str:
    """Return a table that compares many small files with one large one, and its conclusion."""
    day = FILES_OF_A_DAY
    rows = []
    for duration in counts.DURATIONS:
        each = costs[SMALL][duration]["busy"]
        one = costs[f"{day:,}"][duration]["alone"]
        rows.append(
            [
                duration,
                f"{each:.4f}",
                f"{each * day:,.2f}",
                f"{each * day * _DAYS_OF_A_MONTH:,.0f}",
                f"{one:.4f}",
                f"{one * _DAYS_OF_A_MONTH:.2f}",
            ]
        )
    times = costs[SMALL][TEN_MINUTES]["busy"] * day / costs[f"{day:,}"][TEN_MINUTES]["alone"]
    table = Table(
        [
            "a batch takes",
            "USD a file",
            f"{day:,} files a day",
            "a month",
            f"one file of {day:,} lines",
            "a month",
        ],
        rows,
    )
    return f"""{table.markdown()}

**One file of many lines costs less than a thousandth of as many files of one line** ({times:,.0f} times
less in the middle row): the cost of a job is that of its status checks and steps, however many requests it has."""


def _costs(costs: dict[str, Any]) -> str:
    rows = [
        [
            name,
            duration,
            f"{one['transitions']:,}",
            f"{one['looks']:,}",
            str(one["map_runs"]),
            f"{one['alone']:.4f}",
            f"{one['busy']:.4f}",
        ]
        for name, found in costs.items()
        for duration, one in found.items()
    ]
    heads = [
        "requests",
        "a batch takes",
        "transitions",
        "checks",
        "Map runs",
        "USD alone",
        "USD busy",
    ]
    return Table(heads, rows).markdown()


def _bill(parts: list[list[Any]]) -> str:
    rows = [
        [name, f"{digits(amount)} {unit}", f"{price:.6f}"] for name, amount, unit, price in parts
    ]
    rows.append(["**together**", "", f"**{sum(part[3] for part in parts):.6f}**"])
    return Table(["part", "amount", "USD"], rows).markdown()


def _hops(hops: dict[str, Any]) -> str:
    warm = {name: seconds for name, seconds, _ in hops["warm"]}
    cold = {name: (seconds, more) for name, seconds, more in hops["cold"]}
    rows = [
        [name, digits(warm.get(name, 0.0)), digits(sum(cold.get(name, (0.0, 0.0))))]
        for name in dict.fromkeys([*warm, *cold])
    ]
    rows.append(
        [
            "**together**",
            f"**{sum(warm.values()):.1f}**",
            f"**{sum(map(sum, cold.values())):.1f}**",
        ]
    )
    return Table(["hop", "warm, s", "cold, s"], rows).markdown()


def _upkeep(tasks: list[list[Any]]) -> str:
    rows = [
        [name, f"{runs:,}", f"{digits(writes)} / {digits(reads)}", digits(seconds), f"{price:.2f}"]
        for name, runs, writes, reads, seconds, price in tasks
    ]
    heads = [
        "what",
        "runs a month",
        "PUT and LIST / GET calls of a run",
        "s of a run",
        "USD a month",
    ]
    return Table(heads, rows).markdown()


def _bursts(found: list[dict[str, Any]]) -> str:
    rows = [
        [
            f"{one['jobs']:,}",
            f"{one['concurrency']:,}",
            f"{one['ended']:,}",
            f"{one['lost']:,}",
            f"{one['throttles']:,}",
            f"{one['throttles_usd']:.2f}",
            f"{one['median_seconds'] / 60:.0f} / {one['longest_seconds'] / 60:.0f}",
        ]
        for one in found
    ]
    heads = [
        "uploads",
        "functions at once",
        "ended",
        "lost",
        "throttles",
        "USD",
        "minutes, median / longest",
    ]
    return Table(heads, rows).markdown()


def _beside() -> str:
    size = MANY * counts.LINE_BYTES
    work = size * (1 + assumptions.ANSWER_SHARE)
    rows = [
        [
            "Internet egress to Groq",
            f"{size / cost.GB:.1f} GB",
            usd(size / cost.GB * prices.EGRESS_GB_USD),
        ],
        [
            f"Working files of a job that was stopped or failed, kept for {_DAYS_OF_A_MONTH} days (`WorkRetentionDays`)",
            f"{work / cost.GB:.1f} GB",
            usd(cost.storage_usd(work, _DAYS_OF_A_MONTH)),
        ],
    ]
    return Table(["part", "amount", "USD"], rows).markdown()


def assumptions_table() -> str:
    """Return the assumptions about AWS with their sources."""
    a = assumptions
    rows = [
        [
            "a call of S3, Secrets Manager, Step Functions",
            f"{a.CALL_SECONDS * 1000:.0f} ms",
            "estimate",
        ],
        ["a call of Groq", f"{a.GROQ_CALL_SECONDS * 1000:.0f} ms", "estimate"],
        [
            "CPU of an invocation, and of each of its calls",
            f"{a.INVOCATION_CPU_SECONDS * 1000:.0f} ms, {a.CALL_CPU_SECONDS * 1000:.0f} ms",
            "measured here, doubled",
        ],
        [
            "CPU of making an environment, billed since August 2025",
            f"{min(a.INIT_CPU_SECONDS.values()) + a.CLIENT_CPU_SECONDS:.2f} to {max(a.INIT_CPU_SECONDS.values()) + a.CLIENT_CPU_SECONDS:.2f} s",
            "measured; [AWS](https://aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase/)",
        ],
        [
            "cores of a start: for the bill the memory's share, for the time",
            "1",
            "[measured by others](https://hichaelmart.medium.com/shave-99-93-off-your-lambda-bill-with-this-one-weird-trick-33c0acebb2ea)",
        ],
        [
            "an environment until its code runs, and its first connections",
            f"{a.ENVIRONMENT_SECONDS:.2f} s, {a.COLD_CONNECT_SECONDS:.1f} s",
            "estimate",
        ],
        [
            "an idle environment is kept",
            f"{a.KEPT_WARM_SECONDS / 60:.0f} min",
            "[measured by others](https://mikhail.io/serverless/coldstarts/aws/intervals/)",
        ],
        ["from state to state", f"{a.STATE_SECONDS * 1000:.0f} ms", "estimate"],
        [
            "a Distributed Map, start and end",
            f"{a.MAP_START_SECONDS:.1f} s, {a.MAP_END_SECONDS:.1f} s",
            "[measured by others](https://repost.aws/questions/QUn5oKgcnjRTemt39V9hdtyw), rather less",
        ],
        [
            "S3 calls that Step Functions makes for a Map",
            str(cost.CALLS_OF_A_MAP),
            "[AWS](https://docs.aws.amazon.com/step-functions/latest/dg/input-output-resultwriter.html)",
        ],
        [
            "disk of `download_results` beyond 512 MB",
            "not counted, below 0.0001 USD for a million requests",
            "[AWS](https://aws.amazon.com/lambda/pricing/)",
        ],
        ["an upload until its function is called", f"{a.EVENT_SECONDS:.1f} s", "estimate"],
        [
            "traces",
            f"{a.TRACES_OF_A_JOB} a job, 1 a child of a Map, {usd(prices.TRACE_USD)} USD each",
            "[AWS](https://aws.amazon.com/xray/pricing/)",
        ],
        [
            "events of S3",
            f"1 for each object and delete marker, {usd(prices.EVENT_USD)} USD each",
            "[AWS](https://aws.amazon.com/eventbridge/pricing/)",
        ],
        [
            "log lines of an invocation",
            f"{a.LOG_BYTES_OF_AN_INVOCATION / 1000:.1f} KB",
            "measured here",
        ],
        [
            "the API key is read",
            f"once in {a.SECRET_SECONDS / 60:.0f} min by each environment",
            "code",
        ],
        [
            "bytes",
            f"{cost.S3_BYTES_PER_SECOND / 1e6:.0f} MB/s from and to S3, {cost.GROQ_BYTES_PER_SECOND / 1e6:.0f} MB/s to and from Groq",
            "estimate",
        ],
    ]
    return Table(["what", "how much", "from"], rows).markdown()
