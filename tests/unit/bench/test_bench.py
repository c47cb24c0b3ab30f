"""What the benchmark computes and how it tells it; nothing is measured here."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import cost, document, prices, store
from bench.bars import bars
from bench.cost import Part, Size, Work, bill, billed_seconds, s3_usd, storage_usd
from bench.end_to_end import OURS
from bench.inputs import ACCENTED_TEXT, TEXT, request_line
from bench.rows import check_rows
from bench.sizes import TIMEOUT_SECONDS, ids_bytes, reach
from bench.tables import Table, digits, megabytes, percent, usd

# -- cost ------------------------------------------------------------------------------------------


def test_seconds_are_added_up_as_if_nothing_overlapped() -> None:
    work = Work(
        invocations=2,
        cpu_seconds=3.0,
        calls=Counter({"s3.GetObject": 10, "secrets-manager.GetSecretValue": 10}),
        s3_bytes=2 * cost.S3_BYTES_PER_SECOND,
        groq_bytes=4 * cost.GROQ_BYTES_PER_SECOND,
    )
    overhead = 20 * cost.CALL_SECONDS
    assert billed_seconds(work, Size(1769)) == pytest.approx(3 + 2 + 4 + overhead)


@pytest.mark.parametrize(("memory", "slower"), [(512, 1769 / 512), (1769, 1.0), (3538, 1.0)])
def test_computing_goes_at_the_share_of_a_core_and_no_faster(memory: int, slower: float) -> None:
    assert billed_seconds(Work(cpu_seconds=10.0), Size(memory)) == pytest.approx(10 * slower)


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


def test_a_bill_has_a_line_for_everything() -> None:
    work = {
        "submit_batch": Work(
            invocations=10,
            cpu_seconds=100.0,
            calls=Counter({"s3.PutObject": 1000, "eventbridge.PutEvents": 1}),
            log_bytes=1e9,
        ),
        "download_results": Work(invocations=90, s3_bytes=cost.S3_BYTES_PER_SECOND * 100),
    }
    sizes = {"submit_batch": Size(1024), "download_results": Size(2048, 10.5)}
    stored = {"stored_bytes": 1e9, "days": 1, "removed_bytes": 2e9}
    parts = bill(work, sizes, transitions=1000, maps=10, **stored)
    by_name = {part.name: part for part in parts}
    assert by_name["Step Functions"] == Part("Step Functions", "1,000 transitions", 0.025)
    seconds = 100 * 1769 / 1024 + 1001 * cost.CALL_SECONDS
    assert by_name["Lambda submit_batch"].usd == pytest.approx(
        seconds * prices.LAMBDA_GB_SECOND_USD
    )
    assert by_name["Lambda download_results"].usd == pytest.approx(
        200 * prices.LAMBDA_GB_SECOND_USD
    )
    assert by_name["Lambda disk"].usd == pytest.approx(10 * 100 * prices.LAMBDA_DISK_GB_SECOND_USD)
    assert by_name["Lambda calls"].usd == pytest.approx(100 * prices.LAMBDA_REQUEST_USD)
    assert by_name["S3 writes and lists"].usd == pytest.approx(0.005)
    assert by_name["S3 calls of the Maps"].usd == pytest.approx(60 * 0.005 / 1000)
    assert by_name["S3 storage, 1 day"].usd == pytest.approx(storage_usd(1e9, 1))
    assert by_name["S3 storage, 1.5 days after"].usd == pytest.approx(storage_usd(2e9, 1.5))
    assert by_name["Logs"].usd == pytest.approx(0.5)
    assert by_name["Events, secret"].usd == pytest.approx(prices.EVENT_USD)


def test_work_is_added_and_taken_away() -> None:
    one = Work(invocations=1, cpu_seconds=2.0, calls=Counter({"s3.GetObject": 3}), s3_bytes=4.0)
    assert one.plus(one, 9).calls["s3.GetObject"] == 30
    assert one.plus(one, 0.5).cpu_seconds == 3.0
    assert one.plus(one, -1) == Work(calls=Counter({"s3.GetObject": 0}))


def test_prices_name_their_sources() -> None:
    assert prices.READ_AT
    assert all(source.startswith("https://aws.amazon.com/") for source in prices.SOURCES)


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


# -- bars and the page -----------------------------------------------------------------------------


def _entry(seconds: float, **more: Any) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "cpu_seconds": seconds / 2,
        "peak_bytes": 100e6,
        "batches": 1,
        "check": {"expected": 10, "right": 10, "in_order": True},
        "note": "",
        **more,
    }


def _jobs(ours: float) -> dict[str, Any]:
    entries = {
        OURS: _entry(ours, steps={"prepare_input": 1.0}, functions={}),
        "tutorial script": _entry(5.0),
        "quick 1.0": _entry(7.0),
        "broken 1.0": {"note": "could not be installed", "batches": 0, "check": None},
    }
    return {"large": {"requests": 10, "bytes": 41_000, "rounds": 3, "entries": entries}}


@pytest.mark.parametrize(("ours", "holds"), [(6.9, [True, True]), (7.6, [False, False])])
def test_a_job_is_held_against_the_tutorial_and_the_quickest_tool(
    ours: float, holds: list[bool]
) -> None:
    found = bars({"jobs": _jobs(ours)})
    assert [bar.passes for bar in found] == [*holds, True, True]


def test_rows_out_of_order_break_a_promise() -> None:
    jobs = _jobs(5.0)
    jobs["large"]["entries"][OURS]["check"]["in_order"] = False
    assert [bar.passes for bar in bars({"jobs": jobs})] == [True, True, True, False]


@pytest.mark.parametrize(("peak", "holds"), [(126.3e6, True), (126.5e6, False)])
def test_memory_may_grow_by_a_fifth_and_some_bytes_a_line(peak: float, holds: bool) -> None:
    job = {"lines": 100_000, "input_bytes": 1e9, "answer_bytes": 1e9}
    part = {
        "job": {"100": {**job, "prepare_input": 100e6}, "1000": {**job, "prepare_input": peak}},
        "shard": {
            size: {"lines": 1, "answer_bytes": 1, "download_results": 100e6}
            for size in ("100", "1000")
        },
    }
    assert [bar.passes for bar in bars({"memory": part})] == [holds, True]


def test_cost_is_held_against_five_cents() -> None:
    assert [bar.passes for bar in bars({"cost": {"total_usd": 0.0499}})] == [True]
    assert [bar.passes for bar in bars({"cost": {"total_usd": 0.0501}})] == [False]


def test_a_page_without_results_says_how_to_get_them() -> None:
    page = document.render({})
    assert "make bench ARGS=prepare" in page
    assert page.count("Not measured yet") == len(document.SECTIONS) + 1


def test_a_part_that_is_measured_anew_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    store.save_part("jobs", _jobs(6.0), path)
    results = store.save_part("cost", {"total_usd": 0.0123456789}, path)
    assert results["cost"]["total_usd"] == 0.012346
    assert store.load(path) == results
    assert results["jobs"]["large"]["entries"]["quick 1.0"]["seconds"] == 7.0
    assert "cores" in results["jobs"]["machine"]["cpu"]


def test_a_tool_that_cannot_be_run_is_a_row_that_says_so(tmp_path: Path) -> None:
    results = store.save_part("jobs", _jobs(6.0), tmp_path / "results.json")
    page = document.render(results)
    row = next(line for line in page.splitlines() if line.startswith("| broken 1.0"))
    assert "could not be installed" in row
    assert "| tutorial script | 5.00 |       0.83 |" in page


def test_the_page_that_stands_is_that_of_the_results_that_stand() -> None:
    page = document.DOCUMENT.read_text(encoding="utf-8")
    assert page == document.render(store.load()), 'write it anew: make bench ARGS="--page"'
