"""Runs a job on the emulated stack, for the picture of its report and of the command line."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.build import build_application
from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY
from local.pictures.recording import Frame, record
from local.stack import LocalStack

PROJECT = Path(__file__).parents[2]
FILE = "reviews.jsonl"
_STACK_NAME = "groq-batch"
_SECRET_NAME = "groq/api-key"  # noqa: S105 - where the key is, not what it is
_REQUESTS = 1200
_REQUESTS_PER_BATCH = 400
_BATCH_SECONDS = "12"
_SEED = 7
_TEXT = (
    "the product arrived late but works well and the support answered within a day so that "
    "everything was solved in the end although the manual could say more about the first steps"
)


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """The output of the command line, and the page of the job."""

    frames: list[Frame]
    page: bytes


def run_job(folder: Path) -> FinishedJob:
    """Deploy the stack, run a file of requests, and return its output and report page."""
    write_requests(folder / FILE)
    with _stack(folder) as stack:
        stack.simulator.add_rule(
            {"kind": "http_error", "status": 400, "code": "context_length_exceeded"},
            match={"fraction": 0.006, "seed": 1},
        )
        stack.simulator.add_rule(
            {"kind": "capacity_exhausted"}, match={"fraction": 0.03, "seed": 3}, times=1
        )
        environ = {
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "AWS_ACCESS_KEY_ID": ROOT_ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET_KEY,
            "AWS_ENDPOINT_URL": stack.endpoint_url,
            "AWS_REGION": stack.region,
            "GROQ_BATCH_STACK": _STACK_NAME,
            "TERM": "xterm-256color",
        }
        command = [sys.executable, str(PROJECT / "cli")]
        frames = record(
            [*command, "run", FILE, "--out", "results"],
            shown_as=f"groq-batch run {FILE} --out results",
            cwd=folder,
            environ=environ,
        )
        opened = subprocess.run(
            [*command, "open", FILE, "--print"],
            cwd=folder,
            env=environ,
            capture_output=True,
            check=True,
            text=True,
        )
        return FinishedJob(frames, Path(opened.stdout.strip()).read_bytes())


def write_requests(file: Path) -> None:
    """Write requests of many lengths, the same ones each time."""
    chance = random.Random(_SEED)  # noqa: S311 - for looks
    with file.open("w", encoding="utf-8") as stream:
        for number in range(_REQUESTS):
            words = chance.choices(_TEXT.split(), k=max(6, int(chance.lognormvariate(4.2, 0.55))))
            body = {
                "model": chance.choice(["openai/gpt-oss-20b", "openai/gpt-oss-120b"]),
                "messages": [{"role": "user", "content": " ".join(words)}],
                "max_completion_tokens": 160,
            }
            request = {
                "custom_id": f"review-{number + 1}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": body,
            }
            stream.write(json.dumps(request) + "\n")


@contextmanager
def _stack(folder: Path) -> Iterator[LocalStack]:
    build = build_application(log_file=folder / "sam-build.log")
    with LocalStack(
        simulator_arguments=("--batch-seconds", _BATCH_SECONDS), log_dir=folder / "logs"
    ) as stack:
        stack.use_build(build)
        stack.put_secret(_SECRET_NAME, stack.groq_api_key)
        stack.deploy(
            _STACK_NAME,
            {
                "GroqApiKeySecretName": _SECRET_NAME,
                "GroqBaseUrl": stack.groq_base_url,
                "MaxRequestsPerBatch": str(_REQUESTS_PER_BATCH),
                "PollMinSeconds": "1",
            },
        )
        yield stack
