"""What a user sees of a job: rows in order, nothing lost or sent twice, a report that adds up."""

from __future__ import annotations

import gzip
import json
from typing import Any

from groq_batch.domain import object_keys
from tests.e2e.pipeline import Pipeline, request_file, request_line, wait_until


def assert_adds_up(report: dict[str, Any]) -> None:
    counts = report["requests"]
    assert counts["total"] == counts["succeeded"] + counts["failed"] + counts["invalid"]


def test_many_shards_failures_and_retries(pipeline: Pipeline, name: str) -> None:
    ids = [f"r-{number}" for number in range(1000)]
    failing_once = [one for number, one in enumerate(ids) if number % 10 == 0]
    failing = [one for number, one in enumerate(ids) if number % 20 == 5]
    missing_once = [one for number, one in enumerate(ids) if number % 20 == 7]
    rules = [
        ({"kind": "http_error", "status": 503}, failing_once, 1),
        ({"kind": "http_error", "status": 400, "code": "invalid_request_error"}, failing, None),
        ("missing", missing_once, 1),
    ]
    for outcome, chosen, times in rules:
        pipeline.simulator.add_rule(outcome, match={"custom_id": chosen}, times=times)
    data = request_file(ids)

    report = pipeline.run(f"{name}.jsonl", data, seconds=150)

    rows = pipeline.rows(f"output/{name}.jsonl")
    assert [row["custom_id"] for row in rows] == ids
    succeeded = [row for row in rows if (row["response"] or {}).get("status_code") == 200]
    assert len(succeeded) == 950
    assert report["status"] == "partial"
    assert report["requests"] == {"total": 1000, "succeeded": 950, "failed": 50, "invalid": 0}
    assert report["progress"] == {"completed": 1000, "total": 1000}
    assert pipeline.read(f"failed/{name}.jsonl") == request_file(failing)
    first_attempt = [batch for batch in report["batches"] if batch["attempt"] == 1]
    assert len(first_attempt) >= 10
    keys = object_keys.WorkKeys(report["job_id"])
    wait_until(
        lambda: not any(map(pipeline.keys, keys.bulk)),
        30,
        lambda: "copies of requests and answers are not removed",
    )
    # Each range was a task; what it came to is removed, and stands as a version.
    ranges = pipeline.keys_ever(keys.outcomes("cut"))
    assert len(ranges) == -(-len(data) // 50_000) > 2, "the file is prepared range by range"
    assert sum(batch["requests"] for batch in first_attempt) == 1000
    assert report["usage"]["total_tokens"] > 0
    assert report["cost_usd"]["actual"] > 0
    sendings = pipeline.simulator.requests(report["job_id"])
    assert {one for one, counted in sendings.items() if counted["succeeded"] > 1} == set()
    assert all(sendings[one]["sent"] == 2 for one in failing_once + missing_once)
    assert all(sendings[one]["sent"] == 1 for one in failing)
    stats = pipeline.simulator.stats()
    assert stats["files"] == [], "files were left at Groq"


def test_small_file_succeeds(pipeline: Pipeline, name: str) -> None:
    report = pipeline.run(f"team/{name}.jsonl", request_file(["a", "b", "c"]))
    assert report["status"] == "succeeded"
    assert report["errors"] == []
    assert report["outputs"]["results"] == f"s3://{pipeline.bucket}/output/team/{name}.jsonl"
    assert report["outputs"]["failed"] is None
    assert report["outputs"]["invalid"] is None
    assert_adds_up(report)


BAD_LINES = {
    "invalid_encoding": b'{"custom_id": "\xff"}',
    "invalid_json": b'{"custom_id": ',
    "not_an_object": b"[1]",
    "missing_custom_id": b'{"method": "POST"}',
    "invalid_custom_id": b'{"custom_id": 7}',
    "duplicate_custom_id": request_line("good-1"),
    "invalid_method": request_line("m").replace(b"POST", b"GET"),
    "invalid_url": request_line("u").replace(b"/v1/chat/completions", b"/v1/embeddings"),
    "invalid_body": b'{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":1}',
    "missing_model": b'{"custom_id":"n","method":"POST","url":"/v1/chat/completions","body":{}}',
    "unsupported_parameter": request_line("s", stream=True),
}


def test_bad_lines_reject_a_file(pipeline: Pipeline, name: str) -> None:
    lines = [request_line("good-1"), *BAD_LINES.values()]
    report = pipeline.run(f"{name}.jsonl", b"\n".join(lines) + b"\n")
    assert report["status"] == "rejected"
    assert [(error["line"], error["code"]) for error in report["errors"]] == list(
        enumerate(BAD_LINES, start=2)
    )
    assert report["requests"] == {"total": 12, "succeeded": 0, "failed": 1, "invalid": 11}
    assert pipeline.rows(f"invalid/{name}.jsonl") == report["errors"]
    assert pipeline.read(f"output/{name}.jsonl") is None
    assert pipeline.read(f"failed/{name}.jsonl") is None
    assert pipeline.simulator.stats()["calls"].get("upload", 0) == 0


def test_bad_lines_can_be_skipped(pipeline: Pipeline, name: str) -> None:
    lines = [request_line("good-1"), *BAD_LINES.values(), request_line("good-2")]
    data = b"\n".join(lines) + b"\n"
    report = pipeline.run(f"{name}.jsonl", data, on_invalid_line="skip")
    assert report["status"] == "partial"
    assert report["requests"] == {"total": 13, "succeeded": 2, "failed": 0, "invalid": 11}
    rows = pipeline.rows(f"output/{name}.jsonl")
    assert [row["error"]["code"] for row in rows[1:-1]] == list(BAD_LINES)
    assert [rows[0]["custom_id"], rows[-1]["custom_id"]] == ["good-1", "good-2"]
    assert rows[0]["response"]["status_code"] == rows[-1]["response"]["status_code"] == 200
    assert pipeline.read(f"failed/{name}.jsonl") == b"\n".join(BAD_LINES.values()) + b"\n"


def test_difficult_bytes(pipeline: Pipeline, name: str) -> None:
    odd = "a\u2028b\u2029c\u0085d"
    pipeline.simulator.add_rule("unicode_separators", match={"custom_id": odd})
    lines = [
        b"\xef\xbb\xbf" + request_line("first"),
        request_line(odd, content=odd),
        b"",
        b"   ",
        request_line("long", content="x" * 2_000_000),
        request_line("last"),
    ]
    data = b"\r\n".join(lines)
    packed = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    report = pipeline.run(f"{name} +ü'\".jsonl.gz", packed)
    assert report["status"] == "succeeded", report["errors"]
    assert report["input"]["lines"] == 6
    assert report["requests"]["total"] == 4
    rows = pipeline.rows(f"output/{name} +ü'\".jsonl.gz")
    assert [row["custom_id"] for row in rows] == ["first", odd, "long", "last"]


def test_job_event_is_published(pipeline: Pipeline, name: str) -> None:
    events, queues = pipeline.stack.client("events"), pipeline.stack.client("sqs")
    queue = queues.create_queue(QueueName=f"ended-{name}")["QueueUrl"]
    attributes = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    pattern = {"source": ["groq-batch"], "detail": {"input": {"key": [f"input/{name}.jsonl"]}}}
    events.put_rule(Name=f"ended-{name}", EventPattern=json.dumps(pattern))
    events.put_targets(
        Rule=f"ended-{name}",
        Targets=[{"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}],
    )
    report = pipeline.run(f"{name}.jsonl", request_file(["a"]))
    messages = queues.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    event = json.loads(messages[0]["Body"])
    assert event["detail-type"] == "Batch Job Ended"
    expected = {key: value for key, value in report.items() if key not in ("batches", "errors")}
    assert event["detail"] == expected
