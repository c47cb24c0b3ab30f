"""Call the Groq Files and Batch API over HTTP.

Every method either returns or raises one of the errors of ``errors.py``, which say whether the API
may have acted. ``calls.py`` decides which calls are repeated, and how long they may take.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple, Self
from urllib.parse import quote

from groq_batch.domain.batch import Batch, GroqFile
from groq_batch.domain.listing_order import NewestFirst
from groq_batch.domain.parallel import in_parallel
from groq_batch.groq.calls import ApiKeySource, Call, Calls, Timeouts, read_answer
from groq_batch.groq.decoding import (
    UnexpectedResponseError,
    batch_of,
    begins_with_a_row,
    file_of,
    read_batch,
    read_file,
    read_page,
)
from groq_batch.groq.errors import (
    GroqApiError,
    NotFoundError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from groq_batch.groq.http import HttpResponse
from groq_batch.groq.multipart_body import MultipartBody, ReadableStream

IDS_PER_CALL = 200
"""Maximum number of batch ids per list call:
https://console.groq.com/docs/api-reference#batches-list."""
_BATCHES_OF_A_PAGE = 100
_BATCHES_THAT_SHOW_AN_ORDER = 1000
"""The API documents no order. Fewer batches than these are read whatever their order, which takes
ten requests."""
_LOOKUP_WORKERS = 8


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
        self._calls = Calls(base_url=base_url, api_key=api_key, timeouts=timeouts or Timeouts())

    def within(self, seconds: float) -> Self:
        """Return this client with a time limit for all its calls from now on.

        After the limit, calls in progress end with an error, and further calls are not sent.
        """
        limited = copy.copy(self)
        limited._calls = self._calls.within(seconds)
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

        call = self._calls.new(
            "POST",
            "/files",
            body=body,
            seconds=self._calls.timeouts.upload,
            read_timeout=self._calls.timeouts.transfer,
            # This also limits the wait for each piece of the body, and a server that stores the
            # data may pause.
            connect_timeout=self._calls.timeouts.transfer,
        )
        return self._calls.answer(call, read_file)

    def list_files(self) -> list[GroqFile]:
        """Return all files of the account."""
        # The API documents no pages for files. If there are any they are followed, but a cursor
        # that cannot be followed is not an error.
        items = itertools.chain.from_iterable(self._pages("/files", strict=False))
        return [file for item in items if (file := file_of(item)) is not None]

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is already deleted is not an error."""
        call = self._calls.new("DELETE", f"/files/{_segment(file_id)}")

        def delete() -> None:
            answer = self._calls.exchange(call)
            # The body may be empty. A page from a proxy is not a response of the API.
            if answer.body.strip():
                read_answer(call, answer, lambda data: data)

        try:
            self._calls.repeated(delete, until=call.until, repeatable=True)
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
        call = self._calls.new(
            "GET",
            f"/files/{_segment(file_id)}/content",
            seconds=self._calls.timeouts.download,
            read_timeout=self._calls.timeouts.transfer,
        )
        sizes: set[int] = set()

        def fetch() -> int:
            target.seek(0)
            target.truncate()
            answer = self._calls.exchange(call, into=target)
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

        return self._calls.repeated(fetch, until=call.until, repeatable=True)

    def file_size(self, file_id: str) -> int | None:
        """Return a file's size in bytes as reported by Groq; None if it cannot be read."""
        return self._size_at_groq(file_id, float("inf"))

    def _size_at_groq(self, file_id: str, until: float, *, strict: bool = False) -> int | None:
        """Return a file's size as reported by Groq; None if it cannot be read.

        Raises:
            UnknownOutcomeError: ``strict`` is set, and Groq may report the size later.
        """
        call = self._calls.new("GET", f"/files/{_segment(file_id)}", until=until)
        try:
            return self._calls.answer(call, read_file).bytes
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
        call = self._calls.new(
            "POST",
            "/batches",
            body=lambda: (content, "application/json"),
            seconds=self._calls.timeouts.call + self._calls.timeouts.transfer,
            read_timeout=self._calls.timeouts.transfer,
        )
        # The caller has just checked that the batch is wanted and that it holds the lease. Further
        # tries, even of a connection only, would make that check outdated.
        return self._calls.answer_once(call, read_batch)

    def retrieve_batch(self, batch_id: str) -> Batch:
        """Return one batch."""
        call = self._calls.new("GET", f"/batches/{_segment(batch_id)}")
        return self._calls.answer(call, lambda data: read_batch(data, batch_id))

    def batches_by_id(self, batch_ids: Sequence[str]) -> FoundBatches:
        """Return batches by id, 200 per call.

        Ids missing from a list are requested one by one. If some ids cannot be requested after
        others were found, they are in neither result.

        Raises:
            GroqApiError: None of them could be requested.
        """
        until = self._calls.until(self._calls.timeouts.lookup)
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
            call = self._calls.new("GET", "/batches", query=[*query, *page], until=until)
            items, cursor = self._calls.answer(call, lambda data: read_page(data, strict=False))
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
            call = self._calls.new("GET", f"/batches/{_segment(batch_id)}", until=until)
            try:
                found[batch_id] = self._calls.answer(call, lambda data: read_batch(data, batch_id))
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
        call = self._calls.new("GET", "/batches", on_new_connection=True)
        items, cursor = self._calls.answer_once(call, lambda data: read_page(data, strict=False))
        batches = [batch for item in items if (batch := batch_of(item)) is not None]
        return FirstPage([batch.created_at for batch in batches], cursor is not None)

    def _batch_pages(self, *, limit: int | None = None) -> Iterator[list[Batch]]:
        for items in self._pages("/batches", strict=True, limit=limit):
            yield [batch for item in items if (batch := batch_of(item)) is not None]

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel a batch and return it; a batch that has already ended is returned unchanged."""
        call = self._calls.new("POST", f"/batches/{_segment(batch_id)}/cancel")
        try:
            return self._calls.answer(call, lambda data: read_batch(data, batch_id))
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
        call = self._calls.new("GET", "/models", on_new_connection=True)
        return self._calls.answer_once(call, lambda data: data)

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
        call = self._calls.new(
            "POST",
            path,
            body=lambda: (body, content_type),
            seconds=self._calls.timeouts.ask,
            read_timeout=self._calls.timeouts.ask,
        )
        return self._calls.response(call)

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
        until = self._calls.until(self._calls.timeouts.listing)
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            query = [("limit", str(limit))] if limit is not None else []
            query += [("cursor", cursor)] if cursor else []
            call = self._calls.new("GET", path, query=query, until=until)
            try:
                page = self._calls.answer(call, lambda data: read_page(data, strict=strict))
            except RequestRefusedError:
                if limit is None:
                    raise
                limit = None
                continue
            items, cursor = page
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


def _begins_with_a_row(call: Call, answer: HttpResponse, target: BinaryIO) -> bool:
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
