"""The demo as its user runs it: a command, what it prints, and the files that it leaves."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groq_batch_cli.terminal import Terminal
from local.demo.errors import DemoError
from local.demo.groq_access import GroqAccess, check_access
from local.demo.interrupts import Interrupts
from local.demo.job import Job, deployed
from local.demo.log_folder import LogFolder
from local.demo.request_file import RequestFile
from local.demo.results_folder import results_folder
from local.demo.session import Session
from local.environment import PROJECT_ROOT
from local.simulator_process import SimulatorProcess
from tests.e2e.pipeline import Pipeline, request_file
from tests.patience import PATIENCE_SECONDS

SAMPLE = PROJECT_ROOT / "events" / "sample.jsonl"

INTERRUPTED = (130, -signal.SIGINT)
"""Python ends by the signal when it interrupts code that Python itself made (as dataclasses do);
a shell says 130 to both."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


SAMPLE_IDS = [row["custom_id"] for row in rows_of(SAMPLE)]


class Demo:
    """A run of the demo in a folder of its own, where ``.env`` and the results are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GROQ_")},
            "PYTHONPATH": str(PROJECT_ROOT),
            "TMPDIR": str(self.temporary),
            **environ,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "local.demo", *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **environ: str) -> tuple[int, str]:
        """Return exit status and output."""
        with self.start(*arguments, **environ) as process:
            return self.finish(process)

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        try:
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
        assert "\x1b" not in said
        assert "Traceback" not in said
        assert list(self.temporary.iterdir()) == [], "temporary files were left behind"
        return process.returncode, said

    @property
    def results(self) -> Path:
        """The only folder of results."""
        (folder,) = (self.folder / "demo-output").iterdir()
        return folder

    def rows(self) -> list[dict[str, Any]]:
        return rows_of(self.results / "results.jsonl")

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.results / "report.json").read_bytes())
        return report


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


@pytest.fixture(scope="module")
def groq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """Yield a simulator that is named to the demo as the real API."""
    log_file = tmp_path_factory.mktemp("groq") / "simulator.log"
    with SimulatorProcess(log_file=log_file) as simulator:
        yield simulator


@pytest.fixture
def real_api(groq: SimulatorProcess) -> SimulatorProcess:
    groq.control.reset()
    groq.control.configure(batch_seconds=0.2)
    return groq


@pytest.mark.slow
def test_sample_on_the_simulator(demo: Demo) -> None:
    status, said = demo.run()

    assert status == 0, said
    assert "a simulator, which answers with echoes and costs nothing" in said
    assert "sample.jsonl: partial, 21 of 22 requests answered, 1 not" in said
    assert re.search(r"attempt 1 +22 sent in 2 batches +20 answered", said)
    assert re.search(r"attempt 2 +1 sent in 1 batch +1 answered", said)
    assert "  ticket-1841          " in said
    assert "demo-fails-always  invalid_request_error" in said
    assert f"Files in demo-output/{demo.results.name}" in said
    report = demo.report()
    assert report["status"] == "partial"
    assert report["requests"] == {"total": 22, "succeeded": 21, "failed": 1, "invalid": 0}
    rows = demo.rows()
    assert [row["custom_id"] for row in rows] == SAMPLE_IDS
    answered = [row for row in rows if (row["response"] or {}).get("status_code") == 200]
    assert {row["custom_id"] for row in rows} - {row["custom_id"] for row in answered} == {
        "demo-fails-always"
    }
    failed = (demo.results / "failed.jsonl").read_bytes()
    assert failed in SAMPLE.read_bytes()
    assert json.loads(failed)["custom_id"] == "demo-fails-always"


@pytest.mark.slow
def test_sample_on_the_real_api(demo: Demo, real_api: SimulatorProcess) -> None:
    (demo.folder / ".env").write_text(f"GROQ_API_KEY='{real_api.api_key}'\n", encoding="utf-8")

    status, said = demo.run(GROQ_BASE_URL=real_api.url)

    assert status == 0, said
    assert "the real API, which costs money" in said
    assert f"{real_api.groq_base_url}, with the key from .env" in said
    assert "about $0.002" in said
    assert "2 hints for the simulator left out" in said
    assert "sample.jsonl: succeeded, 22 requests answered" in said
    assert real_api.api_key not in said
    assert [row["custom_id"] for row in demo.rows()] == SAMPLE_IDS
    stats = real_api.control.stats()
    # With its hints two requests would have failed: none of them was sent.
    assert (stats["creates"], stats["requests_sent"]) == (1, 22)
    assert stats["files"] == []


@pytest.mark.slow
def test_interruption_cancels_at_the_real_api(demo: Demo, real_api: SimulatorProcess) -> None:
    real_api.control.configure(batch_seconds=3600)
    access = {"GROQ_API_KEY": real_api.api_key, "GROQ_BASE_URL": real_api.url}

    with demo.start(**access) as process:
        wait_for_batch(real_api, process)
        process.send_signal(signal.SIGINT)
        status, said = demo.finish(process)

    assert status in INTERRUPTED, said
    assert said.endswith("\nStopped. Everything that the demo had started has ended.\n")
    assert "Nothing of the job runs at Groq any more." in said
    assert [batch["status"] for batch in real_api.control.batches()] == ["cancelled"]
    assert demo.report()["status"] == "cancelled"
    assert (demo.results / "failed.jsonl").read_bytes().count(b"\n") == 22


def wait_for_batch(simulator: SimulatorProcess, process: subprocess.Popen[str]) -> None:
    while not simulator.control.batches():
        assert process.poll() is None, "the demo has ended"
        time.sleep(0.2)


def run_on(pipeline: Pipeline, path: Path, content: bytes) -> tuple[int, str]:
    """Run a file on the suite's own stack; returns exit status and output."""
    path.write_bytes(content)
    file = RequestFile(path)
    job = Job(deployed(pipeline.stack, pipeline.stack_name), file)
    stream = io.StringIO()
    with LogFolder(path.parent / "logs") as logs, results_folder(file) as results:
        session = Session(file, None, results, Terminal(stream, stream, {}), Interrupts())
        return session.run_job(job, logs), stream.getvalue()


def test_rejected_file(
    pipeline: Pipeline, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = b'{"custom_id": "a"\n\n{"custom_id": "b", "method": "GET"}'

    status, said = run_on(pipeline, tmp_path / f"{name}.jsonl", content)

    assert status == 1
    assert f"{name}.jsonl: rejected, 2 problems, nothing was sent" in said
    assert "  line 1: invalid_json " in said
    assert "  line 3: invalid_method " in said
    (results,) = (tmp_path / "demo-output").iterdir()
    assert sorted(path.name for path in results.iterdir()) == [
        "invalid.jsonl",
        "report.html",
        "report.json",
    ]
    assert list((tmp_path / "logs").iterdir()) == []


def test_job_that_fails(
    pipeline: Pipeline, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline.simulator.set_keys({"gsk_another_key": "paid"})

    status, said = run_on(pipeline, tmp_path / f"{name}.jsonl", request_file(["a", "b"]))

    assert status == 1
    assert re.search(rf"{name}\.jsonl: failed, .*: Groq refuses the API key\.", said)
    (logs,) = (tmp_path / "logs").iterdir()
    assert f"The logs are in logs/{logs.name}" in said
    log = (logs / "functions.log").read_text(encoding="utf-8")
    assert name in log
    assert pipeline.stack.groq_api_key not in log


def test_interruption_before_the_job(demo: Demo) -> None:
    with demo.start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  Groq"):
                break
        process.send_signal(signal.SIGTERM)
        status, said = demo.finish(process)
    assert status in INTERRUPTED, said
    assert said.endswith("\nStopped. Everything that the demo had started has ended.\n")
    assert not (demo.folder / "demo-output").exists()


def test_key_that_groq_refuses(demo: Demo, real_api: SimulatorProcess) -> None:
    key = "gsk_nobody_knows_this_key"
    status, said = demo.run(GROQ_API_KEY=key, GROQ_BASE_URL=real_api.url)
    assert status == 1
    assert "Error: Groq refuses the key in GROQ_API_KEY (from the environment)." in said
    assert key not in said
    assert real_api.control.stats()["calls"] == {"list": 1}


def test_file_that_does_not_exist(demo: Demo) -> None:
    status, said = demo.run("nothing.jsonl")
    assert status == 2
    assert said == (
        "\nError: nothing.jsonl does not exist. Give a file: make demo FILE=requests.jsonl\n"
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("free", "has no Batch API. Upgrade it to the Developer tier"),
        ("spend_limit", "has reached its spend limit"),
        ("network_blocked", "refuses the address of this machine"),
    ],
)
def test_accounts_that_cannot_run_batches(
    real_api: SimulatorProcess, state: str, expected: str
) -> None:
    real_api.control.set_keys({"gsk_1": state})
    with pytest.raises(DemoError, match=expected):
        check_access(GroqAccess(real_api.groq_base_url, "gsk_1", ".env"), {})


def test_address_that_is_not_groqs(real_api: SimulatorProcess) -> None:
    access = GroqAccess(f"{real_api.url}/elsewhere", real_api.api_key, ".env")
    with pytest.raises(DemoError, match="does not answer like the Groq API"):
        check_access(access, {})


def test_nobody_listens_at_the_address() -> None:
    access = GroqAccess("http://127.0.0.1:9/openai/v1", "gsk_1", ".env")
    with pytest.raises(DemoError, match=r"No connection to 127\.0\.0\.1"):
        check_access(access, {})
