"""Send one HTTP request and read its response, with only the features that the client needs.

Nothing is repeated, followed, cached or read from the environment (no proxy, no ``.netrc``): a
request is sent at most once, to the given address, and the sender learns whether it can have
arrived.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, BinaryIO

import certifi
import msgspec
from requests import PreparedRequest, Response, Session

from groq_batch.groq.adapter import NETWORK_ERRORS, SendOnceAdapter, no_answer_of, was_never_sent
from groq_batch.groq.errors import GroqApiError, NoAnswer, NotSentError, UnknownOutcomeError
from groq_batch.groq.multipart_body import MultipartBody, StreamError

_PIECE_BYTES = 1024 * 1024
_MAX_IN_MEMORY = 64 * 1024 * 1024
_MAX_OF_AN_ERROR = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request. Times are in seconds.

    Attributes:
        method: GET, DELETE or POST.
        url: The complete URL.
        headers: Its header fields, including the key.
        body: Its body.
        connect_timeout: For making a connection, and for each piece of the body to be accepted.
        read_timeout: Between two pieces of the response.
        until: When the response must have been read, by ``time.monotonic``.
        on_new_connection: Whether no kept connection is used; a POST never uses one.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | MultipartBody | None = field(default=None, repr=False)
    connect_timeout: float
    read_timeout: float
    until: float
    on_new_connection: bool = False


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A complete response.

    Attributes:
        status: The HTTP status.
        headers: The header fields, with case-insensitive lookup.
        body: The body; empty if it was written to a file.
        size: Size of the body in bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int

    @property
    def is_success(self) -> bool:
        """Whether the status reports success (2xx)."""
        return 200 <= self.status < 300  # noqa: PLR2004 (the number is clearer than a name)

    @property
    def is_redirect(self) -> bool:
        """Whether the content may be at another address."""
        return self.status in _REDIRECTS

    @property
    def is_of_known_length(self) -> bool:
        """Whether the server announced the length of the body, so that none of it is missing."""
        return "content-length" in self.headers and "content-encoding" not in self.headers


class Transport:
    """Sends requests to one server. Threads may share it."""

    def __init__(self, *, encrypted: bool) -> None:
        """Prepare connections; ``encrypted`` ones trust only the authorities of certifi."""
        tls: ssl.SSLContext | None = None
        if encrypted:
            tls = ssl.create_default_context(cafile=certifi.where())
            # The common name of a certificate must not be used (RFC 9525, section 1.4.1).
            tls.hostname_checks_common_name = False
        self._adapter = self._new_adapter(tls)
        self._session = _Session()
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, self._adapter)

    def exchange(self, request: HttpRequest, *, into: BinaryIO | None = None) -> HttpResponse:
        """Send a request and return the response, whatever its status.

        Args:
            request: The request.
            into: Receives the body of a success; None for short bodies.

        Raises:
            NotSentError: The server cannot have received the whole request.
            UnknownOutcomeError: The response did not come, or not completely.
            OSError: ``into`` cannot be written to.
        """
        response = self._begin(request)
        try:
            if not _is_complete(request.body) and response.status_code < 400:  # noqa: PLR2004
                raise UnknownOutcomeError("An answer came before the whole request was sent.")
            return self._read(response, request, into)
        finally:
            self._adapter.close_response(response)

    def _new_adapter(self, tls: ssl.SSLContext | None) -> SendOnceAdapter:
        return SendOnceAdapter(tls)

    def _begin(self, request: HttpRequest) -> Response:
        """Send a request and return its response up to the header fields."""
        prepared = self._prepare(request)
        try:
            return self._session.send(
                prepared,
                stream=True,
                timeout=(request.connect_timeout, request.read_timeout),
                allow_redirects=False,
                new_connection=request.on_new_connection,
            )
        except StreamError as error:
            problem: GroqApiError = NotSentError(f"The upload was given up: {error}.")
        except (*NETWORK_ERRORS, ValueError) as error:
            problem = _no_answer(request, error)
        # Raised here, it has no context, so no exception of a library is passed on.
        raise problem

    def _prepare(self, request: HttpRequest) -> PreparedRequest:
        """Check a request and convert it into the form that ``requests`` sends."""
        body: Any = request.body
        if isinstance(body, MultipartBody):
            body = _TimedBody(body, request.until)
        try:
            for value in request.headers.values():
                # Header fields are limited to latin-1; http.client would only detect it while
                # sending.
                value.encode("latin-1")
            # Session.prepare_request would merge in what the session has, which is nothing.
            prepared = PreparedRequest()
            prepared.prepare(
                method=request.method, url=request.url, headers=dict(request.headers), data=body
            )
        except ValueError:
            # The error's text is left out: it may quote the header field with the key.
            problem = NotSentError(f"The {request.method} request could not be made.")
        else:
            return prepared
        raise problem

    def _read(
        self, response: Response, request: HttpRequest, into: BinaryIO | None
    ) -> HttpResponse:
        """Read the rest of a response."""
        is_success = 200 <= response.status_code < 300  # noqa: PLR2004
        pieces: list[bytes] = []
        size = 0
        problem: GroqApiError | None = None
        while problem is None:
            try:
                # Response.iter_content would wait for a full piece.
                piece = response.raw.read1(_PIECE_BYTES, decode_content=True)
            except NETWORK_ERRORS as error:
                problem = _cut(request, size, error)
                break
            if not piece:
                break
            size += len(piece)
            if is_success and into is not None:
                into.write(piece)
            else:
                pieces.append(piece)
                if size > (_MAX_IN_MEMORY if is_success else _MAX_OF_AN_ERROR):
                    problem = UnknownOutcomeError("The answer is longer than any that is expected.")
            if time.monotonic() > request.until:
                problem = _cut(request, size, None)
        # For an error response the status is enough.
        if problem is not None and is_success:
            raise problem
        return HttpResponse(
            status=response.status_code, headers=response.headers, body=b"".join(pieces), size=size
        )


class _Session(Session):
    """A session that adds nothing to a request and follows nothing in a response."""

    def __init__(self) -> None:
        super().__init__()
        # Disables proxies, other authorities, and .netrc, which would replace the key.
        self.trust_env = False
        self.headers.clear()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, resp: Response) -> None:
        """Return None: no redirect is followed, so no body is read to prepare for it."""


class _TimedBody:
    """Passes a body through until its time is over."""

    def __init__(self, body: MultipartBody, until: float) -> None:
        self._body = body
        self._until = until

    def __len__(self) -> int:
        return len(self._body)

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._until and not self._body.is_complete:
            raise StreamError("It takes too long")
        return self._body.read(size)


def _is_complete(body: bytes | MultipartBody | None) -> bool:
    return not isinstance(body, MultipartBody) or body.is_complete


def _no_answer(request: HttpRequest, error: Exception) -> GroqApiError:
    """Distinguish a request that cannot have arrived from one with an unknown outcome."""
    reason = no_answer_of(error)
    call = f"{request.method} {request.url.split('?', maxsplit=1)[0]}"
    if was_never_sent(error):
        return NotSentError(f"There is no connection for {call} ({reason}).", reason=reason)
    if not _is_complete(request.body):
        return NotSentError(f"The body of {call} was not fully sent ({reason}).", reason=reason)
    return UnknownOutcomeError(f"No answer came to {call} ({reason}).", reason=reason)


def _cut(request: HttpRequest, size: int, error: Exception | None) -> UnknownOutcomeError:
    reason = NoAnswer.TIMED_OUT if error is None else no_answer_of(error)
    call = f"{request.method} {request.url.split('?', maxsplit=1)[0]}"
    return UnknownOutcomeError(
        f"The answer to {call} ended after {size} bytes ({reason}).", reason=reason
    )
