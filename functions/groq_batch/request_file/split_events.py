"""Events of the splitter, in the order of the input.

A shard's events come between its ``ShardStarted`` and its ``ShardEnded``; ``InputEnded`` is always
the last event. Valid lines come many to an event, because an event per line would cost more time
than checking the line.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from groq_batch.domain.problem import Problem
from groq_batch.domain.shard import Shard
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.lines import LongLinePiece


class ShardStarted(msgspec.Struct, frozen=True, gc=False):
    """A shard starts.

    Attributes:
        number: Its number, from 1.
    """

    number: int


class LinesAdded(msgspec.Struct, frozen=True, gc=False):
    """Valid lines that follow each other in the current shard.

    Attributes:
        lines: The lines, each with a line feed.
        size: Their size in bytes.
        offset: Offset in the input stream at which these exact bytes are; None if they were
            changed, which happens to other line ends and to a last line without line end.
        custom_ids: Their ids as JSON Lines.
    """

    lines: list[bytes]
    size: int
    offset: int | None
    custom_ids: bytes


class LineSkipped(msgspec.Struct, frozen=True, gc=False):
    """An invalid line that is left out of the current shard and kept for the results.

    Attributes:
        data: The line without line end. Of a line that is too long to be held in memory it is the
            end; the beginning has come in ``LongLinePiece`` events.
        size: Size of the whole line in bytes.
        position: Number of lines, valid and skipped, before it in the shard.
        problem: What is wrong with it.
    """

    data: bytes
    size: int
    position: int
    problem: Problem


class ProblemFound(msgspec.Struct, frozen=True, gc=False):
    """A problem that rejects the file: of the whole file, or of a line that may not be skipped.

    No lines are added to shards after it, and the current shard does not end.

    Attributes:
        problem: The problem.
    """

    problem: Problem


class ShardEnded(msgspec.Struct, frozen=True, gc=False):
    """The current shard is complete.

    Attributes:
        shard: The shard. It has no requests only if the input has no valid line.
    """

    shard: Shard


class InputEnded(msgspec.Struct, frozen=True, gc=False):
    """All of the input has been checked.

    Attributes:
        summary: The totals.
    """

    summary: InputSummary


SplitEvent = (
    ShardStarted | LinesAdded | LongLinePiece | LineSkipped | ProblemFound | ShardEnded | InputEnded
)


def summary_of(events: Iterable[SplitEvent]) -> InputSummary:
    """Read events to the end and return the summary, ignoring the lines.

    Raises:
        ValueError: There is no ``InputEnded`` among them.
    """
    for event in events:
        if isinstance(event, InputEnded):
            return event.summary
        del event  # Frees its lines before the next ones are read.
    raise ValueError("The events have no end")
