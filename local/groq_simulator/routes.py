"""The API's routes: what each call does, without sockets and without faults."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.groq_simulator.batches import Batch, view
from local.groq_simulator.files import StoredFile
from local.groq_simulator.input_checks import CHAT_URL, URLS
from local.groq_simulator.messages import ApiError, Request, Response
from local.groq_simulator.models import listing
from local.groq_simulator.multipart import MultipartError, MultipartReader, Part, boundary_of
from local.groq_simulator.ordinary_calls import (
    JOB_HEADER,
    ROUTES_OF_CALLS,
    OrdinaryCall,
    check_body,
    fingerprint,
    prompt_of,
    response_of,
    tokens_of,
)
from local.groq_simulator.refusals import asked_by, check_endpoint
from local.groq_simulator.state import State

ROUTE_TABLE: tuple[tuple[str, str, str], ...] = (
    ("upload", "POST", r"/files"),
    ("files_list", "GET", r"/files"),
    ("file_retrieve", "GET", r"/files/([^/]+)"),
    ("file_delete", "DELETE", r"/files/([^/]+)"),
    ("content", "GET", r"/files/([^/]+)/content"),
    ("create", "POST", r"/batches"),
    ("list", "GET", r"/batches"),
    ("retrieve", "GET", r"/batches/([^/]+)"),
    ("cancel", "POST", r"/batches/([^/]+)/cancel"),
    ("models", "GET", r"/models"),
    ("chat", "POST", r"/chat/completions"),
    ("transcriptions", "POST", r"/audio/transcriptions"),
    ("translations", "POST", r"/audio/translations"),
)
SECONDS_PER_UNIT = {"h": 3600, "d": 86400}
MIN_WINDOW_SECONDS = 24 * 3600
MAX_WINDOW_SECONDS = 7 * 86400
MAX_FIELD_BYTES = 65536
MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY = 64
MAX_METADATA_VALUE = 512


def find_route(method: str, path: str, query: Mapping[str, list[str]]) -> tuple[str, str] | None:
    """Returns name and id of the route of a call, None when there is no such route."""
    for name, wanted, pattern in ROUTE_TABLE:
        found = re.fullmatch(pattern, path)
        if found and method == wanted:
            by_ids = name == "list" and "id" in query
            return "list_by_ids" if by_ids else name, found[1] if found.re.groups else ""
    return None


class Api:
    """The simulated API."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._handlers: dict[str, Callable[[Request, str], Response]] = {
            "files_list": self._files_list,
            "file_retrieve": self._file_retrieve,
            "file_delete": self._file_delete,
            "content": self._content,
            "create": self._create,
            "list": self._list,
            "list_by_ids": self._list_by_ids,
            "retrieve": self._retrieve,
            "cancel": self._cancel,
            "models": self._models,
        }

    def handle(self, route: str, request: Request, target_id: str) -> Response:
        """Performs a call.

        Raises:
            ApiError: The call is refused.
        """
        if route == "upload":
            return self._upload(request)
        if route in ROUTES_OF_CALLS:
            with self._state.open_calls:
                self._state.gates.sleep(self._state.settings.call_seconds)
                with self._state.lock:
                    return self._ordinary_call(request, route)
        with self._state.lock:
            return self._handlers[route](request, target_id)

    def authorise(self, request: Request, route: str) -> None:
        """Checks the API key; every plan may list models and make ordinary calls.

        Raises:
            ApiError: 401, 403, or 400 when the spend limit is reached.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        with self._state.lock:
            known = self._state.settings.keys.get(key.strip())
        if scheme.lower() != "bearer" or known is None:
            raise ApiError(401, "Invalid API Key", code="invalid_api_key")
        if known == "free" and route not in ("models", *ROUTES_OF_CALLS):
            message = "The Batch API is not available on your plan. Please upgrade."
            raise ApiError(403, message, code="not_available_for_plan")
        if known == "spend_limit":
            message = "API access is blocked: the monthly spend limit has been reached."
            raise ApiError(400, message, code="blocked_api_access")
        if known == "network_blocked":
            raise ApiError(403, "Access denied. Please check your network settings.")

    # Files

    def _upload(self, request: Request) -> Response:
        limit = self._state.settings.max_file_bytes
        spool = self._state.files.spool_path()
        fields: dict[str, str] = {}
        filename: str | None = None
        size = 0
        try:
            boundary = boundary_of(request.headers.get("content-type", ""))
            with spool.open("wb") as output:
                for part in MultipartReader(request.read, boundary).parts():
                    if part.name != "file":
                        fields[part.name] = _field_value(part)
                        continue
                    filename = part.filename
                    for chunk in part.chunks:
                        size += len(chunk)
                        # Above the limit the rest is read but not kept.
                        if size <= limit:
                            output.write(chunk)
            self._check_upload(filename, fields.get("purpose"), size)
            if request.before_acting is not None:
                request.before_acting(filename or "")
            with self._state.lock:
                now = self._state.now()
                stored = self._state.files.add(
                    spool,
                    filename=filename or "",
                    purpose="batch",
                    now=now,
                    visible_from=now + request.visible_after,
                )
            return Response.of_json(stored.view())
        except MultipartError as error:
            raise ApiError(400, f"Malformed upload: {error}.", code="invalid_multipart") from error
        finally:
            spool.unlink(missing_ok=True)

    def _check_upload(self, filename: str | None, purpose: str | None, size: int) -> None:
        limit = self._state.settings.max_file_bytes
        if filename is None:
            raise ApiError(400, "The part 'file' is missing.", param="file")
        if purpose != "batch":
            raise ApiError(400, "purpose must be 'batch'.", code="invalid_purpose", param="purpose")
        if not filename.endswith(".jsonl"):
            raise ApiError(400, "The file name must end in .jsonl.", param="file")
        if size > limit:
            message = f"The file is too large: at most {limit} bytes are allowed."
            raise ApiError(413, message, code="request_entity_too_large")

    def _files_list(self, _request: Request, _target: str) -> Response:
        now = self._state.now()
        shown = [stored.view() for stored in self._state.files.all() if stored.visible_from <= now]
        return Response.of_json({"object": "list", "data": shown})

    def _file(self, file_id: str) -> StoredFile:
        return self._state.files.get(file_id)

    def _file_retrieve(self, _request: Request, file_id: str) -> Response:
        return Response.of_json(self._file(file_id).view())

    def _file_delete(self, _request: Request, file_id: str) -> Response:
        self._state.files.delete(file_id)
        return Response.of_json({"id": file_id, "object": "file", "deleted": True})

    def _content(self, _request: Request, file_id: str) -> Response:
        return Response.of_file(self._file(file_id).path)

    # Batches

    def _create(self, request: Request, _target: str) -> Response:
        body = request.json
        if not isinstance(body, dict):
            raise ApiError(400, "The body must be a JSON object.")
        known = (CHAT_URL,) if self._state.settings.endpoint_rule == "chat" else URLS
        if body.get("endpoint") not in known:
            message = f"endpoint must be one of {', '.join(known)}."
            raise ApiError(400, message, code="invalid_endpoint", param="endpoint")
        window = body.get("completion_window")
        window_seconds = _window_seconds(window)
        metadata = _metadata(body.get("metadata"))
        file_id = body.get("input_file_id")
        if not isinstance(file_id, str) or not file_id:
            raise ApiError(400, "input_file_id is missing.", param="input_file_id")
        stored = self._file(file_id)
        if stored.purpose != "batch":
            raise ApiError(400, "The file's purpose is not 'batch'.", param="input_file_id")
        self._refuse_if_so_set(stored, body["endpoint"], metadata)
        batches, now = self._state.batches, self._state.now()
        batches.created += 1
        batch = Batch(
            position=float(batches.created),
            metadata=metadata,
            input_file_id=file_id,
            endpoint=body["endpoint"],
            completion_window=str(window),
            window_seconds=window_seconds * self._state.settings.window_scale,
            created_at=now,
            fate=self._state.fates.of(batches.created, metadata),
            visible_from=now + request.visible_after,
        )
        # A separate link: the batch continues if its input file is deleted.
        batch.input_path = self._state.folder / f"input-{batch.id}"
        batch.input_path.hardlink_to(stored.path)
        batches.add(batch)
        self._state.engine.begin(batch)
        return self._shown(batch)

    def _refuse_if_so_set(
        self, stored: StoredFile, endpoint: str, metadata: dict[str, str] | None
    ) -> None:
        """Refuses a create because of the requests' models or URLs.

        Raises:
            ApiError: The create is refused.
        """
        try:
            if self._state.settings.endpoint_rule == "own_at_create":
                check_endpoint(endpoint, asked_by(stored.path))
            self._state.refusals.check_create(stored.path)
        except ApiError:
            for asked in asked_by(stored.path):
                self._state.accounting.asked(metadata, asked.custom_id)
            raise

    def _shown(self, batch: Batch) -> Response:
        return Response.of_json(view(batch, self._state.settings, self._state.now()))

    def _retrieve(self, _request: Request, batch_id: str) -> Response:
        batch = self._state.batches.get(batch_id)
        self._state.engine.advance(batch, self._state.now())
        return self._shown(batch)

    def _list(self, request: Request, _target: str) -> Response:
        settings, now = self._state.settings, self._state.now()
        cursor = request.query.get("cursor", [""])[-1]
        page, next_cursor = self._state.batches.page(cursor or None, settings, now)
        answer = self._listed(page, now)
        if next_cursor is not None or settings.last_page == "null":
            answer["paging"] = {"next_cursor": next_cursor}
        elif settings.last_page == "empty":
            answer["paging"] = {"next_cursor": ""}
        return Response.of_json(answer)

    def _list_by_ids(self, request: Request, _target: str) -> Response:
        batches = self._state.batches.by_ids(request.query["id"], self._state.settings)
        return Response.of_json(self._listed(batches, self._state.now()))

    def _listed(self, batches: list[Batch], now: float) -> dict[str, Any]:
        self._state.engine.advance_all(batches, now)
        shown = [view(batch, self._state.settings, now) for batch in batches]
        return {"object": "list", "data": shown}

    def _cancel(self, _request: Request, batch_id: str) -> Response:
        batch, now = self._state.batches.get(batch_id), self._state.now()
        self._state.engine.advance(batch, now)
        if not self._state.engine.cancel(batch, now):
            message = f"Cannot cancel a batch with status '{batch.status}'."
            raise ApiError(400, message, code="batch_not_cancellable")
        return self._shown(batch)

    # Ordinary calls

    def _ordinary_call(self, request: Request, route: str) -> Response:
        state, url, now = self._state, ROUTES_OF_CALLS[route], self._state.now()
        body = check_body(route, request.json)
        asked = fingerprint(url, body)
        call = OrdinaryCall(now, url, prompt_of(url, body), request.json, asked, 429, billed=False)
        call.job = request.headers.get(JOB_HEADER, "")
        try:
            limits = state.limits.take(tokens_of(url, body), now)
            hints = state.settings.honour_request_hints
            name = state.accounting.holder_of(asked) or call.prompt
            outcome = state.rules.outcome(name, body, {"attempt": "on-demand"}, hints=hints)
            call_id = f"{asked[:12]}{len(state.accounting.ordinary):06d}"
            response = response_of(outcome, url, body, call_id=call_id, now=int(now))
            response.headers.update(limits)
            call.status, call.billed = response.status, outcome.succeeds
        finally:
            state.accounting.called(call)
        return response

    # Models

    def _models(self, _request: Request, _target: str) -> Response:
        return Response.of_json(listing(self._state.settings.models))


def _field_value(part: Part) -> str:
    value = bytearray()
    for chunk in part.chunks:
        value += chunk
        if len(value) > MAX_FIELD_BYTES:
            raise MultipartError(f"field {part.name} is too long")
    return value.decode("utf-8", "replace")


def _window_seconds(window: object) -> int:
    found = re.fullmatch(r"([0-9]{1,4})([hd])", window) if isinstance(window, str) else None
    seconds = int(found[1]) * SECONDS_PER_UNIT[found[2]] if found else 0
    if not MIN_WINDOW_SECONDS <= seconds <= MAX_WINDOW_SECONDS:
        message = "completion_window must be between 24h and 7d, such as 24h or 3d."
        raise ApiError(400, message, code="invalid_completion_window", param="completion_window")
    return seconds


def _metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ApiError(400, "metadata must map strings to strings.", param="metadata")
    too_long = any(
        len(name) > MAX_METADATA_KEY or len(text) > MAX_METADATA_VALUE
        for name, text in value.items()
    )
    if len(value) > MAX_METADATA_PAIRS or too_long:
        raise ApiError(400, "metadata is too large.", param="metadata")
    return dict(value)
