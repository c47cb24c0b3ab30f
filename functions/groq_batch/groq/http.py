"""One HTTP request and its answer: what the client of the Groq API needs of HTTP, and no more.

Nothing is repeated, redirected, cached or taken from the environment here: a request goes out at
most once, to the address that was given, and whoever sent it learns whether it can have arrived.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, BinaryIO

import certifi
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.ssl_ import create_urllib3_context

from groq_batch.groq.errors import GroqApiError, NoAnswer, NotSentError, UnknownOutcomeError
from groq_batch.groq.multipart_body import MultipartBody, StreamError

_PIECE_BYTES = 1024 * 1024
_WRITE_BYTES = 128 * 1024
_MOST_IN_MEMORY = 64 * 1024 * 1024
_MOST_OF_AN_ERROR = 64 * 1024
_CONNECTIONS = 16
_NEVER_SENT = frozenset(
    {NoAnswer.NAME_NOT_FOUND, NoAnswer.UNREACHABLE, NoAnswer.UNTRUSTED_CERTIFICATE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request. Times are in seconds.

    Attributes:
        method: GET, DELETE or POST.
        url: The whole address.
        headers: Its header fields, the key among them.
        body: What is sent with it.
        connect_timeout: For making a connection, and for each piece of the body to be taken.
        read_timeout: Between two pieces of the answer.
        until: When the answer must have been read, by ``time.monotonic``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """An answer that came whole.

    Attributes:
        status: The HTTP status.
        headers: The header fields, looked up without regard to case.
        body: The content; empty when it was written to a file.
        size: The content's bytes.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    size: int

    @property
    def is_success(self) -> bool:
        """Whether the server says that it did what it was asked for."""
        return 200 <= self.status < 300  # noqa: PLR2004 (better known by its number)

    @property
    def is_of_known_length(self) -> bool:
        """Whether the server said beforehand how long the content is, so that none is missing."""
        return "content-length" in self.headers and "content-encoding" not in self.headers


class Transport:
    """Sends requests to one server."""

    def __init__(self, *, encrypted: bool) -> None:
        """Prepare connections; ``encrypted`` ones trust the authorities of certifi alone."""
        self._ssl_context: ssl.SSLContext | None = None
        if encrypted:
            self._ssl_context = create_urllib3_context()
            self._ssl_context.load_verify_locations(certifi.where())
        self._kept = self._new_pools()

    def exchange(self, request: HttpRequest, *, into: BinaryIO | None = None) -> HttpAnswer:
        """Send a request and return the answer, whatever its status.

        Args:
            request: The request.
            into: Where the content of a success goes; None for short contents.

        Raises:
            NotSentError: The server cannot have got the request, or not all of its body.
            UnknownOutcomeError: No answer came, or not all of it.
            OSError: ``into`` cannot be written to.
        """
        with self._pools(request) as pools:
            response = self._begin(pools, request)
            try:
                return self._read(response, request, into)
            finally:
                response.close()

    @contextmanager
    def _pools(self, request: HttpRequest) -> Iterator[PoolManager]:
        if request.method != "POST" and not request.on_new_connection:
            yield self._kept
            return
        # A kept connection may have died while the function was frozen, which would leave the
        # outcome of a request on it unknown. A new one cannot have.
        pools = self._new_pools()
        try:
            yield pools
        finally:
            pools.clear()

    def _new_pools(self) -> PoolManager:
        pools = PoolManager(
            maxsize=_CONNECTIONS, blocksize=_WRITE_BYTES, ssl_context=self._ssl_context
        )
        pools.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return pools

    def _begin(self, pools: PoolManager, request: HttpRequest) -> BaseHTTPResponse:
        """Send a request and return its answer as far as the header fields."""
        headers = dict(request.headers)
        body: Any = request.body
        if isinstance(body, MultipartBody):
            headers["Content-Length"] = str(len(body))
            body = _TimedBody(body, request.until)
        try:
            response = pools.urlopen(
                request.method,
                request.url,
                body=body,
                headers=headers,
                timeout=Timeout(connect=request.connect_timeout, read=request.read_timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except StreamError as error:
            problem: GroqApiError = NotSentError(f"The upload was given up: {error}.")
        except ValueError:
            # Not its text: it may be about the header field that holds the key.
            problem = NotSentError(f"The {request.method} request could not be made.")
        except (HTTPError, HTTPException, OSError) as error:
            problem = _no_answer(request, error)
        else:
            if not _is_complete(request.body) and response.status < 400:  # noqa: PLR2004
                response.close()
                raise UnknownOutcomeError("An answer came before the whole request was sent.")
            return response
        # Raised here, it has no context: no error that a library made goes any further.
        raise problem

    def _read(
        self, response: BaseHTTPResponse, request: HttpRequest, into: BinaryIO | None
    ) -> HttpAnswer:
        """Read the rest of an answer."""
        is_success = 200 <= response.status < 300  # noqa: PLR2004
        pieces: list[bytes] = []
        size = 0
        problem: GroqApiError | None = None
        while problem is None:
            try:
                piece = response.read1(_PIECE_BYTES, decode_content=True)
            except (HTTPError, HTTPException, OSError) as error:
                problem = _cut(request, size, error)
                break
            if not piece:
                break
            size += len(piece)
            if is_success and into is not None:
                into.write(piece)
            else:
                pieces.append(piece)
                if size > (_MOST_IN_MEMORY if is_success else _MOST_OF_AN_ERROR):
                    problem = UnknownOutcomeError("The answer is longer than any that is expected.")
            if time.monotonic() > request.until:
                problem = _cut(request, size, None)
        # Of a refusal the status is enough.
        if problem is not None and is_success:
            raise problem
        return HttpAnswer(
            status=response.status, headers=response.headers, body=b"".join(pieces), size=size
        )


class _TimedBody:
    """Passes a body on until its time is over."""

    def __init__(self, body: MultipartBody, until: float) -> None:
        self._body = body
        self._until = until

    def read(self, size: int) -> bytes:
        if time.monotonic() > self._until and not self._body.is_complete:
            raise StreamError("It takes too long")
        return self._body.read(size)


class _SalvagingConnection(HTTPConnection):
    """A connection that reads the answer of a server which does not take the whole request.

    A server that refuses an upload answers early and closes the connection, or reads no further.
    With TLS the next write then fails in ways of its own, and with a silent peer it times out.
    urllib3 goes on to read the answer after a broken pipe only.
    """

    def send(self, data: Any) -> None:
        """Send a piece of the request."""
        try:
            super().send(data)
        except (ssl.SSLError, TimeoutError) as error:
            raise BrokenPipeError(str(error)) from error


class _SalvagingTlsConnection(_SalvagingConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _SalvagingConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _SalvagingTlsConnection


def _is_complete(body: bytes | MultipartBody | None) -> bool:
    return not isinstance(body, MultipartBody) or body.is_complete


def _no_answer(request: HttpRequest, error: Exception) -> GroqApiError:
    """Tell a request that cannot have arrived from one whose outcome is not known."""
    reason = _reason(error)
    call = f"{request.method} {request.url.split('?', maxsplit=1)[0]}"
    if reason in _NEVER_SENT or isinstance(error, ConnectTimeoutError):
        return NotSentError(f"There is no connection for {call} ({reason}).", reason=reason)
    if not _is_complete(request.body):
        return NotSentError(f"The body of {call} was not taken whole ({reason}).", reason=reason)
    return UnknownOutcomeError(f"No answer came to {call} ({reason}).", reason=reason)


def _reason(error: Exception) -> NoAnswer:
    if isinstance(error, NameResolutionError):
        return NoAnswer.NAME_NOT_FOUND
    if isinstance(error, NewConnectionError):
        return NoAnswer.UNREACHABLE
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return NoAnswer.TIMED_OUT
    if isinstance(error, SSLError) and any(
        isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args
    ):
        return NoAnswer.UNTRUSTED_CERTIFICATE
    return NoAnswer.BROKEN_OFF


def _cut(request: HttpRequest, size: int, error: Exception | None) -> UnknownOutcomeError:
    reason = NoAnswer.TIMED_OUT if error is None else _reason(error)
    call = f"{request.method} {request.url.split('?', maxsplit=1)[0]}"
    return UnknownOutcomeError(
        f"The answer to {call} ended after {size} bytes ({reason}).", reason=reason
    )
