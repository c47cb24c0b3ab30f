"""The page beside the report, over the whole life of jobs."""

from __future__ import annotations

import html
import io
import json
import logging
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from groq_batch.bucket.storage import JOB_METADATA
from groq_batch.domain import object_keys
from groq_batch.reports.page import rendering
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import CONTENT_TYPE
from tests.fakes.s3 import client_error
from tests.harness.invocations import Break, Invocation, Trouble
from tests.harness.jobs import bad_line, check_end, good_line, good_lines, put
from tests.harness.world import World

PATH = "team/a.jsonl"
KEYS = object_keys.delivery_keys(PATH)


def page_of(world: World, path: str) -> str:
    data = world.s3.read(f"reports/{path}.html")
    assert data is not None, world.s3.keys("reports/")
    return data.decode()


def test_a_job_has_a_page_from_its_start_to_its_end() -> None:
    with World() as world:
        upload = put(world, "input/team/a.jsonl", good_lines(3))
        world.run_for(30)
        running = page_of(world, PATH)
        world.settle()
        check_end(world, upload)
        final = page_of(world, PATH)
        head = world.s3.head_object(Key=KEYS.page)
    assert '<body class="running">' in running
    assert "0 of 3" in running
    assert '<body class="succeeded">' in final
    assert "Every request was answered." in final
    # From the rows: tokens, times, why the model stopped.
    for said in ("Prompt tokens", "Completion tokens", "Time of the model", "<bdi>stop</bdi>"):
        assert said in final
    assert head["ContentType"] == CONTENT_TYPE == "text/html; charset=utf-8"
    assert head["Metadata"][JOB_METADATA] == upload.job_id("bucket")


def test_lines_of_failed_rows_are_named() -> None:
    lines = [*good_lines(3), bad_line("bad"), *good_lines(3, "s")]
    with World({"MAX_REQUESTS_PER_BATCH": "2"}) as world:
        world.simulator.add_rule("fail", match={"custom_id": "s1"})
        upload = put(world, "input/team/a.jsonl", lines, on_invalid_line="skip")
        world.settle()
        (report,) = check_end(world, upload)
        page = page_of(world, PATH)
    known = {(error["line"], error["custom_id"]) for error in report["errors"]}
    assert known == {(4, "bad"), (6, "s1")}
    assert "line 4 <code><bdi>bad</bdi></code>" in page
    assert "line 6 <code><bdi>s1</bdi></code>" in page


def test_lines_are_not_guessed_where_lines_are_blank() -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r1"})
        data = b"\n\n".join(line.data for line in good_lines(3))
        world.upload("input/team/a.jsonl", data, metadata={})
        world.settle()
        report = json.loads(world.s3.read(KEYS.report) or b"")
    (error,) = report["errors"]
    assert (error["line"], error["custom_id"]) == (None, "r1")


def test_hostile_requests_and_answers_are_text() -> None:
    script = "<script>document.title='pwned'</script>"
    key = f"input/team/{script.replace('/', '.')}\u202e.jsonl"
    lines = [good_line(script), good_line('"><img src=x onerror=alert(1)>' + "x" * 10_000)]
    with World() as world:
        outcome = {"kind": "http_error", "status": 400, "code": "bad_" + script, "message": script}
        world.simulator.add_rule(outcome, match={"custom_id": script})
        upload = put(world, key, lines)
        world.settle()
        (report,) = check_end(world, upload)
        page = page_of(world, key.removeprefix("input/"))
    assert report["status"] == "partial"
    assert "<script" not in page
    assert "<img" not in page
    assert f"<bdi>{html.escape(script)}</bdi>".replace("&#x27;", "&#39;") in page


def test_neither_prompts_nor_answers_stand_on_a_page() -> None:
    with World() as world:
        world.simulator.add_rule("fail", match={"custom_id": "r2"})
        lines = [good_line(f"r{number}", f"CANARY {number}") for number in range(4)]
        upload = put(world, "input/team/a.jsonl", lines)
        world.settle()
        check_end(world, upload)
        assert b"CANARY" in (world.s3.read(KEYS.results) or b"")
        versions = world.s3.history(KEYS.page)
    assert len(versions) >= 2
    assert not any(b"CANARY" in (version or b"") for version in versions)


def test_a_newer_upload_takes_the_page_over() -> None:
    with World() as world:
        first = put(world, "input/team/a.jsonl", good_lines(3, "old"))
        first.keeps_path = False
        world.settle()
        second = put(world, "input/team/a.jsonl", [bad_line("bad")])
        world.settle()
        check_end(world, second)
        page = page_of(world, PATH)
    assert '<body class="rejected">' in page
    assert first.job_id("bucket") not in page
    assert second.job_id("bucket") in page


def test_an_overtaken_job_has_its_page_where_it_delivers() -> None:
    with World() as world:
        older = put(world, "input/team/a.jsonl", good_lines(3, "old"))
        world.run_for(50)
        newer = put(world, "input/team/a.jsonl", good_lines(2, "new"))
        older.keeps_path = False
        world.settle()
        check_end(world, older, newer)
        aside = f"superseded/{older.job_id('bucket')}/{PATH}"
        assert older.job_id("bucket") in page_of(world, aside)
        assert newer.job_id("bucket") in page_of(world, PATH)
        assert '<body class="succeeded">' in page_of(world, PATH)


def test_a_key_that_is_too_long_has_its_page_under_the_name_of_the_job() -> None:
    with World() as world:
        upload = put(world, f"input/{'k' * 950}.jsonl", good_lines(1))
        world.settle()
        assert "key_too_long" in page_of(world, upload.job_id("bucket"))


# A page that fails


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Give what the functions write to their log."""
    stream = io.StringIO()
    for handler in logging.getLogger("groq-batch").handlers:
        monkeypatch.setattr(handler, "stream", stream)
    # The other tests of this folder run in silence.
    logging.disable(logging.NOTSET)
    yield stream
    logging.disable(logging.CRITICAL)


def test_a_page_that_cannot_be_made_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any, **named: Any) -> str:
        raise RuntimeError("CANARY of the input")

    monkeypatch.setattr(rendering, "render", broken)
    with World() as world:
        upload = put(world, "input/team/a.jsonl", good_lines(3))
        world.settle()
        (report,) = check_end(world, upload)
        page = page_of(world, PATH)
    assert report["status"] == "succeeded"
    assert "This job is: succeeded." in page
    told = capsys.readouterr().out
    entries = [json.loads(line) for line in log.getvalue().splitlines()]
    errors = [entry for entry in entries if entry["level"] == "ERROR"]
    assert {(one["message"], one["kind"]) for one in errors} == {
        ("The report page could not be made", "RuntimeError")
    }
    assert all(one["place"].startswith("test_report_pages.py:") for one in errors)
    assert '"ReportPagesFailed":[1' in told
    assert "CANARY" not in told + log.getvalue()


def test_a_page_that_must_not_be_written_stops_nothing(
    log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with World() as world:
        world.denies = lambda operation, key: operation == "put_object" and key.endswith(".html")
        upload = put(world, "input/team/a.jsonl", good_lines(3))
        world.settle()
        (report,) = check_end(world, upload)
        assert world.s3.read(KEYS.page) is None
    assert report["status"] == "succeeded"
    assert "The report page could not be written" in log.getvalue()
    assert '"ReportPagesFailed":[1' in capsys.readouterr().out


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["get_object", "head_object", "put_object"])
def test_a_single_failure_of_s3_leaves_no_page_of_an_ended_job_that_says_running(
    operation: str, after: bool
) -> None:
    """Every call for the last page fails once; most reads of the report are for other things."""
    kind = ".json" if operation == "get_object" else ".html"

    def slow_down() -> Exception:
        return client_error(operation, 503, "SlowDown", "Please reduce your request rate.")

    def run(number: int) -> bool:
        label = f"s3.{operation} reports/{PATH}{kind} #{number}"
        with World() as world:
            trouble = Break(at=label, after=after, error=slow_down)

            def direct(invocation: Invocation) -> Sequence[Trouble]:
                ends = [one for one in world.invocations if one.function == "finish_job"]
                return (trouble,) if ends == [invocation] else ()

            world.director = direct
            upload = put(world, "input/team/a.jsonl", good_lines(1))
            world.settle()
            check_end(world, upload)
            assert '<body class="succeeded">' in page_of(world, PATH), label
            finish = next(one for one in world.invocations if one.function == "finish_job")
            return label in finish.trace

    assert run(0)
    assert any(not run(number) for number in range(1, 20))


def test_facts_that_cannot_be_summed_up_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    monkeypatch.setattr(PageData, "of", lambda *_: 1 / 0)
    with World() as world:
        upload = put(world, "input/team/a.jsonl", good_lines(3))
        world.settle()
        (report,) = check_end(world, upload)
    assert report["status"] == "succeeded"
    assert "ZeroDivisionError" in log.getvalue()


def test_the_report_is_written_before_its_page() -> None:
    with World() as world:
        order: list[str] = []
        keep = world.s3.put_object

        def watched(**named: Any) -> Any:
            order.append(named["Key"])
            return keep(**named)

        world.s3.put_object = watched  # type: ignore[method-assign]
        put(world, "input/team/a.jsonl", good_lines(3))
        world.settle()
    written = [key for key in order if key.startswith("reports/")]
    assert written[0] == KEYS.report
    assert all(KEYS.report in pair for pair in pairwise(written))
    assert written[-2:] == [KEYS.report, KEYS.page]
