"""The page of a report: what it says, and that no text of others ever becomes part of it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from groq_batch.domain.answer_stats import AnswerStats, Histogram
from groq_batch.domain.canary import CanaryVerdict
from groq_batch.domain.cost import JobUsage, ModelUsage, ModelUsages
from groq_batch.records.shard_result import ShardResult
from groq_batch.reports.page import wording
from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.histograms import draw_histogram
from groq_batch.reports.page.rendering import render
from tests.report_samples import AS_OF, HOSTILE, batch, facts, hostile_report, moment, report

STATUSES = ("running", "succeeded", "partial", "rejected", "failed", "cancelled")
TAGS = set(
    re.findall(
        "[a-z0-9]+",
        "html head meta title style body header main footer section details summary "
        "p h1 h2 h3 ul ol li dl dt dd div span b i bdi code table thead tbody tr th td "
        "svg rect line text",
    )
)
VOID = {"meta"}


class Outline(HTMLParser):
    """The tags and attributes of a page in their order, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.values += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data


def page_of(made: dict[str, Any], beside: PageData | None = None) -> str:
    key = "reports/team/requests.jsonl.json"
    return render(made, PageData() if beside is None else beside, report_key=key, as_of=AS_OF)


def text_of(made: dict[str, Any], beside: PageData | None = None) -> str:
    return re.sub(r"\s+", " ", Outline(page_of(made, beside)).text)


# What it says


def test_a_partial_job() -> None:
    text = text_of(report(), facts())
    for said in (
        "team/requests.jsonl",
        "Started 25 Nov 2026, 02:00 UTC · took 3 h 7 min",
        "4,400 of 4,500 requests were answered; 96 got no answer and 4 could not be sent.",
        "aws s3 cp s3://data/output/team/requests.jsonl requests.results.jsonl",
        "groq-batch retry team/requests.jsonl",
        "97.8 %",
        "2.9M",
        "$0.21",
        "$0.42 on demand",
        "saved $0.21",
        "line 17",
        "row-18",
        "The first 1 of 4 invalid lines are counted here",
        "openai/gpt-oss-20b",
        "s3://data/reports/team/requests.jsonl.json",
        "openai/gpt-oss-20b1,500,000700,000$0.16$0.32",
    ):
        assert said in text, said


def test_requests_that_were_not_sent_are_no_failures_of_a_rejected_job() -> None:
    requests = {"total": 50, "succeeded": 0, "failed": 46, "invalid": 4}
    page = page_of(report("rejected", requests=requests))
    assert '<i class="idle"></i><b>46</b> not sent' in page
    assert '<i class="bad"></i><b>96</b> without an answer' in page_of(report("partial"))


def test_each_line_has_its_own_message_where_they_differ() -> None:
    errors = [
        {"line": 2, "custom_id": None, "code": "invalid_json", "message": "Character near byte 2."},
        {"line": 18, "custom_id": "a", "code": "invalid_json", "message": "It ends too early."},
    ]
    text = text_of(report("rejected", errors=errors, errors_total=2))
    assert "line 2 Character near byte 2." in text
    assert "line 18 a It ends too early." in text
    same = [{**error, "message": "It ends too early."} for error in errors]
    assert text_of(report("rejected", errors=same, errors_total=2)).count("too early") == 1


def test_timeline_names_attempts_and_shards_in_words() -> None:
    text = text_of(report(batches=[batch(1), batch(2), batch(1, attempt=2)]))
    for words in ("Attempt 1, shard 1", "Attempt 1, shard 2", "Attempt 2, shard 1"):
        assert words in text
    many = [batch(n) for n in range(1, 101)]
    assert "Attempt 1, shards 1 to 5" in text_of(report(batches=many))


def test_page_of_a_running_job_reloads_itself_and_tells_the_time_left() -> None:
    under_way = {"status": "in_progress", "succeeded": 450, "failed": 0, "ended_at": None}
    running = report("running", batches=[batch(1, **under_way)])
    assert '<meta http-equiv="refresh" content="60">' in page_of(running)
    assert "Time left~3 h 58 min1.88 a minute so far" in text_of(running)
    just_begun = report("running", batches=[batch(1, **under_way, requests=90_000)])
    assert "Time left" not in text_of(just_begun)
    for status in STATUSES:
        if status != "running":
            assert "refresh" not in page_of(report(status))
            assert "Time left" not in text_of(report(status))


@pytest.mark.parametrize(
    ("failed", "name"),
    [
        ("s3://data/failed/team/requests.jsonl", "team/requests.jsonl"),
        (
            "s3://data/failed/superseded/requests-0f3c9a7be21d4f55a1b2/team/requests.jsonl",
            "requests-0f3c9a7be21d4f55a1b2",
        ),
    ],
)
def test_retry_names_the_job_that_the_page_is_of(failed: str, name: str) -> None:
    outputs = {"results": None, "failed": failed, "invalid": None}
    assert f"groq-batch retry {name}<" in page_of(report(outputs=outputs))


@pytest.mark.parametrize(("failed", "is_offered"), [(0, False), (1, True)])
def test_retry_is_not_offered_for_invalid_lines_alone(failed: int, is_offered: bool) -> None:
    counts = {**report()["requests"], "succeeded": 9, "failed": failed, "invalid": 2}
    assert ("groq-batch retry" in text_of(report(requests=counts))) == is_offered


def test_tables_that_scroll_can_be_scrolled_by_keys() -> None:
    page = page_of(report(), facts())
    assert page.count('<div class="scroll" tabindex="0">') == page.count("<table>") == 2


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("running", "Nothing to do: the results arrive by themselves."),
        ("succeeded", "Every request was answered. Fetch the results."),
        ("rejected", "Nothing was sent, nothing was paid."),
        (
            "failed",
            "the cause and what to do are below. The answers received so far are in the results.",
        ),
        ("cancelled", "The job was stopped. The answers received so far are in the results."),
    ],
)
def test_what_to_do_next(status: str, said: str) -> None:
    assert said in text_of(report(status))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "Every request was answered. Fetch the results."),
        ({"invalid_output": 0}, "Every request was answered. Fetch the results."),
        (
            {"invalid_output": 12},
            "12 of the answers are not the requested JSON. Fetch the results.",
        ),
        (
            {"unchecked_output": 3},
            "answered. 3 could not be checked against their schema and count",
        ),
    ],
)
def test_answers_of_another_form_are_told(counts: dict[str, int], said: str) -> None:
    made = report("succeeded")
    made["requests"] |= counts
    assert said in text_of(made)


@pytest.mark.parametrize("status", ["running", "failed", "cancelled"])
def test_what_concerns_the_whole_job_stands_at_the_top(status: str) -> None:
    reason = {"line": None, "custom_id": None, "code": "spend_limit", "message": "Raise the limit."}
    text = text_of(report(status, errors=[reason, *report()["errors"]]))
    assert text.index("spend_limit Raise the limit.") < text.index("Requests")
    assert text.count("spend_limit") == 1
    if status == "running":
        assert "continues by itself" in text


def test_a_job_that_has_just_begun() -> None:
    nothing = {"total": 0, "succeeded": 0, "failed": 0, "invalid": 0}
    begun = report(
        "running",
        requests=nothing,
        progress={"completed": 0, "total": 0},
        batches=[],
        errors=[],
        errors_total=0,
        usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        cost_usd={"estimated": None, "actual": None},
    )
    text = text_of(begun)
    assert "The input is being checked. Nothing has been sent yet." in text
    assert "as of 25 Nov 2026, 06:00 UTC, after 4 h" in text
    assert "Timeline" not in text


def test_errors_are_counted_by_code_where_the_rows_were_counted() -> None:
    beside = facts()
    assert beside.failures is not None
    for line in range(1000, 1095):
        beside.failures.add("rate_limit", line, None)
    outline = text_of(report(), beside)
    assert "rate_limit96 Too many. line 17 row-17 row-18 and more" in outline
    assert "rate_limit_21 Too many. line 18" in outline


def test_summaries_of_an_older_version_leave_the_errors_to_the_report() -> None:
    old = ShardResult(attempt=1, number=1, succeeded=9, failed=2)
    beside = PageData.of(None, [old])
    assert beside.failures is None
    text = text_of(report(), beside)
    assert "rate_limit2 Too many." in text
    assert "The first 3 of 100 are counted here." in text
    assert "The answers" not in text


def test_a_later_attempt_settles_what_an_earlier_one_left() -> None:
    first = ShardResult(attempt=1, number=1, succeeded=1, failed=1)
    first.stats.failures.add("http_500", 2, "m")
    first.stats.prompt_tokens.add_all([10])
    second = ShardResult(attempt=2, number=1, succeeded=2)
    second.stats.prompt_tokens.add_all([30])
    beside = PageData.of(None, [first, second])
    assert beside.failures is not None
    assert beside.failures == {}
    assert beside.stats is not None
    assert (beside.stats.prompt_tokens.count, beside.stats.prompt_tokens.total) == (2, 40)


def answered(**models: ModelUsage) -> JobUsage:
    """Return the usage of batches, by model."""
    return JobUsage(batches=ModelUsages(models))


def test_prices_that_are_not_known_are_not_made_up() -> None:
    unknown = report(cost_usd={"estimated": None, "actual": None})
    text = text_of(unknown, PageData(usage=answered(other=ModelUsage(1, 5, 6))))
    assert "other56not knownnot known" in text
    assert "because the price of a model or the usage of an answer is not known" in text


def test_audio_is_told_by_its_length() -> None:
    usage = answered(**{"whisper-large-v3": ModelUsage(answers=12, billed_seconds=3600.0)})
    no_tokens = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    text = text_of(
        report(usage=no_tokens, cost_usd={"estimated": None, "actual": 0.0555}),
        PageData(usage=usage),
    )
    assert "whisper-large-v31 h of audio0$0.056$0.11" in text
    assert "Cost$0.056" in text
    both = text_of(report(), PageData(usage=answered(m=ModelUsage(2, 5, 6, 0, 60.0))))
    assert "m5 and 1 min of audio6" in both


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ({"source": "groq", "date": "2026-11-25"}, "Prices of Groq's list, 2026-11-25."),
        ({"source": "table", "date": "2026-10-01"}, "Prices of the table, 2026-10-01."),
    ],
)
def test_prices_are_told_with_their_source_and_day(prices: dict[str, str], words: str) -> None:
    assert words in text_of(report(prices=prices))


def test_a_report_of_an_older_version_says_nothing_of_its_prices() -> None:
    old = report()
    del old["prices"]
    assert "Prices of" not in text_of(old)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Models those of the account's list Cost cap none"),
        ({"check_models": False, "max_job_cost_usd": 2.5}, "Models any Cost cap $2.50"),
        (
            {"canary_requests": 1000, "canary_max_failed_percent": 20},
            "Canary 1,000 requests, of which 20 % may fail for good",
        ),
        (
            {"batch_deadline": "6h", "deadline_max_usd": 5.0},
            "Deadline 6h, then ordinary calls for at most $5.00",
        ),
        ({"retry_invalid_output": True}, "Answers that are not the requested JSON sent again"),
    ],
)
def test_options_are_told(options: dict[str, Any], words: str) -> None:
    sample = facts()
    assert sample.job is not None
    job = replace(sample.job, options=replace(sample.job.options, **options))
    assert words in text_of(report(), structs.replace(sample, job=job))


@pytest.mark.parametrize(
    ("status", "passed", "words"),
    [
        ("running", None, "The other 4,446 follow if they do well."),
        ("cancelled", None, "The job ended before the other 4,446 followed."),
        (
            "succeeded",
            True,
            (
                "The first 50 requests were sent alone. 2 failed for good; the other 4,446 were "
                "sent then. Their answers cost $0.020. At that rate all 4,496 cost $1.87. Half of "
                "the answered requests took 700 ms at most."
            ),
        ),
        ("partial", False, "2 failed for good; the other 4,446 were not sent."),
    ],
)
def test_canary_is_told_in_words(status: str, passed: bool | None, words: str) -> None:
    sample = facts()
    assert sample.job is not None
    verdict = CanaryVerdict(
        rest_attempt=2, requests=50, failed=2, passed=passed, cost_usd=0.02, milliseconds=700.0
    )
    beside = structs.replace(sample, job=replace(sample.job, verdict=verdict))
    canary = {"requests": 50, "failed": 2, "projected_cost_usd": 1.8733, "passed": passed}
    made = report(status, canary=canary)
    assert words in text_of(made, None if status == "running" else beside)
    assert "Canary" not in text_of(report(status))


@pytest.mark.parametrize("code", ["canary_failed", "deadline_passed"])
def test_job_that_a_rule_has_ended_has_its_reason_at_the_top(code: str) -> None:
    """A deadline may leave open what was sent."""
    ended = {"line": None, "custom_id": None, "code": code, "message": "None of the"}
    text = text_of(report("partial", errors=[ended]))
    assert "The cause and what to do are below." in text
    assert "was sent" not in text
    assert f"{code} None of the" in text
    # Requests that a canary has shown to be bad have to be corrected, not sent again.
    assert ("groq-batch retry" in text) == (code == "deadline_passed")


def test_calls_after_a_deadline_are_told_and_priced() -> None:
    calls = {"requests": 1200, "succeeded": 1198, "failed": 2, "cost_usd": 0.5}
    text = text_of(report("partial", on_demand=calls))
    assert "1,200 requests were sent as ordinary calls; 1,198 have an answer." in text
    assert "The answers cost $0.50, at the on-demand price." in text
    assert "Deliver: ordinary calls after the deadline, collecting and delivering" in text
    unknown = text_of(report("partial", on_demand={**calls, "cost_usd": None}))
    assert "The cost of the answers is not known." in unknown
    none = {"requests": 0, "succeeded": 0, "failed": 0, "cost_usd": 0.0}
    for without in (None, none):
        assert "After the deadline" not in text_of(report("partial", on_demand=without))


def test_only_what_was_asked_in_batches_has_saved_anything() -> None:
    calls = {"requests": 10, "succeeded": 10, "failed": 0, "cost_usd": 1.0}
    cost = {"estimated": 3.0, "actual": 3.0}
    assert "saved $3.00" in text_of(report("succeeded", cost_usd=cost))
    text = text_of(report("succeeded", cost_usd=cost, on_demand=calls))
    assert "saved $2.00" in text
    assert "$5.00 on demand" in text


def test_many_batches_share_rows() -> None:
    many = [batch(n, attempt=a) for a in (1, 2, 3) for n in range(1, 401)]
    page = page_of(report(batches=many))
    assert page.count('class="span') == 2 + 24
    assert "50 batches, 45,000 requests" in page
    assert "The first 200 of 1,200 batches" in page
    assert len(page) < 150_000


def test_batches_outside_of_the_job_stay_inside_of_the_drawing() -> None:
    odd = [
        batch(1, created_at="1970-01-01T00:00:00.000Z", ended_at="9999-12-31T23:59:59.000Z"),
        batch(2, created_at=None, ended_at=None),
        batch(3, created_at=moment(80), ended_at=moment(20)),
    ]
    for width in re.findall(
        r'class="span[^>]*x="([\d.]+)%"[^>]*width="([\d.]+)%"', page_of(report(batches=odd))
    ):
        assert float(width[0]) + float(width[1]) <= 100.001


@pytest.mark.parametrize(
    "values",
    [[0], [7], [1, 2, 3], [0, 100_000], [500, 501, 502], [1, 10**6], [0, 0, 1], list(range(64))],
)
def test_histograms_of_few_values(values: list[int]) -> None:
    found = Histogram()
    found.add_all(values)
    drawing = draw_histogram(found, "x", wording.short)
    assert drawing.count('class="column"') >= 1
    check_drawing(drawing)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_histograms_stay_inside_of_their_drawing(values: list[int]) -> None:
    found = Histogram()
    found.add_all(values)
    check_drawing(draw_histogram(found, "x", wording.short))


def check_drawing(drawing: str) -> None:
    for x, width in re.findall(r'x="([\d.-]+)%"[^>]*width="([\d.-]+)%"', drawing):
        assert 0 <= float(x) <= 100
        assert 0 < float(width) <= 100.001 - float(x)
    places = [float(x) for x in re.findall(r'class="label[^"]*" x="([\d.-]+)%"', drawing)]
    assert places == sorted(set(places))
    assert all(0 <= place <= 100 for place in places)
    assert 1 <= len(places) <= 6
    heights = [float(one) for one in re.findall(r'class="column"[^>]*height="([\d.]+)"', drawing)]
    assert max(heights) == 100


# What others wrote is text


def texts(*values: str) -> Callable[[], str]:
    endless = cycle(values)
    return lambda: next(endless)


ANY_TEXT = st.lists(st.text(st.characters(), max_size=30), min_size=1, max_size=20)


@pytest.mark.parametrize("status", STATUSES)
def test_hostile_texts_are_shown_and_change_nothing(status: str) -> None:
    plain = Outline(page_of(hostile_report(texts("x"), status), facts(texts("x"))))
    hostile = Outline(page_of(hostile_report(texts(*HOSTILE), status), facts(texts(*HOSTILE))))
    check_outline(hostile)
    assert hostile.tags == plain.tags
    for shown in HOSTILE[:7]:
        assert shown[:30] in hostile.text, shown


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(ANY_TEXT)
@example(["<script>", "</svg>", "</bdi>", '"', "'", "--><!--"])
def test_no_text_changes_the_page(values: list[str]) -> None:
    plain = Outline(page_of(hostile_report(texts("x")), facts(texts("x"))))
    made = Outline(page_of(hostile_report(texts(*values)), facts(texts(*values))))
    check_outline(made)
    assert made.tags == plain.tags


def check_outline(outline: Outline) -> None:
    assert {tag for tag, _ in outline.tags} <= TAGS
    names = {name for name, _ in outline.values}
    assert not any(name.startswith("on") for name in names)
    # Nothing names another place: the page needs nothing but itself.
    assert names.isdisjoint({"href", "src", "srcset", "style", "action", "xmlns", "xlink:href"})
    assert not any("url(" in value or "://" in value for _, value in outline.values)


def test_no_page_is_large_whatever_the_report_says() -> None:
    made = hostile_report(texts("🙂" * 10_000))
    made["batches"] *= 5000
    made["errors"] *= 30
    page = page_of(made, facts(texts("🙂" * 10_000)))
    assert len(page.encode()) < 2_000_000
    # A text that others chose takes room once or twice, not ten thousand characters each time.
    assert max(map(len, re.findall("(?:🙂)+", page))) <= 1100


def test_the_page_permits_its_own_style_and_nothing_else() -> None:
    page = page_of(report(), facts())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "<script" not in page
    assert "@import" not in style
    assert "url(" not in style


def test_controls_are_shown_as_what_they_are() -> None:
    assert wording.text("a\0b\x1b[31m\ud800\x85", most=20) == "a\ufffdb\ufffd[31m\ufffd\ufffd"
    assert wording.text("tab\tand\nline", most=20) == "tab\tand\nline"
    assert wording.text("x" * 50, most=10) == "x" * 9 + "…"
    assert wording.shortened_path("a" * 50 + "z" * 50, most=21) == "a" * 10 + "…" + "z" * 10


# Numbers and times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1k"),
        (1234, "1.23k"),
        (45_000, "45k"),
        (12_345_678, "12.3M"),
        (999_999, "1M"),
        (2.5e9, "2.5G"),
    ],
)
def test_short_numbers(value: float, expected: str) -> None:
    assert wording.short(value) == expected


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (None, "not known"),
        (0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.21, "$0.21"),
        (0.0123, "$0.012"),
        (0.00042, "$0.00042"),
        (0.00000031, "$0.00000031"),
    ],
)
def test_money(usd: float | None, expected: str) -> None:
    assert wording.money(usd) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.44, "0.4 s"),
        (35, "35 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (8064, "2 h 14 min"),
        (90_000, "1 d 1 h"),
        (7 * 86_400, "7 d"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert wording.duration(seconds) == expected


@pytest.mark.parametrize(
    ("part", "of", "expected"),
    [
        (0, 0, "0 %"),
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 100_000, "under 0.1 %"),
        (99_999, 100_000, "over 99.9 %"),
        (1, 3, "33.3 %"),
    ],
)
def test_percent(part: int, of: int, expected: str) -> None:
    assert wording.percent(part, of) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 bytes"), (999, "999 bytes"), (183_000_000, "183 MB")]
)
def test_sizes(count: int, expected: str) -> None:
    assert wording.size(count) == expected


def test_measures_without_answers_draw_nothing() -> None:
    assert "The answers" not in text_of(report(), PageData(stats=AnswerStats()))
