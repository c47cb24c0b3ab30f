"""Reference of the Python client, from its docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any

import groq_batch_client
from groq_batch_client import GroqBatch, GroqBatchError, Job, Options
from local.reference.blocks import UndescribedError
from local.reference.markdown import code, fenced, first_sentence, table

_SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Examples")
_LONGEST_LINE = 90
_ENTRY = re.compile(r"(\w+): (.+)", re.DOTALL)


def classes() -> str:
    """Return the sections of ``GroqBatch`` and ``Job``."""
    parts = []
    for kind in (GroqBatch, Job):
        parts += [f"## {kind.__name__}", *_described(kind, f"{kind.__name__}")]
        for name, member in _members(kind):
            parts += [f"### {kind.__name__}.{name}", *_described(member, name)]
    return "\n\n".join(parts)


def options() -> str:
    """Return the upload options as a table of arguments."""
    sections = _sections(Options)
    rows = [[code(name), text] for name, text in _entries(sections["Attributes"])]
    if [row[0] for row in rows] != [code(name) for name in Options.__annotations__]:
        raise UndescribedError("The docstring of Options does not describe its options in order.")
    return table(["argument", "meaning"], rows)


def errors() -> str:
    """Return the exception hierarchy."""
    return "\n".join(_tree(GroqBatchError, 0))


def _tree(kind: type[BaseException], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}- `{kind.__name__}`: {first_sentence(_doc(kind))}"
    for one in kind.__subclasses__():
        if one.__name__ in groq_batch_client.__all__:
            yield from _tree(one, depth + 1)


def _members(kind: type[Any]) -> list[tuple[str, Any]]:
    """Return the public methods and properties of a class, in the order of its source."""
    return [(name, one) for name, one in vars(kind).items() if not name.startswith("_")]


def _described(member: Any, name: str) -> Iterator[str]:
    """Yield the paragraphs about a class, a method or a property."""
    sections = _sections(member)
    # Only the client creates jobs.
    signature = _signature(member, name) if member is not Job else ""
    if signature:
        yield fenced(signature, "python")
    yield _prose(sections[""])
    for title in ("Args", "Attributes"):
        if title in sections:
            heads = ["argument" if title == "Args" else "attribute", "meaning"]
            yield table(heads, [[code(one), text] for one, text in _entries(sections[title])])
    if "Raises" in sections:
        raised = [f"- `{one}`: {text}" for one, text in _entries(sections["Raises"])]
        yield "\n".join(["Raises:", "", *raised])
    if "Examples" in sections:
        yield fenced(sections["Examples"], "pycon")


def _signature(member: Any, name: str) -> str:
    """Return the signature of a function or class; empty for a property."""
    if isinstance(member, property):
        return ""
    signature = inspect.signature(member)
    parts, has_star = [], False
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not has_star:
            parts.append("*")
            has_star = True
        stars = "**" if one.kind is one.VAR_KEYWORD else ""
        default = "" if one.default is one.empty else f" = {_shown(one.default)}"
        parts.append(f"{stars}{one.name}: {one.annotation}{default}")
    if isinstance(member, type):
        return f"class {name}:\n" + indent(_call("__init__", ["self", *parts], "None"), "    ")
    return _call(name, parts, signature.return_annotation)


def _shown(default: object) -> str:
    """Return a default value as the formatter writes it."""
    return f'"{default}"' if isinstance(default, str) else repr(default)


def _call(name: str, parts: Sequence[str], returns: str) -> str:
    """Return a definition on one line, or with one line per argument if it is too long."""
    line = f"def {name}({', '.join(parts)}) -> {returns}: ..."
    if len(line) <= _LONGEST_LINE:
        return line
    arguments = "".join(f"    {part},\n" for part in parts)
    return f"def {name}(\n{arguments}) -> {returns}: ..."


def _doc(member: Any) -> str:
    found = inspect.getdoc(member)
    if not found:
        raise UndescribedError(f"{member} has no docstring.")
    return found


def _sections(member: Any) -> dict[str, str]:
    """Return the sections of a docstring by title; the text before the first has an empty title."""
    parts: dict[str, list[str]] = {"": []}
    title = ""
    for line in _doc(member).splitlines():
        if line.removesuffix(":") in _SECTIONS and line.endswith(":"):
            title = line.removesuffix(":")
            parts[title] = []
        else:
            parts[title].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in parts.items()}


def _entries(section: str) -> Iterator[tuple[str, str]]:
    """Yield the names and meanings in a section; continuation lines are indented."""
    for entry in re.split(r"\n(?=\S)", section):
        found = _ENTRY.match(entry)
        if found is not None:
            yield found[1], _prose(" ".join(found[2].split()))


def _prose(text: str) -> str:
    return text.replace("``", "`")
