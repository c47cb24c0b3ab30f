"""Format the result of checking a file, as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from groq_batch.domain.cost import ModelEstimate
from groq_batch.domain.problem import Problem
from groq_batch_cli.file_check import FileCheck, FoundProblem
from groq_batch_cli.prices import price
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text_table import aligned
from groq_batch_client.text import batches, counted, dollars, listed, one_line, shorten

_MAX_MODELS = 12
_LONGEST_ID = 60


def problem_lines(checked: FileCheck, terminal: Terminal, *, with_source: bool) -> Iterator[str]:
    """Yield the problems of a file in the format of compiler errors.

    Args:
        checked: The result of the check.
        terminal: The terminal to format for.
        with_source: Whether to show the part of the line around the error too.
    """
    for problem in checked.file_problems:
        yield _headline(checked, problem, None, terminal)
    for found in checked.line_problems:
        yield _headline(checked, found.problem, found, terminal)
        if with_source and found.excerpt is not None:
            yield f"    {found.excerpt.text}"
            yield " " * (4 + found.excerpt.indent) + terminal.styled(
                "^" * found.excerpt.marked, "red"
            )
    rest = checked.invalid - len(checked.line_problems)
    if rest:
        codes = checked.line_problem_codes.most_common()
        told = listed([f"{number:,} {code}" for code, number in codes])
        yield f"{checked.file.shown}: {rest:,} more lines with problems; in all: {told}"


def _headline(
    checked: FileCheck, problem: Problem, found: FoundProblem | None, terminal: Terminal
) -> str:
    place = one_line(checked.file.shown)
    if problem.line is not None:
        place += f":{problem.line}"
        if found is not None and found.excerpt is not None:
            place += f":{found.excerpt.column}"
    whose = ""
    if problem.custom_id is not None:
        whose = f" (custom_id {shorten(one_line(problem.custom_id), _LONGEST_ID)})"
    code = terminal.styled(problem.code, "red")
    return f"{terminal.styled(place, 'bold')}: {code}{whose} {one_line(problem.message)}"


def summary_lines(checked: FileCheck, terminal: Terminal, *, skip_invalid: bool) -> Iterator[str]:
    """Yield the contents of a file, its cost, and whether it can run."""
    name = terminal.styled(one_line(checked.file.shown), "bold")
    if not checked.problems_total:
        fine = terminal.styled("no problems", "green")
        yield f"{name}: {counted(checked.good, 'request')}, {fine}"
    else:
        found = terminal.styled(counted(checked.problems_total, "problem"), "red")
        yield f"{name}: {found} in {counted(checked.lines, 'line')}"
    if not checked.good:
        return
    yield from ("  " + line for line in _model_lines(checked.models))
    total = price(checked.models)
    costs = f"estimated {dollars(total.batch)} (on demand {dollars(total.on_demand)})"
    if total.batch is None:
        costs = "no estimate, because a price or the length of audio is not known"
    if not checked.invalid:
        yield f"  {batches(checked.shards)}, {costs}"
    elif checked.passes(skip_invalid=skip_invalid):
        yield f"  without the bad lines: {batches(checked.shards)}, {costs}"
    elif not checked.file_problems:
        yield (
            f"  with --skip-invalid the other {counted(checked.good, 'request')} would run: "
            f"{batches(checked.shards)}, {costs}"
        )
    if any(not model.output_tokens for model in checked.models.values()):
        yield "  (no output is counted for requests without max_completion_tokens)"
    yield "  (models are checked by the stack alone, by the list of its Groq account)"


def _model_lines(models: dict[str, ModelEstimate]) -> list[str]:
    """Return the table of models, sorted by number of requests, most first."""
    rows = [("model", "requests", "tokens in", "tokens out", "batch", "on demand")]
    ordered = sorted(models.items(), key=lambda item: -item[1].requests)
    for name, model in ordered[:_MAX_MODELS]:
        cost = price({name: model})
        rows.append(
            (
                shorten(one_line(name), _LONGEST_ID),
                f"{model.requests:,}",
                f"{model.input_tokens:,.0f}",
                f"{model.output_tokens:,}",
                dollars(cost.batch),
                dollars(cost.on_demand),
            )
        )
    lines = aligned(rows, right=frozenset({1, 2, 3, 4, 5}))
    if len(ordered) > _MAX_MODELS:
        lines.append(f"and {len(ordered) - _MAX_MODELS} more models")
    return lines


def check_json(checked: FileCheck, *, skip_invalid: bool) -> dict[str, Any]:
    """Return the result as JSON data."""
    total = price(checked.models)
    return {
        "file": checked.file.shown,
        "passes": checked.passes(skip_invalid=skip_invalid),
        "bytes": checked.bytes,
        "lines": checked.lines,
        "requests": {"good": checked.good, "invalid": checked.invalid},
        "batches": checked.shards,
        "models": {name: _model_json(name, model) for name, model in checked.models.items()},
        "cost_usd": {"batch": total.batch, "on_demand": total.on_demand},
        "problems": [
            *(_problem_json(problem, None) for problem in checked.file_problems),
            *(_problem_json(found.problem, found) for found in checked.line_problems),
        ],
        "problems_total": checked.problems_total,
        "problem_codes": dict(checked.line_problem_codes),
    }


def _model_json(name: str, model: ModelEstimate) -> dict[str, Any]:
    cost = price({name: model})
    return {
        "requests": model.requests,
        "input_tokens": round(model.input_tokens),
        "output_tokens": model.output_tokens,
        "cost_usd": {"batch": cost.batch, "on_demand": cost.on_demand},
    }


def _problem_json(problem: Problem, found: FoundProblem | None) -> dict[str, Any]:
    return {
        "line": problem.line,
        "column": found.excerpt.column if found and found.excerpt else None,
        "custom_id": problem.custom_id,
        "code": problem.code,
        "message": problem.message,
    }
