"""Who writes the page of a report, and when."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.reports.page import rendering, writer
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.writer import ReportPages
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3
from tests.report_samples import report as sample_report

KEYS = object_keys.delivery_keys("team/a.jsonl")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 25, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Shelf:
    """A bucket with a report, and the pages of a job."""

    def __init__(self, wire: Wire = plain_wire) -> None:
        self.s3 = FakeS3()
        self.clock = Clock()
        self.storage = self.s3.storage(wire)
        self.plain = self.s3.storage()

    def put(self, job: str, status: str = "running", total: int = 5) -> None:
        made = sample_report(status, job_id=job)
        made["requests"]["total"] = total
        self.plain.put_json(KEYS.report, made)

    def write(self, job: str, facts: PageData | None = None) -> None:
        pages = ReportPages(self.storage, job, clock=self.clock)
        if facts is None:
            pages.write(KEYS)
        else:
            pages.write_final(KEYS, facts)

    @property
    def page(self) -> str:
        return (self.s3.read(KEYS.page) or b"").decode()

    @property
    def count(self) -> int:
        return len(self.s3.history(KEYS.page))


def test_a_running_job_has_a_new_page_every_five_minutes_at_most() -> None:
    shelf = Shelf()
    shelf.put("j", total=0)
    shelf.write("j")
    shelf.put("j")  # Checked now: the page must not go on saying that it is not.
    shelf.write("j")
    assert shelf.count == 2
    for _ in range(30):
        shelf.clock.now += timedelta(seconds=20)
        shelf.write("j")
    assert shelf.count == 4
    shelf.put("j", "succeeded")
    shelf.write("j", PageData())
    assert shelf.count == 5
    assert '<body class="succeeded">' in shelf.page


def test_a_final_page_is_written_once() -> None:
    shelf = Shelf()
    shelf.put("j", "succeeded")
    shelf.write("j", PageData())
    shelf.clock.now += timedelta(hours=1)
    shelf.write("j", PageData())
    shelf.write("j")
    assert shelf.count == 1


@pytest.mark.parametrize("facts", [None, PageData()])
def test_a_late_writer_leaves_the_page_of_another_job_alone(facts: PageData | None) -> None:
    shelf = Shelf()
    shelf.put("newer")
    shelf.write("newer")
    shelf.write("older", facts)
    assert shelf.count == 1
    assert "newer" in shelf.page


def test_a_late_running_page_does_not_replace_the_final_one() -> None:
    shelf = Shelf()
    shelf.put("j", "succeeded")
    shelf.write("j")
    assert shelf.count == 0


@pytest.mark.parametrize("step", ["head_object", "get_object", "put_object"])
def test_of_two_jobs_the_page_of_the_standing_report_wins(step: str) -> None:
    """A newer job takes the path over between any two calls of an older one's writer."""
    begun: list[str] = []

    def overtake(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == step and not begun:
            begun.append(step)
            shelf.put("newer", total=7)
            ReportPages(shelf.plain, "newer", clock=shelf.clock).write(KEYS)
        return act()

    shelf = Shelf(overtake)
    shelf.put("older", "succeeded")
    shelf.write("older", PageData())
    assert begun
    assert "<dd><bdi>newer</bdi></dd>" in shelf.page
    assert '<body class="running">' in shelf.page


def test_a_withdrawn_page_is_removed_by_its_own_job_alone() -> None:
    shelf = Shelf()
    shelf.put("mine")
    shelf.write("mine")
    ReportPages(shelf.storage, "other").remove(KEYS.page)
    assert shelf.page
    ReportPages(shelf.storage, "mine").remove(KEYS.page)
    assert not shelf.page
    ReportPages(shelf.storage, "mine").remove(KEYS.page)


MAKE_A_PAGE_EACH_TIME = {"prepare_input", "finish_job"}


@pytest.mark.parametrize("makes_pages", [True, False])
def test_handlers_import_what_pages_are_made_with_if_they_always_make_one(
    makes_pages: bool,
) -> None:
    """Jinja is no part of any other handler's start."""
    functions = Path(writer.__file__).parents[3]
    handlers = {path.parent.name for path in functions.glob("*/app.py")}
    assert handlers > MAKE_A_PAGE_EACH_TIME
    chosen = MAKE_A_PAGE_EACH_TIME if makes_pages else handlers - MAKE_A_PAGE_EACH_TIME
    code = "; ".join(f"import {name}.app" for name in sorted(chosen))
    code += "; import sys; print(sorted({'jinja2', 'markupsafe'} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=functions, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == ("['jinja2', 'markupsafe']" if makes_pages else "[]")


def test_what_cannot_be_imported_keeps_no_function_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "groq_batch.reports.page.rendering", None)
    writer.preload()


def test_a_page_that_cannot_be_made_replaces_that_of_the_job_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf = Shelf()
    shelf.put("before", "succeeded")
    shelf.write("before", PageData())
    monkeypatch.setattr(rendering, "render", lambda *_, **__: 1 / 0)
    shelf.put("<b>")
    shelf.write("<b>")
    assert "This job is: running." in shelf.page
    assert "before" not in shelf.page


def test_a_bucket_that_fails_stops_nothing() -> None:
    def fail(call: Call, act: Callable[[], Any]) -> Any:
        raise TimeoutError("S3 does not answer")

    shelf = Shelf(fail)
    shelf.put("j")
    shelf.write("j")
    ReportPages(shelf.storage, "j").remove(KEYS.page)
    assert shelf.count == 0
