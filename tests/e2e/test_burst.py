"""Many uploads at once, with fewer functions than they want."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.function_limits import FunctionLimits
from local.stack import LocalStack
from tests.e2e.conftest import deploy
from tests.faults.workers import worker_processes
from tests.load.burst import upload_files

UPLOADS = 15
LIMITS = FunctionLimits(concurrent=3, processes=8)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_upload_of_a_burst_becomes_one_job_with_one_batch(tmp_path: Path) -> None:
    with LocalStack(limits=LIMITS, log_dir=tmp_path) as stack:
        pipeline = deploy(stack, "crowd")
        pipeline.simulator.configure(batch_seconds=0.2)
        seen = upload_files(pipeline, UPLOADS)
        assert seen.problems == []
        assert seen.throttles > 0, "there was no burst"
        assert len(worker_processes(["ministack-lambda-crowd-"])) <= LIMITS.processes
