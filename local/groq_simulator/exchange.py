"""One API call together with the faults that concern it; still without sockets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from local.groq_simulator.faults import CallFacts, Fault
from local.groq_simulator.messages import (
    ApiError,
    Request,
    Response,
    error_body,
    parse_json_body,
)
from local.groq_simulator.ordinary_calls import ROUTES_OF_CALLS, prompt_of, read_body
from local.groq_simulator.routes import Api
from local.groq_simulator.state import State

FILE_ROUTES = ("file_retrieve", "file_delete", "content")


class _NotActedError(Exception):
    """The fault keeps the API from acting."""


class Exchange:
    """Runs one call.

    Attributes:
        fault: The fault that applied, if any; it also says how the answer is delivered.
    """

    def __init__(self, state: State, api: Api, route: str, target_id: str, target: str) -> None:
        self._state = state
        self._api = api
        self._route = route
        self._target_id = target_id
        self._target = target
        self.fault: Fault | None = None

    def run(self, request: Request) -> Response:
        """Performs the call and returns the answer, including faults except those of delivery."""
        request.before_acting = lambda filename: self._upload_read(request, filename)
        try:
            if self._route == "create":
                request.json = parse_json_body(request)
            elif self._route in ROUTES_OF_CALLS:
                request.json = read_body(self._route, request)
            self._begin(self._state.faults.of(self._facts(request)), request)
            self._api.authorise(request, self._route)
            response = self._api.handle(self._route, request, self._target_id)
        except _NotActedError:
            response = Response(200)
        except ApiError as error:
            response = error.response()
        fault = self.fault
        if fault is None:
            return response
        if fault.hold_after is not None:
            self._state.gates.hold(fault.hold_after, self._state.settings.max_hold_seconds)
        self._state.gates.sleep(fault.delay_after)
        if fault.answer == "status":
            response.close()
            return _fault_response(fault)
        if fault.answer == "garbage":
            response.close()
            return Response.of_text('{"id": "garb', 200, "application/json")
        return response

    def _facts(self, request: Request) -> CallFacts:
        metadata: Mapping[str, str] | None = None
        filename = None
        if self._route == "create" and isinstance(request.json, dict):
            given = request.json.get("metadata")
            if isinstance(given, dict):
                metadata = {name: str(value) for name, value in given.items()}
        if self._route in ROUTES_OF_CALLS and isinstance(request.json, dict):
            url = ROUTES_OF_CALLS[self._route]
            texts = {
                name: one[-1] if isinstance(one, list) else one
                for name, one in request.json.items()
                if name == "url"
            }
            asked = prompt_of(url, request.json if self._route == "chat" else texts)
            return CallFacts(self._route, self._target, prompt=asked)
        if self._route in FILE_ROUTES:
            with self._state.lock:
                stored = self._state.files.find(self._target_id)
            filename = stored.filename if stored else None
        return CallFacts(self._route, self._target, metadata, filename)

    def _upload_read(self, request: Request, filename: str) -> None:
        if self.fault is None:
            facts = CallFacts(self._route, self._target, filename=filename)
            self._begin(self._state.faults.of(facts, by_filename_only=True), request)

    def _begin(self, fault: Fault | None, request: Request) -> None:
        if fault is None:
            return
        self.fault = fault
        if fault.hold_before is not None:
            self._state.gates.hold(fault.hold_before, self._state.settings.max_hold_seconds)
        self._state.gates.sleep(fault.delay_before)
        request.visible_after = fault.visible_after
        if fault.answer == "stall" and self._route == "upload":
            request.read = _stalling(request, fault, self._state.gates.sleep)
        if not fault.act:
            raise _NotActedError


def _stalling(
    request: Request, fault: Fault, sleep: Callable[[float], None]
) -> Callable[[int], bytes]:
    """Returns a reader that pauses once when it has passed the fault's fraction of the body."""
    inner = request.read
    pause_at = int((request.length or 0) * fault.fraction)
    passed = 0

    def read(size: int) -> bytes:
        nonlocal passed
        before = passed
        data = inner(size)
        passed += len(data)
        if before <= pause_at < passed:
            sleep(fault.seconds)
        return data

    return read


def _fault_response(fault: Fault) -> Response:
    status = fault.status or 500
    if fault.body is None:
        response = Response.of_json(error_body(status, f"Simulated status {status}."), status)
    elif isinstance(fault.body, str):
        content_type = "text/html" if fault.body.startswith("<") else "text/plain"
        response = Response.of_text(fault.body, status, content_type)
    else:
        response = Response.of_json(fault.body, status)
    response.headers.update(fault.headers)
    return response
