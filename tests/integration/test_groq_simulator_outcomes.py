"""What becomes of requests and batches in the Groq simulator, as its rules and fates say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.groq_simulator import ControlError, GroqSimulator
from tests.integration.simulator_api import Api, request_line, request_lines

# Outcomes of requests


def finished(simulator: GroqSimulator, outcome: Any, count: int = 4) -> tuple[Api, Any]:
    """Runs a batch of r-0, r-1, …, in which r-1 has an outcome."""
    simulator.control.configure(shuffle=False)
    simulator.control.set_rules([{"match": {"custom_id": "r-1"}, "outcome": outcome}])
    api = Api(simulator.url)
    return api, api.wait(api.submit(request_lines(count)))


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        ("fail", 400, "invalid_request_error"),
        ("json_validate_failed", 400, "json_validate_failed"),
        ({"kind": "http_error", "status": 429}, 429, "rate_limit_exceeded"),
        ({"kind": "http_error", "status": 498}, 498, "capacity_exceeded"),
        ({"kind": "http_error", "status": 503, "code": "own", "message": "m"}, 503, "own"),
    ],
)
def test_a_request_gets_an_http_error(
    simulator: GroqSimulator, outcome: Any, status: int, code: str
) -> None:
    api, batch = finished(simulator, outcome)
    assert batch["request_counts"] == {"total": 4, "completed": 3, "failed": 1}
    (row,) = api.rows(batch["error_file_id"])
    assert row["custom_id"] == "r-1"
    assert row["response"]["status_code"] == status
    assert row["response"]["body"]["error"]["code"] == code
    assert len(api.rows(batch["output_file_id"])) == 3
    assert simulator.control.requests()["r-1"] == {"sent": 1, "succeeded": 0}


@pytest.mark.parametrize("code", ["capacity_exhausted", "batch_expired", "request_timeout"])
def test_a_request_gets_no_response(simulator: GroqSimulator, code: str) -> None:
    api, batch = finished(simulator, code)
    (row,) = api.rows(batch["error_file_id"])
    assert row["response"] is None
    assert row["error"]["code"] == code
    api, batch = finished(simulator, {"kind": code, "response": "missing"})
    (row,) = api.rows(batch["error_file_id"])
    assert "response" not in row


def test_a_request_gets_status_zero(simulator: GroqSimulator) -> None:
    api, batch = finished(simulator, "status_zero")
    (row,) = api.rows(batch["error_file_id"])
    assert row["response"]["status_code"] == 0
    assert row["response"]["body"] == {}
    assert row["error"] is None
    assert batch["request_counts"]["failed"] == 0


@pytest.mark.parametrize(("kind", "status"), [("error_in_output", 400), ("error_with_200", 200)])
def test_an_error_stands_in_the_output_file(
    simulator: GroqSimulator, kind: str, status: int
) -> None:
    api, batch = finished(simulator, kind)
    assert batch["error_file_id"] is None
    row = api.rows(batch["output_file_id"])[1]
    assert row["response"]["status_code"] == status
    assert row["response"]["body"]["error"]["message"]
    assert row["error"] is None
    assert simulator.control.requests()["r-1"]["succeeded"] == 0


def test_a_request_is_missing_or_foreign_or_doubled(simulator: GroqSimulator) -> None:
    api, batch = finished(simulator, "missing")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert ids == ["r-0", "r-2", "r-3"]
    assert batch["error_file_id"] is None
    api, batch = finished(simulator, "duplicated")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert ids == ["r-0", "r-1", "r-1", "r-2", "r-3"]
    api, batch = finished(simulator, "foreign")
    ids = [row["custom_id"] for row in api.rows(batch["output_file_id"])]
    assert len(ids) == 5
    assert ids[2].startswith("foreign-")
    assert simulator.control.requests()["r-1"]["succeeded"] == 2


def output_of(simulator: GroqSimulator, outcome: Any) -> bytes:
    api, batch = finished(simulator, outcome)
    return api.call("GET", f"/files/{batch['output_file_id']}/content").data


def test_a_row_has_odd_bytes(simulator: GroqSimulator) -> None:
    lines = output_of(simulator, "unicode_separators").split(b"\n")
    assert len(lines) == 5
    for separator in ("\u2028", "\u2029", "\u0085"):
        assert separator.encode() in lines[1]
    lines = output_of(simulator, "crlf").split(b"\n")
    assert [line.endswith(b"\r") for line in lines] == [False, True, False, False, False]
    lines = output_of(simulator, "blank_line").split(b"\n")
    assert lines[2] == b""
    assert len(output_of(simulator, {"kind": "padding", "bytes": 100_000})) > 100_000
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        json.loads(output_of(simulator, "invalid_json").split(b"\n")[1])
    assert json.loads(output_of(simulator, "not_an_object").split(b"\n")[1]) == ["r-1"]
    simulator.control.reset()
    row = json.loads(output_of(simulator, "body_not_object").split(b"\n")[1])
    assert isinstance(row["response"]["body"], str)
    assert simulator.control.requests()["r-1"]["succeeded"] == 1


def test_lone_surrogates_survive(api: Api) -> None:
    line = request_line("x").replace(b"hello", b"\\ud800")
    batch = api.wait(api.submit(line))
    (row,) = api.rows(batch["output_file_id"])
    assert row["response"]["body"]["choices"][0]["message"]["content"] == "Echo: \ud800"


def test_a_rule_applies_so_many_times(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_rule("capacity_exhausted", match={"custom_id": ["r-0", "r-1"]}, times=1)
    simulator.control.add_rule("missing", match={"regex": "^r-1$"}, times=1)
    seen = []
    for _ in range(3):
        batch = api.wait(api.submit(request_lines(2), {"job": "j"}))
        answered = (
            [row["custom_id"] for row in api.rows(batch["output_file_id"])]
            if (batch["output_file_id"])
            else []
        )
        seen.append(sorted(answered))
    assert seen == [[], ["r-0"], ["r-0", "r-1"]]
    assert simulator.control.requests() == {
        "r-0": {"sent": 3, "succeeded": 2},
        "r-1": {"sent": 3, "succeeded": 1},
    }
    assert simulator.control.stats()["paid_twice"] == ["r-0"]
    assert simulator.control.requests(job="other") == {}


def test_a_rule_applies_to_a_share_or_to_some_batches(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_rule("fail", match={"fraction": 0.3, "seed": 5})
    first, second = (api.wait(api.submit(request_lines(200))) for _ in range(2))
    assert 40 <= first["request_counts"]["failed"] <= 80
    assert first["request_counts"] == second["request_counts"]
    simulator.control.set_rules([{"match": {"metadata": {"attempt": "1"}}, "outcome": "fail"}])
    for attempt, failed in (("1", 2), ("2", 0)):
        batch = api.wait(api.submit(request_lines(2), {"attempt": attempt}))
        assert batch["request_counts"]["failed"] == failed


def test_hints_in_requests_count_only_when_honoured(simulator: GroqSimulator, api: Api) -> None:
    data = b"".join(
        request_line(hint, metadata={"simulate": hint})
        for hint in ("fail", "fail_once", "missing_once", "unknown_word")
    )

    def answered(job: str) -> list[str]:
        batch = api.wait(api.submit(data, {"job": job}))
        return sorted(row["custom_id"] for row in api.rows(batch["output_file_id"]))

    assert len(answered("a")) == 4
    simulator.control.configure(honour_request_hints=True)
    assert answered("b") == ["unknown_word"]
    assert answered("b") == ["fail_once", "missing_once", "unknown_word"]
    assert answered("c") == ["unknown_word"]


# Refusals of batches


def test_batches_are_refused_for_a_model_or_a_url(simulator: GroqSimulator, api: Api) -> None:
    chat = request_line("a", model="m")
    speech = request_line("b", model="w").replace(b"chat/completions", b"audio/translations")
    simulator.control.set_refusals(
        [
            {"at": "create", "match": {"model": "w"}, "status": 404, "code": "gone", "times": 1},
            {"at": "validation", "match": {"url": "/v1/audio/translations"}, "message": "No."},
        ]
    )
    api.wait(api.submit(chat))
    refused = api.create(api.upload(chat + speech).json["id"])
    assert (refused.status, refused.code) == (404, "gone")
    failed = api.wait(api.submit(chat + speech), "failed")
    errors = [{"code": "model_not_found", "message": "No.", "param": None, "line": None}]
    assert failed["errors"]["data"] == errors
    assert failed["output_file_id"] is failed["error_file_id"] is None
    # Who refuses a batch answers nothing, so that nothing is paid for.
    assert simulator.control.requests()["b"] == {"sent": 1, "succeeded": 0}
    simulator.control.set_refusals([])
    api.wait(api.submit(speech))
    with pytest.raises(ControlError, match="at must be one of create, validation"):
        simulator.control.add_refusal(at="upload")
    with pytest.raises(ControlError, match="no field models"):
        simulator.control.add_refusal(match={"models": "m"})


def test_attempts_are_told_whether_batches_ran_or_not(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_refusal(match={"model": "m"}, times=1)
    lines = request_line("a", model="m") + request_line("b")
    for attempt in ("1", "2", "3"):
        metadata = {"job": "j", "attempt": attempt}
        if attempt == "1":
            assert api.create(api.upload(lines).json["id"], metadata).status == 400
        else:
            api.wait(api.submit(lines, metadata))
    attempts = simulator.control.attempts("j")
    assert attempts == {"a": ["1", "2", "3"], "b": ["1", "2", "3"]}
    assert simulator.control.requests("j")["a"] == {"sent": 2, "succeeded": 2}
    assert simulator.control.attempts("other") == {}


# Fates of batches


def test_a_batch_fails_at_validation(simulator: GroqSimulator, api: Api) -> None:
    error = {"code": "model_not_found", "message": "m", "param": None, "line": None}
    simulator.control.add_fate(end="fail", errors=[error], errors_shape="array", match={"nth": 2})
    simulator.control.add_fate(end="fail", match={"metadata": {"job": "a|b"}}, times=1)
    api.wait(api.submit(request_lines(1)))
    assert api.wait(api.submit(request_lines(1)), "failed")["errors"] == [error]
    failed = api.wait(api.submit(request_lines(1), {"job": "b"}), "failed")
    assert failed["errors"]["object"] == "list"
    api.wait(api.submit(request_lines(1), {"job": "a"}))
    assert simulator.control.stats()["batches_by_status"] == {"completed": 2, "failed": 2}


@pytest.mark.parametrize("unfinished", ["error", "missing"])
@pytest.mark.parametrize(("end", "status"), [("expire", "expired"), ("cancel", "cancelled")])
def test_a_batch_ends_early(
    simulator: GroqSimulator, api: Api, end: str, status: str, unfinished: str
) -> None:
    simulator.control.add_fate(end=end, done=0.6, unfinished=unfinished)
    batch = api.wait(api.submit(request_lines(10)), status)
    assert batch[f"{status}_at"] is not None
    assert batch["request_counts"] == {"total": 10, "completed": 6, "failed": 0}
    assert len(api.rows(batch["output_file_id"])) == 6
    if unfinished == "error":
        errors = api.rows(batch["error_file_id"])
        assert {row["error"]["code"] for row in errors} == {f"batch_{status}"}
        assert len(errors) == 4
    else:
        assert batch["error_file_id"] is None
    assert simulator.control.stats()["requests_succeeded"] == 6


def test_a_batch_gets_stuck_beyond_its_window(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(window_scale=1 / 86400)
    simulator.control.add_fate(end="stuck", done=0.5)
    batch_id = api.submit(request_lines(10))
    simulator.control.advance_clock(3600)
    batch = api.batch(batch_id)
    assert batch["status"] == "in_progress"
    assert batch["request_counts"]["completed"] == 5
    assert batch["expires_at"] == batch["created_at"] + 1
    simulator.control.change_batch(batch_id, end="complete")
    assert api.batch(batch_id)["status"] == "completed"


def test_a_slow_batch_expires_at_the_end_of_its_window(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.configure(batch_seconds=10.0, window_scale=6 / 86400)
    batch_id = api.submit(request_lines(8))
    simulator.control.advance_clock(7)
    batch = api.batch(batch_id)
    assert batch["status"] == "expired"
    assert batch["request_counts"] == {"total": 8, "completed": 5, "failed": 0}


def test_one_batch_takes_its_own_time(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fate(batch_seconds=60, match={"nth": 1})
    slow, fast = api.submit(request_lines(1)), api.submit(request_lines(1))
    api.wait(fast)
    assert api.batch(slow)["status"] == "validating"
    simulator.control.configure(speed=1e6)
    api.wait(slow)


def test_a_batch_shows_an_unknown_status(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.add_fate(status="paused", match={"nth": 1})
    simulator.control.add_fate(status="warming", status_seconds=3600)
    forever, passing = api.submit(request_lines(1)), api.submit(request_lines(1))
    api.wait(passing, "warming")
    simulator.control.advance_clock(3600)
    api.wait(passing)
    assert api.batch(forever)["status"] == "paused"


def test_a_completed_batch_may_be_odd(simulator: GroqSimulator, api: Api) -> None:
    simulator.control.set_fates(
        [
            {"match": {"nth": 1}, "fate": {"no_files": True}},
            {"match": {"nth": 2}, "fate": {"all_requests": "fail"}},
            {"match": {"nth": 3}, "fate": {"override": {"error_file_id": {}}}},
            {"match": {"nth": 4}, "fate": {"override": {"error_file_id": ""}}},
            {"match": {"nth": 5}, "fate": {"empty_error_file": True}},
            {"match": {"nth": 6}, "fate": {"errors": [{"code": "c"}], "errors_shape": "array"}},
            {"match": {"nth": 7}, "fate": {"counts": {"completed": 0, "failed": 99}}},
        ]
    )
    batches = [api.wait(api.submit(request_lines(2))) for _ in range(7)]
    no_files, all_fail, braces, empty_id, empty_file, errors, counts = batches
    assert no_files["output_file_id"] is no_files["error_file_id"] is None
    assert all_fail["output_file_id"] is None
    assert len(api.rows(all_fail["error_file_id"])) == 2
    assert braces["error_file_id"] == {}
    assert empty_id["error_file_id"] == ""
    assert api.call("GET", f"/files/{empty_file['error_file_id']}/content").data == b""
    assert errors["errors"] == [{"code": "c"}]
    assert counts["request_counts"] == {"total": 2, "completed": 0, "failed": 99}
