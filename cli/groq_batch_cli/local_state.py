"""Store the state of the emulated stack in a file that commands share.

The server holds a lock on a file while it runs. So a state file left by a crash never counts as a
running stack, and no other process is mistaken for the server.
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
        pid: Process id of the server.
        endpoint_url: URL of the AWS APIs.
        region: Region of the stack.
        stack_name: Name of the stack.
        access_key: Access key of the emulated account.
        secret_key: Its secret, valid only for this emulator.
        bucket: The stack's bucket.
        groq_base_url: URL of the simulated Groq API.
        started_at: When the server started, in seconds since 1970.
        log_folder: Folder of the logs.
        parameters: All parameters of the template, including those with default values.
        batch_seconds: Seconds that the simulator takes for a batch.
        groq_api_key: The key that the simulator accepts, valid nowhere else.
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
        """Return the state that a server wrote, even one of another version of this program."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The folder in which a clone of the project keeps its running stack.

    Attributes:
        project: The clone; None if the folder was named from outside a clone.
        path: The folder.
    """

    project: Path | None
    path: Path

    @property
    def logs(self) -> Path:
        """Folder of the logs."""
        return self.path / "logs"

    @property
    def _state(self) -> Path:
        return self.path / "state.json"

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    def prepare(self) -> None:
        """Create the folder."""
        self.logs.mkdir(parents=True, exist_ok=True)

    def write(self, phase: str, **fields: Any) -> None:
        """Write the progress of the server."""
        draft = self._state.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"phase": phase, **fields}), encoding="utf-8")
        draft.replace(self._state)

    def write_ready(self, state: LocalState) -> None:
        """Write that the stack is ready."""
        self.write(READY, **asdict(state))

    def read(self) -> dict[str, Any]:
        """Return the last written state; an empty one if there is none."""
        try:
            data: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return data

    def forget(self) -> None:
        """Remove the written state."""
        self._state.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the server within a ``with`` block.

        Raises:
            CommandError: Another server holds it.
        """
        self.prepare()
        with self._lock.open("ab") as stream:
            while not _try_lock(stream):
                if self.is_served():
                    raise CommandError("Another server of this clone is running.")
                # Another command may hold the lock briefly to check for a server.
                time.sleep(0.01)
            yield

    def is_served(self) -> bool:
        """Tell whether a server is running."""
        try:
            with self._lock.open("rb") as stream:
                return not _try_lock(stream, is_shared=True)
        except OSError:
            return False

    def running(self) -> LocalState | None:
        """Return the stack that is ready; None if none is running."""
        data = self.read()
        if data.pop("phase", None) != READY or not self.is_served():
            return None
        return LocalState.from_json(data)


def _try_lock(stream: BinaryIO, *, is_shared: bool = False) -> bool:
    """Try to take a lock that ends with the process.

    Args:
        stream: The file.
        is_shared: Whether other processes may hold it too. The server's lock is exclusive.
    """
    import fcntl  # noqa: PLC0415 - missing on Windows; only this command needs it

    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def project_of(place: Path) -> Path | None:
    """Return the clone of the project that contains a folder or file; None if none does."""
    for folder in (place, *place.parents):
        if all((folder / name).exists() for name in _PROJECT_FILES):
            return folder
    return None


def find_project() -> Path | None:
    """Return the clone that contains the working folder, or else this program."""
    return project_of(Path.cwd().resolve()) or project_of(Path(__file__).resolve())
