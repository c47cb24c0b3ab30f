"""Make the ordinary calls of one invocation: choose requests, limit concurrency, keep the record.

The record is written before each call begins and after it has ended. A request's row is stored
before the record counts the call as ended. So after a crash at any point, a request either has its
row, or was not begun, or is claimed without a row. A claimed request without a row is never sent
again, because the call may have been paid for.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from msgspec.structs import replace

from groq_batch.bucket.s3_errors import ConflictError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.on_demand import fits, is_spent
from groq_batch.domain.pacing import LONGEST_PAUSE_SECONDS, MAX_OPEN_CALLS, Pace
from groq_batch.domain.prices import Prices
from groq_batch.domain.reason import Reason
from groq_batch.domain.result_row import pipeline_row
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import GroqApiError
from groq_batch.groq.ordinary_calls import JSON_CONTENT, form_of
from groq_batch.records.on_demand import CallsEnd, ClaimedRequest, LinePosition, OnDemandProgress
from groq_batch.records.submission import LEASE_SECONDS, RENEW_SECONDS
from groq_batch.request_file.ordinary_request import OrdinaryRequest, read_request
from groq_batch.steps.answer_requests.call_outcomes import (
    NOT_BEGUN,
    CallOutcome,
    Kind,
    outcome_of_failure,
    outcome_of_response,
)
from groq_batch.steps.answer_requests.lines import RequestLines
from groq_batch.telemetry import metrics
from groq_batch.telemetry.log import logger

SLICE_SECONDS = 240.0
"""How long one invocation begins new calls, in seconds. The next invocation continues."""
_ACCOUNT_PAUSE_SECONDS = 60.0
_MIN_PAUSE_SECONDS = 1.0
_MAX_OPEN_BYTES = 64 * 1024 * 1024
_MAX_WAITING_AGAIN = 100
"""Limit of requests waiting for a retry; above it no new request begins. The record lists all."""
_MAX_ROW_BYTES = 2_000
_MAX_MESSAGE = 300
_STOP_CHECKS = 16


class _LeaseLost(Exception):  # noqa: N818 (not an error: the other invocation continues)
    """Raised when another invocation has taken over the record."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A request whose call is in progress."""

    claim: ClaimedRequest
    request: OrdinaryRequest


@dataclass(frozen=True, slots=True)
class _Pause:
    """Why Step Functions waits before more calls, and until when, in seconds since 1970."""

    until: float
    reason: Reason


@dataclass(slots=True, kw_only=True)
class OnDemandCaller:
    """Makes ordinary calls for one invocation, which holds the lease on the record.

    Attributes:
        storage: The bucket.
        client: The Groq API.
        keys: Keys of the job's working files.
        record: The record as last written.
        etag: ETag of the record.
        prices: The job's prices.
        clock: Returns seconds since 1970.
        sleep: Waits some seconds.
        begins_slowly: Whether the previous invocation crashed with calls in progress.
    """

    storage: Storage
    client: GroqClient
    keys: object_keys.WorkKeys
    record: OnDemandProgress
    etag: str
    prices: Prices
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    begins_slowly: bool = False
    _pace: Pace = field(default_factory=Pace)
    _open: dict[Future[CallOutcome], _Open] = field(default_factory=dict)
    _until: float = 0.0
    _held_back_until: float = 0.0
    _is_stopped: bool = False
    _is_lost: bool = False
    _ends: CallsEnd | None = None
    _no_more: CallsEnd | None = None
    _pause: _Pause | None = None
    _failure: Exception | None = None
    _stop_checks: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_STOP_CHECKS)
    )

    def run(self) -> None:
        """Make calls for a few minutes, wait for their answers and record the progress.

        Raises:
            Exception: The bucket could not be used. Rows of open calls are stored if possible.
        """
        record = self.record
        self._until = min(self.clock() + SLICE_SECONDS, record.ask_until)
        if self.begins_slowly:
            self._pace.allowed = 1
        self._pace.goes_on(record.per_minute, now=self.clock())
        lines = RequestLines(
            self.storage,
            self.keys,
            record.attempt,
            shard=record.shard,
            line=record.line,
            offset=record.offset,
        )
        with ThreadPoolExecutor(max_workers=MAX_OPEN_CALLS) as pool:
            try:
                self._ask(pool, lines)
            except _LeaseLost:
                logger.info("Another invocation continues the ordinary calls")
                self._store_open_calls()
            except Exception:
                # The last write may or may not have succeeded; rows of finished calls are stored
                # anyway.
                self._store_open_calls()
                raise
            finally:
                lines.close()
        if self._failure is not None:
            raise self._failure

    # -- the loop --------------------------------------------------------------------------------

    def _ask(self, pool: ThreadPoolExecutor, lines: RequestLines) -> None:
        while True:
            ended = self._finished_calls(wait_seconds=0.0)
            record = self._updated(ended)
            self._store_rows(ended)
            chosen: list[_Open] = []
            if not self._begins_no_more:
                record, chosen = self._choose(record, lines)
            if not (self._open or chosen) and self._is_over(record):
                self._swap(self._released(record))
                return
            age = LEASE_SECONDS - (self.record.lease_until - self.clock())
            if ended or chosen or age >= RENEW_SECONDS:
                self._swap(record)
            for one in chosen:
                self._open[pool.submit(self._call, one)] = one
            if not self._open:
                self.sleep(min(max(self._pace.begins_at - self.clock(), 0.0), RENEW_SECONDS))
            elif not chosen or len(self._open) >= self._pace.allowed:
                wait(self._open, RENEW_SECONDS, FIRST_COMPLETED)

    def _store_open_calls(self) -> None:
        """Wait for all open calls and store their rows. The record must not be written any more."""
        self._is_lost = True
        self._store_rows(self._finished_calls(wait_seconds=None))

    @property
    def _begins_no_more(self) -> bool:
        """Whether this invocation begins no more calls."""
        is_over = self._is_stopped or self._failure is not None or self._pause is not None
        return is_over or self.clock() >= self._until

    def _is_over(self, record: OnDemandProgress) -> bool:
        """Tell whether the invocation is finished, given that no call is in progress.

        Sets the end of the asking, or the pause before the next invocation, by what prevents calls.
        """
        now = self.clock()
        if self._is_stopped:
            self._ends = CallsEnd.STOPPED
        elif now >= record.ask_until:
            self._ends = CallsEnd.TIME
        elif self._begins_no_more:
            pass
        elif is_spent(record.charged_usd, record.budget_usd):
            self._ends = CallsEnd.BUDGET
        elif self._no_more is not None and not record.again:
            self._ends = self._no_more
        elif record.lost_calls(now) >= MAX_OPEN_CALLS:
            text = "Calls of a crashed function may still be open."
            self._pause = _Pause(record.lost_until, Reason(ErrorCode.GROQ_UNAVAILABLE, text))
        elif self._pace.begins_at - now > LONGEST_PAUSE_SECONDS:
            reason = Reason(ErrorCode.GROQ_UNAVAILABLE, self._pace.reason)
            self._pause = _Pause(self._pace.begins_at, reason)
        else:
            return False
        return True

    def _released(self, record: OnDemandProgress) -> OnDemandProgress:
        pause = self._pause
        return replace(
            record,
            lease_until=0.0,
            ended=self._ends,
            per_minute=self._pace.per_minute,
            pause_until=pause.until if pause is not None else 0.0,
            pause=pause.reason if pause is not None else record.pause,
        )

    def _swap(self, record: OnDemandProgress) -> None:
        """Write the record.

        Raises:
            _LeaseLost: Another invocation has written it.
        """
        if record.lease_until:
            record = replace(record, lease_until=self.clock() + LEASE_SECONDS)
        try:
            self.etag = record.swap(self.storage, self.keys, over=self.etag)
        except ConflictError:
            raise _LeaseLost from None
        self.record = record

    # -- what is asked ---------------------------------------------------------------------------

    def _choose(
        self, record: OnDemandProgress, lines: RequestLines
    ) -> tuple[OnDemandProgress, list[_Open]]:
        """Choose the requests to send now; return the record that claims them, and the requests."""
        chosen: list[_Open] = []
        now = self.clock()
        lost = record.lost_calls(now)
        open_bytes = sum(len(one.request.body) for one in self._open.values())
        while len(self._open) + len(chosen) + lost < MAX_OPEN_CALLS:
            if is_spent(record.charged_usd, record.budget_usd):
                break
            found = self._candidate(record, lines)
            if found is None:
                break
            one, after = found
            is_alone = not (self._open or chosen)
            size = len(one.request.body)
            if open_bytes + size > _MAX_OPEN_BYTES and not is_alone:
                break
            under_way = len(self._open) + len(chosen)
            tokens = one.request.size.tokens(record.means)
            if not self._pace.count([tokens], open_calls=under_way, now=now):
                break
            if one.claim not in record.again:
                lines.take()
            record = replace(
                after,
                charged_usd=after.charged_usd + one.claim.estimate,
                open=(*after.open, one.claim),
            )
            open_bytes += size
            chosen.append(one)
        return record, chosen

    def _candidate(
        self, record: OnDemandProgress, lines: RequestLines
    ) -> tuple[_Open, OnDemandProgress] | None:
        """Return the next request to send and the record without it; None if there is none.

        Requests without a try come first: while the API is unreachable, no request should use up
        its tries before others have had one.
        """
        claim = min(record.again, key=lambda one: one.tries, default=None)
        is_new_wanted = claim is None or (claim.tries and len(record.again) < _MAX_WAITING_AGAIN)
        if is_new_wanted and (fresh := self._next_new(record, lines)):
            return fresh
        if claim is None:
            return None
        again = tuple(one for one in record.again if one is not claim)
        request = read_request(lines.at(claim.place))
        return _Open(claim=claim, request=request), replace(record, again=again)

    def _next_new(
        self, record: OnDemandProgress, lines: RequestLines
    ) -> tuple[_Open, OnDemandProgress] | None:
        """Return the next request of the file that fits the budget, and the record after it."""
        while self._no_more is None:
            found = lines.peek()
            if found is None:
                self._no_more = CallsEnd.ALL_ASKED
                return None
            place, line = found
            request = read_request(line)
            estimate = request.size.estimate_usd(self.prices, record.means)
            if estimate is None:
                lines.take()  # Without a known price the cost cannot be limited.
                continue
            if not fits(estimate, promised=record.promised_usd, budget=record.budget_usd):
                self._no_more = CallsEnd.BUDGET
                return None
            after = replace(
                record,
                shard=place.shard,
                line=place.line + 1,
                offset=place.offset + place.size + 1,
                promised_usd=record.promised_usd + estimate,
            )
            return _Open(
                claim=ClaimedRequest(place=place, estimate=estimate), request=request
            ), after
        return None

    def _call(self, one: _Open) -> CallOutcome:
        """Make one call if it is still wanted. Runs in a thread."""
        with self._stop_checks:
            if self.storage.exists(self.keys.stopped):
                self._is_stopped = True
        now = self.clock()
        is_held = self.record.lease_until - now > LEASE_SECONDS / 2
        is_wanted = not (self._is_stopped or self._is_lost) and now < self.record.ask_until
        if not (is_held and is_wanted) or now < self._held_back_until:
            return NOT_BEGUN
        request = one.request
        content = (
            (request.body, JSON_CONTENT) if request.is_chat else form_of(request.form_fields())
        )
        try:
            answer = self.client.ask(request.path, *content)
        except GroqApiError as error:
            return outcome_of_failure(request, error)
        outcome = outcome_of_response(request, answer, self.prices, now=self.clock())
        if outcome.kind is Kind.AGAIN:
            # Calls about to begin wait as well, without using up a try.
            self._held_back_until = self.clock() + (outcome.wait_seconds or _MIN_PAUSE_SECONDS)
        elif outcome.kind is Kind.ACCOUNT:
            self._held_back_until = math.inf
        return outcome

    # -- outcomes --------------------------------------------------------------------------------

    def _finished_calls(self, *, wait_seconds: float | None) -> list[tuple[_Open, CallOutcome]]:
        """Return the calls that have ended, each with its outcome."""
        done, _ = wait(self._open, wait_seconds)
        ended = []
        for future in [one for one in self._open if one in done]:
            one = self._open.pop(future)
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            if error is not None:
                # Raised before the call: errors of the API become outcomes.
                self._failure = error
            ended.append((one, NOT_BEGUN if error is not None else future.result()))
        return ended

    def _updated(self, ended: Iterable[tuple[_Open, CallOutcome]]) -> OnDemandProgress:
        """Return the record updated for calls that have ended."""
        record, now = self.record, self.clock()
        for one, outcome in ended:
            self._adapt_pace(outcome, now)
            claim = one.claim
            charged = {
                Kind.ENDED: claim.estimate if outcome.cost_usd is None else outcome.cost_usd,
                Kind.UNKNOWN: claim.estimate,
            }.get(outcome.kind, 0.0)
            again = self._for_retry(claim, outcome)
            record = replace(
                record,
                open=tuple(other for other in record.open if other != claim),
                again=record.again if again is None else (*record.again, again),
                charged_usd=max(record.charged_usd - claim.estimate, 0.0) + charged,
                ended_calls=record.ended_calls + (again is None),
                succeeded=record.succeeded + outcome.is_success,
                cost_usd=record.cost_usd
                + ((outcome.cost_usd or 0.0) if outcome.is_success else 0.0),
                pause=None if outcome.was_answered else record.pause,
            )
        return record

    def _adapt_pace(self, outcome: CallOutcome, now: float) -> None:
        """Adapt the pace of calls to the limits that the API reports."""
        if outcome.kind is Kind.ENDED:
            self._pace.answered(outcome.left, now=now)
        elif outcome.kind is Kind.AGAIN:
            reason = _error_of(outcome).message or ""
            self._pace.refused(
                outcome.wait_seconds, reason[:_MAX_MESSAGE], is_limit=outcome.is_limit, now=now
            )
            metrics.groq_failed("rate_limit" if outcome.is_limit else "other")
        elif outcome.kind is Kind.ACCOUNT:
            metrics.groq_failed("account")
            self._pause = _Pause(now + _ACCOUNT_PAUSE_SECONDS, _error_of(outcome))

    def _for_retry(self, claim: ClaimedRequest, outcome: CallOutcome) -> ClaimedRequest | None:
        """Return a request prepared for its next try; None if it is not tried again."""
        if outcome.kind is Kind.NOT_BEGUN:
            return claim
        if outcome.kind is Kind.ACCOUNT:
            return _refused(claim, outcome)
        if outcome.kind is not Kind.AGAIN or claim.tries + 1 >= self.record.max_tries:
            return None
        row = claim.row
        if outcome.row is not None:
            is_short = len(outcome.row) <= _MAX_ROW_BYTES
            row = outcome.row.decode("utf-8", "replace").rstrip("\n") if is_short else None
        return replace(_refused(claim, outcome), tries=claim.tries + 1, row=row)

    def _store_rows(self, ended: Sequence[tuple[_Open, CallOutcome]]) -> None:
        """Store the rows of requests that are not tried again, grouped by shard."""
        rows: dict[int, list[tuple[LinePosition, bytes]]] = {}
        for one, outcome in ended:
            if outcome.kind in (Kind.NOT_BEGUN, Kind.ACCOUNT):
                continue
            if not self._is_lost and self._for_retry(one.claim, outcome) is not None:
                continue
            place = one.claim.place
            rows.setdefault(place.shard, []).append((place, _last_row(one, outcome)))
        for shard, found in rows.items():
            first = min(place.line for place, _ in found)
            key = self.keys.on_demand_row(self.record.attempt, shard, first)
            self.storage.put_bytes(key, b"".join(row for _, row in found))


def _error_of(outcome: CallOutcome) -> Reason:
    return outcome.error or Reason(None, None)


def _refused(claim: ClaimedRequest, outcome: CallOutcome) -> ClaimedRequest:
    error = _error_of(outcome)
    message = (error.message or "")[:_MAX_MESSAGE]
    return replace(claim, was_begun=True, code=error.code, message=message)


def _last_row(one: _Open, outcome: CallOutcome) -> bytes:
    """Return the row to store for a request after its last call."""
    if outcome.row is not None:
        return outcome.row
    if one.claim.row is not None:
        return one.claim.row.encode("utf-8", "replace") + b"\n"
    error = _error_of(outcome)
    text = f"The API was not reached after the deadline. {error.message or ''}"
    return pipeline_row(one.request.custom_id, code=ErrorCode.DEADLINE_PASSED, message=text.strip())
