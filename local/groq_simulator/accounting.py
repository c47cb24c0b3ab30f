"""Counters for assertions: calls, sends and successes of every request, and the call log."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from local.groq_simulator.ordinary_calls import OrdinaryCall
from local.groq_simulator.settings import Settings


@dataclass(slots=True)
class Call:
    """One entry of the call log; `status` is None while it runs and when nothing was answered."""

    time: float
    route: str
    method: str
    path: str
    status: int | None = None
    seconds: float | None = None
    running: bool = True


@dataclass(slots=True)
class Accounting:
    """All counters."""

    settings: Settings
    calls: list[Call] = field(default_factory=list)
    bytes_received: int = 0
    bytes_sent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    _succeeded: Counter[tuple[str, str]] = field(default_factory=Counter)
    _attempts: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    ordinary: list[OrdinaryCall] = field(default_factory=list)
    _holders: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    _answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    _fitting: set[tuple[str, str]] = field(default_factory=set)
    _paid_twice: set[tuple[str, str]] = field(default_factory=set)

    def add_call(self, call: Call) -> None:
        """Adds an entry to the call log."""
        with self._lock:
            self.calls.append(call)

    def count_bytes(self, *, received: int = 0, sent: int = 0) -> None:
        """Counts bytes of bodies."""
        with self._lock:
            self.bytes_received += received
            self.bytes_sent += sent

    def sent(self, metadata: Mapping[str, str] | None, custom_id: str) -> None:
        """Counts a request of a batch that was processed."""
        if self.settings.account_requests:
            self._sent[_job(metadata), custom_id] += 1
            self.asked(metadata, custom_id)

    def asked(self, metadata: Mapping[str, str] | None, custom_id: str) -> None:
        """Records the attempt in which a request was received, whether it ran or was refused."""
        if self.settings.account_requests:
            attempts = self._attempts.setdefault((_job(metadata), custom_id), set())
            attempts.add((metadata or {}).get("attempt", ""))

    def succeeded(
        self,
        metadata: Mapping[str, str] | None,
        custom_id: str,
        request: str | None = None,
        *,
        fits: bool = True,
    ) -> None:
        """Counts a request that was answered and therefore billed.

        Args:
            metadata: The metadata of its batch.
            custom_id: Its id.
            request: Its fingerprint.
            fits: Whether the answer has the form that was asked for. If not, a job may ask again
                and pay for it.
        """
        if not self.settings.account_requests:
            return
        key = _job(metadata), custom_id
        self._succeeded[key] += 1
        if request is not None:
            self._answered[key[0], request] += 1
        if key in self._fitting:
            self._paid_twice.add(key)
        if fits:
            self._fitting.add(key)

    def held(self, metadata: Mapping[str, str] | None, custom_id: str, request: str) -> None:
        """Records that a batch contains a request with this fingerprint."""
        if self.settings.account_requests:
            self._holders.setdefault(request, set()).add((_job(metadata), custom_id))

    def called(self, call: OrdinaryCall) -> None:
        """Counts an ordinary call."""
        if not self.settings.account_requests:
            return
        self.ordinary.append(call)
        if call.billed:
            self._answered[call.job, call.fingerprint] += 1

    def holder_of(self, request: str) -> str | None:
        """Returns the id of a batch's request by its fingerprint."""
        holders = self._holders.get(request)
        return min(holders)[1] if holders else None

    def calls_by_route(self) -> dict[str, int]:
        """Returns the number of calls of each route."""
        with self._lock:
            return dict(Counter(call.route for call in self.calls))

    def requests(self, job: str | None = None) -> dict[str, dict[str, int]]:
        """Returns times sent and times succeeded by `custom_id`, of one job or of all."""
        counts: dict[str, dict[str, int]] = {}
        for name, counter in (("sent", self._sent), ("succeeded", self._succeeded)):
            for (of_job, custom_id), count in counter.items():
                if job is None or of_job == job:
                    entry = counts.setdefault(custom_id, {"sent": 0, "succeeded": 0})
                    entry[name] += count
        return counts

    def attempts(self, job: str) -> dict[str, list[str]]:
        """Returns by `custom_id` in which attempts the API has read the requests of a job.

        A batch that was refused counts, also at its creation. What counts as an attempt is what
        the batches' metadata call one.
        """
        return {
            custom_id: sorted(attempts)
            for (of_job, custom_id), attempts in self._attempts.items()
            if of_job == job
        }

    def paid_twice(self) -> list[str]:
        """Returns the requests that were answered again after an answer that fits, or by a call.

        Those of batches are identified by their job and id; of answers that do not fit ``requests``
        counts how many there were. A call names neither job nor id, unless a test says for which
        job it was made: it is for one of the requests with the same body that batches held, or for
        one that none did. Requests are named by their ids, or by what they ask.
        """
        twice = {custom_id for _, custom_id in self._paid_twice}
        for call in self.ordinary:
            holders = self._holders.get(call.fingerprint, set())
            known = sum(call.job in ("", job) for job, _ in holders) or 1
            answered = sum(
                count
                for (job, asked), count in self._answered.items()
                if asked == call.fingerprint and call.job in ("", job)
            )
            if answered > known:
                twice.add(self.holder_of(call.fingerprint) or call.prompt)
        return sorted(twice)

    def clear(self) -> None:
        """Starts again from zero."""
        with self._lock:
            self.calls.clear()
            self.bytes_received = self.bytes_sent = 0
        self._sent.clear()
        self._succeeded.clear()
        self._attempts.clear()
        self.ordinary.clear()
        self._holders.clear()
        self._answered.clear()
        self._fitting.clear()
        self._paid_twice.clear()


def _job(metadata: Mapping[str, str] | None) -> str:
    return (metadata or {}).get("job", "")
