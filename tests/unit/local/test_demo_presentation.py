"""The answers that the demo shows of a result file."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from groq_batch_client.answers import read_answer
from local.demo.presentation import answer_text, choose, read_excerpt


def good(custom_id: str, message: Any) -> bytes:
    return row(custom_id, {"choices": [{"message": message}]})


def row(custom_id: str, body: Any) -> bytes:
    response = {"status_code": 200, "body": body}
    return json.dumps({"custom_id": custom_id, "response": response, "error": None}).encode()


def bad(custom_id: str) -> bytes:
    error = {"code": "x", "message": "Oh\nno."}
    return json.dumps({"custom_id": custom_id, "response": None, "error": error}).encode()


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
    path.write_bytes(gzip.compress(good("a", {"content": "x"}) + b"\n" + bad("b") + b"\n"))
    assert read_excerpt(path, 2).failures == [("b", "x: Oh no.")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"message": {"content": "a\n b"}}]}, "a b"),
        ({"choices": [{"message": {"content": ""}}]}, "(no text)"),
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
        ({"choices": [{"message": {"content": None, "tool_calls": ["odd"]}}]}, "(no text)"),
        ({"text": "spoken words"}, "spoken words"),
        ("spoken\nwords", "spoken words"),
        ("", "(no text)"),
        ([1, "x"], '[1,"x"]'),
    ],
)
def test_text_of_an_answer(body: Any, text: str) -> None:
    assert answer_text(read_answer(row("a", body))) == text
