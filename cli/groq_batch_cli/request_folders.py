"""The files of requests in a folder and the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from groq_batch.domain import object_keys
from groq_batch_client.request_files import RequestFile
from groq_batch_client.text import listed, one_line

_REPORT_ENDING = ".report.json"
"""What stands beside the results that a command has fetched."""

_FETCHED_KINDS = (".results", ".failed", ".invalid", ".merged")


@dataclass(slots=True)
class FolderFiles:
    """What is to run of a folder, and what is not.

    Attributes:
        files: The files, by their paths.
        hidden: Hidden ones, such as those that macOS keeps beside a file (``._name``).
        fetched: Those that came out of an earlier run.
        links: Links to other folders, which are not followed.
    """

    files: list[RequestFile] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def left_out(self) -> Iterator[str]:
        """Yield a sentence for each reason to leave something out."""
        for names, why in (
            (self.hidden, "hidden"),
            (self.fetched, "fetched by an earlier run"),
            (self.links, "a link to another folder"),
        ):
            if names:
                yield f"Left out, as {why}: {listed([one_line(name) for name in names])}"


def files_of_folder(folder: str) -> FolderFiles:
    """Return the files of requests below a folder; each is named as it stands below it.

    Args:
        folder: What the user called it.
    """
    found = FolderFiles()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.links += [
            os.path.join(place, name)  # noqa: PTH118 - as the user has written the folder
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
    """Tell whether a file is one that fetching results has written, by the report beside it."""
    stem = name.removesuffix(".gz").removesuffix(object_keys.PLAIN_ENDING)
    return any(
        stem.endswith(kind) and stem.removesuffix(kind) + _REPORT_ENDING in beside
        for kind in _FETCHED_KINDS
    )
