"""The shards of an attempt once their batches have ended: what was sent, and what was refused."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from groq_batch.domain.batch import ENDPOINT, BatchIssue
from groq_batch.records.attempt import _MAX_MESSAGE, ShardState, _text, refusal_text
from groq_batch.records.attempt_plan import RefusedShard
from groq_batch.records.submission import Stage
from groq_batch.request_file.shard_parts import ShardContents, is_audio
from groq_batch.steps.download_results.result_index import ResultIndex

_URL_MISMATCH = "url_mismatch"
"""What OpenAI's API says of a batch whose endpoint is not its lines' URL, line by line:
https://github.com/openai/openai-python/issues/2497"""


@dataclass(slots=True, kw_only=True)
class SentShard:
    """A shard of an attempt, as far as it was sent.

    Attributes:
        number: Its number.
        entry: What is known of its batch.
        index: The rows of its batch.
        lines: Its request lines.
        issues: What the API says of single lines of it, by line from 1; they fail for good.
        refused: How its batch was refused as a whole, if it was and it is sent again.
        succeeded: Requests of it with an answer of this attempt.
    """

    number: int
    entry: ShardState
    index: ResultIndex
    lines: int = 0
    issues: dict[int, BatchIssue] = field(default_factory=dict)
    refused: RefusedShard | None = None
    succeeded: int = 0

    @property
    def was_sent(self) -> bool:
        """Whether the API has decided about it: by a batch, or by refusing to make one."""
        return self.entry.batch is not None or self.entry.stage is Stage.REFUSED

    def read_refusal(self, request_lines: Iterable[bytes], *, is_sent_again: bool) -> None:
        """Tell what the API refuses of single lines from what it refuses of the batch.

        Args:
            request_lines: The shard's lines; read only when the batch was refused.
            is_sent_again: Whether what may be tried again is sent once more.
        """
        batch, contents, by_url = self.entry.batch, None, False
        if batch is not None:
            errors = [
                # What is said of a line that was not sent is said of the whole batch.
                issue if (issue.line or 0) <= self.lines else replace(issue, line=None)
                for issue in batch.errors
            ]
            if batch.status == "failed" and any(one.code == _URL_MISMATCH for one in errors):
                contents = ShardContents.of(request_lines)
                if contents.urls != {self.entry.endpoint or ENDPOINT}:
                    # The batch's endpoint is at fault, whatever lines are named.
                    by_url = is_audio(contents.urls)
                    errors = [
                        replace(one, line=None) if one.code == _URL_MISMATCH else one
                        for one in errors
                    ]
            self.entry.batch = replace(batch, errors=tuple(errors))
            self.issues = {issue.line: issue for issue in errors if issue.line}
        if not (is_sent_again and self._is_refused_whole):
            return
        contents = contents or ShardContents.of(request_lines)
        # What lacks nothing but the right endpoint needs no division.
        lacks_endpoint = by_url and contents.audio_url is not None
        self.refused = RefusedShard(parts=1 if lacks_endpoint else contents.parts, by_url=by_url)

    @property
    def _is_refused_whole(self) -> bool:
        """Whether the API has run nothing of it, and named no line that is at fault."""
        batch = self.entry.batch
        if batch is None:
            return self.entry.stage is Stage.REFUSED
        # With rows of it something has run after all; then only what has no row is sent again.
        may_have_rows = bool(self.index.rows) or self.index.is_lost
        return batch.status == "failed" and not self.issues and not may_have_rows

    def refusal_text(self, line: int) -> str:
        """Return why the API refused a line of a batch that it did not run, or not to its end."""
        issue = self.issues.get(line)
        if issue is not None:
            return _text(issue.code, issue.message)
        if self.entry.batch is None:
            return f"Groq refused the batch: {refusal_text(self.entry)}"[:_MAX_MESSAGE]
        errors = self.entry.batch.errors
        if errors and all(one.line for one in errors):
            return f"Another line of the batch was refused. {refusal_text(self.entry)}"[
                :_MAX_MESSAGE
            ]
        return refusal_text(self.entry)


class SentLines:
    """Tells in which shard of an attempt a request was sent, and where in it."""

    def __init__(self, shards: Sequence[SentShard], positions: dict[str, int] | None) -> None:
        """Look requests up.

        Args:
            shards: The shards, with the numbers of their lines.
            positions: Where each id stands, from 1, if their lines followed one another; None where
                every request of the origin shard was sent, in one shard, and they are asked for in
                order.
        """
        self._shards = shards
        self._positions = positions
        self._ends = list(accumulate(shard.lines for shard in shards))
        self._count = 0

    def find(self, custom_id: str) -> tuple[SentShard, int] | None:
        """Return the shard and the line (from 1) of the next request; None if it was not sent."""
        if self._positions is None:
            self._count += 1
            return self._shards[0], self._count
        position = self._positions.get(custom_id)
        if position is None:
            return None
        place = bisect_left(self._ends, position)
        shard = self._shards[place]
        return shard, position - (self._ends[place] - shard.lines)
