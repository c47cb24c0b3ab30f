"""Batches and files of the API, in every shape that documents, SDKs and recordings show."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from groq_batch.domain.batch import Batch, BatchCounts, BatchIssue, GroqFile
from groq_batch.domain.json_data import from_json_data, to_json_data
from groq_batch.domain.problem import MAX_MESSAGE_LENGTH
from groq_batch.groq.decoding import batch_of, file_of

CREATED = 1_790_000_000
DOCUMENTED: dict[str, Any] = {
    "id": "batch_01",
    "object": "batch",
    "status": "completed",
    "endpoint": "/v1/chat/completions",
    "completion_window": "24h",
    "input_file_id": "file_in",
    "output_file_id": "file_out",
    "error_file_id": "file_err",
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "errors": [{"code": "invalid_method", "message": "Why.", "param": "method", "line": 4}],
    "metadata": {"job": "j-42"},
    "created_at": CREATED,
    "expires_at": CREATED + 86_400,
    "in_progress_at": CREATED + 1,
    "finalizing_at": CREATED + 2,
    "completed_at": CREATED + 3,
    "failed_at": None,
    "project_id": "project_01",
}
NO_ID = (None, "", "  ", {}, [], False, True, 0, 7, ["file_1"])


def read(**changes: Any) -> Batch:
    batch = batch_of(DOCUMENTED | changes)
    assert batch is not None
    return batch


def test_the_documented_batch() -> None:
    assert read() == Batch(
        id="batch_01",
        status="completed",
        input_file_id="file_in",
        output_file_id="file_out",
        error_file_id="file_err",
        counts=BatchCounts(3, 2, 1),
        errors=(BatchIssue("invalid_method", "Why.", 4, "method"),),
        metadata={"job": "j-42"},
        created_at=CREATED,
        expires_at=CREATED + 86_400,
        ended_at=CREATED + 3,
    )


def test_a_batch_of_nothing_but_an_id() -> None:
    batch = batch_of({"id": "batch_01"})
    assert batch == Batch(id="batch_01", status="unknown", metadata={})
    assert not batch.is_terminal


@pytest.mark.parametrize("data", [None, [], "batch_01", 7, {}, {"status": "completed"}])
def test_what_is_no_batch_and_no_file(data: Any) -> None:
    assert batch_of(data) is None
    assert file_of(data) is None


@pytest.mark.parametrize("value", NO_ID)
def test_only_a_text_is_an_id(value: Any) -> None:
    assert batch_of(DOCUMENTED | {"id": value}) is None
    assert file_of({"id": value}) is None
    batch = read(input_file_id=value, output_file_id=value, error_file_id=value)
    assert (batch.input_file_id, batch.output_file_id, batch.error_file_id) == (None, None, None)


@pytest.mark.parametrize(
    ("status", "expected", "terminal"),
    [
        ("validating", "validating", False),
        ("in_progress", "in_progress", False),
        ("finalizing", "finalizing", False),
        ("cancelling", "cancelling", False),
        ("completed", "completed", True),
        ("failed", "failed", True),
        ("expired", "expired", True),
        ("cancelled", "cancelled", True),
        ("COMPLETED", "completed", True),
        (" Expired ", "expired", True),
        ("canceled", "cancelled", True),
        ("canceling", "cancelling", False),
        ("paused", "paused", False),
        *((value, "unknown", False) for value in ("", None, {}, ["completed"], 4)),
    ],
)
def test_status(status: Any, expected: str, terminal: bool) -> None:
    batch = read(status=status)
    assert (batch.status, batch.is_terminal) == (expected, terminal)


ISSUE = {"code": "c", "message": "m", "line": 3, "param": "p"}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        *((value, []) for value in (None, {}, [], "", False, 7, {"object": "list", "data": []})),
        ({"object": "list", "data": None}, []),
        ({"object": "list"}, []),
        ([None, {}, [], 7, "", {"code": None, "message": ""}], []),
        ([ISSUE], [BatchIssue("c", "m", 3, "p")]),
        ({"object": "list", "data": [ISSUE]}, [BatchIssue("c", "m", 3, "p")]),
        ({"data": ISSUE}, [BatchIssue("c", "m", 3, "p")]),
        (ISSUE, [BatchIssue("c", "m", 3, "p")]),
        ("It went wrong.", [BatchIssue(None, "It went wrong.", None, None)]),
        (["one", ISSUE], [BatchIssue(None, "one", None, None), BatchIssue("c", "m", 3, "p")]),
        ([{"code": 7, "message": ["m"]}], [BatchIssue("7", None, None, None)]),
        ([{"message": "m" * 9999}], [BatchIssue(None, "m" * MAX_MESSAGE_LENGTH, None, None)]),
    ],
)
def test_errors(errors: Any, expected: list[BatchIssue]) -> None:
    assert list(read(errors=errors).errors) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [(1, 1), (3.0, 3), ("3", 3), (0, None), (-1, None), (None, None), (True, None), ({}, None)],
)
def test_lines_of_errors(line: Any, expected: int | None) -> None:
    assert read(errors=[{"code": "c", "line": line}]).errors[0].line == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (None, BatchCounts()),
        ({}, BatchCounts()),
        ([3, 2, 1], BatchCounts()),
        ({"total": 3}, BatchCounts(3, 0, 0)),
        ({"total": "3", "completed": 2.0, "failed": None}, BatchCounts(3, 2, 0)),
        ({"total": -3, "completed": True, "failed": {}}, BatchCounts()),
        ({"total": float("nan"), "completed": float("inf"), "failed": 10**30}, BatchCounts()),
        ({"total": "3" * 5000}, BatchCounts()),
    ],
)
def test_counts(counts: Any, expected: BatchCounts) -> None:
    assert read(request_counts=counts).counts == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CREATED, CREATED),
        (CREATED + 0.75, CREATED),
        (str(CREATED), CREATED),
        (CREATED * 1000 + 999, CREATED),
        (str(CREATED * 1000), CREATED),
        ("2026-09-21T14:13:20Z", CREATED),
        ("2026-09-21T16:13:20.500+02:00", CREATED),
        ("2026-09-21 14:13:20", CREATED),
        # An empty field: a batch would seem to have expired in 1970.
        *((value, None) for value in (0, 0.0, "0", "", None, {}, -1, True, float("nan"))),
        *((value, None) for value in (float("inf"), 10**30, "soon", "0001-01-01T00:00:00Z")),
        ("9999-12-31T23:59:59-23:59", None),
    ],
)
def test_times(value: Any, expected: int | None) -> None:
    assert read(created_at=value, expires_at=None).created_at == expected
    assert read(completed_at=None, expired_at=value).ended_at == expected
    file = file_of({"id": "file_1", "created_at": value})
    assert file is not None
    assert file.created_at == expected


@pytest.mark.parametrize("expires_at", [CREATED, CREATED - 1, 1, 0, None, "never"])
def test_an_expiry_before_the_creation_is_none(expires_at: Any) -> None:
    assert read(expires_at=expires_at).expires_at is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"job": "j", "shard": "1"}, {"job": "j", "shard": "1"}),
        ({"job": "j", "shard": 1}, {"job": "j", "shard": "1"}),
        ({"job": "", "x": None, "y": {}, "z": True, "n": float("nan")}, {"job": ""}),
        *((value, {}) for value in (None, {}, [], "j")),
    ],
)
def test_metadata(metadata: Any, expected: dict[str, str]) -> None:
    assert read(metadata=metadata).metadata == expected


def test_files() -> None:
    assert file_of(
        {
            "id": "file_01",
            "object": "file",
            "bytes": 2048,
            "created_at": CREATED,
            "filename": "part-0001.jsonl",
            "purpose": "batch",
            "new_field": {},
        }
    ) == GroqFile(
        id="file_01",
        filename="part-0001.jsonl",
        bytes=2048,
        created_at=CREATED,
        purpose="batch",
    )
    assert file_of({"id": "file_01", "bytes": 0, "filename": {}}) == GroqFile(id="file_01", bytes=0)
    assert file_of({"id": "file_01", "bytes": "2048", "purpose": 7}) == GroqFile(
        id="file_01", bytes=2048
    )


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=30)
    | st.sampled_from(["completed", "file_1", "2026-09-21T14:13:20Z", "1790000000"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "code", "message", "line", "param", "total", "failed", "job"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    st.fixed_dictionaries(
        {"id": st.text()}, optional=dict.fromkeys(sorted(DOCUMENTED.keys() - {"id"}), anything)
    )
)
def test_every_batch_is_read_without_an_exception_and_survives_storage(data: Any) -> None:
    batch = batch_of(data)
    if batch is None:
        assert not data["id"].strip()
        return
    assert batch.status == batch.status.lower() != ""
    assert min(batch.counts.total, batch.counts.completed, batch.counts.failed) >= 0
    assert all(issue.code or issue.message or issue.line for issue in batch.errors)
    stored = json.loads(json.dumps(to_json_data(batch)))
    assert from_json_data(stored, Batch) == batch


@given(anything | st.dictionaries(st.sampled_from(["id", "bytes", "filename"]), anything))
def test_every_file_is_read_without_an_exception(data: Any) -> None:
    file = file_of(data)
    if file is not None:
        assert file.id == data["id"]
        assert file.bytes is None or file.bytes >= 0


def test_deep_and_huge_values_are_read_without_an_exception() -> None:
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    huge = 10**5000
    assert read(**dict.fromkeys(DOCUMENTED.keys() - {"id"}, nested)).status == "unknown"
    batch = read(
        status=huge,
        created_at=huge,
        errors=[{"code": nested, "message": {"a": nested}, "line": "\u00b2"}, {"code": huge}],
        metadata={"a": nested, "b": huge},
        request_counts={"total": nested, "failed": huge},
    )
    assert batch.errors == ()
    assert batch.metadata == {}
    assert batch.counts == BatchCounts()
    assert file_of({"id": "file_01", "bytes": huge, "created_at": nested}) == GroqFile(id="file_01")


@pytest.mark.parametrize(
    ("created_at", "expires_at", "are_kept"),
    [
        (100, 900, True),
        (200, 900, True),
        (150, None, True),
        (None, None, True),
        (None, 100, True),
        (None, 9_000, True),
        (99, 900, False),
        (201, 900, False),
        (201, None, False),
        (None, 99, False),
    ],
)
def test_dates_at_which_a_batch_cannot_have_been_created_are_left_out(
    created_at: int | None, expires_at: int | None, are_kept: bool
) -> None:
    batch = Batch(id="b", status="in_progress", created_at=created_at, expires_at=expires_at)
    found = batch.with_dates_between(100, 200)
    without = replace(batch, created_at=None, expires_at=None)
    assert found == (batch if are_kept else without)
