"""Generated blocks in Markdown files.

A block stands between two comments, which no reader sees::

    <!-- generated: parameters -->
    …
    <!-- end of parameters -->

What is around it is written by hand; what is in it comes from the code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

Meaning = TypeVar("Meaning")

_BEGIN = re.compile(r"^<!-- generated: (?P<name>\S+) -->$")
_HIDDEN_FOLDERS = frozenset({"node_modules", "demo-output"})


class BlockError(Exception):
    """A block has no end or no known name."""


class UndescribedError(BlockError):
    """The code has something that the documentation is to explain, and nobody has."""


def described(meanings: Mapping[str, Meaning], name: str, place: str) -> Meaning:
    """Return what is written down about a name.

    Args:
        meanings: What is written down.
        name: The name, as the code has it.
        place: Where it is written down, for whoever has to.

    Raises:
        UndescribedError: Nothing is written down about it.
    """
    if name not in meanings:
        raise UndescribedError(f"Nothing says what {name} is. Describe it in {place}.")
    return meanings[name]


def fill(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """Return a Markdown text with its blocks written anew.

    Args:
        text: The file's text.
        contents: What writes each block, by the block's name.

    Raises:
        BlockError: A block is not closed, or nothing writes it.
    """
    lines = iter(text.splitlines(keepends=True))
    written: list[str] = []
    for line in lines:
        written.append(line)
        begin = _BEGIN.match(line.rstrip("\n"))
        if begin is None:
            continue
        name = begin["name"]
        if name not in contents:
            raise BlockError(
                f"Nothing writes the block {name}. Known are: {', '.join(sorted(contents))}."
            )
        _skip_to_end(lines, name)
        written.append(f"\n{contents[name]().strip()}\n\n{_end(name)}\n")
    return "".join(written)


def block_names(text: str) -> list[str]:
    """Return the names of the blocks in a Markdown text."""
    found = (_BEGIN.match(line) for line in text.splitlines())
    return [begin["name"] for begin in found if begin is not None]


def markdown_files(root: Path) -> Iterator[Path]:
    """Yield the Markdown files of the project, sorted, but not those of installed tools."""
    for path in sorted(root.rglob("*.md")):
        folders = path.relative_to(root).parts[:-1]
        if not any(name.startswith(".") or name in _HIDDEN_FOLDERS for name in folders):
            yield path


def _end(name: str) -> str:
    return f"<!-- end of {name} -->"


def _skip_to_end(lines: Iterator[str], name: str) -> None:
    for line in lines:
        if line.rstrip("\n") == _end(name):
            return
        if _BEGIN.match(line.rstrip("\n")):
            break
    raise BlockError(f"The block {name} has no end. Close it with {_end(name)}")
