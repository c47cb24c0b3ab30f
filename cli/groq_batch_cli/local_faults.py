"""Define the faults of ``local fault``, and the simulator calls that cause them.

The calls belong to the simulator's control API (``local/groq_simulator/README.md``), which offers
many more faults.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from groq_batch_cli.errors import CommandError

_SECONDS = 10.0

Call = tuple[str, dict[str, Any]]
"""Name and arguments of an operation of the control API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Extent of a fault.

    Attributes:
        share: Share of the requests to hit, from 0 to 1.
        times: How many times it happens; None means until cleared.
        api_key: The key that the stack uses.
    """

    share: float
    times: int | None
    api_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault.

    Attributes:
        text: Description for users.
        calls: Returns the calls that cause it.
        has_share: Whether it hits a share of the requests.
        times: How many times it happens by default; None means until cleared.
        can_end: Whether it can be limited to a number of times.
    """

    text: str
    calls: Callable[[Extent], Sequence[Call]]
    has_share: bool = False
    times: int | None = None
    can_end: bool = True


def _requests(outcome: Mapping[str, Any] | str) -> Callable[[Extent], Sequence[Call]]:
    def calls(extent: Extent) -> Sequence[Call]:
        match = {"fraction": extent.share}
        rule = {"match": match, "outcome": outcome, "times": extent.times}
        return [("add_rule", {"rule": rule})]

    return calls


def _batches(**fate: Any) -> Callable[[Extent], Sequence[Call]]:
    return lambda extent: [
        ("add_fate", {"fate": {"match": {}, "fate": fate, "times": extent.times}})
    ]


def _expiring(extent: Extent) -> Sequence[Call]:
    return _batches(end="expire", done=1 - extent.share)(extent)


def _api(route: str, **answer: Any) -> Callable[[Extent], Sequence[Call]]:
    return lambda extent: [
        ("add_fault", {"fault": {"route": route, "times": extent.times, **answer}})
    ]


def _account(state: str | None) -> Callable[[Extent], Sequence[Call]]:
    return lambda extent: [("set_keys", {"keys": {extent.api_key: state} if state else {}})]


FAULTS: Mapping[str, Fault] = {
    "requests-refused": Fault(
        text="Groq rejects requests permanently (400); they go to failed/.",
        calls=_requests({"kind": "http_error", "status": 400, "code": "invalid_request_error"}),
        has_share=True,
    ),
    "requests-fail-once": Fault(
        text="Requests fail the first time, and are sent again.",
        calls=_requests({"kind": "capacity_exhausted"}),
        has_share=True,
        times=1,
    ),
    "answers-missing": Fault(
        text="Requests are missing from Groq's result files, and are sent again up to MaxAttempts.",
        calls=_requests("missing"),
        has_share=True,
    ),
    "batch-expires": Fault(
        text="A batch does not finish in time; its remaining requests are sent again.",
        calls=_expiring,
        has_share=True,
        times=1,
    ),
    "batch-refused": Fault(
        text="Groq rejects a whole batch at validation.",
        calls=_batches(end="fail"),
        times=1,
    ),
    "batch-stuck": Fault(
        text="A batch never finishes; cancel its job.",
        calls=_batches(end="stuck"),
        times=1,
    ),
    "rate-limit": Fault(
        text="Groq rate-limits the creation of batches (429, Retry-After: 5).",
        calls=_api("create", status=429, headers={"Retry-After": "5"}),
        times=3,
    ),
    "outage": Fault(
        text="Every call to the Groq API returns 503.",
        calls=_api("*", status=503),
    ),
    "key-refused": Fault(text="Groq rejects the API key.", calls=_account(None), can_end=False),
    "free-plan": Fault(
        text="The account's plan has no Batch API.", calls=_account("free"), can_end=False
    ),
    "spend-limit": Fault(
        text="The account has reached its spend limit.",
        calls=_account("spend_limit"),
        can_end=False,
    ),
}


def end_of_faults(api_key: str) -> list[Call]:
    """Return the calls that clear all faults, but keep batches and the state of requests."""
    return [
        ("set_rules", {"rules": []}),
        ("set_fates", {"fates": []}),
        ("clear_faults", {}),
        ("set_keys", {"keys": {api_key: "paid"}}),
    ]


def make_calls(groq_base_url: str, calls: Sequence[Call]) -> None:
    """Call the control API of a simulator.

    Args:
        groq_base_url: The address of the simulated API.
        calls: The calls.

    Raises:
        CommandError: The simulator does not answer, or rejects a call.
    """
    address = urlsplit(groq_base_url)
    for name, arguments in calls:
        connection = http.client.HTTPConnection(address.netloc, timeout=_SECONDS)
        try:
            connection.request("POST", f"/_control/{name}", json.dumps(arguments))
            answer = connection.getresponse()
            said = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(
                f"The simulator at {groq_base_url} does not answer: {error}"
            ) from None
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise CommandError(f"The simulator at {groq_base_url} rejects {name}: {said}")
