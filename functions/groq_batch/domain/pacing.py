"""How fast ordinary calls are made: within what the API takes, and slower after each refusal.

The API tells what is left of its limits with every answer, and how long to wait when nothing is:
https://console.groq.com/docs/rate-limits. The number of calls that are open at once begins small,
grows by one with each answer and is halved by each refusal. What it does not tell is how many calls
it takes in a minute: that is learned from the first refusal, for each refusal uses up a try.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_OPEN_CALLS = 50
"""Ordinary calls of a job that may be open at once."""
MOST_OF_ONE_FUNCTION = 40
"""Calls that one invocation has open at most. The rest is for the one that goes on when it dies,
whose calls may be open yet."""
FIRST_OPEN_CALLS = 4
"""Calls that are open at once in the beginning, before the API has answered."""
LONGEST_PAUSE_SECONDS = 60.0
"""Longest pause that a function makes itself; Step Functions waits for what is longer."""
_MINUTE = 60.0
_GROWTH = 1.5
_LEAST_PER_MINUTE = 10
"""A refusal after fewer calls than these says nothing of a limit by the minute."""
_FIRST_BACKOFF_SECONDS = 2.0
_LONGEST_BACKOFF_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsLeft:
    """What an answer says is left of the account's limits; None for what it does not say.

    Attributes:
        requests: Calls that may still be made.
        requests_reset_in: Seconds until all of them may be made again.
        tokens: Tokens that may still be used.
        tokens_reset_in: Seconds until all of them may be used again.
    """

    requests: float | None = None
    requests_reset_in: float | None = None
    tokens: float | None = None
    tokens_reset_in: float | None = None


@dataclass(slots=True, kw_only=True)
class Pace:
    """Decides how many calls may be begun. Times are seconds since 1970.

    Attributes:
        allowed: Calls that may be open at once.
        per_minute: Calls that may be begun within a minute; None while nothing speaks against any.
        begins_at: When the next call may be begun; 0 when at once.
        reason: Why none may be begun before.
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
        """Go on with what another function has learned, which has made calls until just now."""
        self.per_minute, self._learned_at = per_minute, now
        for number in range(per_minute or 0):
            self._begun.append(now - _MINUTE * (1 - (number + 1) / ((per_minute or 0) + 1)))

    def count(self, wanted: Iterable[float], *, open_calls: int, now: float) -> int:
        """Return how many of the calls that are wanted next may be begun now.

        Args:
            wanted: The tokens that each of them is estimated to use, in order.
            open_calls: Calls that are open.
            now: The time.
        """
        count = 0
        room = max(self.allowed - open_calls, 0)
        for tokens in wanted:
            if now < self.begins_at or count == room:
                break
            is_alone = not (open_calls or count)
            if not (self._fits_minute(is_alone, now) and self._fits(tokens, is_alone, now)):
                break
            self._begun.append(now)
            count += 1
        return count

    def _fits_minute(self, is_alone: bool, now: float) -> bool:
        """Tell whether another call fits into this minute; where it does not, wait for the next."""
        while self._begun and self._begun[0] + _MINUTE <= now:
            self._begun.popleft()
        if self.per_minute is None or len(self._begun) < self.per_minute:
            return True
        if is_alone:
            until = self._begun[-self.per_minute] + _MINUTE
            self._pause(until, "Groq's limit of calls in a minute is used up.", now=now)
        return False

    def _fits(self, tokens: float, is_alone: bool, now: float) -> bool:
        """Take a call from what is left of the limits; where it does not fit, wait for them."""
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
            return  # The answers to what is open will say what is left then.
        seconds = _FIRST_BACKOFF_SECONDS if reset_in is None else reset_in
        self._pause(self._left_at + seconds, f"Groq's limit of {what} is used up.", now=now)
        # What does not fit into the whole limit is for the API to refuse.
        self._left = LimitsLeft()

    def answered(self, left: LimitsLeft, *, now: float) -> None:
        """Take note of an answer, be it a success or a refusal of the request itself."""
        self.allowed = min(self.allowed + 1, MOST_OF_ONE_FUNCTION)
        self._refusals = 0
        self._left, self._left_at = left, now
        if self.per_minute is not None and now - self._learned_at > _MINUTE:
            self.per_minute = math.ceil(self.per_minute * _GROWTH)
            self._learned_at = now

    def refused(
        self, wait_seconds: float | None, reason: str, *, is_limit: bool = False, now: float
    ) -> None:
        """Take note that the API cannot answer at present, or was not reached.

        Args:
            wait_seconds: How long it asks to wait; None when it does not say.
            reason: What it says.
            is_limit: Whether it says that there were too many calls.
            now: The time.
        """
        if self._begun:
            self._begun.pop()
        if is_limit:
            while self._begun and self._begun[0] + _MINUTE <= now:
                self._begun.popleft()
            if len(self._begun) >= _LEAST_PER_MINUTE:
                self.per_minute, self._learned_at = len(self._begun), now
        if now >= self.begins_at:
            # Calls that were open together are refused together, which counts once.
            self.allowed = max(self.allowed // 2, 1)
            self._refusals += 1
        backoff = _FIRST_BACKOFF_SECONDS * 2.0 ** min(self._refusals - 1, 10)
        seconds = min(backoff, _LONGEST_BACKOFF_SECONDS) if wait_seconds is None else wait_seconds
        self._left = LimitsLeft()
        self._pause(now + seconds, reason, now=now)

    def _pause(self, until: float, reason: str, *, now: float) -> None:
        if until > max(self.begins_at, now):
            self.begins_at, self.reason = until, reason
