"""Find the error codes that the functions' code writes.

A test compares these with the documented ones in ``codes``, so that no code can be added or
dropped without updating the documentation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from groq_batch.domain.error_code import ErrorCode

_PLACES = {"Problem": 2, "_problem": 0, "_job_problem": 0, "Row": 2, "Reason": 0}
"""Calls that take a code as a positional argument, and the index of that argument."""

_PAIR = "tuple[str, str"


def codes_in(folder: Path) -> set[str]:
    """Return the codes in the modules of a folder."""
    return {
        found
        for path in sorted(folder.rglob("*.py"))
        for found in codes_of(path.read_text(encoding="utf-8"))
    }


def codes_of(source: str) -> Iterator[str]:
    """Yield the codes in a module: in calls, in records, in returned pairs."""
    for node in ast.walk(ast.parse(source)):
        candidates: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            candidates += [one.value for one in node.keywords if one.arg == "code"]
            place = _PLACES.get(_name(node.func))
            if place is not None and len(node.args) > place:
                candidates.append(node.args[place])
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            candidates += [value for key, value in pairs if _text(key) == "code"]
        elif isinstance(node, ast.FunctionDef) and _returns_code(node):
            returns = (one for one in ast.walk(node) if isinstance(one, ast.Return))
            candidates += [one.value.elts[0] for one in returns if isinstance(one.value, ast.Tuple)]
        yield from (text for one in candidates if (text := _text(one)) is not None)


def _returns_code(function: ast.FunctionDef) -> bool:
    return function.returns is not None and _PAIR in ast.unparse(function.returns)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _text(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Attribute) and _name(node.value) == ErrorCode.__name__:
        return ErrorCode[node.attr].value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return None
