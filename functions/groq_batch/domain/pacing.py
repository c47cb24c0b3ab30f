"""Pace ordinary calls within the API's limits, and slow down after each refusal.

The API reports what is left of its limits with every response, and how long to wait when nothing
is: https://console.groq.com/docs/rate-limits. The number of concurrent calls starts small, grows by
one with each answer and is halved by each refusal. The API does not report how many calls it
accepts per minute. That is learned from the first refusal, because each refusal uses up a try.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

MAX_OPEN_CALLS = 50
"""Maximum number of a job's concurrent ordinary calls."""
MAX_OF_ONE_FUNCTION = 40
"""Maximum number of concurrent calls of one invocation. The rest is for the next invocation if this
one crashes, because its calls may still be in progress."""
FIRST_OPEN_CALLS = 4
"""Number of concurrent calls at the start, before the API has responded."""
LONGEST_PAUSE_SECONDS = 60.0
"""Longest pause in seconds that a function makes itself; Step Functions does longer ones."""
_MINUTE = 60.0
_GROWTH = 1.5
_MIN_PER_MINUTE = 10
"""A refusal after fewer calls than this does not indicate a limit per minute."""
_FIRST_BACKOFF_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 60.0


class LimitsLeft(msgspec.Struct, frozen=True, kw_only=True):
    """The account's remaining rate limits from a response; None for values not reported.

    Attributes:
        requests: Remaining calls.
        requests_reset_in: Seconds until the full number of calls is available again.
        tokens: Remaining tokens.
        tokens_reset_in: Seconds until the full number of tokens is available again.
    """

    requests: float | None = None
    requests_reset_in: float | None = None
    tokens: float | None = None
    tokens_reset_in: float | None = None


@dataclass(slots=True, kw_only=True)
class Pace:
    """Decides how many calls may begin. Times are seconds since 1970.

    Attributes:
        allowed: Maximum number of concurrent calls.
        per_minute: Calls that may begin per minute; None without a known limit.
        begins_at: When the next call may begin; 0 if at once.
        reason: Why no call may begin before.
    """

    allowed: int = FIRST_OPEN_CALLS
    per_minute: int | None = None
    begins_at: float = 0.0
    reason: str = ""
    _left: LimitsLeft = field(default_factory=LimitsLeft)
    _left_at: float = 0.0
    _refusals: int = 0
    _begun: deque[float] = field(default_factory=deque)
    _learned_at: float = 0.0

    def goes_on(self, per_minute: int | None, *, now: float) -> None:
        """Continue with the limit learned by a previous function, which has just made calls."""
        self.per_minute, self._learned_at = per_minute, now
        for number in range(per_minute or 0):
            self._begun.append(now - _MINUTE * (1 - (number + 1) / ((per_minute or 0) + 1)))

    def count(self, wanted: Iterable[float], *, open_calls: int, now: float) -> int:
        """Return how many of the next calls may begin now.

        Args:
            wanted: Estimated tokens of each call, in order.
            open_calls: Calls in progress.
            now: The time.
        """
        count = 0
        room = max(self.allowed - open_calls, 0)
        for tokens in wanted:
            if now < self.begins_at or count == room:
                break
            is_alone = not (open_calls or count)
            if not self._fits_minute(is_alone=is_alone, now=now):
                break
            if not self._fits(tokens, is_alone=is_alone, now=now):
                break
            self._begun.append(now)
            count += 1
        return count

    def _fits_minute(self, *, is_alone: bool, now: float) -> bool:
        """Tell whether another call fits into this minute; otherwise wait for the next."""
        while self._begun and self._begun[0] + _MINUTE <= now:
            self._begun.popleft()
        if self.per_minute is None or len(self._begun) < self.per_minute:
            return True
        if is_alone:
            until = self._begun[-self.per_minute] + _MINUTE
            self._pause(until, "Groq's limit of calls in a minute is used up.", now=now)
        return False

    def _fits(self, tokens: float, *, is_alone: bool, now: float) -> bool:
        """Deduct a call from the remaining limits; if it does not fit, wait for their reset."""
        left = self._left
        if left.requests is not None and left.requests < 1:
            self._wait_for_reset(left.requests_reset_in, "requests", is_alone=is_alone, now=now)
            return False
        if left.tokens is not None and left.tokens < tokens:
            self._wait_for_reset(left.tokens_reset_in, "tokens", is_alone=is_alone, now=now)
            return False
        self._left = LimitsLeft(
            requests=None if left.requests is None else left.requests - 1,
            requests_reset_in=left.requests_reset_in,
            tokens=None if left.tokens is None else left.tokens - tokens,
            tokens_reset_in=left.tokens_reset_in,
        )
        return True

    def _wait_for_reset(
        self, reset_in: float | None, what: str, *, is_alone: bool, now: float
    ) -> None:
        if not is_alone:
            return  # The responses to the open calls will report what is left.
        seconds = _FIRST_BACKOFF_SECONDS if reset_in is None else reset_in
        self._pause(self._left_at + seconds, f"Groq's limit of {what} is used up.", now=now)
        # If a call exceeds even the full limit, the API must refuse it.
        self._left = LimitsLeft()

    def answered(self, left: LimitsLeft, *, now: float) -> None:
        """Record a response, either a success or a refusal of the request itself."""
        self.allowed = min(self.allowed + 1, MAX_OF_ONE_FUNCTION)
        self._refusals = 0
        self._left, self._left_at = left, now
        if self.per_minute is not None and now - self._learned_at > _MINUTE:
            self.per_minute = math.ceil(self.per_minute * _GROWTH)
            self._learned_at = now

    def refused(
        self, wait_seconds: float | None, reason: str, *, is_limit: bool = False, now: float
    ) -> None:
        """Record that the API cannot answer at present, or was not reached.

        Args:
            wait_seconds: How long it asks to wait; None if it does not say.
            reason: The API's message.
            is_limit: Whether it reports too many calls.
            now: The time.
        """
        if self._begun:
            self._begun.pop()
        if is_limit:
            while self._begun and self._begun[0] + _MINUTE <= now:
                self._begun.popleft()
            if len(self._begun) >= _MIN_PER_MINUTE:
                self.per_minute, self._learned_at = len(self._begun), now
        if now >= self.begins_at:
            # Concurrent calls are refused together, which counts once.
            self.allowed = max(self.allowed // 2, 1)
            self._refusals += 1
        backoff = _FIRST_BACKOFF_SECONDS * 2.0 ** min(self._refusals - 1, 10)
        seconds = min(backoff, _LONGEST_BACKOFF_SECONDS) if wait_seconds is None else wait_seconds
        self._left = LimitsLeft()
        self._pause(now + seconds, reason, now=now)

    def _pause(self, until: float, reason: str, *, now: float) -> None:
        if until > max(self.begins_at, now):
            self.begins_at, self.reason = until, reason
