"""Files of requests for the tests of this folder, and what must become of them.

The oracle knows nothing of the code: it takes the lines of a file as they were made, with what is
wrong with each, and looks at what stands in the bucket, at Groq and on the event bus in the end.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from groq_batch.domain import object_keys
from groq_batch.domain.job_id import upload_job_id
from groq_batch.domain.job_options import deadline_seconds
from groq_batch.domain.prices import FROM_TABLE, TokenPrice, table_prices
from groq_batch.domain.times import parse_timestamp
from tests.harness.world import World

MODEL = "openai/gpt-oss-20b"
OTHER_MODEL = "openai/gpt-oss-120b"
SPEECH_MODEL = "whisper-large-v3"
CHAT_URL = "/v1/chat/completions"
TRANSCRIPTIONS_URL = "/v1/audio/transcriptions"
FINAL = ("succeeded", "partial", "rejected", "failed", "cancelled")
RETRYABLE = (
    "batch_cancelled",
    "batch_expired",
    "capacity_exhausted",
    "missing",
    "no_response",
    "request_timeout",
)
"""Codes of rows that must not be final before the last attempt, in a job that nobody stopped."""

CANARY_CODES = ("canary_failed", "canary_too_expensive")
"""Codes of jobs whose canary has kept the rest from being sent."""

NAMED_LINE = "invalid_method: "
"""How the message of a row begins whose line a refusal has named; it fails for good."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file that is not blank.

    Attributes:
        data: Its bytes as they are passed on: without carriage returns before the line end.
        custom_id: Its id where it can be read.
        problem: The code of what is wrong with it, if anything is.
        prompt: What a good one asks.
        asks_json: Whether it asks for an answer that is JSON.
    """

    data: bytes
    custom_id: str | None
    problem: str | None = None
    prompt: str = ""
    asks_json: bool = False


def good_line(custom_id: str, prompt: str | None = None, **body: Any) -> Line:
    """Return a request that has nothing wrong with it."""
    text = f"Say {custom_id}." if prompt is None else prompt
    content = {"model": MODEL, "messages": [{"role": "user", "content": text}], **body}
    return _line(custom_id, CHAT_URL, content, text)


def json_line(custom_id: str, prompt: str | None = None) -> Line:
    """Return a request for JSON by a schema."""
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string"}},
        "required": ["answer"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return replace(good_line(custom_id, prompt, response_format=form), asks_json=True)


def audio_line(custom_id: str, *, url: str = TRANSCRIPTIONS_URL, **body: Any) -> Line:
    """Return a request to transcribe something, answered with a text unless the body says else."""
    address = f"https://example.com/{custom_id}.mp3"
    content = {"model": SPEECH_MODEL, "url": address, "response_format": "text", **body}
    return _line(custom_id, url, content, address)


def _line(custom_id: str, url: str, body: dict[str, Any], prompt: str) -> Line:
    request = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return Line(json.dumps(request, ensure_ascii=False).encode(), custom_id, prompt=prompt)


def good_lines(count: int, prefix: str = "r", **body: Any) -> list[Line]:
    """Return some requests."""
    return [good_line(f"{prefix}{number}", **body) for number in range(count)]


def lines_of_models(*counts: int) -> list[Line]:
    """Return requests to the models m0, m1 and so on, so many to each, taking turns."""
    return [
        good_line(f"m{model}-{number}", model=f"m{model}")
        for number in range(max(counts))
        for model, count in enumerate(counts)
        if number < count
    ]


def bad_line(custom_id: str) -> Line:
    """Return a request with a method that no batch takes."""
    data = good_line(custom_id).data.replace(b"POST", b"GET")
    return Line(data, custom_id, "invalid_method")


def file_of(lines: Iterable[Line], *, packed: bool = False, ending: bytes = b"\n") -> bytes:
    """Return a file of lines."""
    data = b"".join(line.data + ending for line in lines)
    return gzip.compress(data, mtime=0) if packed else data


@dataclass(slots=True)
class Upload:
    """A file that was uploaded, and the job that it must have.

    Attributes:
        key: The object's key.
        lines: Its lines.
        version_id: Its version.
        skips: Whether bad lines are skipped.
        fatal: The code of what rejects the whole file, if anything does.
        keeps_path: Whether its report must stand at its own path: no later job took that over.
    """

    key: str
    lines: Sequence[Line]
    version_id: str = ""
    skips: bool = False
    fatal: str | None = None
    keeps_path: bool = True
    metadata: dict[str, str] = field(default_factory=dict)

    def job_id(self, bucket: str) -> str:
        """Return the name of its job."""
        return upload_job_id(bucket=bucket, key=self.key, version_id=self.version_id)

    @property
    def path(self) -> str:
        """The path of its deliverables."""
        return self.key.removeprefix("input/")

    @property
    def is_rejected(self) -> bool:
        """Whether its job must end ``rejected`` when nobody stops it before."""
        bad = [line for line in self.lines if line.problem is not None]
        if self.fatal is not None or not self.lines:
            return True
        return bool(bad) and (not self.skips or len(bad) == len(self.lines))


def put(world: World, key: str, lines: Sequence[Line], **options: str) -> Upload:
    """Upload a file of lines, with options as metadata."""
    metadata = {name.replace("_", "-"): value for name, value in options.items()}
    upload = Upload(
        key=key,
        lines=lines,
        skips=metadata.get("on-invalid-line") == "skip",
        metadata=metadata,
    )
    data = file_of(lines, packed=key.endswith(".gz"))
    upload.version_id = world.upload(key, data, metadata=metadata)
    return upload


# -- what must hold in the end -------------------------------------------------------------------


def check_end(
    world: World,
    *uploads: Upload,
    doubles_may_be_cancelled: bool = False,
    files_may_be_left: bool = False,
) -> list[dict[str, Any]]:
    """Check everything that must hold when a world has come to rest; returns the reports.

    Args:
        world: The world.
        uploads: The uploads whose jobs are looked at.
        doubles_may_be_cancelled: Whether a shard attempt may have more than one batch as long as
            only one was not cancelled before it ran anything.
        files_may_be_left: Whether files may be left at Groq, which deletes them after 30 days.
    """
    check_groq(
        world,
        doubles_may_be_cancelled=doubles_may_be_cancelled,
        files_may_be_left=files_may_be_left,
    )
    check_bucket(world)
    check_invocations(world)
    return [check_job(world, upload) for upload in uploads]


def check_groq(
    world: World, *, doubles_may_be_cancelled: bool = False, files_may_be_left: bool = False
) -> None:
    """Nothing runs, nothing is left, nothing was made or paid twice."""
    stats = world.simulator.stats()
    batches = {batch["id"]: batch for batch in world.simulator.batches()}
    for place, made in stats["shards"].items():
        idle = [one for one in made if _ran_nothing(batches[one])] if len(made) > 1 else []
        assert doubles_may_be_cancelled or len(made) == 1, f"{len(made)} batches of {place}"
        assert len(made) - len(idle) <= 1, f"{len(made)} batches of {place} ran"
    assert stats["paid_twice"] == []
    assert stats["running"] == 0, stats["batches_by_status"]
    assert stats["files"] == [] or files_may_be_left, "files were left at Groq"


def _ran_nothing(batch: dict[str, Any]) -> bool:
    return batch["status"] == "cancelled" and batch["request_counts"]["completed"] == 0


def check_bucket(world: World) -> None:
    """Every job is closed, and no execution runs."""
    assert world.open_jobs() == []
    for key in world.s3.keys(object_keys.JOBS_PREFIX):
        job_id = key.removeprefix(object_keys.JOBS_PREFIX)
        assert world.s3.read(object_keys.WorkKeys(job_id).closed) is not None, (
            f"{job_id} is not closed"
        )
        ends = [detail for _, _, detail in world.events.published if detail["job_id"] == job_id]
        assert ends, f"no event tells of the end of {job_id}"
        assert ends == ends[:1] * len(ends), f"ends that differ: {[one['status'] for one in ends]}"
        check_usage(world, ends[0])
    for name, execution in world.executions.items():
        assert execution.status != "RUNNING", f"{name} runs for ever"
        assert execution.events < 20_000, f"{name} has {execution.events} events"


def check_usage(world: World, end: dict[str, Any]) -> None:
    """The job has one usage record, which says what its event says."""
    job_id = end["job_id"]
    records = [key for key in world.s3.keys(object_keys.USAGE_PREFIX) if f"/{job_id}." in key]
    day = end["timing"]["finished_at"][:10]
    assert records == [f"usage/date={day}/{job_id}.json"], records
    record = json.loads(world.s3.read(records[0]) or b"")
    told = {name: end["requests"][name] for name in ("succeeded", "failed", "invalid")}
    assert (
        record.items()
        >= {
            "job_id": job_id,
            "key": end["input"]["key"],
            "status": end["status"],
            "started_at": end["timing"]["started_at"],
            "finished_at": end["timing"]["finished_at"],
            "requests": end["requests"]["total"],
            "prompt_tokens": end["usage"]["prompt_tokens"],
            "completion_tokens": end["usage"]["completion_tokens"],
            "estimated_usd": end["cost_usd"]["estimated"],
            "actual_usd": end["cost_usd"]["actual"],
            **told,
        }.items()
    )
    for name in ("succeeded", "prompt_tokens", "completion_tokens"):
        assert sum(model[name] for model in record["models"]) == record[name], record
    collected = sum(model["requests"] for model in record["models"])
    assert collected in (0, record["requests"] - record["invalid"]), record
    if record["actual_usd"] is not None:
        amounts = [model["usd"] for model in record["models"]]
        assert sum(amounts) == pytest.approx(record["actual_usd"], abs=1e-9)


EXPECTED_EXCEPTIONS = {
    "ClientError",
    "ConflictError",
    "EventNotPublishedError",
    "LeaseLostError",
    "NotCollectedError",
    "SupersededError",
    "ReconcileError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
}
"""What handlers may fail with; all else is a fault of theirs or of a double."""


def check_invocations(world: World) -> None:
    """No handler failed with an exception that nobody thought of."""
    for invocation in world.invocations:
        error = invocation.exception
        if error is not None and type(error).__name__ not in EXPECTED_EXCEPTIONS:
            raise AssertionError(f"{invocation.request_id} failed: {error!r}") from error


def report_of(world: World, path: str) -> dict[str, Any]:
    """Return the report that stands at a path."""
    data = world.s3.read(f"reports/{path}.json")
    assert data is not None, f"there is no report of {path}: {world.describe()}"
    report: dict[str, Any] = json.loads(data)
    return report


def check_job(world: World, upload: Upload) -> dict[str, Any]:
    """One job ended as it must; returns its report."""
    job_id = upload.job_id(world.s3.bucket)
    path = upload.path
    if not upload.keeps_path:
        path = object_keys.superseded_path(job_id, path)
        if world.s3.read(f"reports/{path}.json") is None:
            # It ended before the newer upload took the path over; its event told its end.
            return _end_of(world, job_id)
    report = report_of(world, path)
    assert report["job_id"] == job_id
    assert report["status"] in FINAL, report["status"]
    _check_report_matches_event(world, report)
    _check_counts(report, upload)
    if report["status"] == "rejected":
        _check_rejected(world, report, path, upload)
    elif report["outputs"]["results"] is None:
        assert _was_unread(report), f"{path} has no results: {report}"
    else:
        assert not upload.is_rejected, f"{path} should have been rejected"
        _check_rows(world, report, path, upload)
    return report


def _end_of(world: World, job_id: str) -> dict[str, Any]:
    return next(detail for _, _, detail in world.events.published if detail["job_id"] == job_id)


def _was_unread(report: dict[str, Any]) -> bool:
    """Tell whether a job ended before its input had been checked, or could not read it."""
    is_stopped = report["status"] in ("cancelled", "failed")
    return is_stopped and report["requests"]["total"] == 0 and report["batches"] == []


def _check_report_matches_event(world: World, report: dict[str, Any]) -> None:
    end = [one for _, _, one in world.events.published if one["job_id"] == report["job_id"]][-1]
    assert end == {key: value for key, value in report.items() if key not in ("batches", "errors")}


def _check_counts(report: dict[str, Any], upload: Upload) -> None:
    counts = report["requests"]
    assert counts["total"] == counts["succeeded"] + counts["failed"] + counts["invalid"]
    assert len(report["errors"]) <= 100
    assert report["errors_total"] >= len(report["errors"])
    if counts["total"]:
        assert counts["total"] == len(upload.lines)
        assert counts["invalid"] == sum(line.problem is not None for line in upload.lines)
    if report["status"] == "succeeded":
        assert counts["succeeded"] == counts["total"] > 0
        assert report["errors"] == []
    elif report["status"] in ("failed", "cancelled"):
        assert report["errors"][0]["line"] is None
        assert report["errors"][0]["message"]
    elif report["status"] == "partial":
        assert counts["succeeded"] < counts["total"]


def _check_rejected(world: World, report: dict[str, Any], path: str, upload: Upload) -> None:
    assert upload.is_rejected, f"{path} was rejected: {report['errors'][:3]}"
    assert world.s3.read(f"output/{path}") is None
    assert world.s3.read(f"failed/{path}") is None
    assert world.s3.read(f"invalid/{path}") is not None
    assert world.simulator.requests(report["job_id"]) == {}
    assert report["requests"]["succeeded"] == 0


def _check_rows(world: World, report: dict[str, Any], path: str, upload: Upload) -> None:
    rows = [json.loads(row) for row in _object_lines(world, f"output/{path}")]
    assert [row["custom_id"] for row in rows] == [line.custom_id for line in upload.lines]
    sendings = world.simulator.requests(report["job_id"])
    attempts = world.simulator.attempts(report["job_id"])
    most = int(upload.metadata.get("max-attempts", world.settings.default_options.max_attempts))
    good = {line.custom_id for line in upload.lines if line.problem is None}
    called = _answers_by_call(world, report, upload)
    retries = upload.metadata.get("retry-invalid-output") == "true"
    failed, invalid = [], 0
    for row, line in zip(rows, upload.lines, strict=True):
        counted = sendings.get(line.custom_id or "", {"sent": 0, "succeeded": 0})
        asked = len(attempts.get(line.custom_id or "", ()))
        assert max(counted["sent"], asked) <= most, f"{line.custom_id} was sent {counted} times"
        counted = {**counted, "succeeded": counted["succeeded"] + called.get(line.prompt, 0)}
        may_be_more = retries and line.asks_json
        assert counted["succeeded"] <= 1 or may_be_more, f"{line.custom_id} was paid twice"
        if _is_success(row):
            _check_answer(row, line, counted, may_be_more=may_be_more)
            if retries and line.asks_json and not _has_form(row):
                invalid += 1
                has_failed = counted["sent"] > counted["succeeded"]
                has_ended = report["status"] in ("succeeded", "partial")
                has_ended = has_ended and "batch-deadline" not in upload.metadata
                if has_ended and not (has_failed or _canary_has_failed(report)):
                    assert asked == most, f"{line.custom_id} was given up early"
            continue
        failed.append(line.data + b"\n")
        code = _code(row)
        if line.problem is not None:
            assert code == line.problem
            assert counted["sent"] == 0 or line.custom_id in good
        elif code != OUTCOME_UNKNOWN:
            assert counted["succeeded"] == 0, f"the answer to {line.custom_id} was lost: {row}"
            was_given_up = report["status"] == "partial" and not _canary_has_failed(report)
            is_left = was_given_up and "batch-deadline" not in upload.metadata
            if is_left and _may_be_tried_again(row, code):
                assert asked == most, f"{line.custom_id} ({code}) was given up early"
    assert _object_bytes(world, f"failed/{path}") == b"".join(failed)
    assert report["requests"]["succeeded"] == len(rows) - len(failed)
    assert report["requests"].get("invalid_output") == (invalid if retries else None)
    urls = {name: f"s3://{world.s3.bucket}/{name}/{path}" for name in ("failed", "invalid")}
    assert report["outputs"]["failed"] == (urls["failed"] if failed else None)
    bad = any(line.problem for line in upload.lines)
    assert report["outputs"]["invalid"] == (urls["invalid"] if bad else None)
    if report["status"] in ("succeeded", "partial"):
        assert (report["status"] == "succeeded") == (not failed)
    assert all(batch["status"] in _TERMINAL for batch in report["batches"]) or _gave_up(report)
    by_call = (report["on_demand"] or {"succeeded": 0})["succeeded"]
    answered = by_call + sum(batch["succeeded"] for batch in report["batches"])
    repeated = sum(max(0, counted["succeeded"] - 1) for counted in sendings.values())
    assert answered == len(rows) - len(failed) + (repeated if retries else 0)
    _check_deadline(report, [_code(row) for row in rows if not _is_success(row)])
    if not retries:
        _check_sums(report, [row for row in rows if _is_success(row)])
    places = [(batch["shard"], batch["attempt"]) for batch in report["batches"]]
    assert len(set(places)) == len(places), f"a shard attempt has two batches: {places}"
    _check_canary(world, report, upload, rows)


def _check_sums(report: dict[str, Any], answers: Sequence[dict[str, Any]]) -> None:
    """Tokens and costs are those of the answers, each of which was asked for once."""
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        used = [usage[name] for row in answers if (usage := _usage(row)) is not None]
        assert report["usage"][name] == sum(used)
    called = [row for row in answers if row["id"] is None]
    told = report["on_demand"] or {"succeeded": 0, "cost_usd": 0.0}
    assert told["succeeded"] == len(called)
    if any(_usage(row) is None and isinstance(row["response"]["body"], dict) for row in answers):
        return  # Audio that tells its length; what that costs is tested elsewhere.
    if report["prices"]["source"] != FROM_TABLE:
        return  # Prices of the account's list, which test_models.py knows.
    calls_usd = _batch_usd(called)
    assert told["cost_usd"] == (None if calls_usd is None else pytest.approx(2 * calls_usd))
    all_usd = _batch_usd(answers)
    if all_usd is None or calls_usd is None:
        assert report["cost_usd"]["actual"] is None
    else:
        assert report["cost_usd"]["actual"] == pytest.approx(all_usd + calls_usd)


def _usage(row: dict[str, Any]) -> dict[str, int] | None:
    body = row["response"]["body"]
    return body.get("usage") if isinstance(body, dict) else None


def _batch_usd(answers: Sequence[dict[str, Any]]) -> float | None:
    """Return what answers cost in a batch; None when one does not say what it used."""
    total = 0.0
    for row in answers:
        usage = _usage(row)
        price = usage and table_prices().of(row["response"]["body"]["model"])
        if not (usage and isinstance(price, TokenPrice)):
            return None
        total += usage["prompt_tokens"] * price.input + usage["completion_tokens"] * price.output
    return total


def _canary_has_failed(report: dict[str, Any]) -> bool:
    return bool(report["canary"]) and report["canary"]["passed"] is False


def _check_canary(
    world: World, report: dict[str, Any], upload: Upload, rows: Sequence[dict[str, Any]]
) -> None:
    """Nothing behind a canary was sent before it had ended, and nothing at all if it failed."""
    asked_for = int(upload.metadata.get("canary-requests", "0"))
    good = [str(line.custom_id) for line in upload.lines if line.problem is None]
    if not 0 < asked_for < len(good):
        assert report["canary"] is None
        return
    canary = report["canary"]
    assert 0 < canary["requests"] <= asked_for
    assert 0 <= canary["failed"] <= canary["requests"]
    first, rest = good[: canary["requests"]], good[canary["requests"] :]
    sent = world.simulator.attempts(report["job_id"])
    code = report["errors"][0]["code"] if report["errors"] else None
    # Behind a deadline the rest is asked without a batch, or not at all.
    has_deadline = "batch-deadline" in upload.metadata
    if canary["passed"] is not True:
        assert not set(rest) & set(sent), "requests behind a canary were sent"
        # A line that uses an id again has a row of the same id.
        own = [row for row, line in zip(rows, upload.lines, strict=True) if line.problem is None]
        codes = {row["custom_id"]: (row["error"] or {}).get("code") for row in own}
        expected = {"not_sent", *([DEADLINE_PASSED, "cancelled"] if has_deadline else [])}
        assert {codes[custom_id] for custom_id in rest} <= expected
    if canary["passed"] is None:
        assert _gave_up(report) or has_deadline
    elif canary["passed"] is False:
        assert _gave_up(report) or (report["status"] == "partial" and code in CANARY_CODES)
    else:
        assert code not in CANARY_CODES
        assert any(_is_success(row) for row in rows if row["custom_id"] in first)
        if not (_gave_up(report) or has_deadline):
            assert set(rest) <= set(sent), "requests behind a canary were not sent"
    begun = [one for one in report["batches"] if one["attempt"] == 1]
    ends = [one["ended_at"] for one in begun if one["shard"] == 1 and one["ended_at"]]
    for one in begun:
        assert one["shard"] == 1 or ends <= [one["created_at"]], "sent beside the canary"


OUTCOME_UNKNOWN = "outcome_unknown"
DEADLINE_PASSED = "deadline_passed"
ASKING_SECONDS = 3600.0
ONE_CALL_USD = 0.00002


def _answers_by_call(world: World, report: dict[str, Any], upload: Upload) -> dict[str, int]:
    """Return how often each prompt was answered by an ordinary call of a job.

    The requests of a file with a deadline must have prompts of their own: a call names no id.
    """
    answers: dict[str, int] = {}
    if "batch-deadline" not in upload.metadata:
        return answers
    seconds = deadline_seconds(upload.metadata["batch-deadline"])
    calls = [one for one in world.simulator.ordinary_calls() if one["job"] == report["job_id"]]
    if seconds is None:
        assert calls == [], "calls without a deadline"
        return answers
    started = parse_timestamp(report["timing"]["started_at"]).timestamp()
    for call in calls:
        assert started + seconds <= call["time"] < started + seconds + ASKING_SECONDS
        answers[call["prompt"]] = answers.get(call["prompt"], 0) + call["billed"]
    asked = len({call["prompt"] for call in calls})
    assert report["on_demand"]["requests"] >= asked
    if report["on_demand"]["cost_usd"] is not None:
        # Estimates go by the mean of answers, and a little more may be used than they say.
        budget = float(upload.metadata.get("deadline-max-usd", "0"))
        assert report["on_demand"]["cost_usd"] <= budget + ONE_CALL_USD
    return answers


def _check_deadline(report: dict[str, Any], codes: Sequence[str]) -> None:
    """The calls after a deadline are told as they were."""
    told = report["on_demand"]
    if told is None:
        assert DEADLINE_PASSED not in codes
        return
    assert told["requests"] == told["succeeded"] + told["failed"]
    assert told["failed"] >= codes.count(OUTCOME_UNKNOWN)
    if report["status"] in ("partial", "succeeded"):
        first = report["errors"][0]["code"] if report["errors"] else None
        is_first = first == DEADLINE_PASSED and report["errors"][0]["line"] is None
        assert is_first == (DEADLINE_PASSED in codes), (first, codes)


_TERMINAL = ("completed", "failed", "expired", "cancelled")


def _gave_up(report: dict[str, Any]) -> bool:
    return report["status"] in ("failed", "cancelled")


def _check_answer(
    row: dict[str, Any], line: Line, counted: dict[str, int], *, may_be_more: bool
) -> None:
    assert line.problem is None, f"a bad line was sent: {line.custom_id}"
    # That none came after one with the form asked for, the simulator counts.
    assert counted["succeeded"] >= 1 if may_be_more else counted["succeeded"] == 1
    if line.asks_json and not _has_form(row):
        return
    text = _text(row)
    if line.asks_json:
        text = json.loads(text)["answer"]
    assert text.startswith(f"Echo: {line.prompt}"[:2000]), "an answer to another request"


def _text(row: dict[str, Any]) -> str:
    body = row["response"]["body"]
    if isinstance(body, dict):
        body = body["choices"][0]["message"]["content"] if "choices" in body else body["text"]
    return str(body)


def _has_form(row: dict[str, Any]) -> bool:
    """Tell whether the answer to a ``json_line`` is as that asks."""
    body = row["response"]["body"]
    if isinstance(body, dict) and body["choices"][0]["finish_reason"] != "stop":
        return False
    try:
        return isinstance(json.loads(_text(row))["answer"], str)
    except (ValueError, LookupError, TypeError):
        return False


def _is_success(row: dict[str, Any]) -> bool:
    response = row.get("response") or {}
    body = response.get("body")
    is_error = isinstance(body, dict) and body.get("error")
    return response.get("status_code") == 200 and not row.get("error") and not is_error


def _may_be_tried_again(row: dict[str, Any], code: str) -> bool:
    if code == "batch_failed":
        return not row["error"]["message"].startswith(NAMED_LINE)
    return code in RETRYABLE


def _code(row: dict[str, Any]) -> str:
    if row.get("error"):
        return str(row["error"]["code"])
    body = (row.get("response") or {}).get("body") or {}
    return str((body.get("error") or {}).get("code"))


def _object_bytes(world: World, key: str) -> bytes:
    data = world.s3.read(key) or b""
    return gzip.decompress(data) if key.endswith(".gz") and data else data


def _object_lines(world: World, key: str) -> list[bytes]:
    data = _object_bytes(world, key)
    assert data.endswith(b"\n"), f"{key} does not end with a line"
    return data.split(b"\n")[:-1]
