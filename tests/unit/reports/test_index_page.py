"""The index of all jobs: what it says, that it stays small, and that no name changes it."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groq_batch.domain import object_keys
from groq_batch.records.usage_sums import UsageSums
from groq_batch.reports.page.index_rendering import render_index
from groq_batch.reports.page.index_view import index_view
from groq_batch.reports.running_jobs import MAX_SHOWN, RunningJob
from tests.index_samples import (
    CODES,
    NOW,
    everyday_sums,
    running_job,
    sums_of,
    usage_record,
)
from tests.report_samples import HOSTILE
from tests.unit.reports.test_report_page import TAGS, Outline

MAX_BYTES = 100_000


def page_of(sums: UsageSums, running: list[RunningJob] | None = None, **options: Any) -> str:
    jobs = running or []
    given = {"running_total": len(jobs), "as_of": NOW, **options}
    return render_index(index_view(sums, jobs, **given))


def text_of(sums: UsageSums, running: list[RunningJob] | None = None, **options: Any) -> str:
    page = re.sub(
        "<(style|svg).*?</(style|svg)>", "", page_of(sums, running, **options), flags=re.S
    )
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", page)).split()).replace("/ ", "/")


def size(page: str) -> int:
    return len(page.encode("utf-8", "replace"))


def test_index_says_when_it_was_made() -> None:
    assert "As of 29 Nov 2026, 12:00 UTC · updated every 15 minutes" in text_of(UsageSums())
    page = page_of(UsageSums(), is_live=True)
    assert "updated every" not in page
    assert 'http-equiv="refresh"' not in page
    assert '<meta http-equiv="refresh" content="300">' in page_of(UsageSums())


def test_index_of_a_new_stack_says_that_nothing_is_there() -> None:
    said = text_of(UsageSums())
    assert "Nothing runs." in said
    assert "No job has ended in the last 30 days." in said
    assert "Jobs that ended under version 1 of the stack have no usage record" in said
    assert "<svg" not in page_of(UsageSums())


def test_index_shows_progress_and_time_left_of_a_running_job() -> None:
    # 400 of 1,000 in 87 minutes, told two minutes ago.
    said = text_of(UsageSums(), [running_job(minutes=90)])
    assert "support/nightly-1.jsonl 40.0 % 400 of 1,000" in said
    assert "1 h 30 min" in said
    assert "about 2 h 8 min" in said


def test_index_shows_what_holds_a_running_job_up() -> None:
    job = running_job()
    assert job.report is not None
    error = {"line": None, "custom_id": None, "code": "spend_limit", "message": "…"}
    job.report["errors"] = [error]
    assert "spend_limit" in text_of(UsageSums(), [job])
    job.report["errors"] = [{**error, "line": 3}]
    assert "spend_limit" not in text_of(UsageSums(), [job])


def test_index_shows_a_job_without_a_report_as_starting() -> None:
    job = replace(running_job(), report=None, written_at=None)
    assert "starting" in text_of(UsageSums(), [job])


def test_index_shows_a_hundred_running_jobs_and_the_number_of_all() -> None:
    said = text_of(UsageSums(), [running_job(n) for n in range(MAX_SHOWN)], running_total=1234)
    assert "The 100 longest-running jobs of 1,234." in said


@pytest.mark.parametrize("status", CODES)
def test_index_shows_how_a_job_ended_and_why(status: str) -> None:
    record = usage_record(status=status, error_code=CODES[status], actual_usd=0.5, requests=7)
    said = text_of(sums_of([record]))
    assert f"requests-1.jsonl {status} {CODES[status] or ''}".rstrip() in said
    assert "29 Nov 11:00 2 h 14 min 7 12 $0.50" in said


def test_index_shows_the_jobs_that_ended_last_the_latest_first() -> None:
    records = [usage_record(n, hours_ago=n / 10) for n in range(1, 301)]
    page = page_of(sums_of(records))
    shown = [int(n) for n in re.findall(r"requests-([0-9]+)\.jsonl", page)]
    assert shown == list(range(1, 201))
    assert "The 200 jobs that ended last." in page


def test_index_sums_up_by_folder() -> None:
    records = [
        usage_record(1, folder="a", actual_usd=1.0),
        usage_record(2, folder="a", actual_usd=None, status="partial"),
        usage_record(3, folder="", actual_usd=2.5),
    ]
    said = text_of(sums_of(records))
    assert "(top) 1 45,000 11M $2.50 a 2 1 90,000 22M $1.00" in said
    assert "The cost of 1 job is unknown and not in the sums." in said
    assert "Spent $3.50 in 30 days" in said


def test_index_draws_each_day_and_folder() -> None:
    records = [
        usage_record(n, folder=folder, hours_ago=24 * day, actual_usd=1.0)
        for n, (folder, day) in enumerate([("a", 0), ("b", 0), ("a", 3), ("c", 29)])
    ]
    page = page_of(sums_of(records))
    (drawing,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(re.findall("<g>", drawing)) == 3
    assert "29 Nov: $2.00" in drawing
    assert "31 Oct: $1.00" in drawing
    assert len(re.findall('class="s[0-4]"', drawing)) == 4


def test_index_draws_many_folders_as_five_and_the_rest() -> None:
    records = [usage_record(n, folder=f"f{n:02}", actual_usd=1.0 + n) for n in range(40)]
    page = page_of(sums_of(records))
    (drawing,) = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert set(re.findall('rect [^>]*class="([^"]+)"', drawing)) == {
        "s0", "s1", "s2", "s3", "s4", "rest",
    }  # fmt: skip
    assert "25 others" in page


def test_index_says_that_not_all_is_counted_yet() -> None:
    assert "Not all jobs are counted yet" in text_of(UsageSums(), is_whole=False)


def test_index_of_200_jobs_is_below_100_kb() -> None:
    assert size(page_of(everyday_sums(200), [running_job(n) for n in range(10)])) < 70_000
    running = [running_job(n) for n in range(MAX_SHOWN)]
    assert size(page_of(everyday_sums(200), running)) < MAX_BYTES


@pytest.mark.parametrize("text", ['"' * 1000, "🙂" * 250, "<&>" * 300, *HOSTILE])
def test_index_of_hostile_names_is_below_100_kb(text: str) -> None:
    sums = everyday_sums(200, name=lambda n: f"{text}/{n}{text}")
    running = [running_job(n, key=f"input/{text}/{n}{text}") for n in range(MAX_SHOWN)]
    assert size(page_of(sums, running)) < MAX_BYTES


def check_same_tags(name: str) -> None:
    """A name changes nothing of the page but the text."""

    def outline(of: str) -> Outline:
        records = [
            usage_record(1, key=f"input/{of}/x.jsonl", folder=of, status="failed", error_code=of)
        ]
        return Outline(page_of(sums_of(records), [running_job(key=f"input/{of}/x.jsonl")]))

    made, plain = outline(name), outline("x")
    assert {tag for tag, _ in made.tags} <= TAGS | {"g", "progress"}
    assert made.tags == plain.tags
    names = {attribute for attribute, _ in made.values}
    assert names.isdisjoint({"href", "src", "srcset", "style", "action", "onerror", "onmouseover"})
    assert not any("url(" in value or "://" in value for _, value in made.values)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_changes_nothing_but_the_text_of_the_index(name: str) -> None:
    check_same_tags(name)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(st.text(st.characters(), min_size=1, max_size=200))
def test_no_name_changes_the_index(name: str) -> None:
    check_same_tags(name)


def test_index_permits_its_own_style_and_nothing_else() -> None:
    page = page_of(everyday_sums(10), [running_job()])
    assert "default-src 'none'; style-src 'sha256-" in page
    assert "<script" not in page


def test_index_and_the_page_of_an_upload_named_index_do_not_meet() -> None:
    assert object_keys.delivery_keys("index").page is None
    assert object_keys.delivery_keys("index").report == "reports/index.json"
    others = ("index.jsonl", "index/index.jsonl", "a/index", "index.html")
    assert object_keys.INDEX_KEY not in {object_keys.delivery_keys(one).page for one in others}


def test_index_of_a_report_from_the_future_shows_no_negative_times() -> None:
    job = running_job(minutes=-5)
    assert (
        "-" not in text_of(UsageSums(), [replace(job, written_at=NOW + timedelta(hours=1))])[60:160]
    )
