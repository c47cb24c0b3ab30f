"""Which tests go to which process when there are several: long ones first, none set up twice."""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent

SUITES = ("e2e", "workflow", "integration", "infrastructure", "unit")
"""The folders of tests, those first that take longest: what is short fills the gaps at the end."""


def suite_of(path: Path) -> str:
    """Return the folder of a test below tests/, such as ``unit``; empty for a file beside them."""
    parts = path.relative_to(TESTS).parts
    return parts[0] if len(parts) > 1 else ""


def place_of(path: Path) -> int:
    """Return when a test's turn comes, by its suite."""
    suite = suite_of(path)
    return SUITES.index(suite) if suite in SUITES else len(SUITES)


class SuiteScheduling(LoadScopeScheduling):
    """Hands out all end-to-end tests together, for one deployed stack serves them; else files."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "tests/e2e" if file.startswith("tests/e2e/") else file
