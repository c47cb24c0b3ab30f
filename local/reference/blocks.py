"""Generated blocks in Markdown files.

A block is enclosed in two comments, which are not rendered::

    <!-- generated: parameters -->
    …
    <!-- end of parameters -->

The text around it is written by hand; its content comes from the code.
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
    """The code has an item without a description for the documentation."""


def described(meanings: Mapping[str, Meaning], name: str, place: str) -> Meaning:
    """Return the description of a name.

    Args:
        meanings: The descriptions by name.
        name: The name in the code.
        place: Where the descriptions are, for the error message.

    Raises:
        UndescribedError: The name has no description.
    """
    if name not in meanings:
        raise UndescribedError(f"{name} has no description. Describe it in {place}.")
    return meanings[name]


def fill(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """Return a Markdown text with updated blocks.

    Args:
        text: The file's text.
        contents: The function that writes each block, by the block's name.

    Raises:
        BlockError: A block is not closed, or has no function.
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
    """Yield the project's Markdown files, sorted, without those of installed tools."""
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
