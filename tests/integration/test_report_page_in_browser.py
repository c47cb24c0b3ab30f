"""The page of a report in a real browser: nothing runs, nothing is asked for, nothing overflows.

Skipped where there is no Chromium (``apt-get install chromium``, or its path in ``CHROMIUM``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from groq_batch.reports.page.data import PageData
from groq_batch.reports.page.index_rendering import render_index
from groq_batch.reports.page.index_view import index_view
from groq_batch.reports.page.rendering import render
from local.browser import Page, find_browser, open_page
from tests.index_samples import NOW, everyday_sums, running_job
from tests.report_samples import AS_OF, HOSTILE, batch, facts, hostile_report, report

BROWSER = find_browser()
STATUSES = ("running", "succeeded", "partial", "rejected", "failed", "cancelled")
SIZES = (390, 1280)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    assert BROWSER is not None
    with open_page(BROWSER) as opened:
        yield opened


@pytest.fixture
def opened(page: Page, tmp_path: Path) -> Callable[[str], Page]:
    def open_it(text: str) -> Page:
        page.complaints.clear()
        page.requests.clear()
        file = tmp_path / "report.html"
        file.write_bytes(text.encode("utf-8", "replace"))
        page.open(file.as_uri())
        assert page.requests == [file.as_uri()], "the page asks for something"
        return page

    return open_it


def made(status: str, text: str | None = None) -> str:
    key = "reports/team/requests.jsonl.json"
    if text is None:
        beside = facts() if status != "running" else PageData()
        return render(report(status), beside, report_key=key, as_of=AS_OF)

    def always() -> str:
        return text

    return render(hostile_report(always, status), facts(always), report_key=key, as_of=AS_OF)


def check_layout(page: Page, width: int) -> None:
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing is cut off at the right either but what scrolls or is cut on purpose.
    outside = page.evaluate(
        """
        [...document.querySelectorAll("body *")].filter(element => {
          if (element.closest(".scroll, .chart, bdi, code, summary")) return false;
          return element.getBoundingClientRect().right > innerWidth + 0.5;
        }).map(element => element.tagName + "." + element.className).slice(0, 5)
        """
    )
    assert outside == []


SCREENS = [
    *(("partial", width, dark) for width in SIZES for dark in (False, True)),
    *((status, 390, True) for status in STATUSES if status != "partial"),
    *((status, 1280, False) for status in STATUSES if status != "partial"),
]


@pytest.mark.parametrize(("status", "width", "dark"), SCREENS)
def test_every_end_fits_every_screen(
    opened: Callable[[str], Page], page: Page, status: str, width: int, dark: bool
) -> None:
    page.show(width, dark=dark)
    shown = opened(made(status))
    check_layout(shown, width)
    assert shown.complaints == []
    background = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(background) == ("rgb(13, 16, 21)" if dark else "rgb(245, 246, 248)")
    # The policy lets the page's own style in.
    assert shown.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"


@pytest.mark.parametrize("width", SIZES)
def test_many_batches_fit(opened: Callable[[str], Page], page: Page, width: int) -> None:
    many = [batch(n, attempt=a) for a in (1, 2) for n in range(1, 501)]
    page.show(width, dark=False)
    key = "reports/team/requests.jsonl.json"
    check_layout(opened(render(report(batches=many), facts(), report_key=key, as_of=AS_OF)), width)


def test_it_is_readable(opened: Callable[[str], Page], page: Page) -> None:
    """Texts stand out from what is behind them as WCAG 2 asks for (AA: 4.5 to 1)."""
    for dark in (False, True):
        for status in STATUSES:
            page.show(390, dark=dark)
            faint = opened(made(status)).evaluate(CONTRAST)
            assert faint == [], (status, dark)


CONTRAST = """
(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const over = (below, color) => {
    canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
    return `rgb(${r}, ${g}, ${b})`;
  };
  const behind = element => element === null ? "rgb(255, 255, 255)"
    : over(behind(element.parentElement), getComputedStyle(element).backgroundColor);
  const light = color => {
    const [r, g, b] = color.match(/[0-9]+/g).map(n => n / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walk.nextNode();) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("title")) continue;
    const style = getComputedStyle(element), below = behind(element.closest("svg") || element);
    const ink = over(below, element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${node.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return faint;
})()
"""


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_texts_run_nothing(opened: Callable[[str], Page], page: Page, number: int) -> None:
    for width, status in zip(SIZES, cycle(["partial", "failed"]), strict=False):
        page.show(width, dark=False)
        shown = opened(made(status, HOSTILE[number]))
        assert shown.complaints == []
        assert shown.evaluate("document.title").startswith(("Partial: ", "Failed: "))
        assert shown.evaluate("document.scripts.length + document.images.length") == 0
        start = HOSTILE[number][:20].split("\0")[0].split("\n")[0]
        assert start in shown.evaluate("document.body.textContent")
        check_layout(shown, width)


def test_writing_from_right_to_left_turns_nothing_else_round(
    opened: Callable[[str], Page], page: Page
) -> None:
    def written() -> str:
        return "\u202e\u05e9\u05dc\u05d5\u05dd"

    page.show(1280, dark=False)
    shown = opened(
        render(hostile_report(written), PageData(), report_key="reports/x.json", as_of=AS_OF)
    )
    turned = shown.evaluate(
        """
        (() => {
          const item = [...document.querySelectorAll(".examples li")]
            .find(one => one.textContent.startsWith("line"));
          const code = item.querySelector("code").getBoundingClientRect();
          const range = document.createRange();
          range.selectNodeContents(item.firstChild);
          return range.getBoundingClientRect().left > code.left;
        })()
        """
    )
    assert turned is False


def test_a_script_would_be_noticed(opened: Callable[[str], Page], page: Page) -> None:
    """The tests above can fail: the policy stops a script that is there, and that is told."""
    page.show(1280, dark=False)
    broken = made("partial").replace("</main>", "<script>document.title='pwned'</script></main>")
    shown = opened(broken)
    assert any("Content Security Policy" in one for one in shown.complaints)
    assert shown.evaluate("document.title").startswith("Partial")


def test_table_that_is_wider_than_the_screen_shows_that_it_scrolls(
    opened: Callable[[str], Page], page: Page
) -> None:
    """Shadows stay at the edges; what covers them moves with the table's ends."""
    for width, overflows in ((390, True), (1280, False)):
        page.show(width, dark=False)
        shown = opened(made("partial"))
        scrolls = "(e => e.scrollWidth > e.clientWidth)(document.querySelector('.scroll'))"
        assert shown.evaluate(scrolls) is overflows
        layers = shown.evaluate(
            "getComputedStyle(document.querySelector('.scroll')).backgroundAttachment"
        )
        assert layers == "local, local, scroll, scroll"


# The index of all jobs


def index(text: str | None = None) -> str:
    def named(number: int) -> str:
        return f"{text}/{number}{text}"

    sums = everyday_sums(name=None if text is None else named)
    keys = ("", "") if text is None else (f"input/{text}/{text}", f"input/{text}")
    running = [running_job(number, key=key) for number, key in enumerate(keys)]
    return render_index(index_view(sums, running, running_total=1234, as_of=NOW))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", SIZES)
def test_index_fits_every_screen(
    opened: Callable[[str], Page], page: Page, width: int, dark: bool
) -> None:
    page.show(width, dark=dark)
    shown = opened(index())
    check_layout(shown, width)
    assert shown.complaints == []
    background = "getComputedStyle(document.body).backgroundColor"
    assert shown.evaluate(background) == ("rgb(13, 16, 21)" if dark else "rgb(245, 246, 248)")
    assert shown.evaluate("document.querySelectorAll('.columns rect').length") > 30
    assert shown.evaluate("document.querySelectorAll('progress').length") == 2
    assert shown.evaluate(CONTRAST) == []


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_index_of_hostile_names_runs_nothing(
    opened: Callable[[str], Page], page: Page, number: int
) -> None:
    for width, dark in ((390, True), (1280, False)):
        page.show(width, dark=dark)
        shown = opened(index(HOSTILE[number]))
        assert shown.complaints == []
        assert shown.evaluate("document.title") == "1,234 running, 200 ended"
        assert shown.evaluate("document.scripts.length + document.images.length") == 0
        start = HOSTILE[number][:12].split("\0")[0].split("\n")[0]
        assert start in shown.evaluate("document.body.textContent")
        check_layout(shown, width)
