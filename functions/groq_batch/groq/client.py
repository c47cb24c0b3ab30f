"""Call the Groq Files and Batch API over HTTP.

Every method either returns or raises one of the errors of ``errors.py``, which say whether the API
may have acted. Nothing that could act twice is repeated here: short retries are for GET and DELETE,
and for connections that were never made. Every method ends within its own time limit, below the
timeouts of the functions; longer waits are left to Step Functions.
"""

from __future__ import annotations

import contextlib
import copy
import ipaddress
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec
from msgspec.structs import replace

from groq_batch import __version__
from groq_batch.domain.batch import Batch, GroqFile
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.listing_order import NewestFirst
from groq_batch.domain.parallel import in_parallel
from groq_batch.groq.decoding import (
    UnexpectedResponseError,
    batch_of,
    begins_with_a_row,
    file_of,
    read_batch,
    read_file,
    read_page,
)
from groq_batch.groq.error_mapping import error_from_response
from groq_batch.groq.errors import (
    AccountError,
    GroqApiError,
    NoAnswer,
    NotFoundError,
    NotSentError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from groq_batch.groq.http import HttpRequest, HttpResponse, Transport
from groq_batch.groq.multipart_body import MultipartBody, ReadableStream

USER_AGENT = f"groq-batch-on-aws/{__version__}"
"""Sent with every request: Groq's edge rejects Python's default agents (Cloudflare error 1010)."""
IDS_PER_CALL = 200
"""Maximum number of batch ids per list call:
https://console.groq.com/docs/api-reference#batches-list."""
_BATCHES_OF_A_PAGE = 100
_BATCHES_THAT_SHOW_AN_ORDER = 1000
"""The API documents no order. Fewer batches than these are read whatever their order, which takes
ten requests."""
_TRIES = 3
_MAX_REDIRECTS = 3
_LOOKUP_WORKERS = 8
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


def validate_base_url(url: str) -> str:
    """Return a base URL without its trailing slash.

    Raises:
        ValueError: It is neither https nor http on a loopback address, or contains credentials.
    """
    if not _is_base_url(url):
        raise ValueError(
            "The base URL of the Groq API must be https://… (or http:// on a loopback address), "
            f"such as https://api.groq.com/openai/v1, not {url[:200]!r}"
        )
    return url.rstrip("/")


def _is_base_url(url: str) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or port == 0 or parts.username is not None or parts.query or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Call(msgspec.Struct, frozen=True, kw_only=True):
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


class FoundBatches(NamedTuple):
    """The result of looking up batches by their ids.

    Attributes:
        batches: Batches by id.
        unknown: Ids for which Groq reports no batch.
    """

    batches: dict[str, Batch]
    unknown: set[str]


class FirstPage(NamedTuple):
    """The first page of the account's list of batches.

    Attributes:
        created_at: When each of its batches was created, in seconds since 1970, in page order;
            None if a batch has no date.
        has_next: Whether it has a cursor for a next page.
    """

    created_at: list[int | None]
    has_next: bool


class GroqClient:
    """The calls of the API that the pipeline needs. Threads may share a client."""

    def __init__(
        self, *, base_url: str, api_key: ApiKeySource, timeouts: Timeouts | None = None
    ) -> None:
        """Prepare to call the API at ``base_url`` with the key that ``api_key`` returns."""
        self._base_url = validate_base_url(base_url)
        self._api_key = api_key
        self._timeouts = timeouts or Timeouts()
        self._transport = Transport(encrypted=self._base_url.startswith("https:"))
        self._deadline = float("inf")

    def within(self, seconds: float) -> Self:
        """Return this client with a time limit for all its calls from now on.

        After the limit, calls in progress end with an error, and further calls are not sent.
        """
        limited = copy.copy(self)
        limited._deadline = min(self._deadline, time.monotonic() + seconds)
        return limited

    # -- files -----------------------------------------------------------------------------------

    def upload_file(
        self, *, filename: str, open_stream: Callable[[], ReadableStream], size: int
    ) -> GroqFile:
        """Upload a file of request lines.

        Args:
            filename: Its name at Groq, ending in ``.jsonl``.
            open_stream: Opens the content; called again for each further try.
            size: The content's exact size in bytes.

        Raises:
            NotSentError: The file was not accepted completely, so it does not exist.
            UnknownOutcomeError: The file may exist.
            GroqApiError: See its subclasses.
        """

        def body() -> tuple[MultipartBody, str]:
            made = MultipartBody(
                filename=filename, purpose="batch", stream=open_stream(), size=size
            )
            return made, made.content_type

        call = self._call(
            "POST",
            "/files",
            body=body,
            seconds=self._timeouts.upload,
            read_timeout=self._timeouts.transfer,
            # This also limits the wait for each piece of the body, and a server that stores the
            # data may pause.
            connect_timeout=self._timeouts.transfer,
        )
        return self._answer(call, read_file)

    def list_files(self) -> list[GroqFile]:
        """Return all files of the account."""
        # The API documents no pages for files. If there are any they are followed, but a cursor
        # that cannot be followed is not an error.
        items = itertools.chain.from_iterable(self._pages("/files", strict=False))
        return [file for item in items if (file := file_of(item)) is not None]

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is already deleted is not an error."""
        call = self._call("DELETE", f"/files/{_segment(file_id)}")

        def delete() -> None:
            answer = self._exchange(call)
            # The body may be empty. A page from a proxy is not a response of the API.
            if answer.body.strip():
                _read(call, answer, lambda data: data)

        try:
            self._repeated(delete, until=call.until, repeatable=True)
        except NotFoundError:
            return

    def download_file(self, file_id: str, target: BinaryIO) -> int:
        """Write a file's content to ``target`` from its start; return its size in bytes.

        Truncated content, and content that cannot be a file of rows, is fetched again a few times.

        Raises:
            UnknownOutcomeError: It was truncated or wrong every time.
            GroqApiError: See its subclasses.
            OSError: ``target`` cannot be written to.
        """
        call = self._call(
            "GET",
            f"/files/{_segment(file_id)}/content",
            seconds=self._timeouts.download,
            read_timeout=self._timeouts.transfer,
        )
        sizes: set[int] = set()

        def fetch() -> int:
            target.seek(0)
            target.truncate()
            answer = self._exchange(call, into=target)
            rows_are_sound = _begins_with_a_row(call, answer, target)
            if rows_are_sound and answer.is_of_known_length:
                return answer.size
            is_odd = answer.size > 0 and not rows_are_sound
            expected = self._size_at_groq(file_id, call.until, strict=is_odd) or 0
            # Groq's figure may be wrong, so the same content is accepted when it arrives again,
            # unless it is shorter and begins with no row.
            is_again = answer.size in sizes
            is_short = answer.size < expected and not (rows_are_sound and is_again)
            is_long = not rows_are_sound and answer.size > expected > 0 and not is_again
            if is_short or is_long:
                sizes.add(answer.size)
                raise UnknownOutcomeError(f"The content has {answer.size} of {expected} bytes.")
            return answer.size

        return self._repeated(fetch, until=call.until, repeatable=True)

    def file_size(self, file_id: str) -> int | None:
        """Return a file's size in bytes as reported by Groq; None if it cannot be read."""
        return self._size_at_groq(file_id, float("inf"))

    def _size_at_groq(self, file_id: str, until: float, *, strict: bool = False) -> int | None:
        """Return a file's size as reported by Groq; None if it cannot be read.

        Raises:
            UnknownOutcomeError: ``strict`` is set, and Groq may report the size later.
        """
        call = self._call("GET", f"/files/{_segment(file_id)}", until=until)
        try:
            return self._answer(call, read_file).bytes
        except GroqApiError as error:
            if strict and not isinstance(error, RequestRefusedError):
                raise UnknownOutcomeError(
                    "The content begins with no row, and its size is not known."
                ) from error
            return None

    # -- batches ---------------------------------------------------------------------------------

    def create_batch(
        self,
        *,
        input_file_id: str,
        endpoint: str,
        completion_window: str,
        metadata: Mapping[str, str],
    ) -> Batch:
        """Create a batch with one request, repeated only if the API key has been replaced.

        Raises:
            UnknownOutcomeError: The batch may exist.
            GroqApiError: See its subclasses.
        """
        content = json.dumps(
            {
                "input_file_id": input_file_id,
                "endpoint": endpoint,
                "completion_window": completion_window,
                "metadata": dict(metadata),
            }
        ).encode()
        call = self._call(
            "POST",
            "/batches",
            body=lambda: (content, "application/json"),
            seconds=self._timeouts.call + self._timeouts.transfer,
            read_timeout=self._timeouts.transfer,
        )
        # The caller has just checked that the batch is wanted and that it holds the lease. Further
        # tries, even of a connection only, would make that check outdated.
        return self._answer_once(call, read_batch)

    def retrieve_batch(self, batch_id: str) -> Batch:
        """Return one batch."""
        call = self._call("GET", f"/batches/{_segment(batch_id)}")
        return self._answer(call, lambda data: read_batch(data, batch_id))

    def batches_by_id(self, batch_ids: Sequence[str]) -> FoundBatches:
        """Return batches by id, 200 per call.

        Ids missing from a list are requested one by one. If some ids cannot be requested after
        others were found, they are in neither result.

        Raises:
            GroqApiError: None of them could be requested.
        """
        until = self._until(self._timeouts.lookup)
        found: dict[str, Batch] = {}
        unknown: set[str] = set()
        try:
            for start in range(0, len(batch_ids), IDS_PER_CALL):
                asked = batch_ids[start : start + IDS_PER_CALL]
                # The list may be rejected for one unknown id; then each id is requested separately.
                with contextlib.suppress(RequestRefusedError, UnknownOutcomeError):
                    self._look_up_together(asked, found, until)
                missing = [batch_id for batch_id in asked if batch_id not in found]
                unknown |= self._look_up_each(missing, found, until)
        except GroqApiError:
            if not found:
                raise
        return FoundBatches(found, unknown)

    def _look_up_together(
        self, asked: Sequence[str], found: dict[str, Batch], until: float
    ) -> None:
        """Add to ``found`` the batches from a list of these ids; read pages while they add any."""
        query, wanted = [("id", batch_id) for batch_id in asked], set(asked)
        cursor: str | None = None
        while True:
            page = [("cursor", cursor)] if cursor else []
            call = self._call("GET", "/batches", query=[*query, *page], until=until)
            items, cursor = self._answer(call, lambda data: read_page(data, strict=False))
            batches = (batch_of(item) for item in items)
            # A server that ignores the parameter returns all batches, including unrelated ones.
            shown = {batch.id: batch for batch in batches if batch and batch.id in wanted}
            is_news = bool(shown.keys() - found.keys())
            found.update(shown)
            if not cursor or not is_news or wanted <= found.keys():
                return

    def _look_up_each(
        self, asked: Sequence[str], found: dict[str, Batch], until: float
    ) -> set[str]:
        """Add to ``found`` the existing ones of these ids, in parallel; return the unknown ids.

        Raises:
            GroqApiError: The first error met; no further ids are requested then.
        """
        unknown: set[str] = set()
        if not asked:
            return unknown
        stopped = threading.Event()

        def look_up(batch_id: str) -> GroqApiError | None:
            if stopped.is_set():
                return None
            call = self._call("GET", f"/batches/{_segment(batch_id)}", until=until)
            try:
                found[batch_id] = self._answer(call, lambda data: read_batch(data, batch_id))
            except NotFoundError:
                unknown.add(batch_id)
            except GroqApiError as error:
                stopped.set()
                return error
            return None

        found_errors = in_parallel(look_up, asked, workers=_LOOKUP_WORKERS)
        errors = [error for error in found_errors if error is not None]
        if errors:
            raise errors[0]
        return unknown

    def all_batches(self) -> Iterator[Batch]:
        """Yield every batch of the account, page by page.

        Raises:
            UnknownOutcomeError: The pages repeat, or cannot be followed to the end.
            GroqApiError: See its subclasses.
        """
        for page in self._batch_pages():
            yield from page

    def batches_since(self, moment: float | None) -> Iterator[Batch]:
        """Yield every batch created since a moment, and some or all of the older ones.

        Lists of up to a thousand batches are read to the end, as by ``all_batches``: their order
        may be a coincidence. Of longer ones, reading stops after a page that is entirely older than
        the moment, if all batches so far came newest first.

        Args:
            moment: In seconds since 1970; None for all batches.

        Raises:
            UnknownOutcomeError: The pages repeat, or cannot be followed to the end.
            GroqApiError: See its subclasses.
        """
        order, count = NewestFirst(), 0
        for page in self._batch_pages(limit=_BATCHES_OF_A_PAGE):
            yield from page
            count += len(page)
            dates = [batch.created_at for batch in page]
            order.add(dates)
            known = [date for date in dates if date is not None]
            is_enough = count >= _BATCHES_THAT_SHOW_AN_ORDER and order.is_shown
            if moment is not None and known and is_enough and max(known) < moment:
                return

    def first_page_of_batches(self) -> FirstPage:
        """Return the first page of the account's batches, with a single request.

        Raises:
            GroqApiError: See its subclasses.
        """
        # As in `list_models`: a kept connection may have died.
        call = self._call("GET", "/batches", on_new_connection=True)
        items, cursor = self._answer_once(call, lambda data: read_page(data, strict=False))
        batches = [batch for item in items if (batch := batch_of(item)) is not None]
        return FirstPage([batch.created_at for batch in batches], cursor is not None)

    def _batch_pages(self, *, limit: int | None = None) -> Iterator[list[Batch]]:
        for items in self._pages("/batches", strict=True, limit=limit):
            yield [batch for item in items if (batch := batch_of(item)) is not None]

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel a batch and return it; a batch that has already ended is returned unchanged."""
        call = self._call("POST", f"/batches/{_segment(batch_id)}/cancel")
        try:
            return self._answer(call, lambda data: read_batch(data, batch_id))
        except NotFoundError:
            raise
        except (RequestRefusedError, UnknownOutcomeError):
            batch = self.retrieve_batch(batch_id)
            if batch.is_terminal or batch.status == "cancelling":
                return batch
            raise

    # -- models ----------------------------------------------------------------------------------

    def list_models(self) -> Any:
        """Return the account's list of models as the API sends it, with a single request.

        A kept connection may have died while the function was frozen. Because nothing is retried
        here, the request uses a new connection.

        Raises:
            GroqApiError: See its subclasses.
        """
        call = self._call("GET", "/models", on_new_connection=True)
        return self._answer_once(call, lambda data: data)

    # -- ordinary calls --------------------------------------------------------------------------

    def ask(self, path: str, body: bytes, content_type: str) -> HttpResponse:
        """Make an ordinary call once and return its response, whatever its status.

        It is made a second time only if the key was rejected, so that nothing was done, and has
        been replaced since.

        Args:
            path: Its path below the base URL.
            body: The request body.
            content_type: The body's content type.

        Raises:
            AccountError: There is no usable key.
            NotSentError: The call was never made.
            UnknownOutcomeError: The response did not come, not completely, or not in time.
        """
        call = self._call(
            "POST",
            path,
            body=lambda: (body, content_type),
            seconds=self._timeouts.ask,
            read_timeout=self._timeouts.ask,
        )
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

    # -- pages -----------------------------------------------------------------------------------

    def _pages(self, path: str, *, strict: bool, limit: int | None = None) -> Iterator[list[Any]]:
        """Yield the pages of a list, following its cursor.

        Args:
            path: The list.
            strict: Whether pages that cannot be followed to the end are an error.
            limit: Requested number of entries per page. The API does not document this parameter,
                so a server may ignore it, reject it, or treat it as the length of the whole list;
                then it is left out, and the list is read again from the start.
        """
        until = self._until(self._timeouts.listing)
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            query = [("limit", str(limit))] if limit is not None else []
            query += [("cursor", cursor)] if cursor else []
            call = self._call("GET", path, query=query, until=until)
            try:
                items, cursor = self._answer(call, lambda data: read_page(data, strict=strict))
            except RequestRefusedError:
                if limit is None:
                    raise
                limit = None
                continue
            yield items
            if cursor is None and limit is not None and len(items) >= limit:
                limit = None
                continue
            if cursor is None:
                return
            if cursor in seen:
                if strict:
                    raise UnknownOutcomeError(f"The list {path} repeats a page endlessly.")
                return
            seen.add(cursor)

    # -- calls -----------------------------------------------------------------------------------

    def _until(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self._deadline)

    def _call(
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
    ) -> _Call:
        """Describe a call that ends after ``seconds``, and no later than ``until``."""
        return _Call(
            method=method,
            path=path,
            query=query,
            body=body,
            until=min(until, self._until(seconds or self._timeouts.call)),
            connect_timeout=connect_timeout or self._timeouts.connect,
            read_timeout=read_timeout or self._timeouts.read,
            on_new_connection=on_new_connection,
        )

    def _answer(self, call: _Call, read: Callable[[Any], _Result]) -> _Result:
        """Make a call, with retries, and return the result of ``read`` for its JSON."""
        return self._repeated(
            lambda: self._answer_once(call, read),
            until=call.until,
            repeatable=call.method != "POST",
        )

    def _answer_once(self, call: _Call, read: Callable[[Any], _Result]) -> _Result:
        return _read(call, self._exchange(call), read)

    def _repeated(
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
            time.sleep(self._timeouts.pause * tries)

    def _exchange(self, call: _Call, *, into: BinaryIO | None = None) -> HttpResponse:
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

    def _exchange_with(self, key: str, call: _Call, into: BinaryIO | None) -> HttpResponse:
        answer = self._send(key, call, into)
        if into is not None:
            answer = self._follow(key, call, into, answer)
        if answer.is_success:
            return answer
        shown = _without_key(answer.body, key)
        raise error_from_response(answer.status, answer.headers, shown)

    def _follow(self, key: str, call: _Call, into: BinaryIO, answer: HttpResponse) -> HttpResponse:
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
        return target if is_safe and _is_base_url(without_query) else None

    def _is_own(self, url: str) -> bool:
        """Tell whether an address is of the API's server."""
        return urlsplit(url)[:2] == urlsplit(self._base_url)[:2]

    def _url(self, call: _Call) -> str:
        query = f"?{urlencode(call.query)}" if call.query else ""
        return f"{self._base_url}{call.path}{query}"

    def _send(
        self, key: str | None, call: _Call, into: BinaryIO | None, *, url: str | None = None
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
        return self._transport.exchange(
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


def _without_key(content: bytes, key: str) -> bytes:
    """Remove the key from a response, which may quote the rejected request."""
    return content.replace(key.encode(), b"(the API key)")


def _read(call: _Call, answer: HttpResponse, read: Callable[[Any], _Result]) -> _Result:
    try:
        return read(json.loads(answer.body))
    except (ValueError, RecursionError):
        problem = "is not JSON"
    except UnexpectedResponseError as error:
        problem = str(error)
    raise UnknownOutcomeError(f"The answer to {call} {problem}.", status=answer.status)


def _begins_with_a_row(call: _Call, answer: HttpResponse, target: BinaryIO) -> bool:
    try:
        # Any success other than 200 has only a part of the file, or none.
        if answer.status == 200:
            return begins_with_a_row(target)
        problem = "has not the whole file"
    except UnexpectedResponseError as error:
        problem = str(error)
    raise UnknownOutcomeError(f"The answer to {call} {problem}.", status=answer.status)


def _segment(identity: str) -> str:
    """Quote an id for use as a path segment."""
    return quote(identity, safe="")
