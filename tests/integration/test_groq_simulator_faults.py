"""Faults of the Groq simulator's calls, its counts and its control."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest

from local.groq_simulator import ControlError, GroqSimulator, SimulatorControl
from tests.integration.simulator_api import Api, in_background, request_lines
from tests.patience import wait_until

# Faults of calls


def every_call(api: Api, file_id: str, batch_id: str) -> dict[str, Any]:
    return {
        "models": lambda: api.call("GET", "/models"),
        "files_list": lambda: api.call("GET", "/files"),
        "file_retrieve": lambda: api.call("GET", f"/files/{file_id}"),
        "content": lambda: api.call("GET", f"/files/{file_id}/content"),
        "retrieve": lambda: api.call("GET", f"/batches/{batch_id}"),
        "list": lambda: api.call("GET", "/batches"),
        "list_by_ids": lambda: api.call("GET", f"/batches?id={batch_id}"),
        "cancel": lambda: api.call("POST", f"/batches/{batch_id}/cancel"),
        "create": lambda: api.create(file_id),
        "upload": lambda: api.upload(b"x" * 300_000),
        "file_delete": lambda: api.call("DELETE", f"/files/{file_id}"),
    }


def test_every_route_can_be_refused_before_it_acts(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=60)
    batch_id = api.submit(request_lines(1))
    file_id = api.batch(batch_id)["input_file_id"]
    calls = every_call(api, file_id, batch_id)
    for route, call in calls.items():
        simulator.control.add_fault(route, status=503, headers={"Retry-After": "7"})
        refused = call()
        assert (refused.status, refused.headers["Retry-After"]) == (503, "7"), route
    stats = simulator.control.stats()
    assert (stats["creates"], len(stats["files"])) == (1, 1)
    assert api.batch(batch_id)["status"] == "validating"
    for route, call in calls.items():
        assert call().status == 200, route


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ({"error": {"message": "m"}}, "application/json"),
        ("<html>Bad gateway</html>", "text/html"),
        ("error code: 1020", "text/plain"),
        ("", "text/plain"),
    ],
)
def test_a_refusal_has_any_body(
    simulator: GroqSimulator, api: Api, body: Any, content_type: str
) -> None:
    simulator.control.set_faults([{"route": "*", "status": 502, "body": body, "times": None}])
    for _ in range(2):
        answer = api.call("GET", "/files")
        assert (answer.status, answer.headers["Content-Type"]) == (502, content_type)
        assert answer.data == (body if isinstance(body, str) else json.dumps(body)).encode()
    simulator.control.clear_faults()
    assert api.call("GET", "/files").status == 200


def test_an_answer_is_lost_after_the_act(simulator: GroqSimulator, api: Api) -> None:
    file_id = api.upload(request_lines(1)).json["id"]
    simulator.control.add_fault("create", status=504, act=True, visible_after=1000)
    assert api.create(file_id).status == 504
    assert simulator.control.stats()["creates"] == 1
    assert api.call("GET", "/batches").json["data"] == []
    simulator.control.advance_clock(1000)
    assert len(api.call("GET", "/batches").json["data"]) == 1
    simulator.control.add_fault("create", answer="reset", act=True)
    with pytest.raises(ConnectionError):
        api.create(file_id)
    assert simulator.control.stats()["creates"] == 2
    simulator.control.add_fault("upload", visible_after=60)
    hidden = api.upload(b"x").json["id"]
    assert hidden not in [stored["id"] for stored in api.call("GET", "/files").json["data"]]
    assert api.call("GET", f"/files/{hidden}").status == 200
    assert simulator.control.calls("create")[-1]["status"] is None


def test_a_connection_breaks_before_the_act(simulator: GroqSimulator, api: Api) -> None:
    file_id = api.upload(request_lines(1)).json["id"]
    simulator.control.add_fault("upload", answer="reset")
    with pytest.raises(ConnectionError):
        api.upload(b"x" * 5_000_000)
    simulator.control.add_fault("create", answer="half_close", seconds=0.05)
    with pytest.raises(http.client.RemoteDisconnected):
        api.create(file_id)
    simulator.control.add_fault("upload", status=503, read_body=False)
    with contextlib.suppress(ConnectionError):
        assert api.upload(b"x" * 5_000_000).status == 503
    stats = simulator.control.stats()
    assert (stats["creates"], len(stats["files"])) == (0, 1)


def test_an_answer_is_cut_or_garbage(simulator: GroqSimulator, api: Api) -> None:
    file_id = api.upload(b"x" * 1000).json["id"]
    simulator.control.add_fault("content", answer="cut", fraction=0.3)
    with pytest.raises(http.client.IncompleteRead) as caught:
        api.call("GET", f"/files/{file_id}/content")
    assert len(caught.value.partial) == 300
    simulator.control.add_fault("file_retrieve", answer="garbage")
    garbage = api.call("GET", f"/files/{file_id}")
    assert garbage.status == 200
    with pytest.raises(ValueError, match="Unterminated"):
        garbage.json  # noqa: B018
    assert api.call("GET", f"/files/{file_id}/content").data == b"x" * 1000


def timed(call: Any, *arguments: Any) -> tuple[Any, float]:
    started = time.monotonic()
    return call(*arguments), time.monotonic() - started


def test_calls_are_slow_or_stall(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fault("upload", answer="stall", seconds=0.1)
    answer, seconds = timed(api.upload, b"x" * 500_000)
    assert answer.status == 200
    assert seconds >= 0.1
    path = f"/files/{answer.json['id']}/content"
    simulator.control.add_fault("content", answer="stall", seconds=0.1)
    answer, seconds = timed(api.call, "GET", path)
    assert answer.data == b"x" * 500_000
    assert seconds >= 0.1
    for delay in ("delay_before", "delay_after"):
        simulator.control.add_fault("files_list", **{delay: 0.1})
        answer, seconds = timed(api.call, "GET", "/files")
        assert answer.status == 200
        assert seconds >= 0.1


def test_faults_choose_their_calls(simulator: GroqSimulator, api: Api) -> None:
    control = simulator.control
    control.add_fault("create", status=500, match={"metadata": {"job": "j"}}, skip=1)
    batch_id = api.submit(request_lines(1), {"job": "j"})
    file_id = api.upload(request_lines(1)).json["id"]
    assert api.create(file_id, {"job": "other"}).status == 200
    assert api.create(file_id, {"job": "j"}).status == 500
    batch = api.wait(batch_id)
    control.add_fault("content", status=500, match={"filename": "_output"})
    assert api.call("GET", f"/files/{file_id}/content").status == 200
    assert api.call("GET", f"/files/{batch['output_file_id']}/content").status == 500
    control.add_fault("retrieve", status=500, match={"path": batch_id})
    assert api.call("GET", f"/batches/{batch_id}").status == 500
    control.add_fault("upload", status=500, match={"filename": "^j-"})
    control.add_fault("upload", status=504, act=True, match={"filename": "^k-"})
    assert api.upload(b"x", "a.jsonl").status == 200
    assert api.upload(b"x", "j-1.jsonl").status == 500
    assert api.upload(b"x", "k-1.jsonl").status == 504
    names = [stored["filename"] for stored in control.stats()["files"]]
    assert names.count("j-1.jsonl") == 0
    assert names.count("k-1.jsonl") == 1


def test_a_call_is_held_until_released(simulator: GroqSimulator, api: Api) -> None:
    control = simulator.control
    file_id = api.upload(request_lines(1)).json["id"]
    control.add_fault("create", hold_before="gate", times=2)
    with in_background(api.create, file_id) as first, in_background(api.create, file_id) as second:
        assert control.wait_held("gate", 2)
        assert control.stats()["creates"] == 0
        assert control.calls("create")[0]["running"]
        assert control.release("gate", 1) == 1
        wait_until(lambda: control.stats()["creates"], lambda: "nothing was created")
        assert control.wait_held("gate", 1)
        assert not control.wait_held("gate", 2, timeout=0.01)
        assert control.release("gate") == 1
    assert [answer.status for answer in first + second] == [200, 200]
    control.add_fault("create", hold_after="gate", answer="reset", act=True)
    with in_background(api.create, file_id) as lost:
        assert control.wait_held("gate")
        assert control.stats()["creates"] == 3
        control.release("gate")
    assert isinstance(lost[0], ConnectionError)


def test_stopping_releases_held_calls(tmp_path: Path) -> None:
    with GroqSimulator(data_dir=tmp_path / "data") as simulator:
        api = Api(simulator.url)
        simulator.control.add_fault("files_list", hold_before="gate")
        with in_background(api.call, "GET", "/files") as answers:
            assert simulator.control.wait_held("gate")
            simulator.stop()
        assert len(answers) == 1
    assert list((tmp_path / "data").iterdir()) == []


# Control and counts


def test_everything_is_counted(simulator: GroqSimulator, api: Api) -> None:
    metadata = {"job": "j", "shard": "2", "attempt": "1"}
    batch_id = api.submit(request_lines(3), metadata)
    batch = api.wait(batch_id)
    api.rows(batch["output_file_id"])
    stats = simulator.control.stats()
    assert stats["creates"] == stats["calls"]["create"] == stats["calls"]["upload"] == 1
    assert stats["shards"] == {"j/2/1": [batch_id]}
    assert stats["running"] == 0
    assert stats["requests_sent"] == stats["requests_succeeded"] == 3
    assert stats["paid_twice"] == []
    assert [stored["purpose"] for stored in stats["files"]] == ["batch", "batch_output"]
    assert stats["bytes_received"] > len(request_lines(3))
    assert stats["bytes_sent"] > 1000
    assert [call["status"] for call in simulator.control.calls("content")] == [200]
    assert simulator.control.wait_calls("content", 1)
    assert not simulator.control.wait_calls("content", 2, timeout=0.01)


def test_work_is_counted_although_nobody_polls(simulator: GroqSimulator, api: Api) -> None:
    api.submit(request_lines(3))
    assert simulator.control.requests()["r-2"] == {"sent": 1, "succeeded": 1}
    assert simulator.control.stats()["batches_by_status"] == {"completed": 1}


def test_single_requests_need_not_be_counted(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(account_requests=False)
    api.wait(api.submit(request_lines(3)))
    assert simulator.control.requests() == {}


def test_the_control_api_works_over_http(simulator: GroqSimulator) -> None:
    control = SimulatorControl(simulator.url)
    api = Api(simulator.url)
    assert control.configure(page_size=7)["page_size"] == 7
    control.set_rules([{"match": {}, "outcome": "fail"}])
    batch = api.wait(api.submit(request_lines(2)))
    assert batch["request_counts"]["failed"] == 2
    assert control.stats()["creates"] == 1
    control.reset()
    assert control.stats()["files"] == control.batches() == []
    assert control.configure()["page_size"] == 20
    assert api.wait(api.submit(request_lines(2)))["request_counts"]["failed"] == 0


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("unknown", {}),
        ("stats", {"more": 1}),
        ("configure", {"settings": {"unknown": 1}}),
        ("configure", {"settings": {"list_order": "random"}}),
        ("set_rules", {"rules": [{"match": {}, "outcome": "unknown"}]}),
        ("set_rules", {"rules": [{"match": {"typo": 1}, "outcome": "fail"}]}),
        ("set_rules", {"rules": [{"match": {}, "outcome": {"kind": "missing", "response": 1}}]}),
        ("set_rules", {"rules": ["text"]}),
        ("set_rules", {"rules": [{"match": {}}]}),
        ("add_fate", {"fate": {"match": {}, "fate": {"end": "unknown"}}}),
        ("add_fate", {"fate": {"match": {}, "fate": {"unfinished": "unknown"}}}),
        ("add_fate", {"fate": {"match": {}, "fate": {"errors_shape": "unknown"}}}),
        ("change_batch", {"batch_id": "batch_unknown", "fate": {}}),
        ("forget_batch", {"batch_id": "batch_unknown"}),
        ("add_fault", {"fault": {"route": "unknown"}}),
        ("add_fault", {"fault": {"route": "create", "answer": "unknown"}}),
        ("add_fault", {"fault": {"route": "create", "answer": "status"}}),
    ],
)
def test_a_wrong_control_call_is_refused(
    simulator: GroqSimulator, operation: str, arguments: dict[str, Any]
) -> None:
    for control in (simulator.control, SimulatorControl(simulator.host_url)):
        with pytest.raises(ControlError):
            control.call(operation, arguments)
