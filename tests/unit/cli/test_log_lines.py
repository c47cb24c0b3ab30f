"""Lines of the log as people read them."""

from __future__ import annotations

import io
import json
from typing import Any

from groq_batch_cli.job_logs import LogEvent
from groq_batch_cli.log_lines import full_text, readable_lines
from groq_batch_cli.terminal import Terminal


def event(second: int, message: str | None, function: str = "CheckStatus", **fields: Any) -> Any:
    """Return what a function has logged at 5 o'clock and some seconds."""
    standard: dict[str, Any] = {
        "level": "INFO",
        "location": "check:1",
        "function_name": f"stack-{function}Function-X1",
        "function_request_id": "r",
        "cold_start": True,
        "job_id": "j",
        "service": "stack",
        "timestamp": "t",
    }
    if message is not None:
        standard["message"] = message
    fields = {**standard, **fields}
    return LogEvent(f"{second}", (5 * 3600 + second) * 1000, fields, json.dumps(fields))


def lines(*events: LogEvent) -> list[str]:
    terminal = Terminal(io.StringIO(), io.StringIO(), {})
    return list(readable_lines(events, terminal))


def look(second: int, wait_seconds: int, **fields: Any) -> LogEvent:
    decision = {"decision": "wait", "wait_seconds": wait_seconds, "polls": second, "resume_in": 0}
    return event(second, "Checked the batches", attempt=1, **decision, **fields)


METRICS = event(1, None, _aws={"Timestamp": 1, "CloudWatchMetrics": []}, StatusChecks=[1.0])


def test_readable_lines_have_time_function_sentence_and_what_matters() -> None:
    assert lines(
        event(0, "Job started", "StartJob", key="input/x.jsonl"),
        event(
            3, "Prepared the input", "PrepareInput", accepted=True, good=60, invalid=0, bytes=11560
        ),
        event(
            8,
            "Job ended",
            "FinishJob",
            status="partial",
            code=None,
            requests={"total": 60, "succeeded": 57, "failed": 3, "invalid": 0},
            cost_usd=3.825e-05,
            seconds=25.035,
        ),
    ) == [
        "1970-01-01 05:00:00Z StartJob        Job started",
        "1970-01-01 05:00:03Z PrepareInput    Prepared the input accepted=yes good=60",
        (
            "1970-01-01 05:00:08Z FinishJob       Job ended status=partial total=60 succeeded=57 "
            "failed=3 cost_usd=$0.000038 seconds=25.035"
        ),
    ]


def test_readable_lines_leave_metrics_out() -> None:
    assert lines(METRICS, METRICS) == []


def test_readable_lines_count_looks_that_found_nothing_new() -> None:
    found = lines(
        look(1, 5, shard_key="", outcome=""),
        METRICS,
        look(6, 7),
        look(13, 10),
        event(
            23,
            "Checked the batches",
            attempt=1,
            decision="download",
            wait_seconds=1,
            shard_key="work/x/1.jsonl",
        ),
        look(30, 5),
    )
    assert found == [
        (
            "1970-01-01 05:00:01Z CheckStatus     Checked the batches attempt=1 decision=wait "
            "wait_seconds=5"
        ),
        "1970-01-01 05:00:13Z                 ... 2 more times until then",
        "1970-01-01 05:00:23Z CheckStatus     Checked the batches attempt=1 decision=download",
        (
            "1970-01-01 05:00:30Z CheckStatus     Checked the batches attempt=1 decision=wait "
            "wait_seconds=5"
        ),
    ]


def test_readable_lines_keep_events_of_several_shards_apart() -> None:
    found = lines(*[event(n, "Created a batch", "SubmitBatch", shard=n) for n in (1, 2)])
    assert [line.split()[-1] for line in found] == ["shard=1", "shard=2"]


def test_readable_lines_tell_warnings_and_what_an_exception_said() -> None:
    trace = "Traceback (most recent call last):\n  File x\nReadTimeout: no\x1b answer\n"
    found = lines(
        event(1, "The batches could not be read", level="WARNING", status=503, kind="X"),
        event(2, "Broken", level="ERROR", exception=trace, exception_name="ReadTimeout"),
    )
    assert found == [
        (
            "1970-01-01 05:00:01Z CheckStatus     WARNING The batches could not be read status=503 "
            "kind=X"
        ),
        "1970-01-01 05:00:02Z CheckStatus     ERROR Broken (ReadTimeout: no answer)",
    ]


def test_full_text_has_every_field_and_the_whole_trace() -> None:
    terminal = Terminal(io.StringIO(), io.StringIO(), {})
    trace = "Traceback\n  line\nReadTimeout: no"
    shown = full_text(event(2, "Broken", level="ERROR", exception=trace, key="k"), terminal)
    assert shown == (
        "1970-01-01 05:00:02Z ERROR   CheckStatus     Broken key=k\n"
        "    Traceback\n      line\n    ReadTimeout: no"
    )
    assert "StatusChecks=[1.0]" in full_text(METRICS, terminal)
