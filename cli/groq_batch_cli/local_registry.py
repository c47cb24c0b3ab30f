"""Record the running emulated stacks, so that ``--local`` finds them from every folder.

Each running stack has a small file in the user's state folder. A stack holds a lock while it runs
(see ``local_state``); a file without a locked stack is a leftover of a crash.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from groq_batch_cli.local_state import LocalFolder


def state_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Return the folder for the state that this program keeps between runs.

    It is ``$XDG_STATE_HOME/groq-batch``, by default below ``~/.local/state``
    (https://specifications.freedesktop.org/basedir-spec/latest/), on macOS below
    ``~/Library/Application Support``.

    Args:
        environ: The environment; that of the process if not given.
        platform: The operating system, as ``sys.platform`` names it.
    """
    named = (os.environ if environ is None else environ).get("XDG_STATE_HOME", "")
    # The specification says to ignore a relative path.
    if Path(named).is_absolute():
        return Path(named) / "groq-batch"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "groq-batch"
    return Path.home() / ".local" / "state" / "groq-batch"


class Registry:
    """The running stacks of a user."""

    def __init__(self, folder: Path | None = None) -> None:
        """Use a folder for the files; the state folder of the user if not given."""
        self._folder = (folder or state_folder()) / "local-stacks"

    def add(self, stack: LocalFolder) -> None:
        """Record a stack that holds its lock.

        Raises:
            OSError: The file cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entry = self._entry(stack.path)
        draft = entry.with_suffix(f".{os.getpid()}")
        known = {"project": str(stack.project), "folder": str(stack.path.absolute())}
        draft.write_text(json.dumps(known), encoding="utf-8")
        draft.replace(entry)

    def remove(self, stack: LocalFolder) -> None:
        """Remove the record of a stack, if there is one."""
        self._entry(stack.path).unlink(missing_ok=True)

    def served(self) -> list[LocalFolder]:
        """Return the running stacks, sorted by clone; remove the records of all others."""
        found = []
        for entry in sorted(self._folder.glob("*.json")):
            try:
                known = json.loads(entry.read_text(encoding="utf-8"))
                stack = LocalFolder(Path(known["project"]), Path(known["folder"]))
            except (OSError, ValueError, KeyError, TypeError):
                # Removed in the meantime, or not from this program.
                continue
            if stack.is_served():
                found.append(stack)
            else:
                entry.unlink(missing_ok=True)
        return sorted(found, key=lambda stack: str(stack.project))

    def _entry(self, stack: Path) -> Path:
        name = hashlib.sha256(str(stack.absolute()).encode()).hexdigest()[:16]
        return self._folder / f"{name}.json"
