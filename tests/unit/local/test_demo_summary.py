"""The end of a job as a person reads it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from groq_batch_client.job_files import key_of
from groq_batch_client.text import columns
from local.demo.answers import answer_text, choose, read_excerpt
from local.demo.job import Delivered, is_final
from local.demo.summary import (
    excerpt_title,
    file_rows,
    headline,
    problem_rows,
    report_table,
    style_of,
    table,
)


def report(status: str = "partial", **changes: Any) -> dict[str, Any]:
    value = {
        "status": status,
        "requests": {"total": 22, "succeeded": 21, "failed": 1, "invalid": 0},
        "batches": [
            {"attempt": 1, "requests": 12, "succeeded": 12, "failed": 0},
            {"attempt": 1, "requests": 10, "succeeded": 8, "failed": 2},
            {"attempt": 2, "requests": 1, "succeeded": 1, "failed": 0},
        ],
        "usage": {"prompt_tokens": 1443, "completion_tokens": 746, "total_tokens": 2189},
        "cost_usd": {"estimated": 0.002337, "actual": 0.000206},
        "timing": {"seconds": 75.4},
        "errors": [],
        "errors_total": 0,
    }
    return {**value, **changes}


def error(line: int | None, custom_id: str | None = None, message: str = "Oh.") -> dict[str, Any]:
    return {"line": line, "custom_id": custom_id, "code": "bad", "message": message}


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (
            report("succeeded", requests={"total": 1, "succeeded": 1, "failed": 0, "invalid": 0}),
            "Succeeded: 1 request, 1 answer",
        ),
        (report(), "Partial: 21 of 22 requests answered, 1 not"),
        (
            report("rejected", errors_total=7),
            "Rejected: the file has 7 problems, nothing was sent to Groq",
        ),
        (report("cancelled"), "Cancelled: 21 of 22 requests answered"),
        (
            report("failed", errors=[error(None, message="Put a valid\nkey.")]),
            "Failed: Put a valid key.",
        ),
        (report("failed"), "Failed: the report names no reason"),
    ],
)
def test_headline(ended: dict[str, Any], expected: str) -> None:
    assert headline(ended) == expected


def test_styles_of_the_ends() -> None:
    ends = ["succeeded", "partial", "cancelled", "rejected", "failed", "new"]
    assert [style_of(end) for end in ends] == ["green", "yellow", "yellow", "red", "red", "red"]


def test_report_table() -> None:
    assert report_table(report(), is_simulated=True) == [
        ("Requests", "22: 21 answered, 1 failed"),
        ("Attempt 1", "22 requests in 2 batches: 20 answered, 2 failed"),
        ("Attempt 2", "1 request in 1 batch: 1 answered"),
        ("Tokens", "1,443 in, 746 out"),
        ("Cost", "$0.000206 (estimated $0.002337); the simulator costs nothing"),
        ("Time", "1 min 15 s"),
    ]


def test_report_table_without_known_cost_and_with_invalid_lines() -> None:
    rows = dict(
        report_table(
            report(
                requests={"total": 5, "succeeded": 2, "failed": 1, "invalid": 2},
                cost_usd={"estimated": None, "actual": None},
                timing={"seconds": None},
                batches=[],
            ),
            is_simulated=False,
        )
    )
    assert rows["Requests"] == "5: 2 answered, 1 failed, 2 invalid"
    assert rows["Cost"] == "not known (estimated not known)"
    assert set(rows) == {"Requests", "Tokens", "Cost"}


def test_problem_rows_name_the_place_and_are_limited() -> None:
    errors = [error(None), error(1200, "a\nb"), *(error(number) for number in range(20))]
    rows = problem_rows(report("rejected", errors=errors))
    assert rows[:3] == [
        ("the file", "bad: Oh."),
        ("line 1,200 (a b)", "bad: Oh."),
        ("line 0", "bad: Oh."),
    ]
    assert len(rows) == 10


def test_table_cuts_or_wraps_what_does_not_fit() -> None:
    rows = [("a", "one two three four five six seven"), ("日本", "x" * 50)]
    cut = table(rows, width=30)
    assert [label for label, _ in cut] == ["a   ", "日本"]
    assert cut[0][1] == "one two three four fi…"
    wrapped = table(rows, width=30, wraps=True)
    assert [text for _, text in wrapped] == ["one two three four", "five six seven", "x" * 50]
    assert wrapped[1][0] == "    "
    assert all(columns(label) == 4 for label, _ in wrapped)


def test_table_with_a_long_label_stays_narrow() -> None:
    ((label, text),) = table([("i" * 500, "value")], width=80)
    assert columns(label) == 28
    assert text == "value"


def test_file_rows_name_what_is_there() -> None:
    folder = Path("demo-output/x")
    delivered = Delivered(
        folder=folder,
        results=folder / "results.jsonl",
        failed=folder / "failed.jsonl",
        invalid=None,
        report=folder / "report.json",
        page=None,
    )
    assert [name for name, _ in file_rows(delivered, report())] == [
        "results.jsonl",
        "failed.jsonl",
        "report.json",
    ]
    assert file_rows(delivered, report())[1][1] == "1 request line to run again"


def test_excerpt_title() -> None:
    assert excerpt_title("Answers", 5, 1200) == "Answers (5 of 1,200)"
    assert excerpt_title("Answers", 3, 3) == "Answers"


def test_addresses_and_ends() -> None:
    assert key_of("s3://bucket/output/a b/c.jsonl") == "output/a b/c.jsonl"
    assert not is_final(None)
    assert not is_final({"status": "running"})
    assert is_final({"status": "rejected"})


# -- answers ---------------------------------------------------------------------------------------


def good(custom_id: str, message: Any) -> bytes:
    body = {"choices": [{"message": message}]}
    row = {"custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}
    return json.dumps(row).encode() + b"\n"


def bad(custom_id: str) -> bytes:
    row = {"custom_id": custom_id, "response": None, "error": {"code": "x", "message": "Oh\nno."}}
    return json.dumps(row).encode() + b"\n"


def test_answers_come_from_all_over_the_file() -> None:
    rows = [good(str(number), {"content": f"text {number}"}) for number in range(100)]
    assert [name for name, _ in choose(rows, 100).answers] == ["0", "20", "40", "60", "80"]


def test_few_answers_are_all_shown() -> None:
    rows = [good("a", {"content": "x\ny"}), bad("b"), good("c", {"content": "z"})]
    excerpt = choose(rows, 3)
    assert excerpt.answers == [("a", "x y"), ("c", "z")]
    assert excerpt.failures == [("b", "x: Oh no.")]


def test_failures_are_limited() -> None:
    assert len(choose([bad(str(number)) for number in range(50)], 50).failures) == 5


def test_compressed_results(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl.gz"
    path.write_bytes(gzip.compress(good("a", {"content": "x"})) + gzip.compress(bad("b")))
    assert read_excerpt(path, 2).failures == [("b", "x: Oh no.")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"message": {"content": "a\n b"}}]}, "a b"),
        ({"choices": [{"message": {"content": None}}]}, "(no text)"),
        (
            {
                "choices": [
                    {
                        "message": {
                            "content": None,
                            "tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}],
                        }
                    }
                ]
            },
            'calls f with {"x": 1}',
        ),
        ({"text": "spoken words"}, "spoken words"),
        ({"choices": []}, "(no text)"),
        ({"choices": "odd"}, "(no text)"),
        ("spoken\nwords", "spoken words"),
        ("", "(no text)"),
        ([1, "x"], '[1, "x"]'),
    ],
)
def test_text_of_an_answer(body: Any, text: str) -> None:
    assert answer_text({"response": {"body": body}}) == text
