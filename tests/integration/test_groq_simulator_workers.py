"""The simulator with workers: the same comes of a batch, and batches run beside each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local.groq_simulator import GroqSimulator
from local.groq_simulator.batches import Batch
from local.groq_simulator.fates import Fate
from local.groq_simulator.settings import Settings
from local.groq_simulator.workers import Workers
from local.simulator_process import SimulatorProcess
from tests.integration.simulator_api import Api, request_line, request_lines
from tests.patience import wait_until

SETTINGS: dict[str, Any] = {
    "batch_seconds": 0.0,
    "cancel_seconds": 0.0,
    "account_requests": False,
    "bad_line": "report_only",
}
CHANGING = ("id", "request_id", "created")
"""What differs between two runs of the same requests."""


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GroqSimulator]:
    """A simulator with workers, which take a moment to start."""
    folder = tmp_path_factory.mktemp("working")
    with GroqSimulator(data_dir=folder, workers=2, **SETTINGS) as running:
        yield running


@pytest.fixture
def simulator(working: GroqSimulator) -> Iterator[GroqSimulator]:
    working.control.reset()
    yield working
    working.control.reset()


@pytest.fixture
def without() -> Iterator[GroqSimulator]:
    with GroqSimulator(**SETTINGS) as running:
        yield running


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The batches that workers have run, as they are asked for."""
    found: list[str] = []
    ask = Workers.finished

    def finished(workers: Workers, batch: Batch) -> Any:
        result = ask(workers, batch)
        if result is not None:
            found.append(batch.id)
        return result

    monkeypatch.setattr(Workers, "finished", finished)
    return found


def files_of(simulator: GroqSimulator) -> list[Path]:
    return list(simulator._folder.iterdir())


def plain(value: Any) -> Any:
    """Return a value without what differs from run to run."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if name not in CHANGING}
    return [plain(one) for one in value] if isinstance(value, list) else value


def outcome(api: Api, data: bytes, status: str = "completed") -> dict[str, Any]:
    """Run a batch; return its counts, its errors and its rows in order."""
    batch = api.wait(api.submit(data), status)
    names = ("request_counts", "errors", "status")
    files = {
        name: plain(api.rows(batch[name])) if batch.get(name) else None
        for name in ("output_file_id", "error_file_id")
    }
    return {name: batch.get(name) for name in names} | files


def eventually(holds: Callable[[], bool]) -> None:
    wait_until(holds, lambda: "it never holds")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(request_lines(200), "completed", id="good"),
        pytest.param(
            request_lines(20) + b"[]\nno json\n" + request_line("r-3") + request_line("é"),
            "completed",
            id="bad lines among them",
        ),
        pytest.param(b"[]\n", "completed", id="no good line"),
        pytest.param(b"", "failed", id="empty"),
    ],
)
def test_what_comes_of_a_batch_is_the_same(
    data: bytes, status: str, simulator: GroqSimulator, without: GroqSimulator, runs: list[str]
) -> None:
    expected = outcome(Api(without.url), data, status)
    assert runs == []
    assert outcome(Api(simulator.url), data, status) == expected
    assert runs


def test_a_batch_that_is_refused_for_a_bad_line(simulator: GroqSimulator, runs: list[str]) -> None:
    simulator.control.configure(bad_line="fail_batch")
    found = outcome(Api(simulator.url), request_lines(3) + b"[]\n", "failed")
    assert [error["line"] for error in found["errors"]["data"]] == [4]
    assert (found["output_file_id"], found["error_file_id"]) == (None, None)
    assert runs


def test_two_batches_at_once(simulator: GroqSimulator, runs: list[str]) -> None:
    api = Api(simulator.url)
    ids = [api.submit(request_line(f"{name}-1") + request_line(f"{name}-2")) for name in "ab"]
    for batch_id, name in zip(ids, "ab", strict=True):
        batch = api.wait(batch_id)
        assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
        rows = api.rows(batch["output_file_id"])
        assert sorted(row["custom_id"] for row in rows) == [f"{name}-1", f"{name}-2"]
    assert set(runs) == set(ids)


def batch_of(path: Path) -> Batch:
    return Batch(
        position=1.0,
        metadata=None,
        input_file_id="file_1",
        endpoint="/v1/chat/completions",
        completion_window="24h",
        window_seconds=86_400.0,
        created_at=0.0,
        fate=Fate(),
        input_path=path,
    )


def release(path: Path) -> None:
    """Give an empty file to the one who reads a named pipe, as soon as somebody does."""

    def is_read() -> bool:
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            return True
        return False

    eventually(is_read)


def test_a_batch_does_not_wait_for_the_one_before(tmp_path: Path) -> None:
    """The first one's input does not come to its end before the second batch is done."""
    first, second = batch_of(tmp_path / "first"), batch_of(tmp_path / "second")
    for batch in (first, second):
        assert batch.input_path is not None
        os.mkfifo(batch.input_path)
    workers = Workers(2, tmp_path)
    try:
        for batch in (first, second):
            workers.begin(batch, Settings(account_requests=False))
            assert workers.are_busy_with(batch)
        release(tmp_path / "second")
        found = workers.finished(second)
        assert found is not None
        assert found.scan.total == 0
        assert workers.are_busy_with(first)
        release(tmp_path / "first")
        assert workers.finished(first) is not None
        assert not workers.are_busy_with(first)
    finally:
        # A reader that waits, or begins to, would keep the processes from ending.
        for name in ("second", "first"):
            with suppress(OSError):
                os.close(os.open(tmp_path / name, os.O_WRONLY | os.O_NONBLOCK))
            (tmp_path / name).unlink()
        workers.stop()


@pytest.mark.parametrize(
    ("prepare", "failed"),
    [
        pytest.param(lambda control: control.add_rule("capacity_exhausted"), 1, id="a rule"),
        pytest.param(
            lambda control: control.configure(honour_request_hints=True), 1, id="hints of requests"
        ),
        pytest.param(lambda control: control.configure(account_requests=True), 0, id="counting"),
    ],
)
def test_what_needs_the_state_of_the_server_is_done_there(
    prepare: Callable[[Any], None], failed: int, simulator: GroqSimulator, runs: list[str]
) -> None:
    prepare(simulator.control)
    data = request_line("a", metadata={"simulate": "capacity_exhausted"})
    found = outcome(Api(simulator.url), data)
    assert runs == []
    assert found["request_counts"] == {"total": 1, "completed": 1 - failed, "failed": failed}


def test_a_batch_with_a_fate_of_its_own_is_run_by_the_server(
    simulator: GroqSimulator, runs: list[str]
) -> None:
    simulator.control.add_fate(end="expire", done=0.5)
    found = outcome(Api(simulator.url), request_lines(4), "expired")
    assert runs == []
    assert found["request_counts"]["completed"] == 2


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda control, _batch: control.add_rule("capacity_exhausted"), id="a rule"),
        pytest.param(
            lambda control, batch: control.change_batch(batch, all_requests="capacity_exhausted"),
            id="a fate",
        ),
    ],
)
def test_what_is_changed_later_counts_as_well(
    change: Callable[[Any, str], None], simulator: GroqSimulator
) -> None:
    """A worker may have run the batch by then, as if nothing were to come."""
    api = Api(simulator.url)
    simulator.control.configure(batch_seconds=3600.0)
    batch_id = api.submit(request_lines(2))
    change(simulator.control, batch_id)
    simulator.control.advance_clock(3600)
    batch = api.wait(batch_id)
    assert batch["request_counts"] == {"total": 2, "completed": 0, "failed": 2}
    assert batch["output_file_id"] is None
    assert len(api.rows(batch["error_file_id"])) == 2


def test_a_reset_forgets_batches_at_work_and_their_files(simulator: GroqSimulator) -> None:
    api = Api(simulator.url)
    simulator.control.configure(batch_seconds=3600.0)
    ids = [api.submit(request_lines(500)) for _ in range(3)]
    assert files_of(simulator)
    simulator.control.reset()
    assert files_of(simulator) == []
    assert [api.call("GET", f"/batches/{one}").status for one in ids] == [404] * 3
    again = outcome(api, request_lines(3))
    assert again["request_counts"] == {"total": 3, "completed": 3, "failed": 0}


def test_a_cancelled_batch_leaves_nothing_of_what_the_worker_wrote(
    simulator: GroqSimulator,
) -> None:
    api = Api(simulator.url)
    simulator.control.configure(batch_seconds=3600.0)
    batch_id = api.submit(request_lines(5))
    assert api.call("POST", f"/batches/{batch_id}/cancel").status == 200
    batch = api.wait(batch_id, "cancelled")
    assert batch["request_counts"]["completed"] == 0
    simulator.control.reset()
    assert files_of(simulator) == []


def test_a_stopped_simulator_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())
    simulator = GroqSimulator(workers=2, **(SETTINGS | {"batch_seconds": 3600.0}))
    simulator.start()
    try:
        workers = set(multiprocessing.active_children()) - before
        assert len(workers) == 2
        Api(simulator.url).submit(request_lines(500))
    finally:
        simulator.stop()
    assert not any(one.is_alive() for one in workers)
    assert set(multiprocessing.active_children()) == before
    assert not simulator._folder.exists()


def descendants(process: int) -> dict[int, bytes]:
    """Return the commands of all that a process has started, directly or not."""
    found: dict[int, bytes] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes()
            found |= descendants(child)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of processes")
@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_simulator_process_takes_its_workers_with_it(is_killed: bool, tmp_path: Path) -> None:
    arguments = ("--batch-seconds", "0", "--no-request-accounting", "--set", "workers=2")
    with SimulatorProcess(
        log_file=tmp_path / "log", arguments=arguments, honours_hints=False
    ) as simulator:
        processes = descendants(simulator._process.pid)
        workers = [one for one, command in processes.items() if b"spawn_main" in command]
        assert len(workers) == 2
        api = Api(simulator.groq_base_url)
        assert outcome(api, request_lines(3))["status"] == "completed"
        if is_killed:
            (server,) = [
                one
                for one, command in processes.items()
                if b"local.groq_simulator" in command and b"local.leash" not in command
            ]
            os.kill(server, signal.SIGKILL)
            eventually(lambda: not simulator.is_running)
    eventually(lambda: not any(Path(f"/proc/{one}").exists() for one in processes))
