"""The fault table: lost answers, throttling, fates of batches and rows, fates of executions."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial

from local.stack import DEFAULT_WAIT_SCALE
from tests.e2e.pipeline import request_file, secret_of, wait_until
from tests.faults.scenario import REQUESTS, Scenario, Trial
from tests.faults.workers import worker_processes

LOST = "Lost answers"
THROTTLED = "Throttling and outages"
BATCHES = "Fates of a batch"
ROWS = "Fates of rows"
RUNS = "Fates of an execution"


def _fault(route: str, **fault: object) -> Callable[[Trial], None]:
    return lambda trial: trial.fault(route, **fault)


def _fate(**fate: object) -> Callable[[Trial], None]:
    return lambda trial: trial.fate(**fate)  # type: ignore[arg-type]


def _tenth(outcome: str | dict[str, object], times: int | None = None) -> Callable[[Trial], None]:
    ids = [f"r-{number}" for number in range(0, REQUESTS, 10)]
    return lambda trial: trial.rule(outcome, times=times, custom_id=ids)


def _refuse_model(at: str) -> Callable[[Trial], None]:
    return lambda trial: trial.simulator.add_refusal(at=at, match={"model": f"other-at-{at}"})


def _everywhere(*faults: dict[str, object]) -> Callable[[Trial], None]:
    def arrange(trial: Trial) -> None:
        for fault in faults:
            trial.simulator.add_fault(**fault)  # type: ignore[arg-type]

    return arrange


def _both(*steps: Callable[[Trial], None]) -> Callable[[Trial], None]:
    def arrange(trial: Trial) -> None:
        for step in steps:
            step(trial)

    return arrange


# -- while a job runs ------------------------------------------------------------------------------


def _stop_half_way(trial: Trial) -> None:
    trial.wait_until_done(REQUESTS // 2)
    trial.stop()


def _stop_during_upload(trial: Trial) -> None:
    assert trial.simulator.wait_held(trial.name, 1, timeout=60)
    trial.stop()
    stopped = f"work/{trial.job_id()}/stopped.json"
    wait_until(lambda: trial.pipeline.read(stopped), 60, lambda: "no fence")
    trial.simulator.release(trial.name)


def _stop_unheard(trial: Trial) -> None:
    events = trial.pipeline.stack.client("events")
    rule = trial.pipeline.resource("CancelJobFunctionExecutionEnded")
    events.disable_rule(Name=rule)
    try:
        trial.wait_until_done(REQUESTS // 2)
        trial.stop()
        trial.pipeline.age_open_job(trial.job_id(), minutes=10)
        trial.pipeline.invoke(
            "CancelJobFunction",
            {"trigger": "reconcile", "state_machine_arn": trial.pipeline.state_machine},
        )
    finally:
        events.enable_rule(Name=rule)


def _kill_submitting_function(trial: Trial) -> None:
    """Kill the process of the function that waits for the answer to its create."""
    assert trial.simulator.wait_held(trial.name, 1, timeout=60)
    for process in worker_processes([trial.pipeline.function("SubmitBatchFunction")]):
        os.kill(process, signal.SIGKILL)
    trial.simulator.release(trial.name)


def _overwrite_input(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.pipeline.upload(trial.key, request_file(["newer"]))


def _delete_input(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.pipeline.s3.delete_object(Bucket=trial.pipeline.bucket, Key=trial.key)


def _rotate_key(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.simulator.set_keys({"gsk_rotated": "paid"})
    trial.pipeline.stack.put_secret(secret_of(trial.pipeline.parameters), "gsk_rotated")


def _revoke_key_for_a_while(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.simulator.set_keys({})

    def says_so() -> bool:
        report = trial.pipeline.report(trial.path)
        codes = [error["code"] for error in report["errors"]] if report else []
        return report is not None and report["status"] == "running" and "invalid_api_key" in codes

    wait_until(says_so, 60, lambda: f"{trial.name}: the report does not say so")
    trial.simulator.set_keys({trial.pipeline.stack.groq_api_key: "paid"})


def _half_an_hour_without_groq(trial: Trial) -> None:
    """Let every call fail for half an hour of a state machine whose waits run 50 times faster."""
    trial.wait_for_batches()
    trial.simulator.add_fault("*", status=503, times=None)
    time.sleep(1800 * DEFAULT_WAIT_SCALE)
    trial.simulator.clear_faults()


def _deny_results(trial: Trial) -> None:
    """Deny the function that delivers this job's results key."""
    trial.pipeline.stack.client("iam").put_role_policy(
        RoleName=trial.pipeline.resource("FinishJobFunctionRole"),
        PolicyName=trial.name,
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Deny",
                        "Action": "s3:PutObject",
                        "Resource": f"arn:aws:s3:::{trial.pipeline.bucket}/output/{trial.path}",
                    }
                ],
            }
        ),
    )


def _run_beyond_the_window(trial: Trial) -> None:
    """Make the window of the next batch some seconds long; it runs half way and then stands."""
    trial.simulator.configure(window_scale=5 / 86_400)
    trial.fate(end="stuck", done=0.5)


def _lengthen_windows(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.simulator.configure(window_scale=1.0)


def _withdraw_model(trial: Trial) -> None:
    """Let the first batch expire half-way and every further one meet a model that is gone."""
    trial.fate(end="expire", done=0.6)
    gone = {"code": "model_decommissioned", "message": "The model has been decommissioned."}
    trial.fate(end="fail", errors=[gone], times=None)


def _add_foreign_batches_after(trial: Trial) -> None:
    trial.wait_for_batches()
    trial.add_foreign_batches(250)


def _start_three_times(trial: Trial) -> None:
    for _ in range(3):
        trial.pipeline.start({"key": trial.key})


_lost = partial(Scenario, group=LOST)
_throttled = partial(Scenario, group=THROTTLED)
_batch = partial(Scenario, group=BATCHES)
_rows = partial(Scenario, group=ROWS)
_run = partial(Scenario, group=RUNS)

SCENARIOS = [
    _lost(
        "create-504",
        "create answered 504 after the batch was accepted",
        _fault("create", status=504, act=True),
    ),
    _lost(
        "create-504-late",
        "the same, and the batch shows in the list only 30 s later",
        _fault("create", status=504, act=True, visible_after=30),
    ),
    _lost(
        "create-reset",
        "connection reset after the batch was accepted",
        _fault("create", answer="reset", act=True),
    ),
    _lost("create-html", "create answered 200 with HTML", _fault("create", answer="garbage")),
    _lost(
        "create-not-done",
        "create answered 502, and nothing was created",
        _fault("create", status=502),
    ),
    _lost(
        "upload-504",
        "upload answered 504 after the file was stored",
        _fault("upload", status=504, act=True),
    ),
    _lost(
        "upload-cut",
        "connection closed in the middle of the upload",
        _fault("upload", answer="reset"),
    ),
    _lost(
        "killed-after-create",
        "the function is killed (SIGKILL) after the batch was accepted",
        lambda trial: trial.fault("create", hold_after=trial.name),
        act=_kill_submitting_function,
        alone=True,
    ),
    _throttled(
        "create-429",
        "create answered 429 with Retry-After of 5 s, three times",
        _fault("create", status=429, headers={"Retry-After": "5"}, times=3),
    ),
    _throttled(
        "upload-429-long",
        "upload answered 429 with Retry-After of 10 minutes",
        _fault("upload", status=429, headers={"Retry-After": "600"}),
    ),
    _throttled(
        "poll-503",
        "12 status checks in a row answered 503",
        _everywhere(
            {"route": "list_by_ids", "status": 503, "times": 12},
            {"route": "retrieve", "status": 503, "times": 12},
        ),
        alone=True,
    ),
    _throttled(
        "poll-html",
        "status checks answered with HTML, then with a list that leaves the batch out",
        _everywhere(
            {"route": "list_by_ids", "answer": "garbage", "times": 3},
            {"route": "list_by_ids", "status": 200, "body": {"object": "list", "data": []}},
        ),
        alone=True,
    ),
    _throttled(
        "content-cut",
        "downloads cut half-way, five times",
        _everywhere({"route": "content", "answer": "cut", "times": 5}),
        alone=True,
    ),
    _throttled(
        "content-503",
        "downloads answered 503, 429, and reset",
        _everywhere(
            {"route": "content", "status": 503, "times": 4},
            {"route": "content", "status": 429, "headers": {"Retry-After": "30"}, "times": 1},
            {"route": "content", "answer": "reset", "times": 2},
        ),
        alone=True,
    ),
    _throttled(
        "paging",
        "a lost answer with 500 foreign batches in the list",
        _both(_fault("create", status=504, act=True), lambda trial: trial.add_foreign_batches(250)),
        act=_add_foreign_batches_after,
    ),
    _throttled(
        "key-revoked",
        "the key is revoked while the batch runs, and accepted again later",
        _fate(batch_seconds=6),
        act=_revoke_key_for_a_while,
        alone=True,
    ),
    _throttled(
        "poll-429-long",
        "status checks answered 429 with Retry-After of 10 minutes",
        _everywhere(
            {"route": "list_by_ids", "status": 429, "headers": {"Retry-After": "600"}, "times": 1}
        ),
        alone=True,
    ),
    _throttled(
        "outage",
        "half an hour (scaled) without Groq while the batch runs",
        _fate(batch_seconds=6),
        act=_half_an_hour_without_groq,
        alone=True,
    ),
    _batch("expired", "batch expired with 60 % done", _fate(end="expire", done=0.6), batches=2),
    _batch(
        "expired-missing",
        "batch expired with 60 % done, the rest in no file",
        _fate(end="expire", done=0.6, unfinished="missing"),
        batches=2,
    ),
    _batch(
        "cancelled",
        "batch cancelled in the Groq console, half done",
        _fate(end="cancel", done=0.5),
        batches=2,
    ),
    _batch(
        "refused",
        "batch refused at validation (`errors` as an object)",
        _fate(end="fail", errors=[{"code": "invalid_jsonl", "message": "no"}], times=None),
        status="partial",
        succeeded=0,
        batches=3,
    ),
    _batch(
        "refused-once",
        "batch refused at validation, once",
        _fate(end="fail", errors=[{"code": "internal", "message": "no"}]),
        batches=2,
    ),
    _batch(
        "refused-model",
        "the create of a batch with a certain model refused; half of the file asks for it",
        _refuse_model("create"),
        other_model="other-at-create",
        status="partial",
        succeeded=REQUESTS // 2,
        # So that the API decides, and not the check of the models before.
        options={"check-models": "false"},
    ),
    _batch(
        "invalid-model",
        "a batch with a certain model refused at validation; half of the file asks for it",
        _refuse_model("validation"),
        other_model="other-at-validation",
        status="partial",
        succeeded=REQUESTS // 2,
        batches=4,
        # So that the API decides, and not the check of the models before.
        options={"check-models": "false"},
    ),
    _batch(
        "refused-line",
        "batch refused for its line 7 (`errors` as an array)",
        _fate(
            end="fail",
            errors_shape="array",
            errors=[{"code": "model_not_found", "message": "no", "line": 7, "param": "model"}],
        ),
        status="partial",
        succeeded=REQUESTS - 1,
        batches=2,
    ),
    _batch(
        "no-files",
        "batch completed without any file",
        _fate(no_files=True, all_requests="missing", counts={"completed": 0}),
        batches=2,
    ),
    _batch(
        "odd-ids",
        '`"error_file_id": {}`, and `errors` filled on a completed batch',
        _fate(
            override={"error_file_id": {}},
            errors=[{"code": "invalid_method", "message": "no", "line": None, "param": None}],
        ),
    ),
    _batch(
        "unknown-status",
        "batch in an unknown status for a while",
        _fate(status="paused", status_seconds=3, batch_seconds=5),
    ),
    _batch(
        "overdue",
        "batch still `in_progress` beyond `expires_at`, half done",
        _run_beyond_the_window,
        act=_lengthen_windows,
        batches=2,
        alone=True,
    ),
    _batch(
        "withdrawn",
        "batch expired with 60 % done; then its model is withdrawn",
        _withdraw_model,
        status="partial",
        succeeded=REQUESTS * 6 // 10,
        batches=3,
    ),
    _batch(
        "all-fail",
        "every request fails; there is no output file",
        _fate(all_requests="fail", times=None),
        status="partial",
        succeeded=0,
    ),
    _batch(
        "canary",
        "a canary of 50 requests, all of which fail for good",
        lambda trial: trial.rule("fail", custom_id=[f"r-{n}" for n in range(50)]),
        status="partial",
        succeeded=0,
        options={"canary-requests": "50"},
        first_error="canary_failed",
    ),
    _rows(
        "separators",
        "raw U+2028, U+2029 and U+0085 in a tenth of the answers",
        _tenth("unicode_separators"),
    ),
    _rows("missing-rows", "a tenth of the rows in no file", _tenth("missing", times=1), batches=2),
    _rows(
        "rows-400",
        "a tenth of the requests answered 400, for good",
        _tenth({"kind": "http_error", "status": 400}),
        status="partial",
        succeeded=REQUESTS - REQUESTS // 10,
    ),
    _rows(
        "rows-capacity",
        "a tenth of the requests meets `capacity_exhausted` once",
        _tenth("capacity_exhausted", times=1),
        batches=2,
    ),
    _rows(
        "rows-in-output",
        "failed rows in the output file, with `error: null`",
        _tenth({"kind": "error_in_output", "status": 422}),
        status="partial",
        succeeded=REQUESTS - REQUESTS // 10,
    ),
    _rows(
        "rows-odd",
        "rows twice, rows of requests that were never sent",
        _both(
            lambda trial: trial.rule("duplicated", fraction=0.1),
            lambda trial: trial.rule("foreign", fraction=0.2),
        ),
    ),
    _rows(
        "rows-broken",
        "a tenth of the rows is broken JSON, once",
        _tenth("invalid_json", times=1),
        batches=2,
    ),
    _run(
        "stopped",
        "`stop-execution` while the batch runs, half done",
        _fate(end="stuck", done=0.5),
        act=_stop_half_way,
        status="cancelled",
        succeeded=REQUESTS // 2,
        first_error="cancelled",
    ),
    _run(
        "stopped-uploading",
        "`stop-execution` while an upload to Groq is under way",
        lambda trial: trial.fault("upload", hold_before=trial.name),
        act=_stop_during_upload,
        status="cancelled",
        succeeded=0,
        batches=0,
        first_error="cancelled",
    ),
    _run(
        "stopped-unheard",
        "`stop-execution` while the batch runs, and the event about it is lost",
        _fate(end="stuck", done=0.5),
        act=_stop_unheard,
        status="cancelled",
        succeeded=REQUESTS // 2,
        alone=True,
    ),
    _run(
        "denied",
        "a policy denies the results' key; they are delivered below `superseded/`",
        _deny_results,
        status="failed",
        first_error="permission_denied",
    ),
    _run(
        "overwritten",
        "the input is overwritten while the batch runs",
        _fate(batch_seconds=4),
        act=_overwrite_input,
    ),
    _run(
        "deleted",
        "the input is deleted while the batch runs",
        _fate(batch_seconds=4),
        act=_delete_input,
    ),
    _run("started-often", "the upload's event, and three starts by hand", act=_start_three_times),
    _run(
        "rotated",
        "the key is rotated while the batch runs",
        _fate(batch_seconds=4),
        act=_rotate_key,
        alone=True,
    ),
    _run(
        "deadline",
        "a deadline passes while a batch hangs at half of its requests; the first ordinary "
        "calls are refused with 429, two with 503",
        _both(
            _fate(end="stuck", done=0.5),
            _everywhere(
                {"route": "chat", "status": 429, "headers": {"Retry-After": "2"}, "times": 2},
                {"route": "chat", "status": 503, "times": 2},
            ),
        ),
        options={"batch-deadline": "1m", "deadline-max-usd": "1"},
        calls=REQUESTS // 2,
        alone=True,
    ),
    _run(
        "deadline-only",
        "a deadline passes while a batch hangs, and nothing may be spent on ordinary calls",
        _fate(end="stuck", done=0.5),
        options={"batch-deadline": "1m"},
        status="partial",
        succeeded=REQUESTS // 2,
        first_error="deadline_passed",
        alone=True,
    ),
]
