"""Choose the emulated stack on this machine that a command is for."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from groq_batch_cli.errors import CommandError
from groq_batch_cli.local_registry import Registry
from groq_batch_cli.local_state import LocalFolder, LocalState, find_project, project_of

FOLDER_VARIABLE = "GROQ_BATCH_LOCAL_FOLDER"
"""Environment variable with the folder of a running stack other than the clone's own."""

STARTING_SENTENCE = "The stack is still starting. Check again with: groq-batch local status"


def folder_to_start() -> LocalFolder:
    """Return the folder in which ``local up`` keeps its stack.

    Raises:
        CommandError: The working folder is not in a clone.
    """
    project = find_project()
    if project is None:
        raise CommandError(
            f"An emulated stack needs a clone of the project, and {Path.cwd()} is not in one. Go "
            f"to your clone and start the stack there: groq-batch local up. While it runs, "
            f"--local works in every folder."
        )
    return _named_folder(project) or _folder_of(project)


def chosen_folder() -> LocalFolder | None:
    """Return the folder of the stack that a command is for, running or not.

    It is the one that the environment names; in a clone, the clone's own; elsewhere the one that
    is running, preferring that of this program's clone. None outside of a clone if none is running.

    Raises:
        CommandError: Several stacks are running, and nothing selects one of them.
    """
    project = find_project()
    named = _named_folder(project)
    if named is not None:
        return named
    if project is not None and project_of(Path.cwd().resolve()) is not None:
        return _folder_of(project)
    own = _folder_of(project) if project is not None else None
    if own is not None and own.is_served():
        return own
    running = Registry().served()
    if len(running) > 1:
        raise CommandError(
            f"Several emulated stacks run on this machine: {_listed(running)}. Go into the clone "
            f"of the one that you want, or name its folder: "
            f"export {FOLDER_VARIABLE}={shlex.quote(str(running[0].path))}"
        )
    return running[0] if running else own


def running_state() -> LocalState:
    """Return the running stack that a command is for; see ``chosen_folder``.

    Raises:
        CommandError: No stack is running, or several are.
    """
    folder = chosen_folder()
    state = folder.running() if folder is not None else None
    if state is None:
        raise CommandError(absence(folder))
    return state


def absence(folder: LocalFolder | None) -> str:
    """Return the message for a stack that is not running, with what to do.

    Args:
        folder: The folder of the stack that a command was for; see ``chosen_folder``.
    """
    if folder is not None and folder.is_served():
        return STARTING_SENTENCE
    others = running_elsewhere()
    if others:
        return (
            f"The emulated stack of this clone is not running, but that of {others} is. Go there "
            f"to use it, or start one here: groq-batch local up"
        )
    if folder is None:
        return (
            "No emulated stack runs on this machine. Start one in a clone of the project: "
            "groq-batch local up"
        )
    return "No emulated stack runs on this machine. Start one: groq-batch local up"


def running_elsewhere() -> str:
    """Return the other clones with a running stack; empty if none has one."""
    return "" if _named_folder(None) else _listed(Registry().served())


def _named_folder(project: Path | None) -> LocalFolder | None:
    named = os.environ.get(FOLDER_VARIABLE)
    return LocalFolder(project, Path(named)) if named else None


def _folder_of(project: Path) -> LocalFolder:
    return LocalFolder(project, project / ".local" / "stack")


def _listed(stacks: list[LocalFolder]) -> str:
    return ", ".join(str(stack.project or stack.path) for stack in stacks)
