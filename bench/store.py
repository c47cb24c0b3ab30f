"""Stores results part by part, so that one part can be measured again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.machine import machine

RESULTS = Path(__file__).with_name("results.json")

Results = dict[str, dict[str, Any]]


def load(path: Path = RESULTS) -> Results:
    """Return the parts by name; empty if nothing was measured yet."""
    if not path.exists():
        return {}
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    return results


def save_part(name: str, values: dict[str, Any], path: Path = RESULTS) -> Results:
    """Replace a part, and add the machine's description; returns all parts."""
    results = load(path)
    results[name] = {"machine": machine(), **rounded(values)}
    text = json.dumps(results, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return results


def rounded(value: Any) -> Any:
    """Cut numbers to what a measurement is worth; the file is kept with the code."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value
