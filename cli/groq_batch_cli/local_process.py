"""Start and stop the server process of an emulated stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from groq_batch_cli.errors import CommandError
from groq_batch_cli.local_state import FAILED, READY, LocalFolder, LocalState
from groq_batch_cli.terminal import Terminal
from groq_batch_client.text import duration

_UP_SECONDS = 400.0
_DOWN_SECONDS = 30.0
_LOOK_SECONDS = 0.1


def start_server(folder: LocalFolder, arguments: Sequence[str], terminal: Terminal) -> LocalState:
    """Start the server and wait until its stack is ready.

    Raises:
        CommandError: The server stopped before that.
    """
    project = folder.project
    if project is None:
        raise ValueError("Not in a clone of the project.")
    folder.prepare()
    folder.forget()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(project / name) for name in ("", "cli", "functions")),
    }
    log_file = folder.logs / "server.log"
    with log_file.open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - this program itself
            [_python(project), "-m", "groq_batch_cli.local_server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=project,
            env=environment,
            start_new_session=True,
        )
    try:
        return _wait(folder, server, log_file, terminal)
    except BaseException:
        server.terminate()
        server.wait()
        raise


def _wait(
    folder: LocalFolder, server: subprocess.Popen[bytes], log_file: Path, terminal: Terminal
) -> LocalState:
    begun = time.monotonic()
    said = ""
    while time.monotonic() - begun < _UP_SECONDS:
        ended = server.poll() is not None
        data = folder.read()
        if data.get("phase") == READY and not ended:
            terminal.clear()
            state = folder.running()
            if state is not None:
                return state
        if ended:
            terminal.clear()
            message = data.get("message") if data.get("phase") == FAILED else None
            raise CommandError(
                f"The emulated stack did not start: {message or _last_words(log_file)}"
            )
        step = data.get("step")
        if step is not None:
            terminal.live([f"{step} ... {duration(time.monotonic() - begun)}"])
            if step != said and not terminal.is_live:
                terminal.note(f"{step} ...")
            said = step
        time.sleep(_LOOK_SECONDS)
    raise CommandError(f"The emulated stack was not ready in time. Its log: {log_file}")


def stop_server(folder: LocalFolder) -> None:
    """Stop the server process of a running stack.

    Raises:
        CommandError: It does not stop.
    """
    pid = folder.read().get("pid")
    if pid is not None:
        os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while folder.is_served():
        if time.monotonic() > deadline:
            raise CommandError(f"The server (process {pid}) does not stop. Kill it: kill -9 {pid}")
        time.sleep(_LOOK_SECONDS)


def check_parameters(project: Path, parameters: Mapping[str, str]) -> None:
    """Check that the template accepts the parameters, before anything is started or stopped.

    Raises:
        BadParameter: It does not.
    """
    if not parameters:
        return
    checked = subprocess.run(  # noqa: S603 - the clone's own tool
        [
            _python(project),
            "-m",
            "local.template_parameters",
            *(f"{name}={value}" for name, value in parameters.items()),
        ],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode and checked.stdout:
        raise click.BadParameter(" ".join(checked.stdout.splitlines()), param_hint="'--parameter'")
    if checked.returncode:
        raise CommandError(f"The parameters cannot be checked: {_advice(checked.stderr)}")


def _last_words(log_file: Path) -> str:
    said = _advice(log_file.read_text(encoding="utf-8", errors="replace"))
    return said if "make setup" in said else f"{said}. Its log: {log_file}"


def _advice(text: str) -> str:
    """Return the last line of a program's output, and what to do if tools are missing."""
    lines = text.strip().splitlines()
    said = lines[-1] if lines else "it printed nothing"
    if "No module named" in said:
        return f"{said}. Install the project's tools first: make setup"
    return said


def _python(project: Path) -> str:
    """Return the Python interpreter that has the project's tools."""
    own = project / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable
