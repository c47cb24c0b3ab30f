"""The whole state of one simulator, under one lock."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from local.groq_simulator.accounting import Accounting
from local.groq_simulator.batches import BatchStore
from local.groq_simulator.engine import Engine
from local.groq_simulator.fates import Fates
from local.groq_simulator.faults import Faults, Gates
from local.groq_simulator.files import FileStore
from local.groq_simulator.ordinary_calls import OpenCalls, RateLimits
from local.groq_simulator.outcomes import Rules
from local.groq_simulator.refusals import Refusals
from local.groq_simulator.settings import Settings
from local.groq_simulator.workers import Workers


class State:
    """The state of one simulator; `lock` guards all of it but faults and gates."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.lock = threading.RLock()
        self.settings = settings
        self._initial_settings = settings.copy()
        self.folder = folder
        self.clock_offset = 0.0
        self.faults = Faults()
        self.gates = Gates()
        self.accounting = Accounting(settings)
        self.files = FileStore(folder)
        self.batches = BatchStore()
        self.rules = Rules()
        self.fates = Fates()
        self.refusals = Refusals()
        self.limits = RateLimits(settings)
        self.open_calls = OpenCalls()
        self.workers = Workers(settings.workers, folder)
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        return Engine(
            self.settings, self.files, self.rules, self.accounting, self.workers, self.refusals
        )

    def now(self) -> float:
        """Returns the simulator's time in Unix seconds."""
        return time.time() + self.clock_offset

    def reset(self) -> None:
        """Deletes everything and restores the initial settings."""
        with self.lock:
            self.settings.update(
                {
                    name: getattr(self._initial_settings.copy(), name)
                    for name in Settings.__dataclass_fields__
                }
            )
            self.clock_offset = 0.0
            self.faults.clear()
            self.accounting.clear()
            self.workers.wait()
            for batch in self.batches.all():
                if batch.input_path is not None:
                    batch.input_path.unlink(missing_ok=True)
            self.files.clear()
            self.workers.clear()
            self.batches = BatchStore()
            self.rules = Rules()
            self.fates = Fates()
            self.refusals = Refusals()
            self.limits = RateLimits(self.settings)
            self.open_calls = OpenCalls()
            self.engine = self._new_engine()
