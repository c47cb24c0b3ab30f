"""The board of an attempt is written when it has changed, and never over a newer one."""

from __future__ import annotations

import pytest

from groq_batch import layout
from groq_batch.batches import Batch
from groq_batch.boards import Board, BoardEntry
from groq_batch.storage import Storage
from groq_batch.submissions import Stage
from tests.fakes.s3 import FakeS3

KEYS = layout.WorkKeys("a-job")


class Bucket:
    """A bucket that counts writes."""

    def __init__(self) -> None:
        self.s3 = FakeS3()
        self.storage = Storage(s3=self.s3.client(), bucket=self.s3.bucket)
        self.writes = 0
        write = self.storage.put_json

        def put_json(*args: object, **options: object) -> str:
            self.writes += 1
            return write(*args, **options)  # type: ignore[arg-type]

        self.storage.put_json = put_json  # type: ignore[method-assign]

    def load(self) -> Board:
        board = Board.load(self.storage, KEYS, 1)
        assert board is not None
        return board


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def board() -> Board:
    batch = Batch.from_api(
        {
            "id": "batch_1",
            "status": "in_progress",
            "request_counts": {"total": 3, "completed": 1, "failed": 0},
            "errors": {"data": [{"code": "c", "line": 3, "message": "m", "param": None}]},
            "metadata": {"job": "a-job"},
        }
    )
    entry = BoardEntry(stage=Stage.CREATED, file_id="file_1", requests=3, batch=batch)
    return Board(attempt=1, started_at=1.5, entries={1: entry, 2: BoardEntry()})


def test_a_new_board_is_written_once(bucket: Bucket) -> None:
    made = board()
    made.save(bucket.storage, KEYS)
    made.save(bucket.storage, KEYS)
    assert bucket.writes == 1
    assert bucket.load() == made


def test_a_board_that_is_as_it_was_is_not_written(bucket: Bucket) -> None:
    board().save(bucket.storage, KEYS)
    bucket.load().save(bucket.storage, KEYS)
    assert bucket.writes == 1


def test_a_board_that_changed_is_written(bucket: Bucket) -> None:
    board().save(bucket.storage, KEYS)
    found = bucket.load()
    found.seen_done = 2
    found.save(bucket.storage, KEYS)
    assert bucket.writes == 2
    assert bucket.load().seen_done == 2
    found.seen_done = 3
    found.save(bucket.storage, KEYS)
    assert bucket.load().seen_done == 3


def test_a_newer_board_stays(bucket: Bucket) -> None:
    board().save(bucket.storage, KEYS)
    early, late = bucket.load(), bucket.load()
    late.seen_done = 2
    late.save(bucket.storage, KEYS)
    early.seen_done = 1
    early.save(bucket.storage, KEYS)
    assert bucket.load().seen_done == 2
