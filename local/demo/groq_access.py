"""Which Groq API the demo uses, and whether it can be used from here with this key."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import NameResolutionError

from groq_batch.batches import Batch
from groq_batch.errors import AccountError, GroqApiError, RateLimitedError
from groq_batch.groq_api import GroqClient, Timeouts, validate_base_url
from local.demo.errors import DemoError

KEY_VARIABLE = "GROQ_API_KEY"
BASE_URL_VARIABLE = "GROQ_BASE_URL"
DEFAULT_BASE_URL = "https://api.groq.com/openai/v1"

_API_PATH = "/openai/v1"
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_TIMEOUTS = Timeouts(connect=5.0, read=20.0, transfer=20.0)

_ACCOUNT_ADVICE = {
    "invalid_api_key": "Groq refuses the key in {key}. Copy a valid one from "
    "https://console.groq.com/keys.",
    "plan_required": "The plan of this Groq account has no Batch API. Upgrade it to the Developer "
    "tier: https://console.groq.com/settings/billing",
}


@dataclass(frozen=True, slots=True)
class GroqAccess:
    """The real Groq API (or what was named in its place) and a key for it.

    Attributes:
        base_url: Its address.
        key: The key, which is never shown.
        source: Where the key was found.
    """

    base_url: str
    key: str = field(repr=False)
    source: str

    @property
    def host(self) -> str:
        """The name of the API's host."""
        return urlsplit(self.base_url).hostname or ""

    def client(self) -> GroqClient:
        """Return the client that the functions use, with this key."""
        return GroqClient(base_url=self.base_url, api_key=self._current_key, timeouts=_TIMEOUTS)

    def _current_key(self, *, refresh: bool = False) -> str:
        del refresh  # There is but this one.
        return self.key


def find_access(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> GroqAccess | None:
    """Return the Groq API that a key was given for; None when there is none.

    Args:
        environ: The environment. What is set there counts, even if it is empty.
        dotenv: The settings of the file ``.env``.

    Raises:
        DemoError: The key or the address cannot be right.
    """
    settings = {**dotenv, **environ}
    key = settings.get(KEY_VARIABLE, "").strip()
    if not key:
        return None
    source = "the environment" if KEY_VARIABLE in environ else ".env"
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise DemoError(
            f"{KEY_VARIABLE} in {source} holds spaces or characters that no key has. Copy the key "
            "from https://console.groq.com/keys once more."
        )
    return GroqAccess(_base_url(settings.get(BASE_URL_VARIABLE, "")), key, source)


def _base_url(given: str) -> str:
    """Return an address with its path: the Groq SDK's variable holds the host alone."""
    text = given.strip().rstrip("/") or DEFAULT_BASE_URL
    try:
        if urlsplit(text).path in ("", "/"):
            text += _API_PATH
        return validate_base_url(text)
    except ValueError as error:
        raise DemoError(f"{BASE_URL_VARIABLE} cannot be used. {error}") from None


def check_access(access: GroqAccess, environ: Mapping[str, str]) -> None:
    """Make one call that costs nothing, to find out whether batches can be run.

    Raises:
        DemoError: They cannot; says why and what to do.
    """
    try:
        next(access.client().all_batches(), None)
    except GroqApiError as error:
        raise DemoError(explain(error, access, environ)) from None


def explain(error: GroqApiError, access: GroqAccess, environ: Mapping[str, str]) -> str:
    """Return what a failed call says of the key or the network, and what to do."""
    if isinstance(error, AccountError):
        advice = _ACCOUNT_ADVICE.get(error.code or "", str(error))
        return advice.format(key=f"{KEY_VARIABLE} ({access.source})")
    if isinstance(error, RateLimitedError):
        return f"{access.host} takes no more calls at present. Try again in some minutes."
    if error.status is not None:
        return _unexpected_answer(error.status, access)
    return _no_answer(error, access) + _proxy_note(environ)


def _unexpected_answer(status: int, access: GroqAccess) -> str:
    if status >= 500:  # noqa: PLR2004 - better known by its number
        return (
            f"{access.host} is out of order at present (status {status}). See "
            "https://groqstatus.com and try again later."
        )
    return (
        f"{access.base_url} does not answer like the Groq API (status {status}). Check "
        f"{BASE_URL_VARIABLE}, which usually ends in {_API_PATH}."
    )


def _no_answer(error: GroqApiError, access: GroqAccess) -> str:
    causes = list(_causes(error))
    if any(isinstance(cause, requests.exceptions.SSLError) for cause in causes):
        return (
            f"The certificate that {access.host} shows is not trusted here. Usually a proxy or a "
            "virus scanner between this machine and Groq is the reason."
        )
    if any(isinstance(cause, NameResolutionError | socket.gaierror) for cause in causes):
        return f"{access.host} cannot be found: this machine has no network, or its DNS does not."
    if any(isinstance(cause, requests.exceptions.Timeout) for cause in causes):
        return f"{access.host} does not answer: a firewall may stand between."
    return f"No connection to {access.host} can be made from here."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield everything that an error goes back to, also what HTTP libraries hand on as values."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        related = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [one for one in related if isinstance(one, BaseException)]


def _proxy_note(environ: Mapping[str, str]) -> str:
    name = next((one for one in _PROXY_VARIABLES if environ.get(one)), None)
    if name is None:
        return ""
    return f" {name} is set, but the functions connect directly, as they do on AWS."


def cancel_batches(access: GroqAccess, job_id: str) -> list[Batch]:
    """Cancel every batch of a job that has not ended; returns those, as they are afterwards.

    Raises:
        GroqApiError: Groq could not be asked.
    """
    client = access.client()
    running = [
        batch
        for batch in client.all_batches()
        if (batch.metadata or {}).get("job") == job_id and not batch.is_terminal
    ]
    return [
        batch if batch.status == "cancelling" else client.cancel_batch(batch.id)
        for batch in running
    ]
