"""Records the output of a command in a terminal as an animated picture."""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

COLUMNS = 106
_LINES = 24
_CHARACTER_WIDTH = 8.4
_LINE_HEIGHT = 20
_MARGIN = 22
_TOP = 52
_LAST_SECONDS = 6.0
_LONGEST_SECONDS = 120.0
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")
_STYLES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}


class RecordingError(Exception):
    """The command did not produce the expected output."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The content of the screen from a point in time; each line is text with styles in brackets."""

    at: float
    lines: tuple[tuple[tuple[str, str], ...], ...]


class Screen:
    """As much of a terminal as the command line uses: colours, and lines that are written over."""

    def __init__(self) -> None:
        self._lines: list[list[tuple[str, str]]] = [[]]
        self._row = 0
        self._column = 0
        self._style = ""

    def feed(self, text: str) -> None:
        """Take what a program has written."""
        position = 0
        while position < len(text):
            match = _SEQUENCE.match(text, position)
            if match:
                self._control(match[1], match[2])
                position = match.end()
                continue
            self._put(text[position])
            position += 1

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "A":
            self._row = max(self._row - int(numbers or "1"), 0)
        elif letter == "K":
            del self._lines[self._row][self._column :]
        elif letter == "m":
            self._style = _STYLES.get(numbers, "")

    def _put(self, character: str) -> None:
        if character == "\n":
            self._row += 1
            if self._row == len(self._lines):
                self._lines.append([])
        elif character == "\r":
            self._column = 0
        else:
            line = self._lines[self._row]
            line.extend([(" ", "")] * (self._column - len(line)))
            line[self._column : self._column + 1] = [(character, self._style)]
            self._column += 1

    def shown(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Return the lines as runs of one style."""
        return tuple(tuple(_runs(line)) for line in self._lines)


def _runs(line: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    runs: list[tuple[str, str]] = []
    for character, style in line:
        if runs and runs[-1][1] == style:
            runs[-1] = (runs[-1][0] + character, style)
        else:
            runs.append((character, style))
    return runs


def record(
    command: Sequence[str], *, shown_as: str, cwd: Path, environ: Mapping[str, str]
) -> list[Frame]:
    """Run a command in its own terminal and return the recording.

    Args:
        command: The command.
        shown_as: How a user would have typed it.
        cwd: Its folder.
        environ: Its environment.

    Raises:
        RecordingError: It has not ended in time.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, COLUMNS, 0, 0))
    screen = Screen()
    screen.feed(f"\x1b[2m$\x1b[0m \x1b[1m{shown_as}\x1b[0m\r\n")
    frames = [Frame(0.0, screen.shown())]
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=dict(environ), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    pending = b""
    try:
        while True:
            passed = time.monotonic() - begun
            if passed > _LONGEST_SECONDS:
                raise RecordingError(f"{shown_as} runs for more than {_LONGEST_SECONDS:.0f} s")
            if not select.select([ours], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(ours, 65_536)
            except OSError:  # Linux says so when the program has closed its side.
                data = b""
            if not data:
                break
            pending += data
            text = pending.decode("utf-8", "ignore")
            pending = b""
            screen.feed(text)
            frames.append(Frame(passed, screen.shown()))
        process.wait(_LONGEST_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(ours)
    return frames


def played(frames: Sequence[Frame], *, seconds: float, every: float) -> list[Frame]:
    """Return the frames, sped up if necessary so that they take at most ``seconds``.

    Args:
        frames: What was recorded.
        seconds: How long it may take; a longer recording is played faster.
        every: Frames that are seen for less than this many seconds are left out.
    """
    pace = max(frames[-1].at / seconds, 1.0)
    changed = [
        frame
        for number, frame in enumerate(frames)
        if not number or frame.lines != frames[number - 1].lines
    ]
    kept = [one for one, following in pairwise(changed) if following.at - one.at >= every * pace]
    return [Frame(frame.at / pace, frame.lines) for frame in (*kept, changed[-1])]


def picture(frames: Sequence[Frame], *, title: str) -> str:
    """Return the frames as an animated SVG that shows the last one if animation is off."""
    width = round(2 * _MARGIN + COLUMNS * _CHARACTER_WIDTH)
    height = _TOP + max(len(frame.lines) for frame in frames) * _LINE_HEIGHT + _MARGIN // 2
    whole = frames[-1].at + _LAST_SECONDS
    rules, groups = [], []
    for index, frame in enumerate(frames):
        start = 100 * frame.at / whole
        following = frames[index + 1].at if index + 1 < len(frames) else whole
        end = 100 * following / whole
        is_last = index + 1 == len(frames)
        rules.append(
            f"@keyframes f{index}{{0%,{max(start - 0.001, 0):.3f}%{{opacity:0}}"
            f"{start:.3f}%,{end - 0.002:.3f}%{{opacity:1}}"
            + ("100%{opacity:1}}" if is_last else f"{end:.3f}%,100%{{opacity:0}}}}")
            if index
            else f"@keyframes f0{{0%,{end - 0.002:.3f}%{{opacity:1}}{end:.3f}%,100%{{opacity:0}}}}"
        )
        rules.append(f"#f{index}{{animation:f{index} {whole:.2f}s step-end infinite}}")
        lines = "".join(
            _line(line, _TOP + 14 + number * _LINE_HEIGHT)
            for number, line in enumerate(frame.lines)
            if line
        )
        hidden = "" if is_last else ' opacity="0"'
        groups.append(f'<g id="f{index}"{hidden}>{lines}</g>')
    style = _STYLE + "".join(rules)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{html.escape(title)}</title><style>{style}</style>"
        f'<rect class="back" width="{width}" height="{height}" rx="10"/>'
        '<circle cx="24" cy="22" r="6" fill="#ff5f57"/>'
        '<circle cx="44" cy="22" r="6" fill="#febc2e"/>'
        '<circle cx="64" cy="22" r="6" fill="#28c840"/>' + "".join(groups) + "</svg>\n"
    )


def _line(runs: Sequence[tuple[str, str]], y: float) -> str:
    parts, column = [], 0
    for text, style in runs:
        if text.strip():
            x = _MARGIN + column * _CHARACTER_WIDTH
            length = len(text) * _CHARACTER_WIDTH
            kind = f' class="{style}"' if style else ""
            parts.append(
                f'<tspan x="{x:.1f}" textLength="{length:.1f}"{kind}>{html.escape(text)}</tspan>'
            )
        column += len(text)
    return f'<text y="{y:.0f}" xml:space="preserve">{"".join(parts)}</text>'


_STYLE = (
    ".back{fill:#12161c;stroke:#2b323d}"
    "text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
    "fill:#d7dde6;white-space:pre}"
    ".bold{font-weight:700;fill:#fff}.dim{fill:#7d8896}.red{fill:#ff7b84}.green{fill:#52d39a}"
    ".yellow{fill:#f0bd62}.cyan{fill:#63c8e6}"
    "@media (prefers-reduced-motion:reduce){g{animation:none!important}}"
)
