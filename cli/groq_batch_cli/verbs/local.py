"""``groq-batch local``: the whole system on this machine, kept running between commands."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from groq_batch_cli.aws import DEFAULT_STACK_NAME
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, CommandError
from groq_batch_cli.local_state import (
    FAILED,
    READY,
    LocalFolder,
    LocalState,
    project_folder,
)
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.text import age, duration

_UP_SECONDS = 400.0
_DOWN_SECONDS = 30.0
_LOOK_SECONDS = 0.1


@click.group(name="local")
def command() -> None:
    """Keep an emulated stack running on this machine.

    The real template, deployed by the real SAM CLI on an emulated AWS, against a simulator of
    Groq's API: no AWS account, no key, no cost. Needs a clone of the project.

    \b
    Examples:
      groq-batch local up
      groq-batch run requests.jsonl --local
      groq-batch local down
    """


@command.command()
@click.option("--stack-name", default=DEFAULT_STACK_NAME, show_default=True, metavar="NAME")
@click.option(
    "--batch-seconds",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="How long the simulator takes for a batch.",
)
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the template, such as MaxRequestsPerBatch=100; may be repeated.",
)
@click.pass_obj
def up(
    terminal: Terminal, stack_name: str, batch_seconds: float, parameters: tuple[str, ...]
) -> int:
    """Start the emulated stack, and leave it running."""
    for one in parameters:
        if not re.fullmatch(r"[A-Za-z0-9]+=.*", one):
            raise click.BadParameter(f"{one!r} is not NAME=VALUE.", param_hint="--parameter")
    folder = project_folder()
    state = folder.running()
    if state is not None:
        terminal.note(f"The stack {state.stack_name} is running already.")
        _introduce(terminal, state)
        return EXIT_FINE
    if folder.is_served():
        raise CommandError("The stack is just being started. Look again: groq-batch local status")
    arguments = ["--stack-name", stack_name, "--batch-seconds", f"{batch_seconds:g}"]
    for one in parameters:
        arguments += ["--parameter", one]
    _introduce(terminal, _start(folder, arguments, terminal))
    return EXIT_FINE


@command.command()
@click.pass_obj
def down(terminal: Terminal) -> int:
    """Stop the emulated stack, and remove everything in it."""
    folder = project_folder()
    if not folder.is_served():
        folder.forget()
        terminal.note("No emulated stack is running.")
        return EXIT_FINE
    pid = folder.read().get("pid")
    if pid is not None:
        os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while folder.is_served():
        if time.monotonic() > deadline:
            raise CommandError(f"The server (process {pid}) does not end. End it: kill -9 {pid}")
        time.sleep(_LOOK_SECONDS)
    terminal.note("The emulated stack has ended.")
    return EXIT_FINE


@command.command()
@click.pass_obj
def status(terminal: Terminal) -> int:
    """Show whether the emulated stack is running, and how to use it.

    Exit status: 0 when it is running, 1 when not.
    """
    folder = project_folder()
    state = folder.running()
    if state is None:
        step = folder.read().get("step") if folder.is_served() else None
        terminal.print(
            f"The emulated stack is being started: {step}"
            if step
            else "No emulated stack is running. Start one: groq-batch local up"
        )
        return EXIT_PROBLEM
    running = age(datetime.fromtimestamp(state.started_at, UTC), datetime.now(UTC))
    terminal.print(f"The stack {state.stack_name} has been running for {running}.")
    terminal.print(f"  bucket     {state.bucket}")
    terminal.print(f"  AWS        {state.endpoint_url}")
    terminal.print(f"  Groq       {state.groq_base_url} (simulated)")
    terminal.print(f"  logs       {state.log_folder}")
    return EXIT_FINE


@command.command()
@click.pass_obj
def env(terminal: Terminal) -> int:
    """Print the variables that point other tools at the emulated stack.

    \b
    Example:
      eval "$(groq-batch local env)" && aws s3 ls
    """
    state = project_folder().running()
    if state is None:
        raise CommandError("No emulated stack is running. Start one: groq-batch local up")
    for name, value in environment(state).items():
        terminal.print(f"export {name}={value}")
    return EXIT_FINE


def environment(state: LocalState) -> dict[str, str]:
    """Return the variables that point AWS tools at the emulated stack."""
    return {
        "AWS_ENDPOINT_URL": state.endpoint_url,
        "AWS_ACCESS_KEY_ID": state.access_key,
        "AWS_SECRET_ACCESS_KEY": state.secret_key,
        "AWS_REGION": state.region,
        "AWS_DEFAULT_REGION": state.region,
        "GROQ_BATCH_STACK": state.stack_name,
    }


def _introduce(terminal: Terminal, state: LocalState) -> None:
    terminal.print(
        f"The stack {state.stack_name} runs on this machine until: groq-batch local down"
    )
    terminal.print("Add --local to a command:  groq-batch run requests.jsonl --local")
    terminal.print("Or set for all AWS tools:")
    for name, value in environment(state).items():
        terminal.print(f"  export {name}={value}")


def _start(folder: LocalFolder, arguments: Sequence[str], terminal: Terminal) -> LocalState:
    """Start the server and wait until its stack can be used.

    Raises:
        CommandError: It has ended before.
    """
    folder.prepare()
    folder.forget()
    project = folder.project
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


def _last_words(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    said = lines[-1] if lines else "it has said nothing"
    if "No module named" in said:
        return f"{said}. Install the project's tools first: make setup"
    return f"{said}. Its log: {log_file}"


def _python(project: Path) -> str:
    """Return the Python that has the project's tools."""
    own = project / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable
