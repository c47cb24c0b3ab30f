"""Faults of single calls: refusals, lost answers, cuts, delays, and gates that hold a call."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local.groq_simulator.parsing import build, metadata_matches
from local.groq_simulator.rule_list import RuleList

ROUTES = (
    "upload",
    "files_list",
    "file_retrieve",
    "file_delete",
    "content",
    "create",
    "retrieve",
    "list",
    "list_by_ids",
    "cancel",
    "models",
    "chat",
    "transcriptions",
    "translations",
)
ANSWERS = ("normal", "status", "garbage", "reset", "half_close", "cut", "stall")


@dataclass(slots=True)
class FaultMatch:
    """Filter for calls of the route; every given condition must hold, none means all.

    Attributes:
        path: Regular expression, searched in path and query, such as a file's or batch's id.
        metadata: Entries of the metadata (full-match regular expressions), for `create`.
        filename: Regular expression, searched in the file's name, for the routes of files.
        prompt: Regular expression, searched in what an ordinary call asks.
    """

    path: str | None = None
    metadata: dict[str, str] | None = None
    filename: str | None = None
    prompt: str | None = None


@dataclass(slots=True)
class Fault:
    """What goes wrong with a call.

    In order: `hold_before`, `delay_before`, the action (unless `act` is false), `hold_after`,
    `delay_after`, the answer.

    Attributes:
        route: Name of a route, one of `ROUTES`, or `*`.
        times: How many calls; None is all.
        skip: How many matching calls to let pass first.
        match: A `FaultMatch` or its JSON form.
        answer: One of `ANSWERS`; `status` when a status is given.
        act: Whether the API acts before the answer; by default only when the answer is not
            `status`, `reset` or `half_close`.
        status: HTTP status of the answer.
        body: Body of the answer: an object (JSON), a string (HTML if it begins with `<`), or None
            for an API error object.
        headers: More header fields of the answer.
        read_body: Whether a call that is refused is read to its end first.
        hold_before: Name of the gate that holds the call before acting.
        hold_after: Name of the gate that holds the call after acting.
        delay_before: Seconds before acting.
        delay_after: Seconds between acting and the answer.
        visible_after: Seconds for which what is made stays out of the list.
        seconds: How long `stall` and `half_close` last.
        fraction: Where in the body (0 to 1) `cut` and `stall` happen.
    """

    route: str
    times: int | None = 1
    skip: int = 0
    match: Any = field(default_factory=dict)
    answer: str | None = None
    act: bool | None = None
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    read_body: bool = True
    hold_before: str | None = None
    hold_after: str | None = None
    delay_before: float = 0.0
    delay_after: float = 0.0
    visible_after: float = 0.0
    seconds: float = 1.0
    fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.route not in (*ROUTES, "*"):
            raise ValueError(f"route must be '*' or one of {', '.join(ROUTES)}")
        self.match = build(FaultMatch, self.match)
        if self.answer is None:
            self.answer = "normal" if self.status is None else "status"
        if self.answer not in ANSWERS:
            raise ValueError(f"answer must be one of {', '.join(ANSWERS)}")
        if self.answer == "status" and self.status is None:
            raise ValueError("answer 'status' needs a status")
        if self.act is None:
            self.act = self.answer not in ("status", "reset", "half_close")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Properties of a call that a fault's filter can use."""

    route: str
    target: str
    metadata: Mapping[str, str] | None = None
    filename: str | None = None
    prompt: str | None = None


class Faults(RuleList[Fault]):
    """The faults that are still pending."""

    def __init__(self) -> None:
        super().__init__(Fault)

    def clear(self, route: str | None = None) -> None:
        """Removes the faults of a route, or all."""
        with self._lock:
            self._rules = [
                fault for fault in self._rules if route is not None and fault.route != route
            ]

    def of(self, facts: CallFacts, *, by_filename_only: bool = False) -> Fault | None:
        """Returns the fault of a call, if any, and counts it.

        Args:
            facts: What is known of the call.
            by_filename_only: Consider only faults with a filter for the file name.
        """

        def applies(fault: Fault) -> bool:
            if not _matches(fault, facts) or (by_filename_only and fault.match.filename is None):
                return False
            skips = fault.skip > 0
            fault.skip -= skips
            return not skips

        return self.take(applies)


def _matches(fault: Fault, facts: CallFacts) -> bool:
    match: FaultMatch = fault.match
    if fault.route not in ("*", facts.route):
        return False
    if match.path is not None and re.search(match.path, facts.target) is None:
        return False
    if match.filename is not None and (
        facts.filename is None or re.search(match.filename, facts.filename) is None
    ):
        return False
    if match.prompt is not None and re.search(match.prompt, facts.prompt or "") is None:
        return False
    return match.metadata is None or metadata_matches(match.metadata, facts.metadata)


class Gates:
    """Named gates that hold calls until they are released."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._held: dict[str, int] = {}
        self._permits: dict[str, int] = {}
        self._closed = False

    def hold(self, name: str, seconds: float) -> None:
        """Holds the calling thread until it is released, at most this many seconds."""
        with self._condition:
            self._held[name] = self._held.get(name, 0) + 1
            self._condition.notify_all()
            self._condition.wait_for(
                lambda: self._closed or self._permits.get(name, 0) > 0, seconds
            )
            self._held[name] -= 1
            if self._permits.get(name, 0) > 0:
                self._permits[name] -= 1
            self._condition.notify_all()

    def wait_held(self, name: str, count: int, seconds: float) -> bool:
        """Waits until this many calls are held; returns whether they are."""
        with self._condition:
            return self._condition.wait_for(lambda: self._waiting(name) >= count, seconds)

    def release(self, name: str, count: int | None = None) -> int:
        """Releases calls that are held now (None: all); returns how many."""
        with self._condition:
            waiting = self._waiting(name)
            released = waiting if count is None else min(count, waiting)
            self._permits[name] = self._permits.get(name, 0) + released
            self._condition.notify_all()
            return released

    def _waiting(self, name: str) -> int:
        # A released thread may not have woken up yet.
        return self._held.get(name, 0) - self._permits.get(name, 0)

    def close(self) -> None:
        """Opens all gates permanently."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def sleep(self, seconds: float) -> None:
        """Sleeps, but not beyond the closing of the gates."""
        until = time.monotonic() + seconds
        with self._condition:
            self._condition.wait_for(lambda: self._closed, max(0.0, until - time.monotonic()))
