"""The file that the demo is given: which are taken, what is uploaded of them, what they cost."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from groq_batch_cli.prices import price
from local.demo.errors import EXIT_USAGE, UsageError
from local.demo.introduction import checked, cost_text
from local.demo.request_file import (
    SAMPLE,
    RequestFile,
    choose_file,
    hints_removed,
    without_hint,
)


def request(custom_id: str = "a", **body: object) -> bytes:
    value = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "openai/gpt-oss-20b", "messages": [{}], **body},
    }
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


class TestChooseFile:
    @pytest.mark.parametrize("arguments", [[], [""]])
    def test_sample_is_the_default(self, arguments: list[str]) -> None:
        file = choose_file(arguments)
        assert file.path == SAMPLE
        assert file.is_sample

    @pytest.mark.parametrize("name", ["my requests ü.jsonl", "a.b.jsonl.gz"])
    def test_own_file(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"x")
        file = choose_file([str(tmp_path / name)])
        assert file.name == name
        assert not file.is_sample

    def refusal(self, *arguments: str) -> str:
        with pytest.raises(UsageError) as caught:
            choose_file(list(arguments))
        assert caught.value.exit_status == EXIT_USAGE
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        assert "does not exist" in self.refusal(str(tmp_path / "a.jsonl"))

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.refusal(str(tmp_path))

    @pytest.mark.parametrize("name", ["a.json", "a.csv", "jsonl", ".jsonl", ".jsonl.gz", "a.gz"])
    def test_wrong_ending(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"x")
        assert "does not end in .jsonl or .jsonl.gz" in self.refusal(str(tmp_path / name))

    def test_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").touch()
        assert "is empty" in self.refusal(str(tmp_path / "a.jsonl"))

    def test_more_than_one(self) -> None:
        assert "Give one file" in self.refusal("a.jsonl", "b.jsonl")


class TestHints:
    def test_line_without_a_hint_stays_byte_for_byte(self) -> None:
        for line in (request(), b'  {"odd":  1}\n', b"not json with a hint\n", b"\xff\n"):
            assert without_hint(line) is line

    @pytest.mark.parametrize(
        "line",
        [
            b'{"simulate"\n',
            b'["simulate"]\n',
            b'{"body": "simulate"}\n',
            b'{"body": {"metadata": "simulate", "x": {"simulate": 1}}}\n',
            b'{"body": ["simulate"], "metadata": {"simulate": 1}}\n',
        ],
    )
    def test_the_word_elsewhere_is_no_hint(self, line: bytes) -> None:
        assert without_hint(line) is line

    def test_hint_is_left_out_and_nothing_else(self) -> None:
        assert json.loads(without_hint(request(metadata={"simulate": "fail"}, n=1))) == json.loads(
            request(n=1)
        )
        line = request("é\u2028", metadata={"simulate": "fail", "team": "a"})
        assert json.loads(without_hint(line)) == json.loads(
            request("é\u2028", metadata={"team": "a"})
        )
        assert without_hint(line).count(b"\n") == 1

    def test_upload_of_a_file_with_hints(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        lines = [request("a"), request("b", metadata={"simulate": "fail"}), b"broken"]
        path.write_bytes(b"".join(lines))
        with hints_removed(RequestFile(path)) as upload:
            assert upload.hints == 1
            assert upload.file.name == "a.jsonl"
            cleaned = upload.file.path.read_bytes().split(b"\n")
        assert [cleaned[0] + b"\n", cleaned[2]] == [lines[0], lines[2]]
        assert b"simulate" not in b"".join(cleaned)
        assert not upload.file.path.exists()

    def test_upload_of_a_compressed_file_with_hints(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(gzip.compress(request("b", metadata={"simulate": "fail"})))
        with hints_removed(RequestFile(path)) as upload:
            assert json.loads(gzip.decompress(upload.file.path.read_bytes())) == json.loads(
                request("b")
            )

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.jsonl", request()),
            ("a.jsonl.gz", gzip.compress(request())),
            ("a.jsonl.gz", b"no gzip"),
            ("a.jsonl.gz", gzip.compress(request(metadata={"simulate": "fail"}) * 9)[:-20]),
        ],
    )
    def test_other_files_are_uploaded_themselves(
        self, tmp_path: Path, name: str, content: bytes
    ) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with hints_removed(RequestFile(path)) as upload:
            assert (upload.file.path, upload.hints) == (path, 0)


class TestCost:
    def test_cost_of_known_models(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(request(max_completion_tokens=1_000_000) + b"not json\n")
        said = cost_text(RequestFile(path))
        assert said == "about $0.1500 for 1 request, at the price for batches"

    def test_cost_of_an_unknown_model_is_not_known(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(gzip.compress(request(model="other/model")))
        said = cost_text(RequestFile(path))
        assert said == "not known for 1 request (no known price for other/model)"

    def test_damaged_file_has_no_requests(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl.gz"
        path.write_bytes(b"no gzip")
        assert "for 0 requests" in cost_text(RequestFile(path))


class TestSample:
    def test_passes_the_pipelines_checks_at_a_known_small_cost(self) -> None:
        found = checked(RequestFile(SAMPLE))
        assert found.problems_total == 0
        assert 20 <= found.good <= 25
        cost = price(found.models).batch
        assert cost is not None
        assert cost < 0.01

    def test_has_a_request_that_fails_once_and_one_that_fails_for_good(self) -> None:
        bodies = [json.loads(line)["body"] for line in SAMPLE.read_bytes().splitlines()]
        hints = [body["metadata"]["simulate"] for body in bodies if "metadata" in body]
        assert sorted(hints) == ["fail", "fail_once"]
        assert all("max_completion_tokens" in body for body in bodies)
        assert len({body["model"] for body in bodies}) > 1
