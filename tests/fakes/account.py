"""A bucket and a state machine in memory, whose calls are counted and can be made to fail."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from groq_batch.domain import object_keys
from tests.fakes.calls import Call, Wire, plain_wire
from tests.fakes.s3 import FakeS3, refusing
from tests.fakes.step_functions import FakeStepFunctions

BUCKET = "bucket"
NOON = datetime(2026, 3, 1, 12, 0, 37, tzinfo=UTC).timestamp()


class FakeAccount:
    """A bucket and a state machine.

    Attributes:
        now: Seconds since 1970, for all that has a clock.
        calls: How often each operation was called by the code under test.
        trouble: Carries these calls.
    """

    def __init__(self, *, versioned: bool = True) -> None:
        self.now = NOON
        self.calls: Counter[str] = Counter()
        self.bucket = FakeS3(BUCKET, versioned=versioned, clock=lambda: self.now)
        self.machine = FakeStepFunctions(clock=lambda: self.now)
        self.trouble = plain_wire
        self._lock = threading.Lock()

    def _wire(self, call: Call, act: Callable[[], Any]) -> Any:
        with self._lock:
            self.calls[call.operation] += 1
        return self.trouble(call, act)

    def upload(self, key: str, data: bytes = b"{}\n", **metadata: str) -> str:
        """Write an object; returns its version."""
        client = self.bucket.client()
        answer = client.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata=metadata)
        return str(answer.get("VersionId", "null"))

    def write(self, key: str, value: Mapping[str, Any]) -> None:
        self.upload(key, json.dumps(value).encode())

    def remove(self, *keys: str) -> None:
        objects = [{"Key": key} for key in keys]
        self.bucket.client().delete_objects(Bucket=BUCKET, Delete={"Objects": objects})

    def json(self, key: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.bucket.read(key) or b"{}")
        return value

    def record(self, job_id: str) -> dict[str, Any]:
        """Return the record of a job."""
        return self.json(object_keys.job_key(job_id))


def throttling(operation: str, target: str = "") -> Wire:
    """Return a wire on which AWS throttles an operation."""
    return refusing(operation, 400, "ThrottlingException", target)
