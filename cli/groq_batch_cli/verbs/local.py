"""``groq-batch local``: run the whole system on this machine, in the background."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import click

from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM, CommandError
from groq_batch_cli.local_choice import (
    STARTING_SENTENCE,
    absence,
    chosen_folder,
    folder_to_start,
    running_elsewhere,
    running_state,
)
from groq_batch_cli.local_process import check_parameters, start_server, stop_server
from groq_batch_cli.local_state import LocalState
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.verbs import _local_fault
from groq_batch_client.stack import DEFAULT_STACK_NAME
from groq_batch_client.text import age, listed

_BATCH_SECONDS = 5.0


@click.group(name="local")
def command() -> None:
    """Run an emulated stack on this machine.

    The SAM CLI deploys the real template to an emulated AWS, with a simulator in place of Groq's
    API: no AWS account, no key, no cost. Needs a clone of the project.

    \b
    Examples:
      groq-batch local up
      groq-batch run requests.jsonl --local
      groq-batch local down
    """


command.add_command(_local_fault.command)


@command.command()
@click.option(
    "--stack-name", metavar="NAME", help=f"Name of the stack.  [default: {DEFAULT_STACK_NAME}]"
)
@click.option(
    "--batch-seconds",
    type=click.FloatRange(0),
    help=f"Time the simulator takes for a batch, in seconds.  [default: {_BATCH_SECONDS:g}]",
)
@click.option(
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _parameter, values: _named_values(values),
    help="Template parameter, such as MaxRequestsPerBatch=100; repeatable.",
)
@click.option(
    "--restart", is_flag=True, help="Stop a running stack first and delete everything in it."
)
@click.pass_obj
def up(
    terminal: Terminal,
    stack_name: str | None,
    batch_seconds: float | None,
    parameters: dict[str, str],
    restart: bool,
) -> int:
    """Start the emulated stack in the background.

    \b
    Exit status: 0 if the stack is running with these options, 1 if not, for example because
    a stack with other parameters is already running.

    \b
    Examples:
      groq-batch local up
      groq-batch local up --parameter MaxRequestsPerBatch=100 --restart
    """
    wanted = Wanted(stack_name, batch_seconds, parameters)
    folder = chosen_folder()
    state = folder.running() if folder is not None else None
    if folder is None or state is None or restart:
        folder = folder_to_start()
        state = folder.running()
    if state is None and folder.is_served():
        raise CommandError(STARTING_SENTENCE)
    if folder.project is not None:
        check_parameters(folder.project, parameters)
    if state is not None and restart:
        stop_server(folder)
    elif state is not None:
        differences = wanted.differences(state)
        if differences:
            raise CommandError(
                f"The stack {state.stack_name} is running already, with {listed(differences)}. To "
                f"restart it, which deletes everything in it: {wanted.command()} --restart"
            )
        terminal.note(f"The stack {state.stack_name} is running already.")
        _introduce(terminal, state)
        return EXIT_FINE
    _introduce(terminal, start_server(folder, wanted.arguments(), terminal))
    return EXIT_FINE


def _named_values(values: Sequence[str]) -> dict[str, str]:
    """Parse the ``--parameter`` options into a dict.

    Raises:
        BadParameter: One is not ``NAME=VALUE``, or a name is given twice.
    """
    found: dict[str, str] = {}
    for one in values:
        name, sign, value = one.partition("=")
        if not sign or not re.fullmatch(r"[A-Za-z0-9]+", name):
            raise click.BadParameter(f"{one!r} is not NAME=VALUE.")
        if name in found:
            raise click.BadParameter(f"{name} is given twice.")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of ``local up``; None, or no entry, for those not given.

    Attributes:
        stack_name: Name of the stack.
        batch_seconds: How long the simulator takes for a batch.
        parameters: Parameters of the template.
    """

    stack_name: str | None
    batch_seconds: float | None
    parameters: Mapping[str, str]

    def differences(self, state: LocalState) -> list[str]:
        """Return the settings of a running stack that differ from these options."""
        found = []
        if self.stack_name not in (None, state.stack_name):
            found.append(f"the name {state.stack_name}")
        if self.batch_seconds not in (None, state.batch_seconds):
            found.append(f"--batch-seconds {state.batch_seconds:g}")
        return found + [
            f"{name}={state.parameters.get(name, '')}"
            for name, value in self.parameters.items()
            if state.parameters.get(name) != value
        ]

    def arguments(self) -> list[str]:
        """Return the options for the server process."""
        seconds = _BATCH_SECONDS if self.batch_seconds is None else self.batch_seconds
        arguments = ["--stack-name", self.stack_name or DEFAULT_STACK_NAME]
        arguments += ["--batch-seconds", f"{seconds:g}"]
        for name, value in self.parameters.items():
            arguments += ["--parameter", f"{name}={value}"]
        return arguments

    def command(self) -> str:
        """Return the command line with these options."""
        words = ["groq-batch", "local", "up"]
        if self.stack_name is not None:
            words += ["--stack-name", self.stack_name]
        if self.batch_seconds is not None:
            words += ["--batch-seconds", f"{self.batch_seconds:g}"]
        for name, value in self.parameters.items():
            words += ["--parameter", f"{name}={value}"]
        return shlex.join(words)


@command.command()
@click.pass_obj
def down(terminal: Terminal) -> int:
    """Stop the emulated stack and delete everything in it."""
    folder = chosen_folder()
    if folder is None or not folder.is_served():
        if folder is not None:
            folder.forget()
        others = running_elsewhere()
        terminal.note(
            f"The emulated stack of this clone is not running, but that of {others} is. Go "
            f"there to stop it."
            if others
            else "No emulated stack is running."
        )
        return EXIT_FINE
    stop_server(folder)
    terminal.note("The emulated stack has stopped.")
    return EXIT_FINE


@command.command()
@click.pass_obj
def status(terminal: Terminal) -> int:
    """Show whether the emulated stack is running, and how to use it.

    Exit status: 0 if it is running, 1 if not.
    """
    folder = chosen_folder()
    state = folder.running() if folder is not None else None
    if folder is None or state is None:
        step = folder.read().get("step") if folder is not None and folder.is_served() else None
        terminal.print(f"The emulated stack is starting: {step}" if step else absence(folder))
        return EXIT_PROBLEM
    running = age(datetime.fromtimestamp(state.started_at, UTC), datetime.now(UTC))
    terminal.print(f"The stack {state.stack_name} has been running for {running}.")
    terminal.print(f"  bucket     {state.bucket}")
    terminal.print(f"  AWS        {state.endpoint_url}")
    terminal.print(f"  Groq       {state.groq_base_url} (simulated)")
    if folder.project is not None:
        terminal.print(f"  clone      {folder.project}")
    terminal.print(f"  logs       {state.log_folder}")
    return EXIT_FINE


@command.command()
@click.pass_obj
def env(terminal: Terminal) -> int:
    """Print environment variables that point AWS tools at this stack.

    \b
    Example:
      eval "$(groq-batch local env)" && aws s3 ls
    """
    for name, value in environment(running_state()).items():
        terminal.print(f"export {name}={value}")
    return EXIT_FINE


def environment(state: LocalState) -> dict[str, str]:
    """Return the environment variables that point AWS tools at the emulated stack."""
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
