"""What is known of the emulated stack that runs on this machine, in a file that outlives a command.

The server holds a lock on a file for as long as it lives, so that a state that a crash left behind
is never taken for a running one, nor another process for the server.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from groq_batch_cli.errors import CommandError

STARTING = "starting"
READY = "ready"
FAILED = "failed"

FOLDER_VARIABLE = "GROQ_BATCH_LOCAL_FOLDER"
"""Names another folder for the running stack than the clone's own, for a second one."""

_PROJECT_FILES = ("template.yaml", "local/stack.py", "functions/groq_batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalState:
    """A running stack.

    Attributes:
        pid: Process of the server.
        endpoint_url: Where the AWS APIs are.
        region: Region of the stack.
        stack_name: Name of the stack.
        access_key: Access key of the emulated account.
        secret_key: Its secret; it opens nothing else.
        bucket: The stack's bucket.
        groq_base_url: Where the simulated Groq API is.
        started_at: When the server was started, in seconds since 1970.
        log_folder: Where the logs are.
    """

    pid: int
    endpoint_url: str
    region: str
    stack_name: str
    access_key: str
    secret_key: str
    bucket: str
    groq_base_url: str
    started_at: float
    log_folder: str


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The folder in which a clone of the project keeps its running stack.

    Attributes:
        project: The clone.
        path: The folder.
    """

    project: Path
    path: Path

    @property
    def logs(self) -> Path:
        """Where the logs are."""
        return self.path / "logs"

    @property
    def _state(self) -> Path:
        return self.path / "state.json"

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def prepare(self) -> None:
        """Make the folder."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def write(self, phase: str, **fields: Any) -> None:
        """Say how far the server is."""
        draft = self._state.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"phase": phase, **fields}), encoding="utf-8")
        draft.replace(self._state)

    def write_ready(self, state: LocalState) -> None:
        """Say that the stack can be used."""
        self.write(READY, **asdict(state))

    def read(self) -> dict[str, Any]:
        """Return what was last said; an empty one when nothing was."""
        try:
            data: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return data

    def forget(self) -> None:
        """Remove what was said."""
        self._state.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the server for the time of a ``with`` block.

        Raises:
            CommandError: Another one is.
        """
        self.prepare()
        with self._lock.open("ab") as stream:
            if not _try_lock(stream):
                raise CommandError("Another server of this clone is running.")
            yield

    def is_served(self) -> bool:
        """Tell whether a server lives."""
        try:
            with self._lock.open("rb") as stream:
                return not _try_lock(stream)
        except FileNotFoundError:
            return False

    def running(self) -> LocalState | None:
        """Return the stack that can be used; None when none runs."""
        data = self.read()
        if data.pop("phase", None) != READY or not self.is_served():
            return None
        return LocalState(**data)


def _try_lock(stream: BinaryIO) -> bool:
    """Take a lock that goes with the process, unless somebody else has it."""
    import fcntl  # noqa: PLC0415 - not on Windows, where nothing else of this program needs it

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_project(start: Path | None = None) -> Path | None:
    """Return the clone of the project that this program or the working folder belongs to."""
    of_program = Path(__file__).resolve().parent
    for place in (of_program, (start or Path.cwd()).resolve()):
        for folder in (place, *place.parents):
            if all((folder / name).exists() for name in _PROJECT_FILES):
                return folder
    return None


def project_folder() -> LocalFolder:
    """Return the folder of the clone's running stack.

    Raises:
        CommandError: There is no clone.
    """
    project = find_project()
    if project is None:
        raise CommandError(
            "The emulated stack needs a clone of the project: run this in its folder."
        )
    return _folder_of(project)


def running_state() -> LocalState | None:
    """Return the running stack of the clone; None when there is none."""
    project = find_project()
    return _folder_of(project).running() if project is not None else None


def _folder_of(project: Path) -> LocalFolder:
    named = os.environ.get(FOLDER_VARIABLE)
    return LocalFolder(project, Path(named) if named else project / ".local" / "stack")
