"""Read what is known of all attempts of a job."""

from __future__ import annotations

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.attempt import Board
from groq_batch.records.shard_result import ShardSummary, load_summaries


def load_attempts(
    storage: Storage, keys: object_keys.WorkKeys
) -> tuple[list[Board], list[ShardSummary]]:
    """Read the boards and summaries of all attempts, in order."""
    boards: list[Board] = []
    summaries: list[ShardSummary] = []
    while (board := Board.load(storage, keys, len(boards) + 1)) is not None:
        boards.append(board)
        summaries += load_summaries(storage, keys, board.attempt)
    return boards, summaries
