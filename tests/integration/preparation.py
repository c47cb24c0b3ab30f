"""Request lines, settings and failing calls for the tests of preparation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records import stored
from groq_batch.records.job import JobRecord, JobRequest
from tests import samples
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3
from tests.samples import chat_line as request
from tests.samples import job_request

INPUT = "input/a.jsonl"


def bad(custom_id: str) -> bytes:
    """Return a line with a method that no batch takes."""
    return request(custom_id).replace(b"POST", b"GET")


def file_of(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


GOOD = [request(f"id-{number}") for number in range(5)]
BODY_BYTES = len(json.dumps(json.loads(GOOD[0])["body"]))
SETTINGS = replace(
    samples.SETTINGS,
    default_options=replace(samples.OPTIONS, skip_invalid_lines=True),
    max_requests_per_batch=1,
    max_bytes_per_batch=1_000_000,
)


class Death(BaseException):
    """The end of an invocation: from then on none of its calls reaches S3."""


class Calls:
    """Counts the calls of an invocation, and lets something happen in place of one of them."""

    def __init__(self, at: int | None, happens: Callable[[Calls, Callable[[], Any]], Any]) -> None:
        self.count = 0
        self.is_dead = False
        self._at = at
        self._happens = happens

    def __call__(self, call: Call, act: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Death
        self.count += 1
        return self._happens(self, act) if self.count == self._at else act()

    def die(self) -> None:
        self.is_dead = True
        raise Death


class PreparedBucket:
    """A bucket with one upload and its job."""

    def __init__(self, job_id: str, data: bytes, s3: FakeS3 | None = None, **metadata: str) -> None:
        self.keys = object_keys.WorkKeys(job_id)
        self.s3 = s3 or FakeS3()
        version = self.put(INPUT, data, **metadata)
        self.request = job_request(job_id, version_id=version)
        self.record_request(self.request)

    def put(self, key: str, data: bytes, **metadata: str) -> str:
        """Write an object; returns its version."""
        answer = self.s3.client().put_object(Bucket="bucket", Key=key, Body=data, Metadata=metadata)
        return str(answer["VersionId"])

    def record_request(self, request: JobRequest) -> None:
        self.storage().put_json(object_keys.job_key(request.job_id), stored.to_record(request))

    def storage(self, wire: Wire = plain_wire) -> Storage:
        return self.s3.storage(wire)

    @property
    def record(self) -> JobRecord:
        record = JobRecord.load(self.storage(), self.keys)
        assert record is not None
        return record
