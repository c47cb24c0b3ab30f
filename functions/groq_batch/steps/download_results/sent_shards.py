"""Describe an attempt's shards after their batches have ended: what was sent, what was refused."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from msgspec.structs import replace

from groq_batch.domain.batch import ENDPOINT, BatchIssue
from groq_batch.domain.result_row import RETRYABLE_CODES
from groq_batch.records.attempt import (
    MAX_REFUSAL_CHARACTERS,
    ShardState,
    code_and_message,
    refusal_text,
)
from groq_batch.records.attempt_plan import RefusedShard
from groq_batch.records.submission import Stage
from groq_batch.request_file.shard_parts import ShardContents, is_audio
from groq_batch.steps.download_results.result_index import ResultIndex

_URL_MISMATCH = "url_mismatch"
"""Error code that OpenAI's API reports, per line, if a batch's endpoint differs from the line's
URL: https://github.com/openai/openai-python/issues/2497"""


@dataclass(slots=True, kw_only=True)
class SentShard:
    """A shard of an attempt, and what happened to its batch.

    Attributes:
        number: Its number.
        entry: The state of its batch.
        index: The rows of its batch.
        lines: Number of its request lines.
        issues: The API's errors about single lines, by line number from 1; these lines fail for
            good. Lines that an ended batch names because it did not come to them are not among
            them.
        refused: How its batch was refused as a whole; None if it was not, or is not sent again.
        succeeded: Number of its requests with an answer from this attempt.
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
        """Whether the API has decided about it: by a batch, or by refusing to create one."""
        return self.entry.batch is not None or self.entry.stage is Stage.REFUSED

    @property
    def may_have_been_sent(self) -> bool:
        """Whether a batch may exist that is not recorded: a create with an unknown outcome."""
        return self.entry.batch is None and self.entry.stage is Stage.CREATING

    def read_refusal(self, request_lines: Iterable[bytes], *, is_sent_again: bool) -> None:
        """Distinguish errors about single lines from errors about the whole batch.

        Args:
            request_lines: The shard's lines; read only if the batch was refused.
            is_sent_again: Whether requests that may be retried are sent once more.
        """
        batch, contents, by_url = self.entry.batch, None, False
        if batch is not None:
            errors = [
                # An error about a line beyond those sent concerns the whole batch.
                issue if (issue.line or 0) <= self.lines else replace(issue, line=None)
                for issue in batch.errors
            ]
            if batch.status == "failed" and any(one.code == _URL_MISMATCH for one in errors):
                contents = ShardContents.of(request_lines)
                if contents.urls != {self.entry.endpoint or ENDPOINT}:
                    # The batch's endpoint is at fault, whichever lines are named.
                    by_url = is_audio(contents.urls)
                    errors = [
                        replace(one, line=None) if one.code == _URL_MISMATCH else one
                        for one in errors
                    ]
            self.entry.batch = replace(batch, errors=tuple(errors))
            self.issues = {
                issue.line: issue
                for issue in errors
                if issue.line and not (batch.status != "failed" and _may_pass(issue))
            }
        if not (is_sent_again and self._is_refused_whole):
            return
        contents = contents or ShardContents.of(request_lines)
        # A shard that only needs the right endpoint is not divided.
        lacks_endpoint = by_url and contents.audio_url is not None
        self.refused = RefusedShard(parts=1 if lacks_endpoint else contents.parts, by_url=by_url)

    @property
    def _is_refused_whole(self) -> bool:
        """Whether the API has run none of its requests, and named no line at fault."""
        batch = self.entry.batch
        if batch is None:
            return self.entry.stage is Stage.REFUSED
        # If there are rows, something was run; then only requests without a row are sent again.
        may_have_rows = bool(self.index.rows) or self.index.is_lost
        return batch.status == "failed" and not self.issues and not may_have_rows

    def refusal_text(self, line: int) -> str:
        """Return why the API refused a line of a batch that it did not run, or not to the end."""
        issue = self.issues.get(line)
        if issue is not None:
            return code_and_message(issue.code, issue.message)
        if self.entry.batch is None:
            return f"Groq refused the batch: {refusal_text(self.entry)}"[:MAX_REFUSAL_CHARACTERS]
        errors = self.entry.batch.errors
        if errors and all(one.line for one in errors):
            return f"Another line of the batch was refused. {refusal_text(self.entry)}"[
                :MAX_REFUSAL_CHARACTERS
            ]
        return refusal_text(self.entry)


def _may_pass(issue: BatchIssue) -> bool:
    """Tell whether a line that a batch has not run may be run by another one.

    For example, the batch had expired.
    """
    return issue.code is not None and issue.code.lower() in RETRYABLE_CODES


class SentLines:
    """Finds the shard of an attempt, and the line in it, in which a request was sent."""

    def __init__(self, shards: Sequence[SentShard], positions: dict[str, int] | None) -> None:
        """Prepare the lookup.

        Args:
            shards: The shards, with their numbers of lines.
            positions: Position of each id, from 1, in the concatenated lines of all shards; None if
                every request of the origin shard was sent, in one shard, and requests are looked up
                in order.
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
