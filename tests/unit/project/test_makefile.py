"""Programs that `make` starts apart from the suite find what they import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.documents import PROJECT

PROGRAMS = re.findall(
    r"^\t(PYTHONPATH=\S+ )?\$\(PYTHON\) -m (tests\.\S+)", (PROJECT / "Makefile").read_text(), re.M
)


def test_there_are_programs_of_the_tests() -> None:
    assert {"tests.faults", "tests.faults.kills"} <= {module for _, module in PROGRAMS}


@pytest.mark.parametrize(("variable", "module"), PROGRAMS, ids=[name for _, name in PROGRAMS])
def test_program_of_make_can_be_imported(variable: str, module: str) -> None:
    found = find_spec(module)
    is_package = found is not None and found.submodule_search_locations is not None
    program = f"{module}.__main__" if is_package else module
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if variable:
        environment["PYTHONPATH"] = variable.strip().partition("=")[2]
    command = [sys.executable, "-c", f"import {program}"]
    subprocess.run(command, check=True, cwd=PROJECT, env=environment)
