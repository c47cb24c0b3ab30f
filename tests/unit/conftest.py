"""Fixtures of many unit tests: a bucket in memory."""

from __future__ import annotations

import pytest

from groq_batch.bucket.storage import Storage
from tests.fakes.s3 import FakeS3


@pytest.fixture
def s3() -> FakeS3:
    return FakeS3()


@pytest.fixture
def storage(s3: FakeS3) -> Storage:
    return s3.storage()
