"""The pictures of the documents: what a terminal showed, and files that can be shown."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from local.pictures.recording import Frame, Screen, picture, played, record

PICTURES = Path(__file__).parents[3] / "docs" / "pictures"


def text_of(frame: Frame) -> list[str]:
    return ["".join(text for text, _ in line) for line in frame.lines]


def frames(*texts: str) -> list[Frame]:
    screen, made = Screen(), []
    for number, text in enumerate(texts):
        screen.feed(text)
        made.append(Frame(float(number), screen.shown()))
    return made


def test_lines_are_written_over() -> None:
    *_, last = frames("one\r\ntwo\r\nthree", "\r\x1b[K\x1b[A\x1b[K", "\x1b[32mnew\x1b[0m line\r\n")
    assert text_of(last) == ["one", "new line", ""]
    assert last.lines[1] == (("new", "green"), (" line", ""))


def test_a_long_recording_is_played_faster() -> None:
    made = frames("a", "b", "", "c", "d")
    quick = played(made, seconds=1.0, every=0.0)
    assert [text_of(frame) for frame in quick] == [["a"], ["ab"], ["abc"], ["abcd"]]
    assert [frame.at for frame in quick] == [0.0, 0.25, 0.75, 1.0]
    assert [frame.at for frame in played(made, seconds=60, every=1.5)] == [1.0, 4.0]


def test_a_picture_needs_nothing_but_itself() -> None:
    drawing = picture(frames("$ x <&> 'ü'", "\r\n█░"), title="a < b")
    root = ET.fromstring(drawing)
    assert "$ x <&> 'ü'" in "".join(root.itertext())
    assert set(re.findall(r"https?://[^\"]+", drawing)) == {"http://www.w3.org/2000/svg"}
    assert "<script" not in drawing


def test_a_command_has_a_terminal_while_it_is_recorded(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stderr.isatty(), os.get_terminal_size().columns)"
    *_, last = record([sys.executable, "-c", code], shown_as="it", cwd=tmp_path, environ={})
    assert text_of(last) == ["$ it", "True 106", ""]


@pytest.mark.parametrize("name", ["run.svg", "flow.svg"])
def test_drawings_are_whole(name: str) -> None:
    ET.parse(PICTURES / name)


@pytest.mark.parametrize("name", ["report.png", "report-dark.png", "run.svg", "flow.svg"])
def test_pictures_are_there_and_small(name: str) -> None:
    assert 1000 < (PICTURES / name).stat().st_size < 400_000
