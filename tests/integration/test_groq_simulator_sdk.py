"""The Groq simulator driven by the official SDKs, and as a process of its own."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.groq_simulator import DEFAULT_KEY, GroqSimulator, SimulatorControl
from tests.integration.simulator_api import request_lines
from tests.patience import PATIENCE_SECONDS, wait_until

groq = pytest.importorskip("groq")
openai = pytest.importorskip("openai")

ROOT = Path(__file__).resolve().parents[2]
ENDPOINT = "/v1/chat/completions"
SPEECH = "/v1/audio/transcriptions"
MAX_PROCESS_KIB = 80 * 1024


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator(batch_seconds=0.1, cancel_seconds=0.05, page_size=2) as running:
        yield running


@pytest.fixture(params=["groq", "openai"])
def client(request: pytest.FixtureRequest, simulator: GroqSimulator) -> Iterator[Any]:
    options = {"api_key": DEFAULT_KEY, "max_retries": 0, "timeout": PATIENCE_SECONDS}
    if request.param == "groq":
        made = groq.Groq(base_url=simulator.host_url, **options)
    else:
        made = openai.OpenAI(base_url=simulator.url, **options)
    with made:
        yield made


def audio_lines(*forms: str, url: str = SPEECH) -> bytes:
    body = {"model": "whisper-large-v3", "url": "https://example.com/a.mp3"}
    lines = (
        {"custom_id": form, "method": "POST", "url": url, "body": {**body, "response_format": form}}
        for form in forms
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def create(client: Any, data: bytes = b"", *, endpoint: str = ENDPOINT) -> Any:
    stored = client.files.create(file=("a.jsonl", data or request_lines(5)), purpose="batch")
    return client.batches.create(
        input_file_id=stored.id,
        endpoint=endpoint,
        completion_window="24h",
        metadata={"job": "j", "shard": "1", "attempt": "1"},
    )


def wait(client: Any, batch_id: str, status: str = "completed") -> Any:
    def look() -> Any:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status == status else None

    return wait_until(look, lambda: f"{batch_id} is not {status}")


def content(client: Any, file_id: str) -> bytes:
    answer = client.files.content(file_id)
    data: bytes = answer.read()
    return data


def test_upload_create_poll_download_delete(simulator: GroqSimulator, client: Any) -> None:
    simulator.control.add_rule("capacity_exhausted", match={"custom_id": "r-3"})
    created = create(client)
    assert created.status == "validating"
    batch = wait(client, created.id)
    assert batch.metadata == {"job": "j", "shard": "1", "attempt": "1"}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (4, 1)
    rows = [json.loads(line) for line in content(client, batch.output_file_id).splitlines()]
    assert sorted(row["custom_id"] for row in rows) == ["r-0", "r-1", "r-2", "r-4"]
    (failed,) = content(client, batch.error_file_id).splitlines()
    assert json.loads(failed)["error"]["code"] == "capacity_exhausted"
    assert len(client.files.list().data) == 3
    for file_id in (batch.input_file_id, batch.output_file_id, batch.error_file_id):
        assert client.files.delete(file_id).deleted
    assert simulator.control.stats()["files"] == []


def test_batches_are_listed_and_cancelled(simulator: GroqSimulator, client: Any) -> None:
    simulator.control.configure(batch_seconds=60)
    ids = [create(client).id for _ in range(3)]
    assert [batch.id for batch in client.batches.list().data] == [ids[2], ids[1]]
    one = client.batches.list(extra_query={"id": ids[0]})
    assert [batch.id for batch in one.data] == [ids[0]]
    assert client.batches.cancel(ids[0]).status == "cancelling"
    assert wait(client, ids[0], "cancelled").output_file_id is None


def test_refusals_raise_the_sdks_own_errors(simulator: GroqSimulator, client: Any) -> None:
    module = groq if type(client).__module__.startswith("groq") else openai
    with pytest.raises(module.NotFoundError):
        client.batches.retrieve("batch_unknown")
    with pytest.raises(module.BadRequestError):
        client.batches.create(input_file_id="file_x", endpoint=ENDPOINT, completion_window="1h")
    simulator.control.add_fault("list", status=429, headers={"Retry-After": "3"})
    with pytest.raises(module.RateLimitError) as caught:
        client.batches.list()
    assert caught.value.response.headers["retry-after"] == "3"
    simulator.control.set_keys({})
    with pytest.raises(module.AuthenticationError):
        client.files.list()


def test_transcriptions_come_in_the_form_that_was_asked_for(
    simulator: GroqSimulator, client: Any
) -> None:
    batch = wait(client, create(client, audio_lines("text", "json", "verbose_json")).id)
    rows = [json.loads(line) for line in content(client, batch.output_file_id).splitlines()]
    bodies = {row["custom_id"]: row["response"]["body"] for row in rows}
    said = "Echo: https://example.com/a.mp3"
    assert bodies["text"] == said
    assert bodies["json"]["text"] == bodies["verbose_json"]["text"] == said
    assert "duration" not in bodies["json"]
    assert bodies["verbose_json"]["duration"] > 0
    # A text is an answer like others: it is paid for, and a second time if it is asked again.
    assert simulator.control.stats()["paid_twice"] == []
    wait(client, create(client, audio_lines("text")).id)
    assert simulator.control.stats()["paid_twice"] == ["text"]


def test_endpoint_must_be_the_url_of_the_requests_where_so_set(
    simulator: GroqSimulator, client: Any
) -> None:
    module = groq if type(client).__module__.startswith("groq") else openai
    with pytest.raises(module.BadRequestError):
        create(client, audio_lines("text"), endpoint=SPEECH)
    simulator.control.configure(endpoint_rule="own_at_create")
    with pytest.raises(module.BadRequestError) as caught:
        create(client, audio_lines("text"))
    assert json.loads(caught.value.response.read())["error"]["param"] == "endpoint"
    assert wait(client, create(client, audio_lines("text"), endpoint=SPEECH).id).endpoint == SPEECH
    simulator.control.configure(endpoint_rule="own_at_validation")
    lines = audio_lines("json") + request_lines(1)
    failed = wait(client, create(client, lines, endpoint=SPEECH).id, "failed")
    assert [(one.code, one.line) for one in failed.errors.data] == [("url_mismatch", 2)]


class Process:
    """The simulator as `python -m local.groq_simulator`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data = folder / "data"
        port_file = folder / "port"
        command = [sys.executable, "-m", "local.groq_simulator", "--port", "0"]
        command += ["--port-file", str(port_file), "--data-dir", str(self.data), *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        wait_until(lambda: port_file.exists() or self.process.poll() is not None, lambda: "no port")
        assert self.process.poll() is None
        self.port = int(port_file.read_text())
        self.control = SimulatorControl(f"http://127.0.0.1:{self.port}")

    def peak_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    process = Process(
        tmp_path,
        *("--batch-seconds", "1", "--speed", "100", "--set", "page_size=5"),
        *("--set", "errors_shape=array", "--key", "gsk_a", "--key", "gsk_b=free"),
        *("--honour-request-hints", "--no-request-accounting"),
    )
    try:
        settings = process.control.configure()
        assert (settings["batch_seconds"], settings["speed"]) == (1, 100)
        assert (settings["page_size"], settings["errors_shape"]) == (5, "array")
        assert settings["honour_request_hints"]
        assert not settings["account_requests"]
        with groq.Groq(base_url=f"http://127.0.0.1:{process.port}", api_key="gsk_a") as client:
            wait(client, create(client).id)
        assert len(list(process.data.glob("*/*"))) == 2
    finally:
        code = process.stop(number)
    assert code == 0
    assert list(process.data.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    process = Process(tmp_path, *("--batch-seconds", "0", "--no-request-accounting"))
    try:
        size = _upload_large(process.port, tmp_path / "large.jsonl")
        with groq.Groq(
            base_url=f"http://127.0.0.1:{process.port}",
            api_key=DEFAULT_KEY,
            timeout=PATIENCE_SECONDS,
        ) as client:
            (stored,) = client.files.list().data
            assert stored.bytes == size
            created = client.batches.create(
                input_file_id=stored.id, endpoint=ENDPOINT, completion_window="24h"
            )
            batch = wait(client, created.id)
            assert batch.request_counts.completed == 15_000
            received = 0
            with client.files.with_streaming_response.content(batch.output_file_id) as answer:
                for chunk in answer.iter_bytes(65536):
                    received += len(chunk)
            assert received > 15_000 * 1000
        assert process.peak_kib() < MAX_PROCESS_KIB
    finally:
        process.stop(signal.SIGTERM)


def _upload_large(port: int, path: Path) -> int:
    """Uploads about 60 MB without holding them here either; returns their size in bytes."""
    with path.open("wb") as output:
        for start in range(0, 15_000, 1000):
            lines = request_lines(1000, "x" * 3900)
            output.write(lines.replace(b'"r-', b'"r-%d-' % start))
    size = path.stat().st_size
    head = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
        b'Content-Disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
    )
    tail = b"\r\n--b--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.putrequest("POST", "/openai/v1/files")
    connection.putheader("Authorization", f"Bearer {DEFAULT_KEY}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(len(head) + size + len(tail)))
    connection.endheaders()
    connection.send(head)
    with path.open("rb") as source:
        connection.send(source)
    connection.send(tail)
    assert connection.getresponse().status == 200
    connection.close()
    return size
