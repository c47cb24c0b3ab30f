"""Requests, answers and API errors, as the routes see them (no sockets here)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 1_000_000
SERVER_ERROR = 500


@dataclass(slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: HTTP method.
        path: Path below `/openai/v1` or `/v1`, such as `/files`.
        query: Query parameters, each with all its values.
        headers: Header fields, names in lower case.
        read: Reads up to n bytes of the body; empty at its end.
        length: Announced length of the body in bytes; None when it comes in chunks.
        json: The parsed body of a JSON route (None when there is none).
        visible_after: Seconds for which what this request makes stays out of lists.
        before_acting: Called with the file's name when an upload has been read, before it counts.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    read: Callable[[int], bytes]
    length: int | None = 0
    json: Any = None
    visible_after: float = 0.0
    before_acting: Callable[[str], None] | None = None


@dataclass(slots=True)
class Response:
    """One HTTP answer; the body is either `body` or the file at `path`, opened as `stream`."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: BinaryIO | None = None
    size: int = 0

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> Response:
        """Makes an answer with a JSON body."""
        body = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
        return cls(status, body, {"Content-Type": "application/json"}, None, len(body))

    @classmethod
    def of_text(cls, text: str, status: int, content_type: str = "text/plain") -> Response:
        """Makes an answer with a text body."""
        body = text.encode("utf-8")
        return cls(status, body, {"Content-Type": content_type}, None, len(body))

    @classmethod
    def of_file(cls, path: Path) -> Response:
        """Makes an answer that streams a file; later deletion of the file does not disturb it."""
        stream = path.open("rb")
        headers = {"Content-Type": "application/octet-stream"}
        return cls(200, b"", headers, stream, path.stat().st_size)

    def close(self) -> None:
        """Closes the streamed file, if any."""
        if self.stream is not None:
            self.stream.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ApiError(Exception):
    """A refusal in the API's own form.

    Attributes:
        status: HTTP status.
        message: Sentence for people.
        code: The API's error code, or None.
        param: Name of the parameter at fault, or None.
        headers: More header fields of the answer.
    """

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers: dict[str, str] = {}

    def response(self) -> Response:
        """Returns the refusal as an answer."""
        response = Response.of_json(
            error_body(self.status, self.message, self.code, self.param), self.status
        )
        response.headers.update(self.headers)
        return response


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Returns the JSON body of an API error."""
    kinds = {401: "invalid_request_error", 403: "permissions_error", 429: "rate_limit_error"}
    kind = kinds.get(
        status, "invalid_request_error" if status < SERVER_ERROR else "internal_server_error"
    )
    error: dict[str, Any] = {"message": message, "type": kind}
    if code is not None:
        error["code"] = code
    if param is not None:
        error["param"] = param
    return {"error": error}


def parse_json_body(request: Request, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """Reads and parses a JSON body of at most so many bytes.

    Returns:
        The value, None for an empty body.

    Raises:
        ApiError: 400 when it is not JSON or too large.
    """
    data = bytearray()
    while chunk := request.read(65536):
        data += chunk
        if len(data) > max_bytes:
            raise ApiError(413, "Request body is too large.", code="request_entity_too_large")
    if not data:
        return None
    try:
        return json.loads(data)
    except ValueError as error:
        raise ApiError(400, "Request body is not valid JSON.", code="invalid_json") from error
