"""What the refusal of a batch means: for single lines of it, for all of it, for its endpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from groq_batch.domain.reason import Reason
from groq_batch.groq.decoding import batch_of
from groq_batch.records.attempt import ShardState
from groq_batch.records.attempt_plan import RefusedShard
from groq_batch.records.submission import Stage
from groq_batch.request_file.shard_parts import AUDIO_URLS
from groq_batch.steps.download_results.result_index import ResultIndex
from groq_batch.steps.download_results.sent_shards import SentLines, SentShard

CHAT = "/v1/chat/completions"
SPEECH = AUDIO_URLS[0]


def line(url: str = CHAT, model: str = "m") -> bytes:
    return json.dumps({"custom_id": "x", "url": url, "body": {"model": model}}).encode()


ALIKE = [line()] * 3
MODELS = [line(), line(model="n"), line()]
SPOKEN = [line(SPEECH)] * 3
MIXED = [line(), line(SPEECH), line()]


def failed(
    *errors: dict[str, Any], status: str = "failed", endpoint: str | None = None
) -> ShardState:
    batch = batch_of({"id": "b", "status": status, "errors": list(errors)})
    return ShardState(stage=Stage.CREATED, batch=batch, endpoint=endpoint)


def refused(code: str = "c", message: str = "No.", endpoint: str | None = None) -> ShardState:
    error = Reason(code, message)
    return ShardState(stage=Stage.REFUSED, error=error, endpoint=endpoint)


def read(
    entry: ShardState,
    lines: list[bytes],
    *,
    is_sent_again: bool = True,
    index: ResultIndex | None = None,
) -> SentShard:
    shard = SentShard(number=1, entry=entry, index=index or ResultIndex(), lines=len(lines))
    shard.read_refusal(iter(lines), is_sent_again=is_sent_again)
    return shard


@pytest.mark.parametrize(
    "entry", [refused, failed, lambda: failed({"code": "c", "message": "No."})]
)
@pytest.mark.parametrize(("lines", "parts"), [(ALIKE, 1), (MODELS, 2), (MIXED, 2)])
def test_refusal_without_a_line_takes_all_of_the_shard(
    entry: Any, lines: list[bytes], parts: int
) -> None:
    shard = read(entry(), lines)
    assert shard.refused == RefusedShard(parts=parts)
    assert shard.issues == {}


@pytest.mark.parametrize("entry", [refused(), failed()])
def test_refusal_in_the_last_attempt_is_not_looked_into(entry: ShardState) -> None:
    shard = SentShard(number=1, entry=entry, index=ResultIndex(), lines=3)

    def unread() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    shard.read_refusal(unread(), is_sent_again=False)
    assert shard.refused is None


@pytest.mark.parametrize("other", [[], [{"code": "d", "message": "All."}]])
def test_refusal_that_names_a_line_spares_the_others(other: list[dict[str, Any]]) -> None:
    shard = read(failed({"code": "c", "line": 2, "message": "No."}, *other), MODELS)
    assert shard.refused is None
    assert list(shard.issues) == [2]
    assert shard.refusal_text(2) == "c: No."
    expected = "d: All." if other else "Another line of the batch was refused. c: No."
    assert shard.refusal_text(1) == expected


def test_refusal_that_names_a_line_that_was_not_sent_names_none() -> None:
    shard = read(failed({"code": "c", "line": 4, "message": "No."}), MODELS)
    assert shard.refused == RefusedShard(parts=2)
    assert shard.refusal_text(1) == "c: No."


@pytest.mark.parametrize("status", ["completed", "expired", "cancelled", "in_progress"])
def test_errors_of_a_batch_that_ran_refuse_nothing(status: str) -> None:
    assert read(failed({"code": "c"}, status=status), MODELS).refused is None


def test_batch_that_failed_and_has_rows_is_not_sent_again_as_a_whole(tmp_path: Path) -> None:
    index = ResultIndex()
    file = index.keep((tmp_path / "rows").open("w+b"))
    file.write(b'{"custom_id": "x", "response": {"status_code": 200, "body": {}}}\n')
    index.add(file)
    assert read(failed(), ALIKE, index=index).refused is None
    index.close()


def test_batch_that_failed_and_whose_rows_are_lost_is_not_sent_again() -> None:
    index = ResultIndex()
    index.is_lost = True
    assert read(failed(), ALIKE, index=index).refused is None


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (refused("model_not_found", "Gone."), "Groq refused the batch: model_not_found: Gone."),
        (ShardState(stage=Stage.REFUSED), "Groq refused the batch: refused: no reason given"),
        (failed({"code": "c", "message": "No."}), "c: No."),
        (failed({"message": "No."}), "refused: No."),
        (failed({"code": "c"}), "c: no reason given"),
        (failed(), "refused: no reason given"),
        (refused(message="x" * 900), f"Groq refused the batch: c: {'x' * 473}"),
    ],
)
def test_refusal_text_is_that_of_the_batch_errors(entry: ShardState, text: str) -> None:
    assert read(entry, ALIKE).refusal_text(1) == text


# The endpoint

MISMATCH = {"code": "url_mismatch", "message": "No."}


@pytest.mark.parametrize("errors", [[MISMATCH], [MISMATCH | {"line": 1}, MISMATCH | {"line": 3}]])
@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (SPOKEN, 1),
        ([line(SPEECH), line(SPEECH, "n")], 1),
        (MIXED, 2),
        ([*MIXED, line(model="n")], 3),
    ],
)
def test_endpoint_that_does_not_fit_is_no_fault_of_the_lines(
    errors: list[dict[str, Any]], lines: list[bytes], parts: int
) -> None:
    shard = read(failed(*errors), lines)
    assert shard.issues == {}
    assert shard.refused == RefusedShard(parts=parts, by_url=True)


def test_endpoint_that_does_not_fit_with_an_invalid_line_refuses_the_line() -> None:
    bad = {"code": "invalid_method", "line": 2, "message": "Bad."}
    shard = read(failed(MISMATCH | {"line": 1}, bad), SPOKEN)
    assert list(shard.issues) == [2]
    assert shard.refused is None


@pytest.mark.parametrize(("lines", "endpoint"), [(ALIKE, None), (ALIKE, CHAT), (SPOKEN, SPEECH)])
def test_line_that_does_not_fit_the_endpoint_of_all_is_at_fault(
    lines: list[bytes], endpoint: str | None
) -> None:
    shard = read(failed(MISMATCH | {"line": 2}, endpoint=endpoint), lines)
    assert list(shard.issues) == [2]
    assert shard.refused is None


# Lines


def shards(*lines: int) -> list[SentShard]:
    return [
        SentShard(number=number, entry=ShardState(), index=ResultIndex(), lines=count)
        for number, count in enumerate(lines, start=1)
    ]


def test_lines_of_a_first_attempt_are_found_in_order() -> None:
    (shard,) = shards(2)
    sent = SentLines([shard], None)
    assert [sent.find("b"), sent.find("a")] == [(shard, 1), (shard, 2)]


def test_lines_of_parts_are_found_in_their_parts() -> None:
    one, two, three = shards(2, 1, 3)
    sent = SentLines([one, two, three], {name: place for place, name in enumerate("abcdef", 1)})
    found = [sent.find(name) for name in "fbcxad"]
    assert found == [(three, 3), (one, 2), (two, 1), None, (one, 1), (three, 1)]
