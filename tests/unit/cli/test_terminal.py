"""What is written where: plain text in a pipe, colours and lines that change on a terminal."""

from __future__ import annotations

import io

import pytest

from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned


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


def test_columns_are_aligned() -> None:
    rows = [("name", "n"), ("日本", "10"), ("abc", "200")]
    assert aligned(rows, right=frozenset({1})) == ["name    n", "日本   10", "abc   200"]
    assert aligned([]) == []
