"""Writing the splitter's events into pending uploads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable

import pytest

from groq_batch.bucket.pending_upload import complete_all
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.domain.problem import Problem, problem_row
from groq_batch.domain.shard import Shard
from groq_batch.request_file.input_summary import InputSummary
from groq_batch.request_file.lines import LongLinePiece
from groq_batch.request_file.split_events import (
    InputEnded,
    LinesAdded,
    LineSkipped,
    ProblemFound,
    ShardEnded,
    ShardStarted,
    SplitEvent,
    summary_of,
)
from groq_batch.steps.prepare_input.shard_writer import ShardWriter
from tests.fakes.s3 import FakeS3

KEYS = object_keys.WorkKeys("job")
PROBLEM = Problem(2, "b", "invalid_method", "Set it.")
END = InputEnded(InputSummary(lines=7))


def added(data: bytes) -> LinesAdded:
    return LinesAdded([data], len(data), None, b'"a"\n')


def ended(number: int, *, requests: int = 0, skipped: int = 0) -> ShardEnded:
    return ShardEnded(Shard(number, requests=requests, skipped=skipped))


def written(
    s3: FakeS3, storage: Storage, events: Iterable[SplitEvent], *, has_canary: bool = False
) -> dict[str, bytes | None]:
    """Write events and complete the uploads; return the objects by the end of their keys."""
    writer = ShardWriter(storage, KEYS, problems_key=KEYS.invalid, has_canary=has_canary)
    with writer:
        assert writer.write(events).lines == 7
        complete_all(storage, writer.finish_shards())
    return {key.removeprefix(KEYS.prefix): s3.read(key) for key in s3.keys(KEYS.prefix)}


def name(key: str) -> str:
    return key.removeprefix(KEYS.prefix)


def test_shard_writer_writes_lines_and_ids_of_each_shard(s3: FakeS3, storage: Storage) -> None:
    events = [
        ShardStarted(4),
        added(b"{1}\n"),
        added(b"{2}\n"),
        ended(4, requests=2),
        ShardStarted(5),
        added(b"{3}\n"),
        ended(5, requests=1),
        END,
    ]
    assert written(s3, storage, events) == {
        name(KEYS.shard(1, 4)): b"{1}\n{2}\n",
        name(KEYS.shard(1, 5)): b"{3}\n",
        name(KEYS.custom_ids(1)): b'"a"\n' * 3,
    }


def test_shard_writer_with_canary_puts_other_shards_into_attempt_2(
    s3: FakeS3, storage: Storage
) -> None:
    events: list[SplitEvent] = []
    for number in (1, 2):
        events += [ShardStarted(number), added(b"{}\n"), ended(number, requests=1)]
    found = written(s3, storage, [*events, END], has_canary=True)
    assert {name(KEYS.shard(1, 1)), name(KEYS.shard(2, 2))} < found.keys()


def test_shard_writer_writes_skipped_lines_and_their_index(s3: FakeS3, storage: Storage) -> None:
    events = [
        ShardStarted(1),
        added(b"{1}\n"),
        LineSkipped(b"bad", 3, 1, PROBLEM),
        LongLinePiece(3, b"lo", is_last=False),
        LineSkipped(b"ng", 4, 2, PROBLEM),
        ended(1, requests=1, skipped=2),
        END,
    ]
    found = written(s3, storage, events)
    assert found[name(KEYS.skipped_raw(1))] == b"bad\nlong\n"
    index = found[name(KEYS.skipped_index(1))] or b""
    row = {"line": 2, "custom_id": "b", "code": "invalid_method", "message": "Set it."}
    assert [json.loads(line) for line in index.splitlines()] == [
        {"position": 1, "bytes": 3, **row},
        {"position": 2, "bytes": 4, **row},
    ]


def test_shard_writer_of_shard_without_requests_writes_only_skipped_lines(
    s3: FakeS3, storage: Storage
) -> None:
    events = [ShardStarted(1), LineSkipped(b"x", 1, 0, PROBLEM), ended(1, skipped=1), END]
    assert written(s3, storage, events).keys() == {
        name(KEYS.skipped_raw(1)),
        name(KEYS.skipped_index(1)),
    }


@pytest.mark.parametrize("compress", [False, True])
def test_shard_writer_writes_problems_of_lines_and_of_the_file(
    s3: FakeS3, storage: Storage, compress: bool
) -> None:
    whole = Problem(None, None, "not_gzip", "Compress it.")
    writer = ShardWriter(storage, KEYS, problems_key=KEYS.invalid, compress=compress)
    writer.write([ProblemFound(PROBLEM), ProblemFound(whole), END])
    upload = writer.problems.hold()
    assert upload is not None
    upload.complete(storage)
    data = s3.read(KEYS.invalid) or b""
    expected = problem_row(PROBLEM) + problem_row(whole)
    assert (gzip.decompress(data) if compress else data) == expected


def test_shard_writer_that_fails_leaves_no_upload(s3: FakeS3, storage: Storage) -> None:
    def events() -> Iterable[SplitEvent]:
        yield ShardStarted(1)
        yield added(b"{1}\n")
        yield ended(1, requests=1)
        yield ShardStarted(2)
        yield added(b"x" * 7 * 2**20)
        raise OSError("broken")

    writer = ShardWriter(storage, KEYS, problems_key=KEYS.invalid)
    with pytest.raises(OSError, match="broken"), writer:
        writer.write(events())
    assert s3.open_uploads == []


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="no end"),
        pytest.param([added(b"{1}\n"), END], id="no start of a shard"),
        pytest.param(
            [ShardStarted(1), ended(1), LineSkipped(b"x", 1, 0, PROBLEM), END], id="after its end"
        ),
    ],
)
def test_shard_writer_with_events_out_of_order_raises(
    storage: Storage, events: list[SplitEvent]
) -> None:
    writer = ShardWriter(storage, KEYS, problems_key=KEYS.invalid)
    with pytest.raises(ValueError, match=r"no end|before the start of its shard"), writer:
        writer.write(events)


def test_summary_of_events_is_that_of_their_end() -> None:
    assert summary_of([ShardStarted(1), END]).lines == 7
    with pytest.raises(ValueError, match="no end"):
        summary_of([ShardStarted(1)])
