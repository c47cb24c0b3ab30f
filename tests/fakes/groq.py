"""The Groq simulator behind the real HTTP client, without sockets and with a clock of its own.

Everything but the socket is real: the client, requests and urllib3 with its checks of lengths on
one side, the simulator's routes, faults and batches on the other.
``tests/workflow/test_fakes.py`` holds it against the simulator over HTTP.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from groq_batch.groq.adapter import SendOnceAdapter
from groq_batch.groq.calls import ApiKeySource, Timeouts
from groq_batch.groq.client import GroqClient
from groq_batch.groq.http import Transport
from local.groq_simulator.accounting import Call as LoggedCall
from local.groq_simulator.control import ControlOperations
from local.groq_simulator.exchange import Exchange
from local.groq_simulator.faults import Fault
from local.groq_simulator.messages import ApiError, Request, Response
from local.groq_simulator.operations import Operations
from local.groq_simulator.ordinary_calls import JOB_HEADER
from local.groq_simulator.routes import Api, find_route
from local.groq_simulator.settings import DEFAULT_KEY, Settings
from local.groq_simulator.state import State
from tests.fakes.calls import Call, Wire, plain_wire

BASE_URL = "http://127.0.0.1:9/openai/v1"
"""Nothing listens there, and nothing is ever sent there."""

_PIECE_BYTES = 65_536


class _ClockedState(State):
    """A simulator's state that lives in the time of a test."""

    clock: Callable[[], float]

    def now(self) -> float:
        return self.clock() + self.clock_offset


class _Control(ControlOperations):
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def call(self, operation: str, arguments: dict[str, Any]) -> Any:
        plain = json.loads(json.dumps(arguments))
        return json.loads(json.dumps(self._operations.run(operation, plain)))


class FakeGroq:
    """A simulator in this process.

    Args:
        clock: Seconds since 1970.
        settings: Settings of the simulator by name.

    Attributes:
        control: The simulator's control operations.
        reachable: Whether a connection can be made at all.
        job: Returns the job for which a request is made, as far as is known.
    """

    def __init__(self, *, clock: Callable[[], float], **settings: Any) -> None:
        chosen = Settings()
        chosen.update(settings)
        self._folder = Path(tempfile.mkdtemp(prefix="groq-fake-", dir=shared_memory()))
        self._state = _ClockedState(chosen, self._folder)
        self._state.clock = clock
        # Pauses are the sockets' affair.
        self._state.gates.sleep = lambda seconds: None  # type: ignore[method-assign]
        self._api = Api(self._state)
        self.control: ControlOperations = _Control(Operations(self._state))
        self.reachable = True
        self.job: Callable[[], str] = lambda: ""
        self.key = DEFAULT_KEY

    def close(self) -> None:
        """Remove the simulator's files."""
        self._state.gates.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def client(self, wire: Wire = plain_wire, *, api_key: ApiKeySource | None = None) -> GroqClient:
        """Return the real client, whose requests go through ``wire`` to this simulator."""
        client = GroqClient(
            base_url=BASE_URL, api_key=api_key or self._key, timeouts=Timeouts(pause=0.0)
        )
        client._calls.transport = _Transport(self, wire)
        return client

    def _key(self, *, refresh: bool = False) -> str:
        return self.key

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Any
    ) -> HTTPResponse:
        """Do with a request what the simulator's HTTP server does with it."""
        address = urlsplit(target)
        query = parse_qs(address.query, keep_blank_values=True)
        path = address.path.removeprefix(urlsplit(BASE_URL).path)
        stream = body if hasattr(body, "read") else io.BytesIO(body or b"")
        is_stream = stream is body
        request = Request(
            method=method,
            path=path,
            query=query,
            headers={
                **{name.lower(): value for name, value in headers.items()},
                JOB_HEADER: self.job(),
            },
            read=stream.read,
            length=int(headers["Content-Length"]) if is_stream else len(body or b""),
        )
        found = find_route(method, path, query)
        route, target_id = found or ("unknown", "")
        logged = LoggedCall(time=self._state.now(), route=route, method=method, path=target)
        self._state.accounting.add_call(logged)
        if found is None:
            response, fault = ApiError(404, "Unknown URL.", code="unknown_url").response(), None
        else:
            exchange = Exchange(self._state, self._api, route, target_id, target)
            response, fault = exchange.run(request), exchange.fault
        try:
            logged.status = response.status
            # Whether the server reads it or not, a socket takes as much as is sent here.
            while stream.read(_PIECE_BYTES):
                pass
            return _delivered(response, fault, method, target)
        finally:
            logged.running = False
            response.close()


def shared_memory() -> Path | None:
    """Return the folder of files that are in memory only; None where there is none."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None


def route_of(method: str, target: str) -> str:
    """Return the name of the route of a request."""
    address = urlsplit(target)
    path = address.path.removeprefix(urlsplit(BASE_URL).path)
    found = find_route(method, path, parse_qs(address.query, keep_blank_values=True))
    return found[0] if found else "unknown"


def _delivered(response: Response, fault: Fault | None, method: str, target: str) -> HTTPResponse:
    """Return the answer as it comes out of the socket, or raise what the socket raises."""
    answer = fault.answer if fault is not None else None
    if answer == "reset":
        raise ConnectionResetError(104, "Connection reset by peer")
    if answer == "half_close":
        raise RemoteDisconnected("Remote end closed connection without response")
    data = response.body if response.stream is None else response.stream.read()
    if answer == "stall":
        raise ReadTimeoutError(HTTPConnectionPool("127.0.0.1"), target, "Read timed out.")
    headers = {**response.headers, "Content-Length": str(len(data))}
    if answer == "cut" and fault is not None:
        data = data[: int(len(data) * fault.fraction)]
    return HTTPResponse(
        body=io.BytesIO(data),
        headers=headers,
        status=response.status,
        version=11,
        preload_content=False,
        decode_content=False,
        enforce_content_length=True,
        request_method=method,
        request_url=target,
    )


class _Transport(Transport):
    """The client's transport, with connections none of which is ever made."""

    def __init__(self, groq: FakeGroq, wire: Wire) -> None:
        self._groq = groq
        self._wire = wire
        super().__init__(encrypted=False)

    def _new_adapter(self, tls: Any) -> SendOnceAdapter:
        return _Adapter(self._groq, self._wire)


class _Adapter(SendOnceAdapter):
    """Hands requests to the simulator, where another adapter would send them.

    Only what is raised goes through urllib3, which has its own names for it.
    """

    def __init__(self, groq: FakeGroq, wire: Wire) -> None:
        self._groq = groq
        self._wire = wire
        super().__init__()

    def send(
        self, request: PreparedRequest, *arguments: Any, new_connection: bool = False, **named: Any
    ) -> requests.Response:
        method, url = str(request.method), request.path_url

        def act() -> HTTPResponse:
            if not self._groq.reachable:
                raise NewConnectionError(None, "Failed to establish a new connection")
            return self._groq.exchange(method, url, request.headers, request.body)

        call = Call("groq", route_of(method, url), "", {"method": method, "url": url})
        try:
            return self.build_response(request, self._wire(call, act))
        except Exception as error:  # noqa: BLE001 (whatever a socket raises)
            raised = error
        failing = SendOnceAdapter()
        failing.poolmanager.pool_classes_by_scheme = {"http": partial(_FailingPool, raised)}
        return HTTPAdapter.send(failing, request, *arguments, **named)


class _FailingPool(HTTPConnectionPool):
    """Raises an error where another pool would send a request."""

    def __init__(self, error: Exception, host: str, port: int, **settings: Any) -> None:
        super().__init__(host, port, **settings)
        self._error = error

    def _make_request(self, *_: Any, **__: Any) -> Any:
        raise self._error
