"""The HTTP side: requests with keep-alive, and the delivery of answers, faults included."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import sys
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.groq_simulator.accounting import Call
from local.groq_simulator.control import CONTROL_PREFIX
from local.groq_simulator.exchange import Exchange
from local.groq_simulator.faults import Fault
from local.groq_simulator.messages import ApiError, Request, Response
from local.groq_simulator.operations import Operations
from local.groq_simulator.routes import Api, find_route
from local.groq_simulator.state import State

HOST = "127.0.0.1"
PREFIXES = ("/openai/v1", "/v1")
CHUNK_BYTES = 1024 * 1024


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
        """Reads the rest of the body."""
        while self.read(CHUNK_BYTES):
            pass


class HttpServer(socketserver.ThreadingTCPServer):
    """Listens on a loopback port; one thread per connection."""

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
        """Reports a bug of the simulator; a disconnected client is not one."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Logs nothing, because the call log has everything."""

    def _serve(self) -> None:
        body = _Body(self.rfile.read, self.rfile.readline, self.headers)
        address = urlsplit(self.path)
        if address.path.startswith(CONTROL_PREFIX):
            self._serve_control(address.path.removeprefix(CONTROL_PREFIX), body)
            return
        request = Request(
            method=self.command,
            path=_path_below_prefix(address.path),
            query=parse_qs(address.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            read=body.read,
            length=body.length,
        )
        found = find_route(request.method, request.path, request.query)
        route, target_id = found or ("unknown", "")
        state = self.server.state
        call = Call(time=state.now(), route=route, method=self.command, path=self.path)
        state.accounting.add_call(call)
        started = time.monotonic()
        try:
            response, fault = self._respond(request, route, target_id)
            self._deliver(response, fault, body, call)
        finally:
            call.seconds = round(time.monotonic() - started, 6)
            call.running = False

    def _respond(
        self, request: Request, route: str, target_id: str
    ) -> tuple[Response, Fault | None]:
        """Performs a call; returns the answer and the fault that applied to it."""
        if request.headers.get("user-agent", "").startswith("Python-urllib"):
            return Response.of_text("error code: 1010", 403), None
        if route == "unknown":
            message = f"Unknown request URL: {request.method} {request.path}."
            return ApiError(404, message, code="unknown_url").response(), None
        exchange = Exchange(self.server.state, self.server.api, route, target_id, self.path)
        try:
            return exchange.run(request), exchange.fault
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001 (the client shall see that the simulator is at fault)
            traceback.print_exc()
            return ApiError(500, "Bug in the simulator.", code="simulator_bug").response(), None

    def _deliver(self, response: Response, fault: Fault | None, body: _Body, call: Call) -> None:
        """Sends an answer, or fails to, as the fault says."""
        accounting = self.server.state.accounting
        with response:
            if fault is not None and fault.answer in ("reset", "half_close"):
                accounting.count_bytes(received=body.received)
                self._hang_up(fault)
                return
            if fault is None or fault.read_body:
                body.drain()
            accounting.count_bytes(received=body.received)
            self.close_connection = self.close_connection or not body.complete
            call.status = response.status
            broken = fault is not None and fault.answer in ("cut", "stall")
            # An upload has stalled already, while it was read.
            stalled = call.route == "upload" and fault is not None and fault.answer == "stall"
            self._send(response, fault if broken and not stalled else None)

    def _hang_up(self, fault: Fault) -> None:
        """Ends the connection without an answer."""
        self.close_connection = True
        if fault.answer == "half_close":
            self.connection.shutdown(socket.SHUT_WR)
            self.server.state.gates.sleep(fault.seconds)
            return
        # Lingering for no time makes the end a reset instead of an orderly one. The reader still
        # holds the socket: it really closes after this call.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _send_head(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(response.size))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _send(self, response: Response, broken_by: Fault | None) -> None:
        self._send_head(response)
        sent = 0
        if broken_by is not None:
            sent = int(response.size * broken_by.fraction)
            self._copy(response, 0, sent)
            if broken_by.answer == "cut":
                self.close_connection = True
                return
            self.server.state.gates.sleep(broken_by.seconds)
        self._copy(response, sent, response.size)

    def _copy(self, response: Response, start: int, end: int) -> None:
        """Sends a range of the body."""
        while start < end:
            size = min(CHUNK_BYTES, end - start)
            self.server.state.accounting.count_bytes(sent=size)
            if response.stream is None:
                self.wfile.write(response.body[start : start + size])
            else:
                self.connection.sendfile(response.stream, start, size)
            start += size

    def _serve_control(self, operation: str, body: _Body) -> None:
        data = bytearray()
        while chunk := body.read(CHUNK_BYTES):
            data += chunk
        try:
            result = self.server.operations.run(operation, json.loads(data or b"{}"))
            response = Response.of_json({"result": result})
        except ValueError as error:
            response = Response.of_json({"error": str(error)}, 400)
        self._send_head(response)
        self.wfile.write(response.body)


def _path_below_prefix(path: str) -> str:
    for prefix in PREFIXES:
        if path.startswith(f"{prefix}/"):
            return path.removeprefix(prefix)
    return ""
