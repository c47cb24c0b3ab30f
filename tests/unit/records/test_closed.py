"""What misses something after the end of its job has come too late; before, it has failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from groq_batch.bucket.pending_upload import LostUploadError
from groq_batch.bucket.s3_errors import ConflictError, MissingObjectError
from groq_batch.bucket.storage import Storage
from groq_batch.domain import object_keys
from groq_batch.records.closed import close, unless_closed
from groq_batch.records.stored import MissingRecordError
from tests.fakes.calls import Call
from tests.fakes.s3 import FakeS3, client_error

KEYS = object_keys.WorkKeys("a-job")


def failing(error: Exception) -> str:
    raise error


MISSES = [MissingObjectError("k"), LostUploadError("k"), MissingRecordError("There is no task")]


@pytest.mark.parametrize("error", MISSES, ids=lambda error: type(error).__name__)
def test_what_is_missed_before_the_end_is_a_failure(storage: Storage, error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        unless_closed(storage, KEYS, lambda: failing(error), lambda: "ended")
    assert raised.value is error


@pytest.mark.parametrize("error", MISSES, ids=lambda error: type(error).__name__)
def test_what_is_missed_after_the_end_is_none(storage: Storage, error: Exception) -> None:
    storage.put_bytes(KEYS.closed, b"")
    assert unless_closed(storage, KEYS, lambda: failing(error), lambda: "ended") == "ended"


@pytest.mark.parametrize("error", [RuntimeError(), ValueError()], ids=repr)
def test_other_failures_are_failures_also_after_the_end(storage: Storage, error: Exception) -> None:
    storage.put_bytes(KEYS.closed, b"")
    with pytest.raises(type(error)):
        unless_closed(storage, KEYS, lambda: failing(error), lambda: "ended")


def test_work_that_succeeds_answers_for_itself(storage: Storage) -> None:
    assert unless_closed(storage, KEYS, lambda: "done", lambda: "ended") == "done"


def test_close_again_is_not_the_first(storage: Storage) -> None:
    assert close(storage, "a-job")
    assert not close(storage, "a-job")


def test_close_that_nobody_could_mark_keeps_the_job_open() -> None:
    """S3 answers 409 while another write is in progress, which may fail."""

    def conflict(call: Call, act: Callable[[], Any]) -> Any:
        if call.operation == "put_object" and call.target == KEYS.closed:
            raise client_error("PutObject", 409, "ConditionalRequestConflict", "at the same time")
        return act()

    s3 = FakeS3()
    storage = Storage(s3=s3.client(conflict), bucket=s3.bucket)
    storage.put_json(object_keys.open_job_key("a-job"), {})
    with pytest.raises(ConflictError):
        close(storage, "a-job")
    assert storage.exists(object_keys.open_job_key("a-job"))
