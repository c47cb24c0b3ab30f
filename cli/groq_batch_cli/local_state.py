"""What is known of the emulated stack that runs on this machine, in a file that outlives a command.

The server holds a lock on a file for as long as it lives, so that a state that a crash left behind
is never taken for a running one, nor another process for the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from groq_batch_cli.errors import CommandError

STARTING = "starting"
READY = "ready"
FAILED = "failed"

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
        parameters: All parameters of the template, those with default values included.
        batch_seconds: How long the simulator takes for a batch.
        groq_api_key: The key that the simulator takes; it opens nothing else.
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
    parameters: Mapping[str, str] = field(default_factory=dict)
    batch_seconds: float | None = None
    groq_api_key: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LocalState:
        """Return what a server has written, be it of another version of this program."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The folder in which a clone of the project keeps its running stack.

    Attributes:
        project: The clone; None when the folder was named outside of any.
        path: The folder.
    """

    project: Path | None
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
            while not _try_lock(stream):
                if self.is_served():
                    raise CommandError("Another server of this clone is running.")
                # Somebody just looks whether there is a server.
                time.sleep(0.01)
            yield

    def is_served(self) -> bool:
        """Tell whether a server lives."""
        try:
            with self._lock.open("rb") as stream:
                return not _try_lock(stream, is_shared=True)
        except OSError:
            return False

    def running(self) -> LocalState | None:
        """Return the stack that can be used; None when none runs."""
        data = self.read()
        if data.pop("phase", None) != READY or not self.is_served():
            return None
        return LocalState.from_json(data)


def _try_lock(stream: BinaryIO, *, is_shared: bool = False) -> bool:
    """Take a lock that goes with the process, unless somebody else has it.

    Args:
        stream: The file.
        is_shared: Whether others may take it likewise, which only the server may not.
    """
    import fcntl  # noqa: PLC0415 - not on Windows, where nothing else of this program needs it

    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def project_of(place: Path) -> Path | None:
    """Return the clone of the project that a folder or file belongs to; None when it is in none."""
    for folder in (place, *place.parents):
        if all((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return None


def find_project() -> Path | None:
    """Return the clone of the working folder, or else the one that this program belongs to."""
    return project_of(Path.cwd().resolve()) or project_of(Path(__file__).resolve())
