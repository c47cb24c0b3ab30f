"""Plain lines in a pipe; colours and a changing line on a terminal."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

import pytest

from local.demo.console import Console


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


def on_terminal(environ: Mapping[str, str] | None = None) -> tuple[Console, Terminal]:
    stream = Terminal()
    return Console(stream, environ or {"TERM": "xterm"}), stream


def in_pipe() -> tuple[Console, Pipe]:
    stream = Pipe()
    return Console(stream, {"TERM": "xterm"}), stream


def test_pipe_gets_neither_colours_nor_control_characters() -> None:
    console, stream = in_pipe()
    with console.step("Building"):
        pass
    console.line(console.styled("done", "green"))
    console.error("no")
    console.progress("1 of 2", 3.0)
    console.news("sent", 4.0)
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()
    assert stream.getvalue() == (
        "Building ... 0.0 s\ndone\n\nError: no\n     3 s  1 of 2\n     4 s  sent\n"
    )


def test_pipe_gets_progress_when_it_changes_and_not_too_often() -> None:
    console, stream = in_pipe()
    for text, seconds in [("a", 3.0), ("a", 9.0), ("b", 10.0), ("c", 11.0), ("d", 13.0)]:
        console.progress(text, seconds)
    assert stream.getvalue().split() == ["3", "s", "a", "10", "s", "b", "13", "s", "d"]


def test_terminal_shows_progress_in_one_line_that_news_replace() -> None:
    console, stream = on_terminal({"TERM": "xterm", "NO_COLOR": "1"})
    console.progress("1 of 2", 1.0)
    console.progress("2 of 2", 2.0)
    console.news("done", 3.0)
    console.line("end")
    erase = "\r\x1b[K"
    assert stream.getvalue() == (
        f"{erase}     1 s  1 of 2{erase}     2 s  2 of 2{erase}     3 s  done\nend\n"
    )


def test_progress_never_takes_more_than_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    console, stream = on_terminal({"TERM": "xterm", "NO_COLOR": "1"})
    console.progress("x" * 100, 1.0)
    assert len(stream.getvalue().removeprefix("\r\x1b[K")) == 29


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm"}, "\x1b[1;32mok\x1b[0m"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "ok"),
        ({"TERM": "xterm", "NO_COLOR": ""}, "\x1b[1;32mok\x1b[0m"),
        ({"TERM": "dumb"}, "ok"),
    ],
)
def test_colours_of_a_terminal(environ: dict[str, str], expected: str) -> None:
    console, _ = on_terminal(environ)
    assert console.styled("ok", "green") == expected


def test_step_on_a_terminal_leaves_its_last_line_alone() -> None:
    console, stream = on_terminal({"TERM": "xterm", "NO_COLOR": "1"})
    with console.step("Building"):
        pass
    console.line("next")
    assert stream.getvalue().split("\r\x1b[K")[-1] == "✓ Building 0.0 s\nnext\n"


def test_step_that_fails_is_not_ticked_off() -> None:
    for console, stream in (on_terminal(), in_pipe()):
        with pytest.raises(RuntimeError), console.step("Building"):
            raise RuntimeError
        assert "✓" not in stream.getvalue()
        assert "0.0 s" not in stream.getvalue()


def test_terminal_without_unicode() -> None:
    stream = Terminal()
    stream.encoding = "ascii"  # type: ignore[misc]
    console = Console(stream, {"TERM": "xterm"})
    assert not console.speaks_unicode
    with console.step("Building"):
        pass
    assert stream.getvalue().isascii()


def test_reader_that_goes_away_interrupts_once() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        console = Console(stream, {})
        with pytest.raises(KeyboardInterrupt):
            console.line("hello")
        console.line("is anybody there?")
