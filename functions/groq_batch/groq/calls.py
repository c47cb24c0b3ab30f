"""Make calls of the API, and decide which are repeated, with which key, and how long they may take.

A POST is never repeated: nothing that could act twice is. Short retries are for GET and DELETE, and
for connections that were never made. Every call ends within its own time limit, below the timeouts
of the functions; longer waits are left to Step Functions.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, Protocol, Self, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
from msgspec.structs import replace

from groq_batch import __version__
from groq_batch.domain.error_code import ErrorCode
from groq_batch.groq.base_url import is_base_url, validate_base_url
from groq_batch.groq.decoding import UnexpectedResponseError
from groq_batch.groq.error_mapping import error_from_response
from groq_batch.groq.errors import AccountError, NoAnswer, NotSentError, UnknownOutcomeError
from groq_batch.groq.http import HttpRequest, HttpResponse, Transport
from groq_batch.groq.multipart_body import MultipartBody

USER_AGENT = f"groq-batch-on-aws/{__version__}"
"""Sent with every request: Groq's edge rejects Python's default agents (Cloudflare error 1010)."""
_TRIES = 3
_MAX_REDIRECTS = 3
_MIN_SECONDS_TO_ACT = 5.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of the API's responses, and time limits of the methods, in seconds.

    Attributes:
        connect: For making a connection.
        read: Between two reads of a short response.
        transfer: Between two reads or writes of a file, and for the response to a create.
        pause: Before the second try of a call; twice that before the third.
        call: For all tries of a short call.
        lookup: For finding batches by their ids, however many.
        listing: For reading a whole list, however long.
        upload: For sending a file.
        download: For all tries of downloading a file.
        ask: For the whole response to an ordinary call.
    """

    connect: float = 5.0
    read: float = 30.0
    transfer: float = 60.0
    pause: float = 0.5
    call: float = 60.0
    lookup: float = 120.0
    listing: float = 300.0
    upload: float = 480.0
    download: float = 300.0
    ask: float = 300.0


class ApiKeySource(Protocol):
    """A function that returns the API key."""

    def __call__(self, *, refresh: bool = False) -> str:
        """Return the key; with ``refresh`` the newest one."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call of the API, which may take several requests.

    ``body`` creates the body of each request, with its Content-Type.
    """

    method: str
    path: str
    until: float
    query: Sequence[tuple[str, str]] = ()
    body: Callable[[], tuple[bytes | MultipartBody, str]] | None = None
    connect_timeout: float
    read_timeout: float
    on_new_connection: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Calls:
    """Makes calls of the API. Threads may share it."""

    def __init__(self, *, base_url: str, api_key: ApiKeySource, timeouts: Timeouts) -> None:
        """Prepare to call the API at ``base_url`` with the key that ``api_key`` returns."""
        self._base_url = validate_base_url(base_url)
        self._api_key = api_key
        self.timeouts = timeouts
        self.transport = Transport(encrypted=self._base_url.startswith("https:"))
        self._deadline = float("inf")

    def within(self, seconds: float) -> Self:
        """Return a copy whose calls end within a time; see ``GroqClient.within``."""
        limited = copy.copy(self)
        limited._deadline = min(self._deadline, time.monotonic() + seconds)
        return limited

    def until(self, seconds: float) -> float:
        """Return when a call of so many seconds must end, by ``time.monotonic``."""
        return min(time.monotonic() + seconds, self._deadline)

    def new(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Callable[[], tuple[bytes | MultipartBody, str]] | None = None,
        seconds: float | None = None,
        until: float = float("inf"),
        connect_timeout: float | None = None,
        read_timeout: float | None = None,
        on_new_connection: bool = False,
    ) -> Call:
        """Describe a call that ends after ``seconds``, and no later than ``until``."""
        return Call(
            method=method,
            path=path,
            query=query,
            body=body,
            until=min(until, self.until(seconds or self.timeouts.call)),
            connect_timeout=connect_timeout or self.timeouts.connect,
            read_timeout=read_timeout or self.timeouts.read,
            on_new_connection=on_new_connection,
        )

    def answer(self, call: Call, read: Callable[[Any], _Result]) -> _Result:
        """Make a call, with retries, and return the result of ``read`` for its JSON."""
        return self.repeated(
            lambda: self.answer_once(call, read),
            until=call.until,
            repeatable=call.method != "POST",
        )

    def answer_once(self, call: Call, read: Callable[[Any], _Result]) -> _Result:
        """Make a call with one request and return the result of ``read`` for its JSON."""
        return read_answer(call, self.exchange(call), read)

    def repeated(
        self, attempt: Callable[[], _Result], *, until: float, repeatable: bool
    ) -> _Result:
        """Try an action up to three times.

        Args:
            attempt: The action.
            until: No further try begins after this time, by ``time.monotonic``.
            repeatable: Whether it may be repeated even if it may have succeeded.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return attempt()
            except (NotSentError, UnknownOutcomeError) as error:
                may_repeat = repeatable or isinstance(error, NotSentError)
                if tries == _TRIES or not may_repeat or time.monotonic() >= until:
                    raise
            except AccountError as error:
                if tries > 1 or not error.may_pass:
                    raise
            time.sleep(self.timeouts.pause * tries)

    def response(self, call: Call) -> HttpResponse:
        """Send a request and return its response, whatever its status.

        It is sent a second time only if the key was rejected and has been replaced since.
        """
        key = self._api_key()
        answer = self._send(key, call, None)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            newest = self._api_key(refresh=True)
            if newest != key:
                key = newest
                answer = self._send(key, call, None)
        if answer.is_success:
            return answer
        return replace(answer, body=_without_key(answer.body, key))

    def exchange(self, call: Call, *, into: BinaryIO | None = None) -> HttpResponse:
        """Send a request; if the key is rejected, read it once more, in case it was replaced."""
        key = self._api_key()
        try:
            return self._exchange_with(key, call, into)
        except AccountError as error:
            if error.code != ErrorCode.INVALID_API_KEY:
                raise
            refused = error
        newest = self._api_key(refresh=True)
        if newest == key:
            raise refused
        return self._exchange_with(newest, call, into)

    def _exchange_with(self, key: str, call: Call, into: BinaryIO | None) -> HttpResponse:
        answer = self._send(key, call, into)
        if into is not None:
            answer = self._follow(key, call, into, answer)
        if answer.is_success:
            return answer
        shown = _without_key(answer.body, key)
        raise error_from_response(answer.status, answer.headers, shown)

    def _follow(self, key: str, call: Call, into: BinaryIO, answer: HttpResponse) -> HttpResponse:
        """Return the content of a file, wherever the API redirects to for it.

        The official SDK follows such redirects, too. Another server does not get the key, and what
        it answers instead of a content is not taken for an answer of the API.

        Raises:
            UnknownOutcomeError: The other server has no content.
        """
        url = self._url(call)
        for _ in range(_MAX_REDIRECTS):
            location = answer.headers.get("location") if answer.is_redirect else None
            if not location:
                return answer
            target = self._target(url, location)
            if target is None:
                return answer
            url = target
            answer = self._send(key if self._is_own(url) else None, call, into, url=url)
            if not (answer.is_success or answer.is_redirect):
                raise UnknownOutcomeError(
                    f"The server to which {call} is redirected answered {answer.status}.",
                    status=answer.status,
                )
        return answer

    def _target(self, url: str, location: str) -> str | None:
        """Return the address of a redirect, if it is as safe as the API's own; otherwise None."""
        try:
            target = urljoin(url, location)
        except ValueError:
            return None
        is_safe = target.startswith("https:") or self._base_url.startswith("http:")
        without_query = target.partition("#")[0].partition("?")[0]
        return target if is_safe and is_base_url(without_query) else None

    def _is_own(self, url: str) -> bool:
        """Tell whether an address is of the API's server."""
        return urlsplit(url)[:2] == urlsplit(self._base_url)[:2]

    def _url(self, call: Call) -> str:
        query = f"?{urlencode(call.query)}" if call.query else ""
        return f"{self._base_url}{call.path}{query}"

    def _send(
        self, key: str | None, call: Call, into: BinaryIO | None, *, url: str | None = None
    ) -> HttpResponse:
        """Send a request once and return its response, whatever its status.

        Args:
            key: The key; None for a server that must not get it.
            call: The call.
            into: Receives the content of a file.
            url: Its address, if it is not the API's own.
        """
        remaining = call.until - time.monotonic()
        if remaining <= (_MIN_SECONDS_TO_ACT if call.method == "POST" else 0):
            # Don't send a POST if there is no time left to wait for its response.
            raise NotSentError(f"No time is left for {call}.", reason=NoAnswer.TIMED_OUT)
        headers = {
            **({} if key is None else {"Authorization": f"Bearer {key}"}),
            "User-Agent": USER_AGENT,
            "Accept": "application/octet-stream" if into is not None else "application/json",
            "Accept-Encoding": "identity",
        }
        body: bytes | MultipartBody | None = None
        if call.body is not None:
            body, headers["Content-Type"] = call.body()
        return self.transport.exchange(
            HttpRequest(
                method=call.method,
                url=url or self._url(call),
                headers=headers,
                body=body,
                connect_timeout=min(call.connect_timeout, remaining),
                read_timeout=min(call.read_timeout, remaining),
                until=call.until,
                on_new_connection=call.on_new_connection,
            ),
            into=into,
        )


def read_answer(call: Call, answer: HttpResponse, read: Callable[[Any], _Result]) -> _Result:
    """Return the result of ``read`` for the JSON of a response.

    Raises:
        UnknownOutcomeError: It is not JSON, or ``read`` does not expect it.
    """
    try:
        return read(json.loads(answer.body))
    except (ValueError, RecursionError):
        problem = "is not JSON"
    except UnexpectedResponseError as error:
        problem = str(error)
    raise UnknownOutcomeError(f"The answer to {call} {problem}.", status=answer.status)


def _without_key(content: bytes, key: str) -> bytes:
    """Remove the key from a response, which may quote the rejected request."""
    return content.replace(key.encode(), b"(the API key)")
