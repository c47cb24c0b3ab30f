"""The HTTP side: sockets, keep-alive, delivery of answers, and the simulator as a whole."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import socketserver
import struct
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.groq_simulator.accounting import Call
from local.groq_simulator.control import CONTROL_PREFIX, ControlError, ControlOperations
from local.groq_simulator.exchange import Exchange
from local.groq_simulator.faults import Fault
from local.groq_simulator.messages import ApiError, Request, Response
from local.groq_simulator.operations import Operations
from local.groq_simulator.routes import Api, find_route
from local.groq_simulator.settings import Settings
from local.groq_simulator.state import State

HOST = "127.0.0.1"
PREFIXES = ("/openai/v1", "/v1")
CHUNK_BYTES = 65536
STOP_SECONDS = 5.0


class _Body:
    """Reads the body of one request, with a known length or in chunks."""

    def __init__(
        self, read: Callable[[int], bytes], readline: Callable[[], bytes], headers: Any
    ) -> None:
        self._read = read
        self._readline = readline
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self.length = None if self._chunked else int(headers.get("Content-Length") or 0)
        self._left = self.length or 0
        self.complete = self.length == 0
        self.received = 0

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes; empty at the end, or when the client went away."""
        if self._chunked and self._left == 0 and not self.complete:
            self._next_chunk()
        data = self._read(min(size, self._left)) if self._left else b""
        self._left -= len(data)
        self.received += len(data)
        if self._chunked:
            if data and self._left == 0:
                self._readline()
        elif self._left == 0:
            self.complete = True
        return data

    def _next_chunk(self) -> None:
        try:
            self._left = int(self._readline().split(b";")[0], 16)
        except ValueError:
            self._left = 0
            return
        if self._left == 0:
            self.complete = True
            while self._readline().strip():
                pass

    def drain(self) -> None:
        """Reads what is left."""
        while self.read(CHUNK_BYTES):
            pass


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, state: State) -> None:
        self.state = state
        self.api = Api(state)
        self.operations = Operations(state)
        self.connections: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Reports a bug of the simulator; a client that goes away is none."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        """Answers a GET."""
        self._serve()

    def do_POST(self) -> None:
        """Answers a POST."""
        self._serve()

    def do_DELETE(self) -> None:
        """Answers a DELETE."""
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Keeps silent: the call log has it all."""

    def _serve(self) -> None:
        self.sent_bytes = 0
        body = _Body(self.rfile.read, self.rfile.readline, self.headers)
        address = urlsplit(self.path)
        if address.path.startswith(CONTROL_PREFIX):
            self._serve_control(address.path.removeprefix(CONTROL_PREFIX), body)
            return
        query = parse_qs(address.query, keep_blank_values=True)
        path = next(
            (
                address.path.removeprefix(one)
                for one in PREFIXES
                if address.path.startswith(one + "/")
            ),
            "",
        )
        found = find_route(self.command, path, query)
        route, target_id = found or ("unknown", "")
        request = Request(
            method=self.command,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in self.headers.items()},
            read=body.read,
            length=body.length,
        )
        state = self.server.state
        call = Call(time=state.now(), route=route, method=self.command, path=self.path)
        with state.lock:
            state.accounting.calls.append(call)
        started = time.monotonic()
        try:
            self._answer(request, route, target_id, body, call)
        finally:
            call.seconds = round(time.monotonic() - started, 6)
            call.running = False
            with state.lock:
                state.accounting.bytes_received += body.received
                state.accounting.bytes_sent += self.sent_bytes

    def _answer(
        self, request: Request, route: str, target_id: str, body: _Body, call: Call
    ) -> None:
        if request.headers.get("user-agent", "").startswith("Python-urllib"):
            response, fault = Response.of_text("error code: 1010", 403), None
        elif route == "unknown":
            message = f"Unknown request URL: {self.command} {request.path}."
            response, fault = ApiError(404, message, code="unknown_url").response(), None
        else:
            exchange = Exchange(self.server.state, self.server.api, route, target_id, self.path)
            try:
                response = exchange.run(request)
            except Exception:
                if isinstance(sys.exception(), OSError) and not body.complete:
                    raise
                traceback.print_exc()
                response = ApiError(500, "Bug in the simulator.", code="simulator_bug").response()
            fault = exchange.fault
        try:
            self._finish_call(response, fault, body, call, stall=route != "upload")
        finally:
            response.close()

    def _finish_call(
        self, response: Response, fault: Fault | None, body: _Body, call: Call, *, stall: bool
    ) -> None:
        if fault is not None and fault.answer == "reset":
            self._reset()
            return
        if fault is not None and fault.answer == "half_close":
            self.connection.shutdown(socket.SHUT_WR)
            self.server.state.gates.sleep(fault.seconds)
            self.close_connection = True
            return
        if fault is None or fault.read_body:
            body.drain()
        if not body.complete:
            self.close_connection = True
        call.status = response.status
        pause = fault if fault is not None and fault.answer in ("cut", "stall") else None
        if pause is not None and pause.answer == "stall" and not stall:
            pause = None
        self._send(response, pause)

    def _reset(self) -> None:
        """Closes the connection with a reset instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The reader still holds the socket: it really closes, with the reset, after this call.
        self.connection.close()
        self.close_connection = True

    def _send(self, response: Response, pause: Fault | None = None) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(response.size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        left = response.size
        if pause is not None:
            first = int(response.size * pause.fraction)
            self._copy(response, 0, first)
            if pause.answer == "cut":
                self.close_connection = True
                return
            self.server.state.gates.sleep(pause.seconds)
            left -= first
        self._copy(response, response.size - left, left)

    def _copy(self, response: Response, start: int, size: int) -> None:
        sent = 0
        while sent < size:
            want = min(CHUNK_BYTES, size - sent)
            if response.stream is not None:
                data = response.stream.read(want)
            else:
                data = response.body[start + sent : start + sent + want]
            if not data:
                break
            self.wfile.write(data)
            sent += len(data)
            self.sent_bytes += len(data)

    def _serve_control(self, operation: str, body: _Body) -> None:
        data = bytearray()
        while chunk := body.read(CHUNK_BYTES):
            data += chunk
        try:
            result = self.server.operations.run(operation, json.loads(data or b"{}"))
            self._send(Response.of_json({"result": result}))
        except ValueError as error:
            self._send(Response.of_json({"error": str(error)}, 400))


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
            self._server = _Server(port, self._state)
        except OSError:
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
        """Begins to answer."""
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
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> GroqSimulator:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
