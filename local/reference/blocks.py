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

_BEGIN = re.compile(r"^<!-- generated: (\S+) -->$", re.MULTILINE)
_BLOCK = re.compile(rf"{_BEGIN.pattern}(.*?)^<!-- end of \1 -->$", re.MULTILINE | re.DOTALL)
_HIDDEN_FOLDERS = frozenset({"node_modules", "demo-output"})


class BlockError(Exception):
    """A block has no end or no known name, or the code lacks a description that it needs."""


def fill(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """Return a Markdown text with updated blocks.

    Args:
        text: The file's text.
        contents: The function that writes each block, by the block's name.

    Raises:
        BlockError: A block is not closed, or has no function.
    """
    names = block_names(text)
    unknown = set(names) - set(contents)
    if unknown:
        raise BlockError(
            f"Nothing writes the block {min(unknown)}. Known are: {', '.join(sorted(contents))}."
        )
    closed = [name for name, content in _BLOCK.findall(text) if not _BEGIN.search(content)]
    for name in names:
        if closed.count(name) < names.count(name):
            raise BlockError(f"The block {name} has no end. Close it with <!-- end of {name} -->")

    def written(block: re.Match[str]) -> str:
        name = block[1]
        return f"<!-- generated: {name} -->\n\n{contents[name]().strip()}\n\n<!-- end of {name} -->"

    return _BLOCK.sub(written, text)


def block_names(text: str) -> list[str]:
    """Return the names of the blocks in a Markdown text."""
    return _BEGIN.findall(text)


def markdown_files(root: Path) -> Iterator[Path]:
    """Yield the project's Markdown files, sorted, without those of installed tools."""
    for path in sorted(root.rglob("*.md")):
        folders = path.relative_to(root).parts[:-1]
        if not any(name.startswith(".") or name in _HIDDEN_FOLDERS for name in folders):
            yield path
