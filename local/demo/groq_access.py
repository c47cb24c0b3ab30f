"""Choose the Groq API of the demo, and check that the key works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from groq_batch.domain.batch import Batch
from groq_batch.groq.base_url import validate_base_url
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import AccountError, GroqApiError, NoAnswer, RateLimitedError
from local.demo.errors import DemoError

KEY_VARIABLE = "GROQ_API_KEY"
BASE_URL_VARIABLE = "GROQ_BASE_URL"
DEFAULT_BASE_URL = "https://api.groq.com/openai/v1"

_API_PATH = "/openai/v1"
_PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_CHECK_SECONDS = 20.0
_CANCEL_SECONDS = 60.0

_REFUSALS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_ADVICE = {
    "invalid_api_key": "Groq refuses the key in {key}. Copy a valid one from "
    "https://console.groq.com/keys.",
    "plan_required": "The plan of this Groq account has no Batch API. Upgrade it to the Developer "
    "tier: https://console.groq.com/settings/billing",
}
"""Advice about refusals, if it differs from that for a stack on AWS."""

_NO_ANSWER = {
    NoAnswer.NAME_NOT_FOUND: "{host} cannot be found: this machine has no network, or its DNS does "
    "not work.",
    NoAnswer.UNREACHABLE: "No connection to {host} can be made from here.",
    NoAnswer.UNTRUSTED_CERTIFICATE: "The certificate that {host} shows is not trusted. Usually a "
    "proxy or a virus scanner between this machine and Groq is the reason.",
    NoAnswer.TIMED_OUT: "{host} does not answer. A firewall may block it.",
    NoAnswer.BROKEN_OFF: "The connection to {host} was broken off. Try again, or from another "
    "network.",
}


@dataclass(frozen=True, slots=True)
class GroqAccess:
    """The real Groq API (or its configured replacement) and a key for it.

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
        return GroqClient(base_url=self.base_url, api_key=self._current_key)

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
    """Return a URL with its path, because the Groq SDK's variable has only the host."""
    text = given.strip().rstrip("/") or DEFAULT_BASE_URL
    try:
        if urlsplit(text).path in ("", "/"):
            text += _API_PATH
        return validate_base_url(text)
    except ValueError as error:
        raise DemoError(f"{BASE_URL_VARIABLE} cannot be used. {error}") from None


def check_access(access: GroqAccess, environ: Mapping[str, str]) -> None:
    """Check with one free call that batches can run.

    Raises:
        DemoError: They cannot; says why and what to do.
    """
    try:
        next(access.client().within(_CHECK_SECONDS).all_batches(), None)
    except GroqApiError as error:
        raise DemoError(explain(error, access, environ)) from None


def explain(error: GroqApiError, access: GroqAccess, environ: Mapping[str, str]) -> str:
    """Return the problem of a failed call with the key or the network, and what to do."""
    if error.reason is not None:
        return _NO_ANSWER[error.reason].format(host=access.host) + _proxy_note(environ)
    if isinstance(error, RateLimitedError):
        return f"{access.host} takes no more calls at present. Try again in some minutes."
    if isinstance(error, AccountError) and error.status in _REFUSALS:
        return _explain_refusal(error, access)
    if error.status is not None and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return (
            f"{access.host} is out of order at present (status {error.status}). See "
            "https://groqstatus.com and try again later."
        )
    status = f" (status {error.status})" if error.status is not None else ""
    return (
        f"{access.base_url} does not answer like the Groq API{status}. Check {BASE_URL_VARIABLE}, "
        f"which usually ends in {_API_PATH}."
    )


def _explain_refusal(error: AccountError, access: GroqAccess) -> str:
    if error.may_pass:
        return (
            f"{access.host} refuses the address of this machine, as it does with some VPNs and "
            "data centers. Try again from another network."
        )
    advice = _ADVICE.get(error.code or "", str(error))
    return advice.format(key=f"{KEY_VARIABLE} (from {access.source})")


def _proxy_note(environ: Mapping[str, str]) -> str:
    name = next((one for one in _PROXY_VARIABLES if environ.get(one)), None)
    if name is None:
        return ""
    return f" {name} is set, but the functions connect directly, as they do on AWS."


def cancel_batches(access: GroqAccess, job_id: str) -> list[Batch]:
    """Cancel every running batch of a job; return their state after that.

    Raises:
        GroqApiError: A call to Groq failed.
    """
    client = access.client().within(_CANCEL_SECONDS)
    running = [
        batch
        for batch in client.all_batches()
        if (batch.metadata or {}).get("job") == job_id and not batch.is_terminal
    ]
    return [
        batch if batch.status == "cancelling" else client.cancel_batch(batch.id)
        for batch in running
    ]
