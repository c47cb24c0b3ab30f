"""The memory that results take does not grow with them.

Request files are looked at in ``tests/unit``; here a shard's results are fetched and settled, with
an S3 that keeps nothing of them.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import pytest

from groq_batch.bucket import multipart_writer, storage
from groq_batch.domain.batch import Batch
from groq_batch.steps.download_results.download import download_shard
from groq_batch.steps.download_results.result_index import ResultIndex
from tests.harness.invocations import Invocation, Refuse, Trouble
from tests.harness.jobs import good_lines, put
from tests.harness.world import World

MIB = 1024 * 1024
LINES = 400
ROW_BYTES = 256 * 1024
RESULT_BYTES = LINES * ROW_BYTES


class LargeResults:
    """A client of a Groq whose answers are long; hands them out row by row."""

    def __init__(self, world: World) -> None:
        self._groq = world.groq.client()

    def retrieve_batch(self, batch_id: str) -> Batch:
        return self._groq.retrieve_batch(batch_id)

    def download_file(self, file_id: str, target: BinaryIO) -> None:
        text = "x" * ROW_BYTES
        for number in range(LINES):
            target.write(row(f"r{number}", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._groq, name)


def row(custom_id: str, text: str) -> bytes:
    """Return a row with an answer."""
    body = {"model": "m", "choices": [{"message": {"role": "assistant", "content": text}}]}
    data = {
        "id": "batch_req_1",
        "custom_id": custom_id,
        "response": {"status_code": 200, "request_id": "req_1", "body": body},
        "error": None,
    }
    return json.dumps(data).encode() + b"\n"


def wait_for_batch(world: World) -> str:
    """Bring a job to where its results are fetched; returns its name."""

    def director(invocation: Invocation) -> Sequence[Trouble]:
        if invocation.function == "download_results":
            return (Refuse(error="Lambda.ServiceException"),)
        return ()

    world.director = director
    upload = put(world, "input/a.jsonl", good_lines(LINES))
    world.run_for(300)
    assert world.simulator.stats()["running"] == 0
    return upload.job_id(world.s3.bucket)


class SwallowingS3:
    """A client of S3 that forgets the parts of uploads and counts their bytes."""

    def __init__(self, world: World) -> None:
        self._s3 = world.s3.client()
        self.swallowed = 0

    def create_multipart_upload(self, **_: Any) -> dict[str, Any]:
        return {"UploadId": "upload"}

    def upload_part(self, *, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803
        self.swallowed += len(Body)
        return {"ETag": '"etag"'}

    def complete_multipart_upload(self, **_: Any) -> dict[str, Any]:
        return {"ETag": '"etag"'}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


def test_results_pass_in_pieces() -> None:
    with World() as world:
        job = wait_for_batch(world)
        s3 = SwallowingS3(world)
        client: Any = LargeResults(world)
        tracemalloc.start()
        try:
            download_shard(
                storage=storage.Storage(s3=s3, bucket=world.s3.bucket),
                client=client,
                job_id=job,
                shard_key=f"work/{job}/shards/attempt-1/00001.jsonl",
                tries=0,
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    print(f"{s3.swallowed / MIB:.0f} MiB of results: {peak / MIB:.1f} MiB at most")
    assert s3.swallowed > RESULT_BYTES
    # Some parts of an upload and a few rows, however many there are.
    assert peak < RESULT_BYTES / 2


def test_an_index_keeps_places_not_rows(tmp_path: Any) -> None:
    index = ResultIndex()
    file = index.keep((tmp_path / "rows").open("w+b"))
    text = "x" * 4096
    rows = 10_000
    for number in range(rows):
        file.write(row(f"r{number}", text))
    tracemalloc.start()
    try:
        index.add(file)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        index.close()
    print(f"{kept / rows:.0f} bytes for each row of {len(text)}")
    assert kept / rows < 400
    assert peak - kept < MIB


def test_parts_of_an_upload_do_not_pile_up_before_a_slow_s3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multipart_writer, "ThreadPoolExecutor", ThreadPoolExecutor)
    with World() as world:
        s3 = SwallowingS3(world)
        swallow = s3.upload_part

        def slowly(**arguments: Any) -> dict[str, Any]:
            time.sleep(0.1)
            return swallow(**arguments)

        monkeypatch.setattr(s3, "upload_part", slowly)
        writer = multipart_writer.ObjectWriter(
            storage.Storage(s3=s3, bucket="bucket"), "work/large"
        )
        piece = bytes(MIB)
        tracemalloc.start()
        try:
            for _ in range(RESULT_BYTES // MIB * 3):
                writer.write(piece)
            writer.commit()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    print(f"{s3.swallowed / MIB:.0f} MiB written: {peak / MIB:.1f} MiB at most")
    assert s3.swallowed == RESULT_BYTES // MIB * 3 * MIB
    assert peak < s3.swallowed / 4
