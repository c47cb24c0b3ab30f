"""What the benchmark computes and how it tells it; nothing is measured here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import cost, document, functions_runner, prices, store
from bench.cost import s3_usd, storage_usd
from bench.end_to_end import OURS
from bench.functions_runner import StateMachine
from bench.inputs import ACCENTED_TEXT, TEXT, request_line
from bench.rows import check_rows
from bench.sizes import TIMEOUT_SECONDS, ids_bytes, reach, template_sizes
from bench.tables import Table, digits, megabytes, percent, usd

# -- cost ------------------------------------------------------------------------------------------


def test_calls_of_s3_are_billed_by_class() -> None:
    calls = {
        "s3.PutObject": 1000,
        "s3.UploadPart": 500,
        "s3.UploadPartCopy": 250,
        "s3.ListObjectsV2": 250,
        "s3.GetObject": 9000,
        "s3.HeadObject": 1000,
        "s3.DeleteObjects": 10**6,
        "s3.AbortMultipartUpload": 10**6,
        "eventbridge.PutEvents": 10**6,
    }
    writes, reads = s3_usd(calls)
    assert writes == pytest.approx(2 * 0.005)
    assert reads == pytest.approx(10 * 0.0004)


def test_storage_is_billed_by_the_day() -> None:
    assert storage_usd(30e9, 1) == pytest.approx(prices.S3_GB_MONTH_USD)


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("passes", [1, 2])
def test_reach_adds_up_checking_and_passing(passes: int) -> None:
    found = reach(100e6, 1.0, passes=passes)
    assert found.cpu_bytes_per_second == pytest.approx(100e6)
    per_byte = 2 / 100e6 + passes / cost.S3_BYTES_PER_SECOND
    assert 1 / found.bytes_per_second == pytest.approx(per_byte)
    assert found.bytes == pytest.approx(found.bytes_per_second * TIMEOUT_SECONDS)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, 4096), (614, 8 * 614 + 4096), (615, 8 * 615 + 4 * 4096), (40_000_000, 588_435_456)],
)
def test_ids_take_a_number_and_their_part_of_a_table(lines: int, expected: int) -> None:
    assert ids_bytes(lines) == expected


# -- tables ----------------------------------------------------------------------------------------


def test_a_table_is_aligned_and_escapes_what_would_break_it() -> None:
    text = Table(["name", "s"], [["a|b", "1.0"], ["long name", "12"]]).markdown()
    assert text.splitlines() == [
        "| name      |   s |",
        "| --------- | --: |",
        "| a\\|b      | 1.0 |",
        "| long name |  12 |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (1234567.8, "1,234,568"),
        (123.4, "123"),
        (12.345, "12.3"),
        (1.2345, "1.23"),
        (0.012345, "0.0123"),
    ],
)
def test_numbers_have_three_figures(value: float | None, text: str) -> None:
    assert digits(value) == text


def test_units_are_readable() -> None:
    assert megabytes(182_745_774) == "183"
    assert percent(math.inf) == "never"
    assert percent(0.0017) == "0.17 %"
    assert usd(0.01374) == "0.0137"
    assert usd(0.0000016) == "0.000002"


# -- inputs and rows -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXT, ACCENTED_TEXT])
@pytest.mark.parametrize("size", [200, 4066])
def test_request_lines_have_about_the_size_asked_for(size: int, text: str) -> None:
    line = request_line(7, size, text)
    assert abs(len(line) - size) <= size * 0.03
    assert json.loads(line)["custom_id"] == "request-00000007"
    assert request_line(8, size, text) != line


def _answer(number: int, text: str) -> bytes:
    answer = {"choices": [{"message": {"content": text}}]}
    row = {"custom_id": f"request-{number:08d}", "response": {"status_code": 200, "body": answer}}
    return json.dumps(row).encode()


def test_rows_are_compared_with_what_the_simulator_says(tmp_path: Path) -> None:
    source = tmp_path / "requests.jsonl"
    lines = [request_line(number, 3000) for number in range(3)]
    source.write_bytes(b"\n".join(lines) + b"\n")
    prompts = [json.loads(line)["body"]["messages"][0]["content"] for line in lines]
    rows = [_answer(number, f"Echo: {prompt[:2000]}") for number, prompt in enumerate(prompts)]
    assert check_rows(source, rows).in_order
    assert check_rows(source, rows).right == 3
    mixed = check_rows(source, [rows[1], rows[0], rows[2]])
    assert (mixed.right, mixed.in_order) == (3, False)
    short = check_rows(source, rows[:2])
    assert (short.right, short.in_order) == (2, False)
    wrong = check_rows(source, [rows[0], _answer(1, "Echo: something else"), rows[2]])
    assert (wrong.right, wrong.in_order) == (2, True)
    plain = [json.dumps({"custom_id": "request-00000000", "text": f"Echo: {prompts[0][:2000]}"})]
    assert check_rows(source, [plain[0].encode()]).right == 1


# -- the page --------------------------------------------------------------------------------------


def _entry(seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "all_seconds": [seconds - 1, seconds, seconds + 9],
        "cpu_seconds": seconds / 2,
        "peak_bytes": 100e6,
        "check": {"expected": 10, "right": 10, "in_order": True},
        "note": "",
        **more,
    }


def _jobs(ours: float) -> dict[str, Any]:
    shuffled = {"expected": 10, "right": 9, "in_order": False}
    return {
        "requests": 10,
        "bytes": 41_000,
        "rounds": 3,
        "entries": {
            OURS: _entry(ours, functions={"finish_job": {"calls": {"s3.PutObject": 7, "x.y": 2}}}),
            "tutorial script": _entry(5.0, check=shuffled),
            "quick 1.0": _entry(7.0),
            "broken 1.0": {"note": "could not be installed", "check": None},
        },
        "beyond": {"requests": 20, "right": {OURS: 20, "tutorial script": 0, "quick 1.0": 20}},
    }


def test_page_without_results_says_how_to_get_them() -> None:
    page = document.render({})
    assert "make bench ARGS=prepare" in page
    assert page.count("Not measured yet") == len(document.SECTIONS) + 1


def test_part_that_is_measured_anew_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    store.save_part("jobs", _jobs(6.0), path)
    results = store.save_part("cadence", {"worst": 0.0123456789}, path)
    assert results["cadence"]["worst"] == 0.012346
    assert store.load(path) == results
    assert results["jobs"]["entries"]["quick 1.0"]["seconds"] == 7.0
    assert "cores" in results["jobs"]["machine"]["cpu"]


def test_comparison_has_time_resources_rows_and_order_of_each_tool(tmp_path: Path) -> None:
    page = document.render(store.save_part("jobs", _jobs(6.0), tmp_path / "results.json"))
    cells = {
        line.split(" | ")[0].removeprefix("| "): [cell.strip(" |") for cell in line.split(" | ")]
        for line in page.splitlines()
        if line.startswith("|")
    }
    by_name = {name.strip(): row[1:] for name, row in cells.items()}
    assert by_name[OURS] == ["6.00", "5.00", "1.00", "3.00", "100", "10", "as asked", "yes"]
    assert by_name["tutorial script"] == [
        "5.00",
        "4.00",
        "0.83",
        "2.50",
        "100",
        "9",
        "as answered",
        "no",
    ]
    assert by_name["broken 1.0"] == [*["-"] * 6, "could not be installed", "-"]
    assert "7 calls to S3" in " ".join(page.split())
    assert "6.00 s; tutorial script 5.00 s, quick 1.0 7.00 s" in page


# -- the functions ---------------------------------------------------------------------------------


def test_template_gives_each_measured_function_memory() -> None:
    sizes = template_sizes()
    assert set(functions_runner.MODULES) <= set(sizes)
    assert sizes["download_results"].disk_gb == 10


class _Functions:
    """Answers as the functions of a job of one shard that waits once; ``fails`` names one."""

    def __init__(self, fails: str = "") -> None:
        self.called: list[str] = []
        self._fails = fails

    def call(self, module: str, event: Mapping[str, Any]) -> Any:
        self.called.append(module)
        if module == self._fails:
            raise functions_runner.FunctionError(f"{module}: broken")
        answers: dict[str, Any] = {
            "start_job": {"jobs": [{"job_id": "job-1"}]},
            "prepare_input": {
                "accepted": True,
                "shard_key": "s",
                "tries": 0,
                "attempt": 1,
                "polls": 0,
                "resume_in": 0,
            },
            "submit_batch": {"outcome": "settled", "wait_seconds": 3600},
            "download_results": {"outcome": "settled"},
            "finish_job": {"outcome": "done"},
        }
        if module == "check_status":
            if event.get("read_models"):
                return {"outcome": "settled"}
            looks = self.called.count("check_status")
            decision = {2: "wait", 3: "download"}.get(looks, "finish")
            return {"decision": decision, "wait_seconds": 900, "shard_key": "s", "tries": 0}
        return answers[module]


class _States:
    """A Step Functions that knows one execution."""

    def describe_execution(self, **_: str) -> dict[str, str]:
        given = {"job_id": "job-1", "bucket": "bench", "mode": "run"}
        return {"input": json.dumps(given)}


def _machine(functions: _Functions) -> StateMachine:
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:bench"
    return StateMachine(functions, s3=None, states=_States(), arn=arn, bucket="bench")  # type: ignore[arg-type]


def test_job_of_the_benchmark_follows_the_shipped_definition_without_its_waits() -> None:
    functions = _Functions()
    run = _machine(functions).run("input/bench.jsonl", "v1", "etag")
    assert functions.called == [
        "start_job",
        "check_status",
        "prepare_input",
        "submit_batch",
        "check_status",
        "check_status",
        "download_results",
        "check_status",
        "finish_job",
    ]
    assert run.visits["WaitForBatches"] >= 2
    assert run.seconds < 3600


def test_failure_of_a_function_ends_the_measurement() -> None:
    with pytest.raises(functions_runner.FunctionError, match="submit_batch: broken"):
        _machine(_Functions(fails="submit_batch")).run("input/bench.jsonl", "v1", "etag")
