"""Where the results of a job are placed: at its path, or aside."""

from __future__ import annotations

from typing import Any

import pytest

from groq_batch.bucket.storage import JOB_METADATA, Storage
from groq_batch.domain import object_keys
from groq_batch.records.end import End
from groq_batch.records.shard_result import ShardResult
from groq_batch.reports.delivery import Delivery
from groq_batch.steps.finish_job.ending_job import EndingJob
from groq_batch.steps.finish_job.placing import Placing
from tests.fakes.s3 import FakeS3, refusing
from tests.samples import job_request

REQUEST = job_request(version_id=None)
KEYS = object_keys.WorkKeys(REQUEST.job_id)
ASIDE = object_keys.superseded_path(REQUEST.job_id, REQUEST.path)


def placing(storage: Storage) -> Placing:
    """Return the placing of a job with one shard, one of whose two requests has failed."""
    storage.put_bytes(KEYS.results(1, 1), b"row\nrow\n")
    storage.put_bytes(KEYS.failed(1, 1), b"line\n")
    summary = ShardResult(attempt=1, number=1, results_bytes=8, failed_bytes=5)
    known = EndingJob(request=REQUEST, summaries=[summary])
    return Placing(storage, Delivery(storage, REQUEST), known)


def refusing_to_write(s3: FakeS3, *paths: str) -> Storage:
    """Return the bucket as it is if S3 denies writing result rows under these paths."""
    wires = {
        object_keys.delivery_keys(path).results: refusing("put_object", 403, "AccessDenied")
        for path in paths
    }

    def wire(call: Any, act: Any) -> Any:
        refuse = wires.get(str(call.target))
        return refuse(call, act) if refuse else act()

    return s3.storage(wire)


def test_place_delivers_at_the_path_of_the_job(s3: FakeS3) -> None:
    placed = placing(s3.storage())
    assert (placed.path, placed.outputs) == (None, {})
    placed.place()
    targets = object_keys.delivery_keys(REQUEST.path)
    assert (placed.path, placed.denied) == (REQUEST.path, None)
    assert s3.read(targets.results) == b"row\nrow\n"
    assert s3.read(targets.failed) == b"line\n"
    assert placed.outputs["results"] == s3.storage().url(targets.results)
    assert s3.read(targets.invalid) is None
    assert None in placed.outputs.values()


def test_place_after_it_gave_way_delivers_aside(s3: FakeS3) -> None:
    placed = placing(s3.storage())
    placed.place()
    placed.give_way()
    assert placed.path is None
    placed.place()
    assert (placed.path, placed.denied) == (ASIDE, None)
    assert s3.read(object_keys.delivery_keys(ASIDE).results) == b"row\nrow\n"


def test_place_aside_after_the_end_was_told_delivers_nothing_again(s3: FakeS3) -> None:
    storage = s3.storage()
    End(report={}, is_report_written=True).write(storage, KEYS, over=None)
    placed = placing(storage)
    placed.give_way()
    placed.place()
    assert placed.path is None
    assert s3.read(object_keys.delivery_keys(ASIDE).results) is None


@pytest.mark.parametrize(
    ("denied", "path", "has_results"),
    [((REQUEST.path,), ASIDE, True), ((REQUEST.path, ASIDE), REQUEST.path, False)],
)
def test_place_that_s3_denies_delivers_aside_or_what_it_can(
    s3: FakeS3, denied: tuple[str, ...], path: str, has_results: bool
) -> None:
    placed = placing(refusing_to_write(s3, *denied))
    placed.place()
    assert placed.path == path
    assert placed.denied is not None
    assert object_keys.delivery_keys(REQUEST.path).results in (placed.denied.message or "")
    assert (placed.outputs["results"] is not None) is has_results
    assert s3.read(object_keys.delivery_keys(path).failed) == b"line\n"


def test_place_names_the_job_on_each_object(s3: FakeS3) -> None:
    storage = s3.storage()
    placing(storage).place()
    head = storage.head(object_keys.delivery_keys(REQUEST.path).results)
    assert head is not None
    assert head.metadata[JOB_METADATA] == REQUEST.job_id
