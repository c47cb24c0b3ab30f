"""Send a request once: the adapter of ``requests`` for the Groq API, and what its errors mean.

The only module that knows urllib3, on which ``requests`` is built: the connection class has to be
changed, and the errors of ``requests`` tell why they were raised by errors of urllib3 alone.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException
from typing import Any

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from groq_batch.groq.errors import NoAnswer

NETWORK_ERRORS = (RequestException, HTTPError, HTTPException, OSError)
"""What sending a request or reading its answer raises."""
_WRITE_BYTES = 128 * 1024
_CONNECTIONS = 16
_NEVER_SENT = frozenset(
    {NoAnswer.NAME_NOT_FOUND, NoAnswer.UNREACHABLE, NoAnswer.UNTRUSTED_CERTIFICATE}
)


class SendOnceAdapter(HTTPAdapter):
    """Sends each request once; a POST on a connection that nothing else uses.

    A kept connection may have died while the function was frozen, which would leave the outcome of
    a POST on it unknown. A new one cannot have. ``Response.connection`` is the adapter that holds
    the response's connection; whoever sent the request closes it with ``close_response``.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Prepare connections; ``tls`` says which servers to trust."""
        self._tls = tls
        super().__init__(pool_maxsize=_CONNECTIONS, max_retries=Retry(0, read=False))

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **settings: Any
    ) -> None:
        """Make the pools of connections; ``requests`` calls this, with the base's arguments."""
        super().init_poolmanager(
            connections,
            maxsize,
            block,
            blocksize=_WRITE_BYTES,
            ssl_context=self._tls,
            **settings,
        )
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the check of certificates to the context, which has read the authorities once.

        ``requests`` would have them read from their file at every new connection.
        """

    def send(
        self, request: PreparedRequest, *arguments: Any, new_connection: bool = False, **named: Any
    ) -> Response:
        """Send a request and return its response up to the header fields.

        Args:
            request: The request; a POST is always sent on a new connection.
            *arguments: As the base class has them.
            new_connection: Whether any other method is sent on a new connection as well.
            **named: As the base class has them.
        """
        if request.method != "POST" and not new_connection:
            return super().send(request, *arguments, **named)
        # Without a response urllib3 has closed the connection itself.
        return super(SendOnceAdapter, type(self)(self._tls)).send(request, *arguments, **named)

    def close_response(self, response: Response) -> None:
        """End a response, and the connection that it had for itself."""
        response.close()
        if response.connection is not self:
            response.connection.close()


class _EarlyAnswerConnection(HTTPConnection):
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


class _EarlyAnswerTlsConnection(_EarlyAnswerConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _EarlyAnswerConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _EarlyAnswerTlsConnection


def was_never_sent(error: Exception) -> bool:
    """Return whether an error proves that no byte of the request went out."""
    cause = _cause(error)
    return reason_of(error) in _NEVER_SENT or isinstance(
        cause, ConnectTimeoutError | LocationValueError
    )


def reason_of(error: Exception) -> NoAnswer:
    """Return why a request has no answer, or not all of it."""
    cause = _cause(error)
    if isinstance(cause, NameResolutionError):
        return NoAnswer.NAME_NOT_FOUND
    if isinstance(cause, NewConnectionError):
        return NoAnswer.UNREACHABLE
    if isinstance(cause, ConnectTimeoutError | ReadTimeoutError):
        return NoAnswer.TIMED_OUT
    if isinstance(cause, SSLError) and any(
        isinstance(inner, ssl.SSLCertVerificationError) for inner in cause.args
    ):
        return NoAnswer.UNTRUSTED_CERTIFICATE
    return NoAnswer.BROKEN_OFF


def _cause(error: Exception) -> object:
    """Return the error of urllib3 that an error of ``requests`` was made from."""
    inner = error.args[0] if isinstance(error, RequestException) and error.args else error
    return inner.reason if isinstance(inner, MaxRetryError) else inner
