"""The Groq Files and Batch API over HTTP.

Every method either returns or raises one of the errors of ``errors.py``, which say whether the API
may have acted. Nothing is repeated here that could act twice: short retries are for GET and DELETE
and for connections that were never made. Waiting is left to Step Functions.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import Retry

from groq_batch import __version__
from groq_batch.batches import Batch, GroqFile
from groq_batch.errors import (
    MAX_MESSAGE_LENGTH,
    AccountError,
    GroqApiError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    RequestRefusedError,
    UnknownOutcomeError,
)
from groq_batch.upload_body import MultipartBody, ReadableStream, StreamSizeError

USER_AGENT = f"groq-batch-on-aws/{__version__}"
"""Sent with every request: Groq's front refuses Python's default agents (Cloudflare error 1010)."""

IDS_PER_CALL = 200
"""Batches that one list call may name."""

_DOWNLOAD_TRIES = 3
_PIECE_BYTES = 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Times after which the API counts as silent, in seconds.

    Attributes:
        connect: For making a connection.
        read: Between two reads of a short answer.
        transfer: Between two reads of a file, and for the answer to an upload.
    """

    connect: float = 5.0
    read: float = 60.0
    transfer: float = 120.0


class ApiKeySource(Protocol):
    """Hands out the API key."""

    def __call__(self, *, refresh: bool = False) -> str:
        """Return the key; with ``refresh`` the newest."""


def validate_base_url(url: str) -> str:
    """Return a base URL without its last slash.

    Raises:
        ValueError: It is neither https nor http on a loopback address, or holds credentials.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_loopback = host == "localhost"
    if not is_loopback:
        try:
            is_loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_loopback = False
    allowed = parts.scheme == "https" or (parts.scheme == "http" and is_loopback)
    if not host or not allowed or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "The base URL of the Groq API must be https://… (or http:// on a loopback address), "
            f"such as https://api.groq.com/openai/v1, not {url[:200]!r}"
        )
    return url.rstrip("/")


class GroqClient:
    """The calls that the pipeline makes."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: ApiKeySource,
        timeouts: Timeouts | None = None,
        session: requests.Session | None = None,
    ) -> None:
        """Speak to the API at ``base_url`` with the key that ``api_key`` hands out."""
        self._base_url = validate_base_url(base_url)
        self._api_key = api_key
        self._timeouts = timeouts or Timeouts()
        self._session = session or _new_session()

    # -- files -----------------------------------------------------------------------------------

    def upload_file(
        self, *, filename: str, open_stream: Callable[[], ReadableStream], size: int
    ) -> GroqFile:
        """Upload a file of request lines.

        Args:
            filename: Its name at Groq; ends in ``.jsonl``.
            open_stream: Opens the content; called again when the key had to be refreshed.
            size: The content's exact size in bytes.

        Raises:
            GroqApiError: As its class says.
        """

        def request() -> dict[str, Any]:
            body = MultipartBody(
                filename=filename, purpose="batch", stream=open_stream(), size=size
            )
            return {"data": body, "headers": {"Content-Type": body.content_type}}

        file = GroqFile.from_api(
            self._json("POST", "/files", request, read_timeout=self._timeouts.transfer)
        )
        if file is None:
            raise UnknownOutcomeError("The answer to the upload names no file.")
        return file

    def list_files(self) -> list[GroqFile]:
        """Return all files of the account; the API has no pages for them."""
        data = self._json("GET", "/files")
        return [file for item in _items(data) if (file := GroqFile.from_api(item)) is not None]

    def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone already is fine."""
        try:
            self._json("DELETE", f"/files/{_segment(file_id)}")
        except NotFoundError:
            return

    def download_file(self, file_id: str, target: BinaryIO) -> int:
        """Write a file's content to ``target`` from its start; returns its size in bytes.

        A body that is cut is fetched again some times.

        Raises:
            UnknownOutcomeError: It was cut every time.
            GroqApiError: As its class says.
        """
        for left in reversed(range(_DOWNLOAD_TRIES)):
            target.seek(0)
            target.truncate()
            try:
                return self._download(file_id, target)
            except UnknownOutcomeError:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _download(self, file_id: str, target: BinaryIO) -> int:
        path = f"/files/{_segment(file_id)}/content"
        with self._send(
            "GET",
            path,
            lambda: {
                "stream": True,
                "headers": {"Accept": "application/octet-stream", "Accept-Encoding": "identity"},
            },
            read_timeout=self._timeouts.transfer,
        ) as response:
            written = 0
            try:
                for piece in response.iter_content(_PIECE_BYTES):
                    target.write(piece)
                    written += len(piece)
            except requests.RequestException as error:
                raise UnknownOutcomeError(
                    f"The content was cut after {written} bytes ({type(error).__name__})."
                ) from None
            expected = response.headers.get("Content-Length", "")
            if expected.isdigit() and int(expected) != written:
                raise UnknownOutcomeError(f"The content has {written} of {expected} bytes.")
            return written

    # -- batches ---------------------------------------------------------------------------------

    def create_batch(
        self,
        *,
        input_file_id: str,
        endpoint: str,
        completion_window: str,
        metadata: Mapping[str, str],
    ) -> Batch:
        """Create a batch: one request, never repeated but for a key that had changed.

        Raises:
            UnknownOutcomeError: The batch may exist.
            GroqApiError: As its class says.
        """
        payload = {
            "input_file_id": input_file_id,
            "endpoint": endpoint,
            "completion_window": completion_window,
            "metadata": dict(metadata),
        }
        return self._batch(self._json("POST", "/batches", lambda: {"json": payload}))

    def retrieve_batch(self, batch_id: str) -> Batch:
        """Return one batch."""
        return self._batch(self._json("GET", f"/batches/{_segment(batch_id)}"))

    def batches_by_id(self, batch_ids: Sequence[str]) -> dict[str, Batch]:
        """Return batches by id, 200 with each call.

        Ids that a list leaves out are asked for one by one; those that do not exist are absent.
        """
        found: dict[str, Batch] = {}
        for start in range(0, len(batch_ids), IDS_PER_CALL):
            asked = batch_ids[start : start + IDS_PER_CALL]
            # A list that is refused (for an unknown id among the others, say) has none of them.
            with contextlib.suppress(RequestRefusedError):
                found.update(self._listed(asked))
            for batch_id in asked:
                if batch_id not in found:
                    try:
                        found[batch_id] = self.retrieve_batch(batch_id)
                    except NotFoundError:
                        continue
        return found

    def _listed(self, batch_ids: Sequence[str]) -> dict[str, Batch]:
        data = self._json(
            "GET", "/batches", lambda: {"params": [("id", batch_id) for batch_id in batch_ids]}
        )
        batches = (Batch.from_api(item) for item in _items(data))
        return {batch.id: batch for batch in batches if batch is not None}

    def all_batches(self) -> Iterator[Batch]:
        """Yield every batch of the account, page by page.

        Raises:
            UnknownOutcomeError: The pages go round in a circle.
        """
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            data = self._json(
                "GET", f"/batches?cursor={quote(cursor, safe='')}" if cursor else "/batches"
            )
            for item in _items(data):
                batch = Batch.from_api(item)
                if batch is not None:
                    yield batch
            paging = data.get("paging") if isinstance(data, dict) else None
            cursor = paging.get("next_cursor") if isinstance(paging, dict) else None
            if not isinstance(cursor, str) or not cursor:
                return
            if cursor in seen:
                raise UnknownOutcomeError("The list of batches repeats a page for ever.")
            seen.add(cursor)

    def cancel_batch(self, batch_id: str) -> Batch:
        """Cancel a batch and return it; one that has ended already is returned as it is."""
        try:
            return self._batch(self._json("POST", f"/batches/{_segment(batch_id)}/cancel"))
        except NotFoundError:
            raise
        except (RequestRefusedError, UnknownOutcomeError):
            batch = self.retrieve_batch(batch_id)
            if batch.is_terminal or batch.status == "cancelling":
                return batch
            raise

    def _batch(self, data: object) -> Batch:
        batch = Batch.from_api(data)
        if batch is None:
            raise UnknownOutcomeError("The answer names no batch.")
        return batch

    # -- HTTP ------------------------------------------------------------------------------------

    def _json(
        self,
        method: str,
        path: str,
        request: Callable[[], dict[str, Any]] = dict,
        *,
        read_timeout: float | None = None,
    ) -> Any:
        """Make a call and return its JSON."""
        with self._send(method, path, request, read_timeout=read_timeout) as response:
            try:
                return response.json()
            except (requests.RequestException, ValueError):
                raise UnknownOutcomeError(
                    f"The answer to {method} {path} is not JSON.", status=response.status_code
                ) from None

    def _send(
        self,
        method: str,
        path: str,
        request: Callable[[], dict[str, Any]],
        *,
        read_timeout: float | None = None,
    ) -> requests.Response:
        """Make a call; a refused key is read anew once, in case it was rotated."""
        key = self._api_key()
        try:
            return self._send_once(method, path, request(), key, read_timeout)
        except AccountError as error:
            if error.code != "invalid_api_key":
                raise
            newest = self._api_key(refresh=True)
            if newest == key:
                raise
        return self._send_once(method, path, request(), newest, read_timeout)

    def _send_once(
        self,
        method: str,
        path: str,
        request: dict[str, Any],
        key: str,
        read_timeout: float | None,
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {key}", **request.pop("headers", {})}
        if method == "POST":
            # A kept connection may have died while the function was frozen, which would make the
            # outcome of a request on it unknown; a new one cannot.
            self._session.close()
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                headers=headers,
                timeout=(self._timeouts.connect, read_timeout or self._timeouts.read),
                allow_redirects=False,
                **request,
            )
        except requests.RequestException as error:
            # The chain could carry the request with its key.
            raise _error_of_exception(error, f"{method} {path}") from None
        except StreamSizeError as error:
            raise NotSentError(f"The upload was given up: {error}.") from None
        if 200 <= response.status_code < 300:
            return response
        with response:
            raise error_from_response(response.status_code, response.headers, _body_of(response))


def _new_session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = USER_AGENT
    # Proxies and .netrc of an environment must not see or replace the key.
    session.trust_env = False
    retry = Retry(
        total=2,
        backoff_factor=0.5,
        status_forcelist=(500, 502, 503, 504),
        allowed_methods=frozenset({"GET", "DELETE"}),
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=16))
    return session


def _items(data: object) -> list[Any]:
    items = data.get("data") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise UnknownOutcomeError("The answer is not a list.")
    return items


def _segment(identity: str) -> str:
    """Return an id as a segment of a path."""
    return quote(identity, safe="")


def _body_of(response: requests.Response) -> bytes:
    try:
        return next(response.iter_content(_MAX_ERROR_BYTES), b"")
    except requests.RequestException:
        return b""


def _error_of_exception(error: requests.RequestException, call: str) -> GroqApiError:
    """Tell a request that was never sent from one whose outcome is not known."""
    reason: object = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    never_sent = (NewConnectionError, NameResolutionError, ConnectTimeoutError)
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, never_sent):
        return NotSentError(f"Groq could not be reached for {call} ({type(reason).__name__}).")
    return UnknownOutcomeError(f"No answer came to {call} ({type(error).__name__}).")


def error_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> GroqApiError:
    """Return the error that an answer stands for.

    Args:
        status: The HTTP status, not 2xx.
        headers: The answer's headers; looked up without regard to case by ``requests``.
        body: The answer's body: usually JSON, from a proxy in between HTML or text.
        now: Seconds since 1970, for a Retry-After that is a date.

    Returns:
        The error; its message is a sentence that says what to do where anything can be done.
    """
    code, text = _error_fields(body)
    if status in (429, 498):
        return RateLimitedError(
            "Groq asks to come back later.",
            status=status,
            code=code,
            retry_after_seconds=_retry_after(headers, now if now is not None else time.time()),
        )
    if status < 400 or status in (408, 409) or status >= 500:
        return UnknownOutcomeError(f"Groq answered {status}.", status=status, code=code)
    account = _account_error(status, code, text)
    if account is not None:
        return account
    kind = NotFoundError if status == 404 else RequestRefusedError
    return kind(
        f"Groq refused the request ({status} {code or 'without a code'}).",
        status=status,
        api_code=code or ("file_too_large" if status == 413 else f"http_{status}"),
        api_message=text or None,
    )


def _account_error(status: int, code: str | None, text: str) -> AccountError | None:
    """Return the sentence for an answer that names a fault of the account, or None."""
    if status == 401:
        return AccountError(
            "Groq refuses the API key. Put a valid key into the secret named by "
            "GroqApiKeySecretName.",
            status=status,
            code="invalid_api_key",
        )
    if status == 400 and code and (code == "blocked_api_access" or code.startswith("spend_")):
        return AccountError(
            "The Groq organisation has reached its spend limit. Raise it in the Groq console, or "
            "wait until it resets on the first of the month.",
            status=status,
            code="spend_limit",
        )
    if status != 403:
        return None
    if code == "not_available_for_plan":
        return AccountError(
            "The plan of this Groq account has no Batch API. Upgrade it to the Developer tier.",
            status=status,
            code="plan_required",
        )
    if code and code.startswith("model_permission_blocked"):
        sentence = (
            "A model is blocked for this Groq organisation or project. Allow it in the Groq "
            "console, or use another model."
        )
    elif "1010" in text:
        sentence = "Groq's network front refuses this client (error 1010). Report this as a fault."
    elif "network" in text.lower() or text.lstrip().startswith("<"):
        sentence = (
            "Groq's network front refuses requests from this address. Deploy the stack in another "
            "region, or send its traffic through another address."
        )
    else:
        sentence = (
            "Groq denies permission for this call. Check the rights of the API key and its project "
            "in the Groq console."
        )
    return AccountError(sentence, status=status, code="permission_denied")


def _error_fields(body: bytes) -> tuple[str | None, str]:
    """Return code and text of an error's body, whatever it is."""
    plain = body.decode("utf-8", "replace")
    try:
        data = json.loads(plain)
    except (ValueError, RecursionError):
        return None, plain[:MAX_MESSAGE_LENGTH]
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, str):
        return None, error[:MAX_MESSAGE_LENGTH]
    if not isinstance(error, dict):
        return None, ""
    code, text = error.get("code") or error.get("type"), error.get("message")
    return (
        code[:100] if isinstance(code, str) else None,
        text[:MAX_MESSAGE_LENGTH] if isinstance(text, str) else "",
    )


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?$")


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long an answer asks to wait, in seconds, or None when it does not say."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = (headers.get("retry-after") or "").strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds
    if text:
        try:
            return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
        except ValueError:
            pass
    resets = [
        found
        for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
        if (found := _duration(headers.get(name))) is not None
    ]
    return max(resets, default=None)


def _number(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text.strip()):
        return None
    return float(text)


def _duration(text: str | None) -> float | None:
    """Read a duration such as ``2m59.56s`` or ``7.66s``."""
    match = _DURATION.match(text.strip()) if text else None
    if match is None or not any(match.groups()):
        return None
    try:
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    except ValueError:
        return None
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
