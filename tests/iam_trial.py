"""Takes one permission after the other from the roles, and sees which test misses it.

    python -m tests.iam_trial [--actions] [ROLE[/STATEMENT[/ACTION]]] ...

A permission that no test misses is one that nobody needs, or one whose need no test shows; either
way the trial fails. The statement is taken away in the memory of each trial, never in the
template. What counts is tests that run the code or derive the need from the state machine and the
template; the tables of test_permissions.py, which repeat the template, do not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.infrastructure.stack import ACCOUNT, WITHOUT_STATEMENT, Stack

_KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

DERIVED = "tests/infrastructure/test_needed_permissions.py"
"""Derives from the template and the state machine what AWS does in a role's name. Quick."""

RUN = (
    "tests/integration/test_handlers_events.py",
    "tests/integration/test_roles.py",
    "tests/integration/test_given_bucket.py",
    "tests/integration/test_start_job.py",
    "tests/integration/test_prepare_input.py",
)
"""Run the handlers; every call that they make is held against their roles."""


@dataclass(frozen=True)
class Permission:
    """What is taken away: a statement of a role, or one action of it."""

    role: str
    sid: str
    action: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.role, self.sid, self.action)))

    @property
    def tests(self) -> tuple[str, ...]:
        """The tests that may miss it."""
        return (DERIVED, *RUN) if self.role.endswith("FunctionRole") else (DERIVED,)


def permissions(*, each_action: bool) -> Iterator[Permission]:
    """Yield all permissions of all roles, those of optional parameters included."""
    stack = Stack.deploy(
        KmsKeyArn=_KEY, ExistingBucketName="given-bucket", NotificationEmail="team@example.com"
    )
    for name, role in stack.roles.items():
        for statement in role.statements:
            if each_action and len(statement.actions) > 1:
                yield from (Permission(name, statement.sid, one) for one in statement.actions)
            else:
                yield Permission(name, statement.sid)


class _FirstFailure:
    """A plugin of pytest that remembers which test failed first."""

    def __init__(self) -> None:
        self.test: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of the result of a test's phase."""
        if report.failed and self.test is None:
            self.test = report.nodeid.rsplit("/", 1)[-1]


def first_failure(permission: Permission | None, tests: Sequence[str]) -> str | None:
    """Run tests in this process without a permission; returns the first that failed, or None.

    Raises:
        RuntimeError: They could not be run.
    """
    os.environ[WITHOUT_STATEMENT] = str(permission or "")
    found = _FirstFailure()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = pytest.main(
            ["--exitfirst", "--quiet", "-p", "no:cacheprovider", *tests], plugins=[found]
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest without {permission} says:\n{said.getvalue()}")
    return found.test


def trial(permission: Permission) -> str | None:
    """Return the test that misses a permission, or None."""
    return first_failure(permission, permission.tests)


def main() -> int:
    """Try what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actions", action="store_true", help="take single actions away")
    parser.add_argument("only", nargs="*", metavar="ROLE[/STATEMENT]", help="nothing else")
    options = parser.parse_args()
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"  # The transform asks for one.
    chosen = [
        one
        for one in permissions(each_action=options.actions)
        if not options.only or str(one).startswith(tuple(options.only))
    ]
    broken = first_failure(None, (DERIVED, *RUN))
    if broken is not None:
        print(f"{broken} fails with all permissions in place; mend that first.")
        return 2
    missed = 0
    widths = (
        max(len(one.role) for one in chosen),
        max(len(f"{one.sid}/{one.action}") for one in chosen),
    )
    # Each trial is a copy of this process, in which everything has been imported by now.
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        for permission, test in zip(chosen, pool.imap(trial, chosen), strict=True):
            what = str(permission).removeprefix(f"{permission.role}/")
            missed += test is None
            columns = (
                permission.role.ljust(widths[0]),
                what.ljust(widths[1]),
                test or "NO TEST MISSES IT",
            )
            print("  ".join(columns), flush=True)
    print(f"{len(chosen)} permissions taken away, {missed} missed by no test.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
