"""Reference of the Python client, from its docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any

import groq_batch_client
from groq_batch_client import GroqBatch, GroqBatchError, Job, Options
from local.reference.blocks import BlockError
from local.reference.docstrings import documentation, entries, first_sentence, prose, sections
from local.reference.markdown import code, fenced, table

_LONGEST_LINE = 90


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
    attributes = sections(Options)["Attributes"]
    rows = [[code(name), text] for name, text in entries(attributes)]
    if [row[0] for row in rows] != [code(name) for name in Options.__annotations__]:
        raise BlockError("The docstring of Options does not describe its options in order.")
    return table(["argument", "meaning"], rows)


def errors() -> str:
    """Return the exception hierarchy."""
    return "\n".join(_tree(GroqBatchError, 0))


def _tree(kind: type[BaseException], depth: int) -> Iterator[str]:
    yield f"{'  ' * depth}- `{kind.__name__}`: {first_sentence(documentation(kind))}"
    for one in kind.__subclasses__():
        if one.__name__ in groq_batch_client.__all__:
            yield from _tree(one, depth + 1)


def _members(kind: type[Any]) -> list[tuple[str, Any]]:
    """Return the public methods and properties of a class, in the order of its source."""
    return [(name, one) for name, one in vars(kind).items() if not name.startswith("_")]


def _described(member: Any, name: str) -> Iterator[str]:
    """Yield the paragraphs about a class, a method or a property."""
    parts = sections(member)
    # Only the client creates jobs.
    signature = _signature(member, name) if member is not Job else ""
    if signature:
        yield fenced(signature, "python")
    yield prose(parts[""])
    for title in ("Args", "Attributes"):
        if title in parts:
            heads = ["argument" if title == "Args" else "attribute", "meaning"]
            yield table(heads, [[code(one), text] for one, text in entries(parts[title])])
    if "Raises" in parts:
        raised = [f"- `{one}`: {text}" for one, text in entries(parts["Raises"])]
        yield "\n".join(["Raises:", "", *raised])
    if "Examples" in parts:
        yield fenced(parts["Examples"], "pycon")


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
