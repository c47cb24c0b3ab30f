"""Settings from a .env file, as a shell would take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.demo.dotenv import parse_dotenv, read_dotenv
from local.demo.errors import DemoError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=gsk_1", "gsk_1"),
        ("  KEY = gsk_1  ", "gsk_1"),
        ("export KEY=gsk_1", "gsk_1"),
        ("KEY='gsk_1'", "gsk_1"),
        ('KEY="gsk_1" # the team\'s', "gsk_1"),
        ("KEY=gsk_1 # mine", "gsk_1"),
        ("KEY=gsk#1", "gsk#1"),
        ("KEY='a # b'", "a # b"),
        ("KEY=a=b", "a=b"),
        ("KEY=", ""),
        ("KEY=# nothing", ""),
        ('KEY=""', ""),
        ('KEY="open', '"open'),
        ("\ufeffKEY=gsk_1", "gsk_1"),
        ("KEY=$HOME", "$HOME"),
    ],
)
def test_value_of_a_line(line: str, value: str) -> None:
    assert parse_dotenv(line) == {"KEY": value}


def test_other_lines_are_left_out_and_the_last_value_counts() -> None:
    text = "# a comment\r\n\r\nA=1\r\nnot a setting\r\n2B=3\r\nA=2\r\nC=4\r\n"
    assert parse_dotenv(text) == {"A": "2", "C": "4"}


def test_file_that_does_not_exist_has_no_settings(tmp_path: Path) -> None:
    assert read_dotenv(tmp_path / ".env") == {}


def test_file_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GROQ_API_KEY=gsk_ü\n", encoding="utf-8")
    assert read_dotenv(tmp_path / ".env") == {"GROQ_API_KEY": "gsk_ü"}


def test_file_that_is_not_text_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"GROQ_API_KEY=\xff\xfe")
    with pytest.raises(DemoError, match="not text in UTF-8"):
        read_dotenv(tmp_path / ".env")


def test_folder_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(DemoError, match="cannot be read"):
        read_dotenv(tmp_path / ".env")
