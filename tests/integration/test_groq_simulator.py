"""The Groq simulator over HTTP: routes, states of a batch, checks of its input, keys."""

from __future__ import annotations

import http.client
import io
import json
from typing import Any

import pytest

from local.groq_simulator import ControlError, GroqSimulator
from local.groq_simulator.multipart import MultipartError, MultipartReader
from tests.integration.simulator_api import BOUNDARY, Api, request_line, request_lines
from tests.patience import PATIENCE_SECONDS

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


def test_unknown_addresses_are_not_found(simulator: GroqSimulator, api: Api) -> None:
    assert api.call("GET", "/embeddings").status == 404
    assert api.call("POST", "/models").status == 404
    assert api.call("DELETE", "/batches").status == 404
    api.prefix = "/v1"
    assert api.call("GET", "/files").status == 200
    api.prefix = "/openai/v1/openai/v1"
    assert api.call("GET", "/files").status == 404
