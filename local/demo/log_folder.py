"""The logs of a run: removed after success, kept after a failure."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Self

from local.environment import CACHE_FOLDER, remove_older

LOGS_FOLDER = CACHE_FOLDER / "logs"

_KEPT_SECONDS = 7 * 24 * 3600


class LogFolder:
    """A folder for logs, removed at the end of the ``with`` block unless ``keep`` was called."""

    def __init__(self, parent: Path = LOGS_FOLDER) -> None:
        """Create the folder in ``parent`` and remove old ones."""
        parent.mkdir(parents=True, exist_ok=True)
        remove_older(parent, _KEPT_SECONDS)
        self.path = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=parent))
        self._is_kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_kept:
            shutil.rmtree(self.path, ignore_errors=True)

    def keep(self) -> None:
        """Keep the logs for the user."""
        self._is_kept = True
