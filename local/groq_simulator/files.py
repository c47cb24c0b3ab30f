"""The files that the simulated API keeps, on disk in the data folder."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.groq_simulator.messages import ApiError


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file; `visible_from` is the time from which lists show it."""

    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    path: Path
    visible_from: float = 0.0

    def view(self) -> dict[str, Any]:
        """Returns the file object of the API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": int(self.created_at),
            "filename": self.filename,
            "purpose": self.purpose,
        }


class FileStore:
    """All files that were not deleted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, StoredFile] = {}

    def spool_path(self) -> Path:
        """Returns the path of a new temporary file in the data folder."""
        return self._folder / f"spool-{uuid.uuid4().hex}"

    def add(
        self, spool: Path, *, filename: str, purpose: str, now: float, visible_from: float = 0.0
    ) -> StoredFile:
        """Takes over a temporary file as a stored one."""
        file_id = new_id("file")
        path = self._folder / file_id
        spool.rename(path)
        stored = StoredFile(
            file_id, filename, purpose, path.stat().st_size, now, path, visible_from
        )
        self._files[file_id] = stored
        return stored

    def adopt(self, files: list[StoredFile]) -> None:
        """Takes files that were stored in the same folder elsewhere."""
        self._files |= {stored.id: stored for stored in files}

    def find(self, file_id: str) -> StoredFile | None:
        """Returns a file, None when it is unknown or deleted."""
        return self._files.get(file_id)

    def get(self, file_id: str) -> StoredFile:
        """Returns a file.

        Raises:
            ApiError: 404 when it is unknown or deleted.
        """
        stored = self._files.get(file_id)
        if stored is None:
            raise ApiError(404, f"No such file: {file_id}", code="file_not_found")
        return stored

    def delete(self, file_id: str) -> None:
        """Deletes a file.

        Raises:
            ApiError: 404 when it is unknown or deleted.
        """
        self.get(file_id).path.unlink()
        del self._files[file_id]

    def all(self) -> list[StoredFile]:
        """Returns every file, oldest first."""
        return list(self._files.values())

    def clear(self) -> None:
        """Deletes every file."""
        for file_id in list(self._files):
            self.delete(file_id)


def new_id(kind: str) -> str:
    """Returns a new id in the API's style, such as `file_01…`."""
    return f"{kind}_01{uuid.uuid4().hex[:24]}"
