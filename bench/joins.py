"""Part (d): the ordered join of a shard's rows, and the join of a job's shards."""

from __future__ import annotations

import json
import random
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from bench.inputs import MODEL, expected_answers, request_file
from groq_batch.bucket.concat import join
from groq_batch.bucket.multipart_writer import ObjectWriter
from groq_batch.bucket.storage import Storage, StoredObject
from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch.domain.shard import IdsPlace
from groq_batch.groq.decoding import batch_of
from groq_batch.records.attempt import AttemptState, ShardState
from groq_batch.records.job import JobRecord, JobRequest, ShardRecord
from groq_batch.records.submission import Stage
from groq_batch.steps.download_results.download import download_shard
from local.groq_simulator.answers import success_row
from tests.fakes.s3 import FakeS3

ROWS = 50_000
SHARDS = 1_000
SHARD_BYTES = 6_000_000
ROUNDS = 5


# -- rows ------------------------------------------------------------------------------------------


class _FileClient:
    """Hands out a result file that is there already; nothing else of the API is asked for."""

    def __init__(self, rows: bytes) -> None:
        self._rows = rows

    def download_file(self, _: str, target: BinaryIO) -> None:
        target.write(self._rows)


def _shuffled_rows(source: Path) -> bytes:
    """Return a result file with an answer for each request, in an order of its own."""
    rows = []
    for number, (custom_id, text) in enumerate(expected_answers(source)):
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
        row = success_row(custom_id, body, text, row_id=f"{number:024d}", now=1_800_000_000)
        rows.append(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    random.Random(1).shuffle(rows)
    return b"".join(rows)


def join_rows(rounds: int = ROUNDS) -> dict[str, Any]:
    """Collect a shard of 50,000 rows from memory to memory; the medians of some rounds."""
    source = request_file(ROWS, 1000)
    requests = source.read_bytes()
    ids = [json.loads(line)["custom_id"] for line in requests.splitlines()]
    answers = _shuffled_rows(source)
    keys = object_keys.WorkKeys("bench-00000000000000000000")
    shard_key = keys.shard(1, 1)
    times, cpu_times = [], []
    for _round in range(rounds):
        bucket = FakeS3()
        storage = Storage(s3=bucket.client(), bucket=bucket.bucket)
        _prepare(storage, keys, requests, ids)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        outcome = download_shard(
            storage=storage,
            client=_FileClient(answers),  # type: ignore[arg-type]
            job_id=keys.job,
            shard_key=shard_key,
            tries=0,
        )
        times.append(time.perf_counter() - begun)
        cpu_times.append(time.process_time() - cpu_begun)
        assert outcome.outcome == "settled", outcome
        result = bucket.read(keys.results(1, 1)) or b""
        assert [json.loads(line)["custom_id"] for line in result.splitlines()] == ids
    return {
        "rows": ROWS,
        "request_bytes": len(requests),
        "answer_bytes": len(answers),
        "seconds": statistics.median(times),
        "cpu_seconds": statistics.median(cpu_times),
    }


def _prepare(storage: Storage, keys: object_keys.WorkKeys, requests: bytes, ids: list[str]) -> None:
    kept_ids = msgspec.json.Encoder().encode_lines(ids)
    request = JobRequest(
        job_id=keys.job,
        bucket=storage.bucket,
        key="input/bench.jsonl",
        version_id="v1",
        path="bench.jsonl",
        started_at="2026-01-01T00:00:00Z",
        claimed_by="bench",
    )
    record = JobRecord(
        accepted=True,
        options=JobOptions(
            completion_window="24h", skip_invalid_lines=False, max_attempts=3, max_job_cost_usd=0.0
        ),
        lines=ROWS,
        total=ROWS,
        good=ROWS,
        shards=(
            ShardRecord(
                number=1,
                requests=ROWS,
                bytes=len(requests),
                skipped=0,
                ids=IdsPlace(part=1, first=0, size=len(kept_ids)),
            ),
        ),
    )
    batch = batch_of(
        {
            "id": "batch_1",
            "object": "batch",
            "status": "completed",
            "output_file_id": "file_1",
            "request_counts": {"total": ROWS, "completed": ROWS, "failed": 0},
        }
    )
    storage.put_json(object_keys.job_key(keys.job), request.to_json())
    storage.put_json(keys.job_record, record.to_json())
    storage.put_bytes(keys.shard(1, 1), requests)
    storage.put_bytes(keys.custom_ids(1), kept_ids)
    entry = ShardState(stage=Stage.CREATED, requests=ROWS, batch=batch)
    AttemptState(attempt=1, started_at=0.0, entries={1: entry}).save(storage, keys)


# -- shards ----------------------------------------------------------------------------------------


class _SizesOnlyS3:
    """Takes the calls of a join and keeps sizes instead of bytes; any other call is an error."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.read_bytes = 0
        self.written_bytes = 0
        self.copied_bytes = 0
        self._lock = threading.Lock()

    def create_multipart_upload(self, **_: Any) -> dict[str, Any]:
        self._count("CreateMultipartUpload")
        return {"UploadId": "1"}

    def upload_part_copy(self, *, CopySourceRange: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        first, last = (int(end) for end in CopySourceRange.removeprefix("bytes=").split("-"))
        self._count("UploadPartCopy")
        with self._lock:
            self.copied_bytes += last - first + 1
        return {"CopyPartResult": {"ETag": '"1"'}}

    def upload_part(self, *, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        self._count("UploadPart")
        with self._lock:
            self.written_bytes += len(Body)
        return {"ETag": '"1"'}

    def get_object(self, *, Range: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        first, last = (int(end) for end in Range.removeprefix("bytes=").split("-"))
        self._count("GetObject")
        with self._lock:
            self.read_bytes += last - first + 1
        return {"Body": _Zeros(last - first + 1)}

    def complete_multipart_upload(self, **_: Any) -> dict[str, Any]:
        self._count("CompleteMultipartUpload")
        return {"ETag": '"1"'}

    def _count(self, operation: str) -> None:
        with self._lock:
            self.calls[operation] += 1


class _Zeros:
    """A body of so many zeros."""

    def __init__(self, size: int) -> None:
        self._left = size

    def __enter__(self) -> _Zeros:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def read(self, size: int) -> bytes:
        piece = bytes(min(size, self._left))
        self._left -= len(piece)
        return piece


def join_shards(sizes: list[int]) -> dict[str, Any]:
    """Join objects of some sizes in bytes; returns the calls and the bytes that moved."""
    s3 = _SizesOnlyS3()
    storage = Storage(s3=s3, bucket="bucket")
    begun = time.perf_counter()
    with ObjectWriter(storage, "output/bench.jsonl") as writer:
        sources = (StoredObject(f"results/{n:05d}.jsonl", size) for n, size in enumerate(sizes, 1))
        join(storage, sources, writer)
    return {
        "shards": len(sizes),
        "bytes": sum(sizes),
        "seconds": time.perf_counter() - begun,
        "calls": dict(sorted(s3.calls.items())),
        "copied_bytes": s3.copied_bytes,
        "read_bytes": s3.read_bytes,
        "written_bytes": s3.written_bytes,
    }


def measure() -> dict[str, Any]:
    """Measure both."""
    return {
        "rows": join_rows(),
        "shards": join_shards([SHARD_BYTES] * SHARDS),
        "small_shards": join_shards([2_000_000] * SHARDS),
    }
