"""``make burst``: many uploads at once on the emulated stack, within what the machine has.

Each upload has to become a job of its own, with one batch at Groq and all its rows, while the
emulated Lambda runs no more functions at once than its quota allows. With ``--run`` the files are
given to one ``groq-batch run`` instead.

Exit status: 0 when every job is right.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local.environment import PROJECT_ROOT, ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from local.function_limits import FunctionLimits
from local.process_memory import PeakMemory
from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.e2e.pipeline import Pipeline, request_file

UPLOADS = 150
REQUESTS = 3
_UPLOADERS = 32
_MAX_SECONDS = 7200.0
_LOOK_SECONDS = 2.0
_REPORT_SECONDS = 60.0
"""How long after the results a job's report may come."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a burst.

    Attributes:
        problems: What is wrong, a sentence each.
        seconds: From the first upload to the last report.
        throttles: How often a function was refused for the quota.
    """

    problems: list[str]
    seconds: float
    throttles: int


def main() -> int:
    """Run a burst and print what came of it."""
    parser = argparse.ArgumentParser(prog="make burst", description=__doc__)
    parser.add_argument("--uploads", type=int, default=UPLOADS)
    parser.add_argument("--seconds", type=float, default=0.0, help="spread the uploads over these")
    parser.add_argument("--concurrency", type=int, help="functions at once; else what fits")
    parser.add_argument("--run", action="store_true", help="upload with one groq-batch run")
    parser.add_argument("--logs", type=Path, help="folder for the logs of the emulator")
    options = parser.parse_args()
    limits = options.concurrency and FunctionLimits.of_concurrency(options.concurrency)
    with PeakMemory() as memory, LocalStack(limits=limits or None, log_dir=options.logs) as stack:
        pipeline = deploy(stack, "burst")
        if options.run:
            seen = run_files(pipeline, options.uploads)
        else:
            seen = upload_files(pipeline, options.uploads, over_seconds=options.seconds)
    print(
        f"{options.uploads} uploads: {len(seen.problems)} problems, {seen.seconds:.0f} s, "
        f"{seen.throttles} throttles, at most {memory.peak_bytes / 1e9:.2f} GB in "
        f"{memory.most_processes} processes."
    )
    for problem in seen.problems[:20]:
        print(f"  {problem}")
    return 1 if seen.problems else 0


def upload_files(pipeline: Pipeline, count: int, *, over_seconds: float = 0.0) -> Seen:
    """Upload files and wait until the jobs of all have ended.

    Args:
        pipeline: The stack.
        count: How many files.
        over_seconds: In which time; all at once when 0.
    """
    begun = time.monotonic()

    def upload(number: int) -> None:
        due = begun + over_seconds * number / count
        time.sleep(max(due - time.monotonic(), 0))
        pipeline.upload(f"input/{_name(number)}", request_file(_ids(number)))

    with ThreadPoolExecutor(_UPLOADERS) as pool:
        list(pool.map(upload, range(count)))
    while len(pipeline.keys("output/burst/")) < count:
        if time.monotonic() - begun > _MAX_SECONDS:
            break
        # Each look is work for the emulator, too.
        time.sleep(_LOOK_SECONDS)
    problems = [problem for number in range(count) for problem in _problems(pipeline, number)]
    return _seen(pipeline, count, problems, time.monotonic() - begun)


def run_files(pipeline: Pipeline, count: int) -> Seen:
    """Give files to one ``groq-batch run``, which follows them and fetches their results."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            (folder / Path(_name(number)).name).write_bytes(request_file(_ids(number)))
        files = sorted(path.name for path in folder.iterdir())
        ended = subprocess.run(
            [sys.executable, str(PROJECT_ROOT / "cli"), "run", *files, "--to", "burst"],
            cwd=folder,
            env={
                **os.environ,
                "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
                "AWS_REGION": pipeline.stack.region,
                "AWS_ENDPOINT_URL": pipeline.stack.endpoint_url,
                "GROQ_BATCH_STACK": pipeline.stack_name,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        fetched = len(list(folder.glob("*.results.jsonl")))
    problems = [problem for number in range(count) for problem in _problems(pipeline, number)]
    if ended.returncode or fetched != count:
        problems.append(
            f"groq-batch run ended with {ended.returncode} and fetched {fetched} results: "
            f"{ended.stdout[-500:]}{ended.stderr[-2000:]}"
        )
    return _seen(pipeline, count, problems, time.monotonic() - begun)


def _name(number: int) -> str:
    return f"burst/file-{number:04d}.jsonl"


def _ids(number: int) -> list[str]:
    return [f"{number}-{place}" for place in range(REQUESTS)]


def _problems(pipeline: Pipeline, number: int) -> list[str]:
    """Return what is wrong with one job."""
    name = _name(number)
    report = pipeline.report(name)
    deadline = time.monotonic() + _REPORT_SECONDS
    while report is None or report["status"] == "running":
        if time.monotonic() > deadline:
            return [f"{name} has not ended: {'no' if report is None else 'a running'} report"]
        time.sleep(_LOOK_SECONDS)
        report = pipeline.report(name)
    if report["status"] != "succeeded":
        return [f"{name} ended as {report['status']}: {report['errors'][:1]}"]
    rows = [row["custom_id"] for row in pipeline.rows(f"output/{name}")]
    return [] if rows == _ids(number) else [f"{name} has the rows {rows}"]


def _seen(pipeline: Pipeline, count: int, problems: list[str], seconds: float) -> Seen:
    batches = Counter(batch["metadata"]["job"] for batch in pipeline.simulator.batches())
    problems += [f"{job} has {number} batches" for job, number in batches.items() if number != 1]
    if len(batches) != count:
        problems.append(f"{len(batches)} jobs have batches, not {count}")
    return Seen(problems, seconds, _throttles(pipeline))


def _throttles(pipeline: Pipeline) -> int:
    """Return how often the emulated Lambda has throttled, by its own metric."""
    found = pipeline.stack.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="Throttles",
        StartTime=time.time() - 2 * _MAX_SECONDS,
        EndTime=time.time() + 60,
        Period=60,
        Statistics=["Sum"],
    )
    return int(sum(point["Sum"] for point in found["Datapoints"]))


if __name__ == "__main__":
    sys.exit(main())
