"""Processes that really end, with a bucket and a Groq that live on outside of them.

The tests of deaths elsewhere kill an invocation by an exception that nothing catches, and cut it
off from the world. Here the same step runs in a process of its own with everything real - boto3,
HTTP, threads, the clock - and ends with ``os._exit`` at the same call. Afterwards the bucket must
look the same in both worlds, Groq must have the same, and the job must come to a good end as it
does there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from groq_batch.groq.calls import Timeouts
from groq_batch.groq.client import GroqClient
from local.emulator import Emulator, EmulatorOptions
from local.groq_simulator import DEFAULT_KEY, GroqSimulator
from local.state_machine.machine import TaskError
from tests.fakes.calls import Call, Wire, plain_wire
from tests.harness.dying import EXIT_CODE
from tests.harness.invocations import DEATH, Die, Invocation, Trouble
from tests.harness.jobs import Upload, bad_line, check_end, good_lines, put
from tests.harness.scripts import SMALL_SHARDS
from tests.harness.world import DEFAULT_ENVIRONMENT, MADE_UP_MODELS, World
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Point:
    """A call at which an invocation dies; ``{job}`` in its label stands for the job."""

    function: str
    nth: int
    label: str
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.label}"


RECORD = "s3.put_object work/{job}/submissions/attempt-1/00002.json"
SUMMARY = "s3.put_object work/{job}/summaries/attempt-1/00001.json"

POINTS = [
    Point("prepare_input", 1, "s3.put_object work/{job}/plan.json #0", after=True),
    Point("submit_batch", 1, "groq.upload #0", after=True),
    Point("submit_batch", 1, "groq.create #0", after=True),
    Point("submit_batch", 2, f"{RECORD} #3", after=True),
    Point("download_results", 1, f"{SUMMARY} #0", after=False),
    Point("finish_job", 1, "s3.put_object reports/a.jsonl.json #0", after=True),
]
"""Points that only one thread comes to; what others have done by then is chance."""


def script(world: World) -> list[Upload]:
    """A job of two shards, two attempts and a bad line."""
    world.simulator.add_rule("capacity_exhausted", match={"custom_id": "r1"}, times=1)
    lines = [*good_lines(3), bad_line("bad")]
    upload = put(world, "input/a.jsonl", lines, on_invalid_line="skip")
    return [upload]


# -- services outside ----------------------------------------------------------------------------


class OutsideS3:
    """The same operations as the double's, on a server."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        self.bucket = bucket
        config = Config(retries={"max_attempts": 0}, max_pool_connections=32)
        self._s3 = boto3.client("s3", endpoint_url=endpoint, config=config)
        self._s3.create_bucket(Bucket=bucket)
        self._s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def client(self, wire: Wire = plain_wire) -> Any:
        return _Wired(self._s3, wire)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def read(self, key: str) -> bytes | None:
        if key not in self.keys(key):
            return None
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


class _Wired:
    """A client whose calls go through a wire."""

    def __init__(self, s3: Any, wire: Wire) -> None:
        self._s3 = s3
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._s3, name)
        if name == "get_paginator":
            return operation

        def call(**arguments: Any) -> Any:
            made = Call("s3", name, str(arguments.get("Key", "")), arguments)
            return self._wire(made, lambda: operation(**arguments))

        return call


class OutsideGroq:
    """The simulator over HTTP, in the time of a world."""

    def __init__(self, simulator: GroqSimulator, world: World) -> None:
        self._simulator = simulator
        self.control = simulator.control
        simulator._state.now = world.clock  # type: ignore[method-assign]

    def client(self, wire: Wire = plain_wire) -> GroqClient:
        def key(*, refresh: bool = False) -> str:
            return DEFAULT_KEY

        return GroqClient(base_url=self._simulator.url, api_key=key, timeouts=Timeouts(pause=0.0))

    def close(self) -> None:
        """The simulator closes itself."""


class OutsideWorld(World):
    """A world whose bucket and Groq are servers, and in which one invocation is a process."""

    def __init__(self, endpoint: str, simulator: GroqSimulator, point: Point) -> None:
        super().__init__(SMALL_SHARDS)
        self.groq.close()
        self.clock._now = time.time()
        self.s3 = OutsideS3(endpoint, f"bucket-{time.time_ns()}")  # type: ignore[assignment]
        self.groq = OutsideGroq(simulator, self)  # type: ignore[assignment]
        environment = {**DEFAULT_ENVIRONMENT, **SMALL_SHARDS, "BUCKET_NAME": self.s3.bucket}
        self.settings = type(self.settings).from_env(environment)
        self._user = self.s3.client()
        self._environment = {
            **environment,
            "GROQ_BASE_URL": simulator.url,
            "AWS_ENDPOINT_URL": endpoint,
        }
        self._point = point
        self._seen = 0
        self.job_id = ""
        self.deaths = 0
        self.after_death: dict[str, Any] = {}

    def invoke(self, function: str, payload: Any) -> Any:
        self._seen += function == self._point.function
        if function != self._point.function or self._seen != self._point.nth or self.deaths:
            return (yield from super().invoke(function, payload))
        yield self.clock() + 0.25
        self._run_outside(function, payload)
        self.deaths += 1
        self.after_death = picture(self)
        raise TaskError(DEATH)

    def _run_outside(self, function: str, payload: Any) -> None:
        order = {
            "function": function,
            "payload": payload,
            "label": self._point.label.format(job=self.job_id),
            "after": self._point.after,
            "seconds_ahead": self.clock() - time.time(),
        }
        process = subprocess.run(
            [sys.executable, "-m", "tests.harness.dying"],
            input=json.dumps(order),
            env={
                **os.environ,
                **self._environment,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "functions")]),
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert process.returncode == EXIT_CODE, f"it did not die: {process.stderr[-2000:]}"


# -- what is left --------------------------------------------------------------------------------

_NAMES = re.compile(
    r"(batch_req_out_|req_|chatcmpl-|batch_|file_)[0-9a-z]+"
    r"|a-[0-9a-f]{20}|\bu[0-9]{8}\b|[0-9a-f]{8}-[0-9a-f-]{27}"
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+Z)?|\b1[0-9]{9}\b|s3://[a-z0-9-]+"
)
"""Ids, times and addresses."""


def picture(world: World) -> dict[str, Any]:
    """Return what stands in the bucket and at Groq, without what differs from run to run."""
    bucket: dict[str, Any] = {}
    for key in world.s3.keys(""):
        data = world.s3.read(key) or b""
        name = _NAMES.sub("*", key)
        if key.endswith(".html"):
            # Times stand all over a page, as words and as places of its drawings.
            bucket[name] = re.findall('<body class="[a-z]+">|<h2>[^<]*', data.decode())
            continue
        try:
            bucket[name] = _plain(json.loads(data))
        except ValueError:
            bucket[name] = _NAMES.sub("*", data.decode())
    stats = world.simulator.stats()
    return {
        "bucket": bucket,
        "creates": stats["creates"],
        "files": len(stats["files"]),
        "batches": stats["batches_by_status"],
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return what is not alike in two pictures, place by place."""
    found = {}
    for place in sorted({*one, *other}):
        mine, theirs = one.get(place), other.get(place)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            inner = differences(mine, theirs)
            found |= {f"{place}: {name}": pair for name, pair in inner.items()}
        elif mine != theirs:
            found[place] = (mine, theirs)
    return found


_OWN = (
    "DestinationBucket",
    "bucket",
    "claimed_by",
    "error_file_id",
    "output_file_id",
    "owner",
    "seconds",
    "version_id",
)
"""Fields that differ from run to run."""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: None if name in _OWN else _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        return _NAMES.sub("*", value)
    if isinstance(value, int | float) and value > 1_000_000_000:
        return "time"
    return value


class SimulatedWorld(World):
    """A world of doubles that looks around when an invocation has died."""

    def __init__(self, point: Point) -> None:
        super().__init__(SMALL_SHARDS, director=self._direct)
        self.job_id = ""
        self.after_death: dict[str, Any] = {}
        self._point = point

    def _direct(self, invocation: Invocation) -> Sequence[Trouble]:
        same = [one for one in self.invocations if one.function == self._point.function]
        if invocation.function != self._point.function or len(same) != self._point.nth:
            return ()
        return (Die(at=self._point.label.format(job=self.job_id), after=self._point.after),)

    def invoke(self, function: str, payload: Any) -> Any:
        try:
            return (yield from super().invoke(function, payload))
        except TaskError:
            self.after_death = picture(self)
            raise


def simulated(point: Point) -> dict[str, Any]:
    """Return what is left when the invocation only seems to die."""
    with SimulatedWorld(point) as world:
        (upload,) = script(world)
        world.job_id = upload.job_id(world.s3.bucket)
        world.settle()
        check_end(world, upload)
        assert any(one.dead for one in world.invocations)
        return world.after_death


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an emulated AWS."""
    log_file = tmp_path_factory.mktemp("emulator") / "log"
    options = EmulatorOptions(wait_scale=1, check_permissions=False)
    with Emulator.start(log_file, options) as emulator:
        secrets = boto3.client("secretsmanager", endpoint_url=emulator.endpoint_url)
        secrets.create_secret(Name="groq/api-key", SecretString=DEFAULT_KEY)
        yield emulator.endpoint_url


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_process_that_ends_leaves_the_same(endpoint: str, point: Point) -> None:
    expected = simulated(point)
    with (
        GroqSimulator(batch_seconds=100.0, cancel_seconds=20.0, models=MADE_UP_MODELS) as simulator,
        OutsideWorld(endpoint, simulator, point) as world,
    ):
        (upload,) = script(world)
        world.job_id = upload.job_id(world.s3.bucket)
        world.settle()
        assert world.deaths == 1
        assert differences(world.after_death, expected) == {}
        (report,) = check_end(world, upload)
    assert report["requests"] == {"total": 4, "succeeded": 3, "failed": 0, "invalid": 1}
