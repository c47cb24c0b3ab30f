"""What is written where: plain text in a pipe, colours and lines that change on a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_client import text


class Tty(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


def on_terminal(**environ: str) -> tuple[Terminal, Tty, Tty]:
    out, err = Tty(), Tty()
    return Terminal(out, err, {"TERM": "xterm", **environ}), out, err


def in_pipe() -> tuple[Terminal, Pipe, Pipe]:
    out, err = Pipe(), Pipe()
    return Terminal(out, err, {"TERM": "xterm"}), out, err


def test_results_go_to_standard_output_and_the_rest_to_standard_error() -> None:
    terminal, out, err = in_pipe()
    terminal.print("result")
    terminal.note("note")
    terminal.error("wrong")
    terminal.warn("odd")
    assert out.getvalue() == "result\n"
    assert err.getvalue() == "note\nError: wrong\nWarning: odd\n"


def test_pipe_gets_neither_colours_nor_lines_that_change() -> None:
    terminal, out, err = in_pipe()
    terminal.print(terminal.styled("fine", "green"))
    terminal.note(terminal.noted("odd", "yellow"))
    terminal.live(["1 of 2"])
    terminal.clear()
    assert (out.getvalue(), err.getvalue()) == ("fine\n", "odd\n")
    assert terminal.width is None


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colours(environ: dict[str, str]) -> None:
    terminal, _, _ = on_terminal(**environ)
    assert terminal.styled("x", "red") == terminal.noted("x", "red") == "x"


def test_terminal_has_colours() -> None:
    terminal, _, _ = on_terminal()
    assert terminal.styled("x", "red") == "\x1b[31mx\x1b[0m"


def test_dumb_terminal_has_no_lines_that_change() -> None:
    terminal, _, err = on_terminal(TERM="dumb")
    terminal.live(["1 of 2"])
    assert err.getvalue() == ""


def test_lines_that_change_are_erased_before_anything_else_is_written() -> None:
    terminal, out, err = on_terminal()
    terminal.live(["one", "two", "three"])
    terminal.live(["four"])
    terminal.print("result")
    terminal.note("note")
    three_lines = "\r\x1b[K" + "\x1b[A\x1b[K" * 2
    assert err.getvalue() == f"one\ntwo\nthree{three_lines}four\r\x1b[Knote\n"
    assert out.getvalue() == "result\n"


def test_bar_is_filled_as_far_as_things_are_done() -> None:
    terminal, _, _ = on_terminal()
    assert terminal.bar(0, 0) == terminal.bar(0, 9) == "░" * 16
    assert terminal.bar(5, 10) == "█" * 8 + "░" * 8
    assert terminal.bar(11, 10) == "█" * 16


def test_bar_of_a_terminal_without_unicode() -> None:
    stream = Tty()
    stream.encoding = "ascii"  # type: ignore[misc]
    assert Terminal(stream, stream, {}).bar(1, 2) == "#" * 8 + "." * 8


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_progress_of_bytes_is_shown_after_a_moment_and_removed_at_the_end() -> None:
    terminal, _, err = on_terminal()
    clock = Clock()
    with ByteProgress(terminal, "Uploading a.jsonl", 4_000_000, clock) as progress:
        clock.now += 0.2
        progress.add(500_000)
        assert err.getvalue() == ""
        clock.now += 0.8
        progress.add(500_000)
    assert err.getvalue() == (
        "Uploading a.jsonl  ████░░░░░░░░░░░░  25 %  1.0 MB of 4.0 MB, 1.0 MB/s, 3 s left\r\x1b[K"
    )


def test_progress_of_an_unknown_number_of_bytes() -> None:
    terminal, _, _ = on_terminal()
    progress = ByteProgress(terminal, "Checking <stdin>", None, Clock())
    progress.add(3_000)
    assert progress.line(2.0) == "Checking <stdin>  3.0 kB, 1.5 kB/s"


def test_progress_that_has_not_begun_has_no_end() -> None:
    terminal, _, _ = on_terminal()
    assert ByteProgress(terminal, "x", 10, Clock()).line(0.0).endswith("0 B of 10 B, 0 B/s")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (86_400 * 3 + 7300, "3 d 2 h"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (59, "59 s"), (61, "1 min"), (7199, "1 h"), (86_400 * 12, "12 d")],
)
def test_age(seconds: float, expected: str) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert text.age(now - timedelta(seconds=seconds), now) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, "not known"),
        (0, "$0"),
        (0.0000004, "<$0.000001"),
        (0.0000123, "$0.000012"),
        (0.0123, "$0.0123"),
        (1234.567, "$1,234.57"),
    ],
)
def test_dollars(amount: float | None, expected: str) -> None:
    assert text.dollars(amount) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_400_000, "3.4 MB"), (2e13, "20.0 TB")],
)
def test_size(number: float, expected: str) -> None:
    assert text.size(number) == expected


def test_share_is_whole_only_when_everything_is_done() -> None:
    assert text.share(999, 1000) == "99 %"
    assert text.share(1000, 1000) == "100 %"
    assert text.share(0, 0) == "0 %"


def test_names_beyond_the_first_are_counted() -> None:
    assert text.listed(["a", "b"], 2) == "a, b"
    assert text.listed(["a", "b", "c"], 2) == "a, b and 1 more"


@pytest.mark.parametrize(
    "evil", ["\x1b[31m", "a\nb", "a\u2028b", "\u202eabc", "\x9b31m", "\r", "\ud800"]
)
def test_text_of_others_cannot_steer_the_terminal(evil: str) -> None:
    for shown in (text.printable(evil), text.one_line(evil)):
        assert all(one == " " or one.isprintable() for one in shown)
    assert len(text.printable(evil)) == len(evil)


def test_text_is_cut_by_columns() -> None:
    assert text.shorten("日本語", 6) == "日本語"
    assert text.shorten("日本語", 5) == "日本…"
    assert text.columns("e\u0301日") == 3


def test_columns_are_aligned() -> None:
    rows = [("name", "n"), ("日本", "10"), ("abc", "200")]
    assert aligned(rows, right=frozenset({1})) == ["name    n", "日本   10", "abc   200"]
    assert aligned([]) == []
