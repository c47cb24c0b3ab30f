"""Run the Groq simulator as a separate program, so that it does not slow down its caller."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from local.environment import plain_environment
from local.groq_simulator import DEFAULT_KEY, SimulatorControl
from local.processes import LOOPBACK, LeashedProgram

_START_TIMEOUT_SECONDS = 30.0


class SimulatorProcess(LeashedProgram):
    """A running Groq simulator; leaving the ``with`` block ends it."""

    api_key = DEFAULT_KEY

    def __init__(
        self, *, log_file: Path, arguments: tuple[str, ...] = (), honours_hints: bool = True
    ) -> None:
        """Start it and wait until it listens.

        Args:
            log_file: Where its output goes.
            honours_hints: Whether requests may determine their own outcome.
            arguments: More options of ``python -m local.groq_simulator``.

        Raises:
            LocalStackError: It does not start; its log's end is in the message.
        """
        folder = Path(tempfile.mkdtemp(prefix="groq-batch-simulator-"))
        port_file = folder / "port"
        command = [sys.executable, "-m", "local.groq_simulator", "--port", "0"]
        command += ["--port-file", str(port_file), *arguments]
        if honours_hints:
            command.append("--honour-request-hints")
        environment = plain_environment() | {"TMPDIR": str(folder)}
        super().__init__(
            "The Groq simulator",
            command,
            environment=environment,
            log_file=log_file,
            remove_afterwards=[folder],
        )
        try:
            self.wait_until(lambda: _has_text(port_file), _START_TIMEOUT_SECONDS)
            self.url = f"http://{LOOPBACK}:{int(port_file.read_text(encoding='ascii'))}"
            self.control = SimulatorControl(self.url)
        except BaseException:
            self.stop()
            raise

    @property
    def groq_base_url(self) -> str:
        """What the template's ``GroqBaseUrl`` is set to."""
        return f"{self.url}/openai/v1"


def _has_text(path: Path) -> bool:
    return path.exists() and path.read_text(encoding="ascii").strip() != ""
