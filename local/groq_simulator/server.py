"""The whole simulator, which tests start and stop."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from local.groq_simulator.control import ControlError, ControlOperations
from local.groq_simulator.http_server import HOST, HttpServer
from local.groq_simulator.operations import Operations
from local.groq_simulator.settings import Settings
from local.groq_simulator.state import State

STOP_SECONDS = 5.0


class _LocalControl(ControlOperations):
    """Controls a simulator in this process, through the same JSON as over HTTP."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        """Runs an operation by name.

        Raises:
            ControlError: The operation or its arguments are wrong.
        """
        try:
            plain = json.loads(json.dumps(arguments))
            return json.loads(json.dumps(self._operations.run(operation, plain)))
        except (TypeError, ValueError) as error:
            raise ControlError(str(error)) from error


class GroqSimulator:
    """A simulator of the Groq Files and Batch API on a loopback port.

    Use it as a context manager, or call `start` and `stop`.

    Args:
        port: Port to listen on; 0 takes a free one.
        data_dir: Folder in which the temporary folder is made.
        settings: Settings by name, see `Settings`.

    Attributes:
        control: The control operations, without HTTP.
    """

    def __init__(self, *, port: int = 0, data_dir: Path | None = None, **settings: Any) -> None:
        chosen = Settings()
        chosen.update(settings)
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="groq-simulator-", dir=data_dir))
        self._state = State(chosen, self._folder)
        try:
            self._server = HttpServer(port, self._state)
        except OSError:
            self._state.workers.stop()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), name="groq-simulator", daemon=True
        )
        self.control: ControlOperations = _LocalControl(self._server.operations)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def host_url(self) -> str:
        """The address without path, as the Groq SDK wants it."""
        return f"http://{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The base address of the API, as `GroqBaseUrl` and the OpenAI SDK want it."""
        return f"{self.host_url}/openai/v1"

    def start(self) -> None:
        """Starts to answer calls."""
        self._thread.start()

    def stop(self) -> None:
        """Stops answering, cuts open connections and removes the temporary folder."""
        self._state.gates.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        until = time.monotonic() + STOP_SECONDS
        while self._server.connections and time.monotonic() < until:
            for connection in list(self._server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            time.sleep(0.005)
        self._state.workers.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> GroqSimulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
