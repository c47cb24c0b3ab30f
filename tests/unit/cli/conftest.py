"""The bucket that tests of jobs begin with."""

from __future__ import annotations

import pytest

from tests.unit.cli.job_bucket import Bucket


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()
