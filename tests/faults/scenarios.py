"""The fault table: lost answers, throttling, fates of batches and rows, fates of executions."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

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


SCENARIOS = [
    # -- lost answers
    Scenario(
        name="create-504",
        group=LOST,
        fault="create answered 504 after the batch was accepted",
        arrange=_fault("create", status=504, act=True),
    ),
    Scenario(
        name="create-504-late",
        group=LOST,
        fault="the same, and the batch shows in the list only 30 s later",
        arrange=_fault("create", status=504, act=True, visible_after=30),
    ),
    Scenario(
        name="create-reset",
        group=LOST,
        fault="connection reset after the batch was accepted",
        arrange=_fault("create", answer="reset", act=True),
    ),
    Scenario(
        name="create-html",
        group=LOST,
        fault="create answered 200 with HTML",
        arrange=_fault("create", answer="garbage"),
    ),
    Scenario(
        name="create-not-done",
        group=LOST,
        fault="create answered 502, and nothing was created",
        arrange=_fault("create", status=502),
    ),
    Scenario(
        name="upload-504",
        group=LOST,
        fault="upload answered 504 after the file was stored",
        arrange=_fault("upload", status=504, act=True),
    ),
    Scenario(
        name="upload-cut",
        group=LOST,
        fault="connection closed in the middle of the upload",
        arrange=_fault("upload", answer="reset"),
    ),
    Scenario(
        name="killed-after-create",
        group=LOST,
        fault="the function is killed (SIGKILL) after the batch was accepted",
        arrange=lambda trial: trial.fault("create", hold_after=trial.name),
        act=_kill_submitting_function,
        alone=True,
    ),
    # -- throttling and outages
    Scenario(
        name="create-429",
        group=THROTTLED,
        fault="create answered 429 with Retry-After of 5 s, three times",
        arrange=_fault("create", status=429, headers={"Retry-After": "5"}, times=3),
    ),
    Scenario(
        name="upload-429-long",
        group=THROTTLED,
        fault="upload answered 429 with Retry-After of 10 minutes",
        arrange=_fault("upload", status=429, headers={"Retry-After": "600"}),
    ),
    Scenario(
        name="poll-503",
        group=THROTTLED,
        fault="12 status checks in a row answered 503",
        arrange=_everywhere(
            {"route": "list_by_ids", "status": 503, "times": 12},
            {"route": "retrieve", "status": 503, "times": 12},
        ),
        alone=True,
    ),
    Scenario(
        name="poll-html",
        group=THROTTLED,
        fault="status checks answered with HTML, then with a list that leaves the batch out",
        arrange=_everywhere(
            {"route": "list_by_ids", "answer": "garbage", "times": 3},
            {"route": "list_by_ids", "status": 200, "body": {"object": "list", "data": []}},
        ),
        alone=True,
    ),
    Scenario(
        name="content-cut",
        group=THROTTLED,
        fault="downloads cut half-way, five times",
        arrange=_everywhere({"route": "content", "answer": "cut", "times": 5}),
        alone=True,
    ),
    Scenario(
        name="content-503",
        group=THROTTLED,
        fault="downloads answered 503, 429, and reset",
        arrange=_everywhere(
            {"route": "content", "status": 503, "times": 4},
            {"route": "content", "status": 429, "headers": {"Retry-After": "30"}, "times": 1},
            {"route": "content", "answer": "reset", "times": 2},
        ),
        alone=True,
    ),
    Scenario(
        name="paging",
        group=THROTTLED,
        fault="a lost answer with 500 foreign batches in the list",
        arrange=_both(
            _fault("create", status=504, act=True),
            lambda trial: trial.add_foreign_batches(250),
        ),
        act=_add_foreign_batches_after,
    ),
    Scenario(
        name="key-revoked",
        group=THROTTLED,
        fault="the key is revoked while the batch runs, and accepted again later",
        arrange=_fate(batch_seconds=6),
        act=_revoke_key_for_a_while,
        alone=True,
    ),
    Scenario(
        name="poll-429-long",
        group=THROTTLED,
        fault="status checks answered 429 with Retry-After of 10 minutes",
        arrange=_everywhere(
            {"route": "list_by_ids", "status": 429, "headers": {"Retry-After": "600"}, "times": 1},
        ),
        alone=True,
    ),
    Scenario(
        name="outage",
        group=THROTTLED,
        fault="half an hour (scaled) without Groq while the batch runs",
        arrange=_fate(batch_seconds=6),
        act=_half_an_hour_without_groq,
        alone=True,
    ),
    # -- fates of a batch
    Scenario(
        name="expired",
        group=BATCHES,
        fault="batch expired with 60 % done",
        arrange=_fate(end="expire", done=0.6),
        batches=2,
    ),
    Scenario(
        name="expired-missing",
        group=BATCHES,
        fault="batch expired with 60 % done, the rest in no file",
        arrange=_fate(end="expire", done=0.6, unfinished="missing"),
        batches=2,
    ),
    Scenario(
        name="cancelled",
        group=BATCHES,
        fault="batch cancelled in the Groq console, half done",
        arrange=_fate(end="cancel", done=0.5),
        batches=2,
    ),
    Scenario(
        name="refused",
        group=BATCHES,
        fault="batch refused at validation (`errors` as an object)",
        arrange=_fate(end="fail", errors=[{"code": "invalid_jsonl", "message": "no"}], times=None),
        status="partial",
        succeeded=0,
        batches=3,
    ),
    Scenario(
        name="refused-once",
        group=BATCHES,
        fault="batch refused at validation, once",
        arrange=_fate(end="fail", errors=[{"code": "internal", "message": "no"}]),
        batches=2,
    ),
    Scenario(
        name="refused-model",
        group=BATCHES,
        fault="the create of a batch with a certain model refused; half of the file asks for it",
        arrange=_refuse_model("create"),
        other_model="other-at-create",
        # So that the API decides, and not the check of the models before.
        options={"check-models": "false"},
        status="partial",
        succeeded=REQUESTS // 2,
    ),
    Scenario(
        name="invalid-model",
        group=BATCHES,
        fault="a batch with a certain model refused at validation; half of the file asks for it",
        arrange=_refuse_model("validation"),
        other_model="other-at-validation",
        # So that the API decides, and not the check of the models before.
        options={"check-models": "false"},
        status="partial",
        succeeded=REQUESTS // 2,
        batches=4,
    ),
    Scenario(
        name="refused-line",
        group=BATCHES,
        fault="batch refused for its line 7 (`errors` as an array)",
        arrange=_fate(
            end="fail",
            errors_shape="array",
            errors=[{"code": "model_not_found", "message": "no", "line": 7, "param": "model"}],
        ),
        status="partial",
        succeeded=REQUESTS - 1,
        batches=2,
    ),
    Scenario(
        name="no-files",
        group=BATCHES,
        fault="batch completed without any file",
        arrange=_fate(no_files=True, all_requests="missing", counts={"completed": 0}),
        batches=2,
    ),
    Scenario(
        name="odd-ids",
        group=BATCHES,
        fault='`"error_file_id": {}`, and `errors` filled on a completed batch',
        arrange=_fate(
            override={"error_file_id": {}},
            errors=[{"code": "invalid_method", "message": "no", "line": None, "param": None}],
        ),
    ),
    Scenario(
        name="unknown-status",
        group=BATCHES,
        fault="batch in an unknown status for a while",
        arrange=_fate(status="paused", status_seconds=3, batch_seconds=5),
    ),
    Scenario(
        name="overdue",
        group=BATCHES,
        fault="batch still `in_progress` beyond `expires_at`, half done",
        arrange=_run_beyond_the_window,
        act=_lengthen_windows,
        batches=2,
        alone=True,
    ),
    Scenario(
        name="withdrawn",
        group=BATCHES,
        fault="batch expired with 60 % done; then its model is withdrawn",
        arrange=_withdraw_model,
        status="partial",
        succeeded=REQUESTS * 6 // 10,
        batches=3,
    ),
    Scenario(
        name="all-fail",
        group=BATCHES,
        fault="every request fails; there is no output file",
        arrange=_fate(all_requests="fail", times=None),
        status="partial",
        succeeded=0,
    ),
    # -- fates of rows
    Scenario(
        name="canary",
        group=BATCHES,
        fault="a canary of 50 requests, all of which fail for good",
        arrange=lambda trial: trial.rule("fail", custom_id=[f"r-{n}" for n in range(50)]),
        status="partial",
        succeeded=0,
        options={"canary-requests": "50"},
        first_error="canary_failed",
    ),
    Scenario(
        name="separators",
        group=ROWS,
        fault="raw U+2028, U+2029 and U+0085 in a tenth of the answers",
        arrange=_tenth("unicode_separators"),
    ),
    Scenario(
        name="missing-rows",
        group=ROWS,
        fault="a tenth of the rows in no file",
        arrange=_tenth("missing", times=1),
        batches=2,
    ),
    Scenario(
        name="rows-400",
        group=ROWS,
        fault="a tenth of the requests answered 400, for good",
        arrange=_tenth({"kind": "http_error", "status": 400}),
        status="partial",
        succeeded=REQUESTS - REQUESTS // 10,
    ),
    Scenario(
        name="rows-capacity",
        group=ROWS,
        fault="a tenth of the requests meets `capacity_exhausted` once",
        arrange=_tenth("capacity_exhausted", times=1),
        batches=2,
    ),
    Scenario(
        name="rows-in-output",
        group=ROWS,
        fault="failed rows in the output file, with `error: null`",
        arrange=_tenth({"kind": "error_in_output", "status": 422}),
        status="partial",
        succeeded=REQUESTS - REQUESTS // 10,
    ),
    Scenario(
        name="rows-odd",
        group=ROWS,
        fault="rows twice, rows of requests that were never sent",
        arrange=_both(
            lambda trial: trial.rule("duplicated", fraction=0.1),
            lambda trial: trial.rule(
                "foreign",
                fraction=0.2,
            ),
        ),
    ),
    Scenario(
        name="rows-broken",
        group=ROWS,
        fault="a tenth of the rows is broken JSON, once",
        arrange=_tenth("invalid_json", times=1),
        batches=2,
    ),
    # -- fates of an execution
    Scenario(
        name="stopped",
        group=RUNS,
        fault="`stop-execution` while the batch runs, half done",
        arrange=_fate(end="stuck", done=0.5),
        act=_stop_half_way,
        status="cancelled",
        succeeded=REQUESTS // 2,
        first_error="cancelled",
    ),
    Scenario(
        name="stopped-uploading",
        group=RUNS,
        fault="`stop-execution` while an upload to Groq is under way",
        arrange=lambda trial: trial.fault("upload", hold_before=trial.name),
        act=_stop_during_upload,
        status="cancelled",
        succeeded=0,
        batches=0,
        first_error="cancelled",
    ),
    Scenario(
        name="stopped-unheard",
        group=RUNS,
        fault="`stop-execution` while the batch runs, and the event about it is lost",
        arrange=_fate(end="stuck", done=0.5),
        act=_stop_unheard,
        status="cancelled",
        succeeded=REQUESTS // 2,
        alone=True,
    ),
    Scenario(
        name="denied",
        group=RUNS,
        fault="a policy denies the results' key; they are delivered below `superseded/`",
        arrange=_deny_results,
        status="failed",
        first_error="permission_denied",
    ),
    Scenario(
        name="overwritten",
        group=RUNS,
        fault="the input is overwritten while the batch runs",
        arrange=_fate(batch_seconds=4),
        act=_overwrite_input,
    ),
    Scenario(
        name="deleted",
        group=RUNS,
        fault="the input is deleted while the batch runs",
        arrange=_fate(batch_seconds=4),
        act=_delete_input,
    ),
    Scenario(
        name="started-often",
        group=RUNS,
        fault="the upload's event, and three starts by hand",
        act=_start_three_times,
    ),
    Scenario(
        name="rotated",
        group=RUNS,
        fault="the key is rotated while the batch runs",
        arrange=_fate(batch_seconds=4),
        act=_rotate_key,
        alone=True,
    ),
    Scenario(
        name="deadline",
        group=RUNS,
        fault="a deadline passes while a batch hangs at half of its requests; the first ordinary "
        "calls are refused with 429, two with 503",
        arrange=_both(
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
    Scenario(
        name="deadline-only",
        group=RUNS,
        fault="a deadline passes while a batch hangs, and nothing may be spent on ordinary calls",
        arrange=_fate(end="stuck", done=0.5),
        options={"batch-deadline": "1m"},
        status="partial",
        succeeded=REQUESTS // 2,
        first_error="deadline_passed",
        alone=True,
    ),
]
