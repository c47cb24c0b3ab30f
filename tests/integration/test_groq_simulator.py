"""The Groq simulator over HTTP: routes, states in time, and every switch at least once."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.groq_simulator import DEFAULT_KEY, ControlError, GroqSimulator, SimulatorControl
from local.groq_simulator.multipart import MultipartError, MultipartReader
from tests.patience import PATIENCE_SECONDS, wait_until

ENDPOINT = "/v1/chat/completions"
BOUNDARY = "----simulator-test"


@dataclass
class Answer:
    status: int
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> Any:
        return self.json["error"].get("code")

    @property
    def rows(self) -> list[Any]:
        return [json.loads(line) for line in self.data.split(b"\n") if line]


class Api:
    """A small HTTP client without any retry."""

    def __init__(self, url: str, key: str = DEFAULT_KEY) -> None:
        address = urlsplit(url)
        self.host, self.port = address.hostname or "", address.port
        self.prefix = address.path
        self.headers = {"Authorization": f"Bearer {key}", "User-Agent": "simulator-test/1"}

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        try:
            data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            sent = self.headers | (headers or {})
            connection.request(method, self.prefix + path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, response.read(), dict(response.getheaders()))
        finally:
            connection.close()

    def upload(self, data: bytes, name: str = "a.jsonl", purpose: str = "batch") -> Answer:
        body = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        body += data + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self.call(
            "POST", "/files", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        )

    def create(self, file_id: str, metadata: Any = None, **changes: Any) -> Answer:
        body = {
            "input_file_id": file_id,
            "endpoint": ENDPOINT,
            "completion_window": "24h",
            "metadata": metadata,
        }
        return self.call("POST", "/batches", body | changes)

    def submit(self, data: bytes, metadata: Any = None) -> str:
        created = self.create(self.upload(data).json["id"], metadata)
        assert created.status == 200, created.data
        assert created.json["status"] == "validating"
        return str(created.json["id"])

    def batch(self, batch_id: str) -> Any:
        return self.call("GET", f"/batches/{batch_id}").json

    def wait(self, batch_id: str, status: str = "completed") -> Any:
        batch: Any = None

        def arrived() -> bool:
            nonlocal batch
            batch = self.batch(batch_id)
            return bool(batch["status"] == status)

        wait_until(arrived, lambda: str(batch))
        return batch

    def rows(self, file_id: str | None) -> list[Any]:
        assert file_id is not None
        return self.call("GET", f"/files/{file_id}/content").rows


def request_line(custom_id: str, content: str = "hello", **body: Any) -> bytes:
    messages = [{"role": "user", "content": content}]
    full = {"model": "openai/gpt-oss-20b", "messages": messages} | body
    line = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": full}
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"


def request_lines(count: int) -> bytes:
    return b"".join(request_line(f"r-{number}") for number in range(count))


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator(batch_seconds=0.0, cancel_seconds=0.0) as running:
        yield running


@pytest.fixture
def api(simulator: GroqSimulator) -> Api:
    return Api(simulator.url)


@contextlib.contextmanager
def in_background(work: Any, *arguments: Any) -> Iterator[list[Any]]:
    """Runs a call in a thread; its result (or exception) is in the list after the block."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work(*arguments))
        except (OSError, http.client.HTTPException) as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
    finally:
        thread.join(10)


# Files


def test_a_file_lives_from_upload_to_deletion(api: Api) -> None:
    data = "naïve\r\n--not the boundary\r\n".encode() * 20_000
    stored = api.upload(data, "part 1+ä.jsonl").json
    assert stored["object"] == "file"
    assert stored["bytes"] == len(data)
    assert stored["filename"] == "part 1+ä.jsonl"
    assert stored["purpose"] == "batch"
    file_id = stored["id"]
    assert api.call("GET", f"/files/{file_id}").json == stored
    assert api.call("GET", "/files").json == {"object": "list", "data": [stored]}
    content = api.call("GET", f"/files/{file_id}/content")
    assert content.data == data
    assert content.headers["Content-Length"] == str(len(data))
    deleted = api.call("DELETE", f"/files/{file_id}").json
    assert deleted == {"id": file_id, "object": "file", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        assert api.call(method, f"/files/{file_id}{path}").status == 404


def test_a_file_sent_in_chunks_of_unknown_length_is_accepted(api: Api) -> None:
    body = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch'.encode(),
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '.encode(),
        b'filename="c.jsonl"\r\n\r\n',
        b"one\ntwo\r",
        f"\n--{BOUNDARY}--\r\n".encode(),
    ]
    connection = http.client.HTTPConnection(api.host, api.port, timeout=PATIENCE_SECONDS)
    headers = api.headers | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    connection.request("POST", "/v1/files", iter(body), headers, encode_chunked=True)
    assert json.loads(connection.getresponse().read())["bytes"] == len(b"one\ntwo")
    # The same connection goes on.
    connection.request("GET", "/v1/files", headers=api.headers)
    assert len(json.loads(connection.getresponse().read())["data"]) == 1
    connection.close()


@pytest.mark.parametrize(
    ("name", "purpose", "status"),
    [("a.txt", "batch", 400), ("a.jsonl", "fine-tune", 400), ("a.jsonl", "batch", 413)],
)
def test_an_upload_is_refused(
    simulator: GroqSimulator, api: Api, name: str, purpose: str, status: int
) -> None:
    simulator.control.configure(max_file_bytes=10)
    refused = api.upload(b"x" * (200_000 if status == 413 else 5), name, purpose)
    assert refused.status == status
    assert refused.json["error"]["message"]
    assert simulator.control.stats()["files"] == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100_000])
def test_a_boundary_is_found_wherever_a_read_ends(size: int) -> None:
    content = b"a\r\n--boundar\r\n--\r\r\n-\n"
    body = b'preamble\r\n--boundary\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    body += b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body += content + b"\r\n--boundary--\r\nepilogue"

    def parts(data: bytes) -> list[tuple[str, str | None, bytes]]:
        source = io.BytesIO(data)
        reader = MultipartReader(lambda wanted: source.read(min(size, wanted)), b"boundary")
        return [(part.name, part.filename, b"".join(part.chunks)) for part in reader.parts()]

    assert parts(body) == [("a", None, b"1"), ("file", "f", content)]
    for broken in (body[:40], body[:-20], body.replace(b'name="a"', b""), b"--boundaryX"):
        with pytest.raises(MultipartError):
            parts(broken)


def test_a_malformed_upload_is_refused(api: Api) -> None:
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert api.call("POST", "/files", b"no boundary at all", kind).status == 400
    assert api.call("POST", "/files", b"{}", {"Content-Type": "application/json"}).status == 400


# Batches


def test_a_batch_moves_through_its_states(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=4000)
    file_id = api.upload(request_lines(40)).json["id"]
    created = api.create(file_id, {"job": "j", "shard": "1", "attempt": "1"}).json
    assert created["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert created["expires_at"] == created["created_at"] + 86400
    seen: list[str] = []
    counts: set[int] = set()
    batch: Any = None
    for _ in range(100):
        batch = api.batch(created["id"])
        seen.append(batch["status"])
        if batch["status"] == "in_progress":
            counts.add(batch["request_counts"]["completed"])
        simulator.control.advance_clock(50)
    assert list(dict.fromkeys(seen)) == ["validating", "in_progress", "finalizing", "completed"]
    assert len(counts) > 3
    assert batch["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    assert batch["error_file_id"] is None
    assert batch["errors"] is None
    assert batch["project_id"]
    assert batch["completed_at"] >= batch["in_progress_at"] >= batch["created_at"]
    output = api.call("GET", f"/files/{batch['output_file_id']}").json
    assert output["purpose"] == "batch_output"
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert sorted(ids) == sorted(f"r-{number}" for number in range(40))
    assert ids != [f"r-{number}" for number in range(40)]


def test_the_order_of_results_depends_on_the_seed_alone() -> None:
    orders = []
    for seed in (1, 1, 2):
        with GroqSimulator(batch_seconds=0.0, seed=seed) as simulator:
            api = Api(simulator.url)
            batch = api.wait(api.submit(request_lines(30)))
            orders.append([row["custom_id"] for row in api.rows(batch["output_file_id"])])
    assert orders[0] == orders[1] != orders[2]


def test_results_can_stay_in_order(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(shuffle=False)
    batch = api.wait(api.submit(request_lines(9)))
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert ids == [f"r-{number}" for number in range(9)]


def test_an_answer_echoes_its_prompt(api: Api) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "kind": {"enum": ["a", "b"]},
            "fixed": {"const": 7},
            "tags": {"type": "array", "minItems": 2, "items": {"type": ["integer", "null"]}},
            "yes": {"type": "boolean"},
        },
    }
    lines = [
        request_line("plain", "Wie geht's?"),
        request_line("object", response_format={"type": "json_object"}),
        request_line(
            "schema", response_format={"type": "json_schema", "json_schema": {"schema": schema}}
        ),
        request_line("parts", messages=[{"content": [{"type": "text", "text": "a"}, {}]}]),
        request_line("none", messages=[]),
    ]
    batch = api.wait(api.submit(b"".join(lines)))
    rows = {row["custom_id"]: row for row in api.rows(batch["output_file_id"])}
    body = rows["plain"]["response"]["body"]
    assert rows["plain"]["error"] is None
    assert rows["plain"]["response"]["status_code"] == 200
    assert body["model"] == "openai/gpt-oss-20b"
    assert body["service_tier"] == "batch"
    assert body["x_groq"]["id"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    texts = {
        name: row["response"]["body"]["choices"][0]["message"]["content"]
        for name, row in rows.items()
    }
    assert texts["plain"] == "Echo: Wie geht's?"
    assert texts["parts"] == "Echo: a"
    assert json.loads(texts["object"]) == {"answer": "Echo: hello"}
    assert json.loads(texts["schema"]) == {
        "name": "Echo: hello",
        "kind": "a",
        "fixed": 7,
        "tags": [0, 0],
        "yes": True,
    }


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"input_file_id": "file_unknown"}, 404),
        ({"input_file_id": None}, 400),
        ({"endpoint": "/v1/embeddings"}, 400),
        ({"completion_window": "23h"}, 400),
        ({"completion_window": "8d"}, 400),
        ({"completion_window": "1 day"}, 400),
        ({"completion_window": None}, 400),
        ({"metadata": {"a": 1}}, 400),
        ({"metadata": "text"}, 400),
        ({"metadata": {"a": "x" * 600}}, 400),
        ({"completion_window": "168h"}, 200),
        ({"completion_window": "2d"}, 200),
    ],
)
def test_a_create_is_checked(api: Api, changes: dict[str, Any], status: int) -> None:
    file_id = api.upload(request_lines(1)).json["id"]
    assert api.create(file_id, **changes).status == status


def test_a_result_file_is_no_input(api: Api) -> None:
    batch = api.wait(api.submit(request_lines(1)))
    assert api.create(batch["output_file_id"]).status == 400
    assert api.call("POST", "/batches", b"{not json").status == 400
    assert api.call("POST", "/batches", b"[]").status == 400


def test_a_batch_outlives_its_input_file(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=0.1)
    batch_id = api.submit(request_lines(2))
    file_id = api.batch(batch_id)["input_file_id"]
    assert api.call("DELETE", f"/files/{file_id}").status == 200
    assert api.wait(batch_id)["request_counts"]["completed"] == 2


def test_batches_are_listed_in_pages(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(page_size=3)
    file_id = api.upload(request_lines(1)).json["id"]
    ids = [api.create(file_id).json["id"] for _ in range(7)]

    def pages() -> list[Any]:
        found = [api.call("GET", "/batches").json]
        while found[-1].get("paging", {}).get("next_cursor"):
            cursor = found[-1]["paging"]["next_cursor"]
            found.append(api.call("GET", f"/batches?cursor={cursor}").json)
        return found

    found = pages()
    assert [len(page["data"]) for page in found] == [3, 3, 1]
    assert [batch["id"] for page in found for batch in page["data"]] == ids[::-1]
    assert found[-1]["paging"] == {"next_cursor": None}
    simulator.control.configure(list_order="oldest", last_page="empty")
    found = pages()
    assert [batch["id"] for page in found for batch in page["data"]] == ids
    assert found[-1]["paging"] == {"next_cursor": ""}
    simulator.control.configure(last_page="absent")
    assert "paging" not in pages()[-1]
    assert api.call("GET", "/batches?cursor=nonsense").status == 400


def test_batches_are_listed_by_ids(simulator: GroqSimulator, api: Api) -> None:
    file_id = api.upload(request_lines(1)).json["id"]
    ids = [api.create(file_id).json["id"] for _ in range(3)]
    query = "&".join(f"id={batch_id}" for batch_id in [ids[2], "batch_unknown", ids[0]])
    found = api.call("GET", f"/batches?{query}").json["data"]
    assert [batch["id"] for batch in found] == [ids[2], ids[0]]
    assert {batch["status"] for batch in found} == {"completed"}
    simulator.control.configure(unknown_ids="error")
    assert api.call("GET", f"/batches?{query}").status == 404
    many = "&".join(f"id=batch_{number}" for number in range(201))
    assert api.call("GET", f"/batches?{many}").status == 400
    assert simulator.control.stats()["calls"]["list_by_ids"] == 3


def test_foreign_batches_stand_between_our_own(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(page_size=100)
    file_id = api.upload(request_lines(1)).json["id"]
    ours = [api.create(file_id, {"job": "j"}).json["id"] for _ in range(2)]
    foreign = simulator.control.add_foreign_batches(5, {"job": "other"})
    foreign += simulator.control.add_foreign_batches(2, None, "in_progress")
    listed = [batch["id"] for batch in api.call("GET", "/batches").json["data"]]
    assert sorted(listed) == sorted(ours + foreign)
    places = [listed.index(batch_id) for batch_id in ours]
    assert places != [0, 1]
    assert simulator.control.stats()["creates"] == 2
    assert sum(batch["foreign"] for batch in simulator.control.batches()) == 7
    assert api.batch(foreign[-1])["metadata"] is None


def test_cancelling_keeps_what_is_done(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=5000, cancel_seconds=1000)
    batch_id = api.submit(request_lines(100))
    while api.batch(batch_id)["request_counts"]["completed"] < 20:
        simulator.control.advance_clock(50)
    assert api.call("POST", f"/batches/{batch_id}/cancel").json["status"] == "cancelling"
    assert api.call("POST", f"/batches/{batch_id}/cancel").status == 200
    simulator.control.advance_clock(1000)
    batch = api.batch(batch_id)
    assert batch["status"] == "cancelled"
    done = batch["request_counts"]["completed"]
    assert 20 <= done < 100
    assert batch["request_counts"]["failed"] == 0
    assert len(api.rows(batch["output_file_id"])) == done
    errors = api.rows(batch["error_file_id"])
    assert len(errors) == 100 - done
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    assert simulator.control.stats()["requests_succeeded"] == done
    assert api.call("POST", f"/batches/{batch_id}/cancel").status == 400
    assert api.call("POST", "/batches/batch_unknown/cancel").status == 404


def test_cancelling_before_the_start_leaves_nothing(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=60)
    batch_id = api.submit(request_lines(3))
    api.call("POST", f"/batches/{batch_id}/cancel")
    batch = api.wait(batch_id, "cancelled")
    assert batch["output_file_id"] is batch["error_file_id"] is None
    assert simulator.control.stats()["requests_succeeded"] == 0


# Validation of the input


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{not json\n", "invalid_json_line"),
        (b"\n", "invalid_json_line"),
        (b"[1]\n", "invalid_json_line"),
        (b"\xef\xbb\xbf" + request_line("x"), "invalid_json_line"),
        (request_line("x")[:-1] + b"\r\n", "invalid_json_line"),
        (request_line("x", temperature=float("nan")), "invalid_json_line"),
        (b"\xff\n", "invalid_json_line"),
        (b'{"method":"POST"}\n', "missing_custom_id"),
        (request_line("r-0"), "duplicate_custom_id"),
        (request_line("x").replace(b"POST", b"GET"), "invalid_method"),
        (request_line("x").replace(b"/v1/chat", b"/v2/chat"), "url_mismatch"),
        (b'{"custom_id":"x","method":"POST","url":"/v1/chat/completions"}\n', "invalid_request"),
        (request_line("x", model=None), "invalid_request"),
        (request_line("x", stream=True), "invalid_request"),
        (request_line("x", service_tier="flex"), "invalid_request"),
    ],
)
def test_a_bad_line_fails_the_batch(api: Api, line: bytes, code: str) -> None:
    batch = api.wait(api.submit(request_lines(1) + line + request_line("last")), "failed")
    (error,) = batch["errors"]["data"]
    assert (error["code"], error["line"]) == (code, 2)
    assert batch["failed_at"] is not None
    assert batch["output_file_id"] is batch["error_file_id"] is None


def test_an_empty_or_too_long_file_fails_the_batch(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(max_requests=3, errors_shape="array")
    empty = api.wait(api.submit(b""), "failed")
    assert [error["code"] for error in empty["errors"]] == ["empty_file"]
    too_long = api.wait(api.submit(request_lines(4)), "failed")
    assert [error["code"] for error in too_long["errors"]] == ["too_many_tasks"]
    api.wait(api.submit(request_lines(3)))


def test_a_last_line_without_line_feed_counts(api: Api) -> None:
    assert api.wait(api.submit(request_lines(2)[:-1]))["request_counts"]["completed"] == 2


@pytest.mark.parametrize(("choice", "error_rows"), [("fail_row", 1), ("report_only", 0)])
def test_a_bad_line_may_fail_alone(
    simulator: GroqSimulator, api: Api, choice: str, error_rows: int
) -> None:
    simulator.control.configure(bad_line=choice)
    data = request_lines(1) + request_line("bad").replace(b"POST", b"GET") + b"{broken\n"
    batch = api.wait(api.submit(data))
    assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    assert [error["line"] for error in batch["errors"]["data"]] == [2, 3]
    if error_rows:
        assert [row["custom_id"] for row in api.rows(batch["error_file_id"])] == ["bad"]
    else:
        assert batch["error_file_id"] is None


# Keys


@pytest.mark.parametrize(
    ("key", "status", "code"),
    [
        ("gsk_wrong", 401, "invalid_api_key"),
        ("gsk_free", 403, "not_available_for_plan"),
        ("gsk_spent", 400, "blocked_api_access"),
        ("gsk_blocked", 403, None),
    ],
)
def test_a_key_is_refused(simulator: GroqSimulator, key: str, status: int, code: str) -> None:
    simulator.control.set_keys(
        {"gsk_free": "free", "gsk_spent": "spend_limit", "gsk_blocked": "network_blocked"}
    )
    api = Api(simulator.url, key)
    for answer in (api.call("GET", "/batches"), api.upload(b"x" * 300_000), api.create("f")):
        assert answer.status == status
        assert answer.code == code


def test_keys_rotate(simulator: GroqSimulator, api: Api) -> None:
    assert api.call("GET", "/files").status == 200
    simulator.control.set_keys({"gsk_new": "paid"})
    assert api.call("GET", "/files").status == 401
    assert Api(simulator.url, "gsk_new").call("GET", "/files").status == 200
    with pytest.raises(ControlError):
        simulator.control.set_keys({"gsk_new": "royal"})


def test_the_default_python_agent_is_refused(api: Api) -> None:
    api.headers["User-Agent"] = "Python-urllib/3.12"
    answer = api.call("GET", "/files")
    assert (answer.status, answer.data) == (403, b"error code: 1010")


def test_models_are_listed(simulator: GroqSimulator, api: Api) -> None:
    answer = api.call("GET", "/models")
    assert answer.json["object"] == "list"
    models = {entry["id"]: entry for entry in answer.json["data"]}
    small, audio = models["openai/gpt-oss-20b"], models["whisper-large-v3"]
    assert (small["active"], small["input_modalities"]) == (True, ["text"])
    assert (small["pricing"]["prompt"], small["pricing"]["completion"]) == (
        "0.000000075",
        "0.0000003",
    )
    assert (audio["output_modalities"], audio["pricing"]) == (["transcription"], None)
    # Every plan may list them.
    simulator.control.set_keys({"gsk_free": "free"})
    assert Api(simulator.url, "gsk_free").call("GET", "/models").json == answer.json
    assert api.call("GET", "/models").code == "invalid_api_key"


def test_an_account_may_have_other_models(simulator: GroqSimulator, api: Api) -> None:
    pricing = {"prompt": "0.000001", "completion": "0.000002"}
    simulator.control.configure(
        models={
            "acme/new": {"pricing": pricing},
            "openai/gpt-oss-120b": None,
            "whisper-large-v3": {"active": False},
        }
    )
    listed = api.call("GET", "/models").json["data"]
    models = {entry["id"]: entry for entry in listed}
    assert models["acme/new"]["pricing"] == pricing
    assert models["acme/new"]["output_modalities"] == ["text"]
    assert "openai/gpt-oss-120b" not in models
    assert models["whisper-large-v3"]["active"] is False
    simulator.control.reset()
    assert "acme/new" not in str(api.call("GET", "/models").json)


def test_the_list_of_models_takes_faults(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fault("models", status=429, headers={"Retry-After": "2"}, times=1)
    answer = api.call("GET", "/models")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert api.call("GET", "/models").status == 200
    assert simulator.control.stats()["calls"]["models"] == 2


def test_unknown_addresses_are_not_found(simulator: GroqSimulator, api: Api) -> None:
    assert api.call("GET", "/embeddings").status == 404
    assert api.call("POST", "/models").status == 404
    assert api.call("DELETE", "/batches").status == 404
    api.prefix = "/v1"
    assert api.call("GET", "/files").status == 200
    api.prefix = "/openai/v1/openai/v1"
    assert api.call("GET", "/files").status == 404


# Outcomes of requests


def finished(simulator: GroqSimulator, outcome: Any, count: int = 4) -> tuple[Api, Any]:
    """Runs a batch of r-0, r-1, …, in which r-1 has an outcome."""
    simulator.control.configure(shuffle=False)
    simulator.control.set_rules([{"match": {"custom_id": "r-1"}, "outcome": outcome}])
    api = Api(simulator.url)
    return api, api.wait(api.submit(request_lines(count)))


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        ("fail", 400, "invalid_request_error"),
        ("json_validate_failed", 400, "json_validate_failed"),
        ({"kind": "http_error", "status": 429}, 429, "rate_limit_exceeded"),
        ({"kind": "http_error", "status": 498}, 498, "capacity_exceeded"),
        ({"kind": "http_error", "status": 503, "code": "own", "message": "m"}, 503, "own"),
    ],
)
def test_a_request_gets_an_http_error(
    simulator: GroqSimulator, outcome: Any, status: int, code: str
) -> None:
    api, batch = finished(simulator, outcome)
    assert batch["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    (row,) = api.rows(batch["error_file_id"])
    assert row["custom_id"] == "r-1"
    assert row["response"]["status_code"] == status
    assert row["response"]["body"]["error"]["code"] == code
    assert len(api.rows(batch["output_file_id"])) == 3
    assert simulator.control.requests()["r-1"] == {"sent": 1, "succeeded": 0}


@pytest.mark.parametrize("code", ["capacity_exhausted", "batch_expired", "request_timeout"])
def test_a_request_gets_no_response(simulator: GroqSimulator, code: str) -> None:
    api, batch = finished(simulator, code)
    (row,) = api.rows(batch["error_file_id"])
    assert row["response"] is None
    assert row["error"]["code"] == code
    api, batch = finished(simulator, {"kind": code, "response": "missing"})
    (row,) = api.rows(batch["error_file_id"])
    assert "response" not in row


def test_a_request_gets_status_zero(simulator: GroqSimulator) -> None:
    api, batch = finished(simulator, "status_zero")
    (row,) = api.rows(batch["error_file_id"])
    assert row["response"]["status_code"] == 0
    assert row["response"]["body"] == {}
    assert row["error"] is None
    assert batch["request_counts"]["failed"] == 0


@pytest.mark.parametrize(("kind", "status"), [("error_in_output", 400), ("error_with_200", 200)])
def test_an_error_stands_in_the_output_file(
    simulator: GroqSimulator, kind: str, status: int
) -> None:
    api, batch = finished(simulator, kind)
    assert batch["error_file_id"] is None
    row = api.rows(batch["output_file_id"])[1]
    assert row["response"]["status_code"] == status
    assert row["response"]["body"]["error"]["message"]
    assert row["error"] is None
    assert simulator.control.requests()["r-1"]["succeeded"] == 0


def test_a_request_is_missing_or_foreign_or_doubled(simulator: GroqSimulator) -> None:
    api, batch = finished(simulator, "missing")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert ids == ["r-0", "r-2", "r-3"]
    assert batch["error_file_id"] is None
    api, batch = finished(simulator, "duplicated")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert ids == ["r-0", "r-1", "r-1", "r-2", "r-3"]
    api, batch = finished(simulator, "foreign")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert len(ids) == 5
    assert ids[2].startswith("foreign-")
    assert simulator.control.requests()["r-1"]["succeeded"] == 2


def output_of(simulator: GroqSimulator, outcome: Any) -> bytes:
    api, batch = finished(simulator, outcome)
    return api.call("GET", f"/files/{batch['output_file_id']}/content").data


def test_a_row_has_odd_bytes(simulator: GroqSimulator) -> None:
    lines = output_of(simulator, "unicode_separators").split(b"\n")
    assert len(lines) == 5
    for separator in ("\u2028", "\u2029", "\u0085"):
        assert separator.encode() in lines[1]
    lines = output_of(simulator, "crlf").split(b"\n")
    assert [line.endswith(b"\r") for line in lines] == [False, True, False, False, False]
    lines = output_of(simulator, "blank_line").split(b"\n")
    assert lines[2] == b""
    assert len(output_of(simulator, {"kind": "padding", "bytes": 100_000})) > 100_000
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(output_of(simulator, "invalid_json").split(b"\n")[1])
    assert json.loads(output_of(simulator, "not_an_object").split(b"\n")[1]) == ["r-1"]
    simulator.control.reset()
    row = json.loads(output_of(simulator, "body_not_object").split(b"\n")[1])
    assert isinstance(row["response"]["body"], str)
    assert simulator.control.requests()["r-1"]["succeeded"] == 1


def test_lone_surrogates_survive(api: Api) -> None:
    line = request_line("x").replace(b"hello", b"\\ud800")
    batch = api.wait(api.submit(line))
    (row,) = api.rows(batch["output_file_id"])
    assert row["response"]["body"]["choices"][0]["message"]["content"] == "Echo: \ud800"


def test_a_rule_applies_so_many_times(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_rule("capacity_exhausted", match={"custom_id": ["r-0", "r-1"]}, times=1)
    simulator.control.add_rule("missing", match={"regex": "^r-1$"}, times=1)
    seen = []
    for _ in range(3):
        batch = api.wait(api.submit(request_lines(2), {"job": "j"}))
        answered = (
            [row["custom_id"] for row in api.rows(batch["output_file_id"])]
            if (batch["output_file_id"])
            else []
        )
        seen.append(sorted(answered))
    assert seen == [[], ["r-0"], ["r-0", "r-1"]]
    assert simulator.control.requests() == {
        "r-0": {"sent": 3, "succeeded": 2},
        "r-1": {"sent": 3, "succeeded": 1},
    }
    assert simulator.control.stats()["paid_twice"] == ["r-0"]
    assert simulator.control.requests(job="other") == {}


def test_a_rule_applies_to_a_share_or_to_some_batches(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_rule("fail", match={"fraction": 0.3, "seed": 5})
    first, second = (api.wait(api.submit(request_lines(200))) for _ in range(2))
    assert 40 <= first["request_counts"]["failed"] <= 80
    assert first["request_counts"] == second["request_counts"]
    simulator.control.set_rules([{"match": {"metadata": {"attempt": "1"}}, "outcome": "fail"}])
    for attempt, failed in (("1", 2), ("2", 0)):
        batch = api.wait(api.submit(request_lines(2), {"attempt": attempt}))
        assert batch["request_counts"]["failed"] == failed


def test_hints_in_requests_count_only_when_honoured(simulator: GroqSimulator, api: Api) -> None:
    data = b"".join(
        request_line(hint, metadata={"simulate": hint})
        for hint in ("fail", "fail_once", "missing_once", "unknown_word")
    )

    def answered(job: str) -> list[str]:
        batch = api.wait(api.submit(data, {"job": job}))
        return sorted(row["custom_id"] for row in api.rows(batch["output_file_id"]))

    assert len(answered("a")) == 4
    simulator.control.configure(honour_request_hints=True)
    assert answered("b") == ["unknown_word"]
    assert answered("b") == ["fail_once", "missing_once", "unknown_word"]
    assert answered("c") == ["unknown_word"]


# Refusals of batches


def test_batches_are_refused_for_a_model_or_a_url(simulator: GroqSimulator, api: Api) -> None:
    chat = request_line("a", model="m")
    speech = request_line("b", model="w").replace(b"chat/completions", b"audio/translations")
    simulator.control.set_refusals(
        [
            {"at": "create", "match": {"model": "w"}, "status": 404, "code": "gone", "times": 1},
            {"at": "validation", "match": {"url": "/v1/audio/translations"}, "message": "No."},
        ]
    )
    api.wait(api.submit(chat))
    refused = api.create(api.upload(chat + speech).json["id"])
    assert (refused.status, refused.code) == (404, "gone")
    failed = api.wait(api.submit(chat + speech), "failed")
    errors = [{"code": "model_not_found", "message": "No.", "param": None, "line": None}]
    assert failed["errors"]["data"] == errors
    assert failed["output_file_id"] is failed["error_file_id"] is None
    simulator.control.set_refusals([])
    api.wait(api.submit(speech))
    with pytest.raises(ControlError, match="at must be one of create, validation"):
        simulator.control.add_refusal(at="upload")
    with pytest.raises(ControlError, match="no field models"):
        simulator.control.add_refusal(match={"models": "m"})


def test_attempts_are_told_whether_batches_ran_or_not(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_refusal(match={"model": "m"}, times=1)
    lines = request_line("a", model="m") + request_line("b")
    for attempt in ("1", "2", "3"):
        metadata = {"job": "j", "attempt": attempt}
        if attempt == "1":
            assert api.create(api.upload(lines).json["id"], metadata).status == 400
        else:
            api.wait(api.submit(lines, metadata))
    attempts = simulator.control.attempts("j")
    assert attempts == {"a": ["1", "2", "3"], "b": ["1", "2", "3"]}
    assert simulator.control.requests("j")["a"] == {"sent": 2, "succeeded": 2}
    assert simulator.control.attempts("other") == {}


# Fates of batches


def test_a_batch_fails_at_validation(simulator: GroqSimulator, api: Api) -> None:
    error = {"code": "model_not_found", "message": "m", "param": None, "line": None}
    simulator.control.add_fate(end="fail", errors=[error], errors_shape="array", match={"nth": 2})
    simulator.control.add_fate(end="fail", match={"metadata": {"job": "a|b"}}, times=1)
    api.wait(api.submit(request_lines(1)))
    assert api.wait(api.submit(request_lines(1)), "failed")["errors"] == [error]
    failed = api.wait(api.submit(request_lines(1), {"job": "b"}), "failed")
    assert failed["errors"]["object"] == "list"
    api.wait(api.submit(request_lines(1), {"job": "a"}))
    assert simulator.control.stats()["batches_by_status"] == {"completed": 2, "failed": 2}


@pytest.mark.parametrize("unfinished", ["error", "missing"])
@pytest.mark.parametrize(("end", "status"), [("expire", "expired"), ("cancel", "cancelled")])
def test_a_batch_ends_early(
    simulator: GroqSimulator, api: Api, end: str, status: str, unfinished: str
) -> None:
    simulator.control.add_fate(end=end, done=0.6, unfinished=unfinished)
    batch = api.wait(api.submit(request_lines(10)), status)
    assert batch[f"{status}_at"] is not None
    assert batch["request_counts"] == {"total": 10, "completed": 6, "failed": 0}
    assert len(api.rows(batch["output_file_id"])) == 6
    if unfinished == "error":
        errors = api.rows(batch["error_file_id"])
        assert {row["error"]["code"] for row in errors} == {f"batch_{status}"}
        assert len(errors) == 4
    else:
        assert batch["error_file_id"] is None
    assert simulator.control.stats()["requests_succeeded"] == 6


def test_a_batch_gets_stuck_beyond_its_window(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(window_scale=1 / 86400)
    simulator.control.add_fate(end="stuck", done=0.5)
    batch_id = api.submit(request_lines(10))
    simulator.control.advance_clock(3600)
    batch = api.batch(batch_id)
    assert batch["status"] == "in_progress"
    assert batch["request_counts"]["completed"] == 5
    assert batch["expires_at"] == batch["created_at"] + 1
    simulator.control.change_batch(batch_id, end="complete")
    assert api.batch(batch_id)["status"] == "completed"


def test_a_slow_batch_expires_at_the_end_of_its_window(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=10.0, window_scale=6 / 86400)
    batch_id = api.submit(request_lines(8))
    simulator.control.advance_clock(7)
    batch = api.batch(batch_id)
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 8, "completed": 5, "failed": 0}


def test_one_batch_takes_its_own_time(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fate(batch_seconds=60, match={"nth": 1})
    slow, fast = api.submit(request_lines(1)), api.submit(request_lines(1))
    api.wait(fast)
    assert api.batch(slow)["status"] == "validating"
    simulator.control.configure(speed=1e6)
    api.wait(slow)


def test_a_batch_shows_an_unknown_status(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fate(status="paused", match={"nth": 1})
    simulator.control.add_fate(status="warming", status_seconds=3600)
    forever, passing = api.submit(request_lines(1)), api.submit(request_lines(1))
    api.wait(passing, "warming")
    simulator.control.advance_clock(3600)
    api.wait(passing)
    assert api.batch(forever)["status"] == "paused"


def test_a_completed_batch_may_be_odd(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.set_fates(
        [
            {"match": {"nth": 1}, "fate": {"no_files": True}},
            {"match": {"nth": 2}, "fate": {"all_requests": "fail"}},
            {"match": {"nth": 3}, "fate": {"override": {"error_file_id": {}}}},
            {"match": {"nth": 4}, "fate": {"override": {"error_file_id": ""}}},
            {"match": {"nth": 5}, "fate": {"empty_error_file": True}},
            {"match": {"nth": 6}, "fate": {"errors": [{"code": "c"}], "errors_shape": "array"}},
            {"match": {"nth": 7}, "fate": {"counts": {"completed": 0, "failed": 99}}},
        ]
    )
    batches = [api.wait(api.submit(request_lines(2))) for _ in range(7)]
    no_files, all_fail, braces, empty_id, empty_file, errors, counts = batches
    assert no_files["output_file_id"] is no_files["error_file_id"] is None
    assert all_fail["output_file_id"] is None
    assert len(api.rows(all_fail["error_file_id"])) == 2
    assert braces["error_file_id"] == {}
    assert empty_id["error_file_id"] == ""
    assert api.call("GET", f"/files/{empty_file['error_file_id']}/content").data == b""
    assert errors["errors"] == [{"code": "c"}]
    assert counts["request_counts"] == {"total": 2, "completed": 0, "failed": 99}


# Faults of calls


def every_call(api: Api, file_id: str, batch_id: str) -> dict[str, Any]:
    return {
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
