"""Runs the other tools, each with its own interpreter that has only its packages."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.account import BUCKET, Account
from local.environment import CACHE_FOLDER, PROJECT_ROOT

_ENVIRONMENTS = CACHE_FOLDER / "bench-envs"
_PEERS = Path(__file__).parent / "peers"
_MAX_SECONDS = 600
_INSTALL_SECONDS = 300


class NotRunnableError(Exception):
    """A tool cannot be installed or run; the text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool from PyPI.

    Attributes:
        name: Its name there, which the file of its pinned packages has as well.
        driver: The script that runs it.
        title: What the table calls it.
    """

    name: str
    driver: str
    title: str


TOOLS = (
    Tool("tutorial", "tutorial.py", "tutorial script"),
    Tool("openai-batch", "openai_batch_driver.py", "openai-batch 0.3.4"),
    Tool("batchwizard", "batchwizard_driver.py", "batchwizard 0.5.0"),
    Tool("batchwork-ai", "batchwork_driver.py", "batchwork-ai 0.3.0"),
    Tool("batchlane", "batchlane_driver.py", "batchlane 0.2.0"),
)


def environment_of(name: str) -> Path:
    """Return the interpreter that has the packages of ``peers/requirements/<name>.txt``.

    Raises:
        NotRunnableError: They cannot be installed.
    """
    requirements = _PEERS / "requirements" / f"{name}.txt"
    folder = _ENVIRONMENTS / name
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = requirements.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    uv = [sys.executable, "-m", "uv"]
    try:
        _run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        # Compiled, so that no tool compiles itself while its time is taken.
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        _run([*install, "--requirement", str(requirements)])
    except (subprocess.SubprocessError, OSError) as error:
        raise NotRunnableError("could not be installed") from error
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    subprocess.run(
        command, check=True, cwd=PROJECT_ROOT, capture_output=True, timeout=_INSTALL_SECONDS
    )


def run_tool(tool: Tool, account: Account, source_key: str, target_key: str) -> dict[str, Any]:
    """Let a tool take requests from the bucket, and leave the answers there.

    Returns:
        ``seconds`` and ``cpu_seconds`` from when it was loaded to when the answers were in the
        bucket, ``peak_bytes``, and ``error`` or None.

    Raises:
        NotRunnableError: It cannot be installed, does not load, or takes too long.
    """
    python = environment_of(tool.name)
    simulator = account.simulator
    addresses = [BUCKET, source_key, target_key, simulator.groq_base_url, simulator.api_key]
    with (
        tempfile.TemporaryDirectory(dir=account.folder) as folder,
        (account.folder / f"{tool.name}.log").open("ab") as log,
        subprocess.Popen(
            [str(python), str(_PEERS / tool.driver), *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=folder,
            env=account.client_environment()
            | {
                "HOME": folder,
                "GROQ_API_KEY": simulator.api_key,
                "OPENAI_API_KEY": simulator.api_key,
            },
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise NotRunnableError("does not load")
            output, _ = process.communicate("go\n", timeout=_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise NotRunnableError(f"gave up after {_MAX_SECONDS} s") from None
    if not output.strip():
        raise NotRunnableError(f"ended without results (status {process.returncode})")
    result: dict[str, Any] = json.loads(output)
    return result
