"""Find the request files in a folder and its subfolders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from groq_batch.domain import object_keys
from groq_batch_client.request_files import RequestFile
from groq_batch_client.text import listed, one_line

_REPORT_ENDING = ".report.json"
"""Suffix of the report that a command writes next to fetched results."""

_FETCHED_KINDS = (".results", ".failed", ".invalid", ".merged")


@dataclass(slots=True)
class FolderFiles:
    """The request files of a folder, and the skipped ones.

    Attributes:
        files: The files, sorted by path.
        hidden: Hidden files, such as those that macOS creates next to a file (``._name``).
        fetched: Result files of an earlier run.
        links: Links to other folders, which are not followed.
    """

    files: list[RequestFile] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def left_out(self) -> Iterator[str]:
        """Yield a sentence for each reason to skip something."""
        for names, why in (
            (self.hidden, "hidden"),
            (self.fetched, "fetched by an earlier run"),
            (self.links, "a link to another folder"),
        ):
            if names:
                yield f"Skipped, as {why}: {listed([one_line(name) for name in names])}"


def files_of_folder(folder: str) -> FolderFiles:
    """Return the request files below a folder, each named by its path below the folder.

    Args:
        folder: The folder as the user wrote it.
    """
    found = FolderFiles()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.links += [
            os.path.join(place, name)  # noqa: PTH118 - keeps the folder as the user wrote it
            for name in folders
            if Path(place, name).is_symlink()
        ]
        for name in sorted(names):
            if not object_keys.has_accepted_ending(name):
                continue
            path = os.path.join(place, name)  # noqa: PTH118
            if name.startswith("."):
                found.hidden.append(path)
            elif _is_fetched(name, names):
                found.fetched.append(path)
            else:
                found.files.append(RequestFile(path, below=folder))
    return found


def _is_fetched(name: str, beside: list[str]) -> bool:
    """Tell whether a file is a fetched result: if so, its report is next to it."""
    stem = name.removesuffix(".gz").removesuffix(object_keys.PLAIN_ENDING)
    return any(
        stem.endswith(kind) and stem.removesuffix(kind) + _REPORT_ENDING in beside
        for kind in _FETCHED_KINDS
    )
