"""The project's Markdown files as tests read them: headings, links, blocks of code, commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from local.reference.blocks import markdown_files
from tests.patience import PATIENCE_SECONDS

PROJECT = Path(__file__).parents[1]

SHELLS = ("bash", "console")
USES = ("offline", "local", "aws", "elsewhere")
"""What a shell block says behind its language: run by a test here; run by a test on the emulated
stack; needs AWS; tried in another way, as for ``make demo``."""

_PUNCTUATION = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code.

    Attributes:
        file: Where it stands.
        line: Its first line, from 1.
        language: The first word behind the fence.
        use: The second one, if there is one.
        text: What is in it.
    """

    file: Path
    line: int
    language: str
    use: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.file.relative_to(PROJECT)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link or a picture."""

    file: Path
    target: str


def files() -> list[Path]:
    """Return every Markdown file of the project."""
    return list(markdown_files(PROJECT))


@cache
def _tokens(file: Path) -> tuple[Token, ...]:
    parser = MarkdownIt("commonmark").enable("table")
    return tuple(parser.parse(file.read_text(encoding="utf-8")))


def blocks(file: Path) -> Iterator[Block]:
    """Yield a file's blocks of code."""
    for token in _tokens(file):
        if token.type == "fence" and token.map is not None:
            language, _, use = token.info.strip().partition(" ")
            yield Block(file, token.map[0] + 1, language, use.strip(), token.content)


def run(
    script: str, folder: Path, environ: Mapping[str, str], *, stops_at_failure: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run commands in a folder, as a reader does."""
    return subprocess.run(
        ["bash", "-eu" if stops_at_failure else "-u"],
        input=script,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def anchors(file: Path) -> set[str]:
    """Return the anchors that GitHub gives a file's headings."""
    seen: dict[str, int] = {}
    found = set()
    tokens = _tokens(file)
    for place, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        children = tokens[place + 1].children or []
        text = "".join(child.content for child in children if child.type in ("text", "code_inline"))
        anchor = _PUNCTUATION.sub("", text.strip().lower()).replace(" ", "-")
        count = seen.get(anchor, 0)
        seen[anchor] = count + 1
        found.add(f"{anchor}-{count}" if count else anchor)
    return found


def links(file: Path) -> Iterator[Link]:
    """Yield where a file's links and pictures lead, those in HTML included."""
    for token in _tokens(file):
        for one in (token, *(token.children or [])):
            for name in ("href", "src"):
                target = one.attrs.get(name)
                if target is not None:
                    yield Link(file, str(target))
            if one.type in ("html_block", "html_inline"):
                yield from (Link(file, target) for target in _html_links(one.content))


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell block.

    Redirections, here-documents, comments and assignments are left out; so are the outputs in
    blocks that show a prompt (``$``).
    """
    for line in _lines(text):
        words: list[str] = []
        for word in [*_words(line), ";"]:
            if word and set(word) <= set("();<>|&"):
                if words:
                    yield words
                words = []
            elif words or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=.*", word, re.DOTALL):
                words.append(word)


def _words(line: str) -> list[str]:
    """Return the words of a command line; a quotation that is not closed is an error."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _lines(text: str) -> Iterator[str]:
    """Yield the command lines of a shell block, continued ones joined."""
    joined = text.replace("\\\n", " ")
    shows_prompts = any(line.startswith("$ ") for line in joined.splitlines())
    end = None
    begun = ""
    for line in joined.splitlines():
        if end is not None:
            end = None if line == end else end
            continue
        if shows_prompts and not begun and not line.startswith("$ "):
            continue
        here = re.search(r"<<'?([A-Z]+)'?", line)
        if here:
            end = here[1]
            continue
        begun = f"{begun}\n{line}" if begun else line.removeprefix("$ ")
        if _is_whole(begun):
            yield begun
            begun = ""
    if begun:
        yield begun


def _is_whole(line: str) -> bool:
    """Tell whether all quotations of a line are closed."""
    try:
        _words(line)
    except ValueError:
        return False
    return True


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value for name, value in attrs if name in ("href", "src", "srcset") and value
        ]


def _html_links(text: str) -> list[str]:
    parser = _Links()
    parser.feed(text)
    return parser.found
