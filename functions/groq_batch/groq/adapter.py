"""Send a request once: a ``requests`` adapter for the Groq API, and the meaning of its errors.

This is the only module that uses urllib3, on which ``requests`` is built: the connection class has
to be changed, and only urllib3's errors say why ``requests`` raised an error.
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
"""Exceptions raised while a request is sent or its response is read."""
_WRITE_BYTES = 128 * 1024
_CONNECTIONS = 16
_NEVER_SENT = frozenset(
    {NoAnswer.NAME_NOT_FOUND, NoAnswer.UNREACHABLE, NoAnswer.UNTRUSTED_CERTIFICATE}
)


class SendOnceAdapter(HTTPAdapter):
    """Sends each request once; a POST always on a new connection.

    A kept connection may have died while the function was frozen, which would leave the outcome of
    a POST on it unknown. A new one cannot have. ``Response.connection`` is the adapter that holds
    the response's connection; the sender closes it with ``close_response``.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Prepare connections; ``tls`` defines the trusted servers."""
        self._tls = tls
        super().__init__(pool_maxsize=_CONNECTIONS, max_retries=Retry(0, read=False))

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **settings: Any
    ) -> None:
        """Create the connection pools; called by ``requests`` with the base class's arguments."""
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
        """Leave the certificate check to the TLS context, which has loaded the CAs once.

        ``requests`` would load them from their file for every new connection.
        """

    def send(
        self, request: PreparedRequest, *arguments: Any, new_connection: bool = False, **named: Any
    ) -> Response:
        """Send a request and return its response up to the header fields.

        Args:
            request: The request; a POST is always sent on a new connection.
            *arguments: As in the base class.
            new_connection: Whether other methods use a new connection as well.
            **named: As in the base class.
        """
        if request.method != "POST" and not new_connection:
            return super().send(request, *arguments, **named)
        # If there is no response, urllib3 has closed the connection itself.
        return super(SendOnceAdapter, type(self)(self._tls)).send(request, *arguments, **named)

    def close_response(self, response: Response) -> None:
        """Close a response, and its connection if that was used for it alone."""
        response.close()
        if response.connection is not self:
            response.connection.close()


class _EarlyAnswerConnection(HTTPConnection):
    """A connection that reads the response of a server that does not accept the whole request.

    A server that rejects an upload responds early and closes the connection, or stops reading. With
    TLS the next write then fails with an SSL error, and with a silent peer it times out. urllib3
    reads the response only after a broken pipe.
    """

    def send(self, data: Any) -> None:
        """Send a piece of the request; turn TLS errors and timeouts into a broken pipe."""
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
    """Tell whether an error proves that no byte of the request was sent."""
    cause = _cause(error)
    return no_answer_of(error) in _NEVER_SENT or isinstance(
        cause, ConnectTimeoutError | LocationValueError
    )


def no_answer_of(error: Exception) -> NoAnswer:
    """Return why a request has no response, or an incomplete one."""
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
    """Return the urllib3 error from which an error of ``requests`` was made."""
    inner = error.args[0] if isinstance(error, RequestException) and error.args else error
    return inner.reason if isinstance(inner, MaxRetryError) else inner
