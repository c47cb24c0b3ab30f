"""Read the sections of docstrings in Google's style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from local.reference.blocks import BlockError

_SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Examples")
_ENTRY = re.compile(r"(\w+): (.+)", re.DOTALL)


def documentation(member: Any) -> str:
    """Return the docstring of a class, a method or a property.

    Raises:
        BlockError: It has none.
    """
    found = inspect.getdoc(member)
    if not found:
        raise BlockError(f"{member} has no docstring.")
    return found


def sections(member: Any) -> dict[str, str]:
    """Return the sections of a docstring by title; the text before the first has an empty title."""
    parts: dict[str, list[str]] = {"": []}
    title = ""
    for line in documentation(member).splitlines():
        if line.removesuffix(":") in _SECTIONS and line.endswith(":"):
            title = line.removesuffix(":")
            parts[title] = []
        else:
            parts[title].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in parts.items()}


def entries(section: str) -> Iterator[tuple[str, str]]:
    """Yield the names and meanings in a section; continuation lines are indented."""
    for entry in re.split(r"\n(?=\S)", section):
        found = _ENTRY.match(entry)
        if found is not None:
            yield found[1], prose(" ".join(found[2].split()))


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring, in Markdown."""
    paragraph = " ".join((text or "").strip().split("\n\n", 1)[0].split())
    return prose(re.split(r"(?<=\.)\s", paragraph, maxsplit=1)[0])


def prose(text: str) -> str:
    """Return the text of a docstring in Markdown."""
    return text.replace("``", "`")
