"""What runs leave behind holds neither the key nor, where it must not, a prompt or an answer.

Jobs that meet all kinds of trouble run on a stack of their own that logs as much as it can. Then
everything that AWS keeps of them is searched for words that stand in the key, in the prompts, and
in what the API says about them.

Where the words of prompts and answers may stand is named here, and nowhere else:

- ``input/``, ``output/`` and ``failed/`` of the bucket, which are made of them;
- below ``work/``: the shards, their results, and the lines that are left over or were skipped.

The API's own error texts may quote a request. They stand in the bucket alone: in the result rows,
in the report's ``errors``, and in the records below ``work/``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.e2e import traces
from tests.e2e.pipeline import Pipeline, request_line, secret_of, wait_until
from tests.e2e.traces import Listeners, Trace

KEY = "gsk_canary5Xw0KeyThatNobodyMayEverSee"
WRONG_KEY = "gsk_canary9Zq1KeyThatGroqRefuses"
UNREADABLE = "gsk_canary3Jh7KeyUnderAnotherName"
KEYS = (KEY, WRONG_KEY, UNREADABLE)

PROMPT = "Nightjar-prompt-4711"
"""Stands in every prompt, and so in every answer: the simulator echoes."""
QUOTED = "Nightjar-quoted-0815"
"""Stands where the API speaks of a request."""

MADE_OF_PROMPTS = re.compile(
    r"(input|output|failed)/"
    r"|work/[^/]+/(shards/attempt-\d+|results/attempt-\d+|failed/attempt-\d+)/\d+\.jsonl$"
    r"|work/[^/]+/skipped/\d+\.raw$"
)
HOLDS_WORDS_OF_THE_API = re.compile(
    r"(output|reports)/|work/[^/]+/((results|submissions|batches|summaries)/|end\.json$)"
)

STEPS = (
    "Job started",
    "Prepared the input",
    "Uploaded a shard",
    "Created a batch",
    "Checked the batches",
    "Collected a shard",
    "Job ended",
)


def hostile(key: str) -> dict[str, object]:
    """Return an error of the API that repeats what it was sent, wherever it can say something."""
    says = f"{QUOTED}: {key}"
    return {"error": {"message": says, "type": says, "code": says, "param": says}}


@pytest.fixture(scope="module")
def left(quiet: Pipeline) -> Iterator[dict[str, list[Trace]]]:
    """Run jobs into trouble and return what is left of them, by kind."""
    listeners = Listeners(quiet)
    run_jobs(quiet)
    found: dict[str, list[Trace]] = {}
    for one in (
        *traces.logs(quiet),
        *traces.executions(quiet),
        *traces.objects(quiet),
        *traces.configuration(quiet),
        *traces.dead_letters(quiet),
        *listeners.events(),
        *listeners.mails(),
    ):
        found.setdefault(one.kind, []).append(one)
    yield found
    quiet.simulator.reset()


def run_jobs(stack: Pipeline) -> None:
    """Run jobs that end in every way but one: nothing here fails inside of the pipeline."""
    simulator, secret = stack.simulator, secret_of(stack.parameters)

    def begin(key: str | None = KEY) -> None:
        simulator.reset()
        simulator.configure(batch_seconds=0.3)
        simulator.set_keys({key: "paid"} if key else {})

    # Bad lines are skipped, a row fails for good, another is sent twice, the rest is answered. A
    # second file is not what its name promises.
    stack.stack.put_secret(secret, KEY)
    begin()
    stack.upload("input/canary/rejected.jsonl.gz", request_line("a", PROMPT) + b"\n")
    simulator.add_rule(
        {"kind": "http_error", "status": 400, "message": QUOTED}, match={"custom_id": "b"}
    )
    simulator.add_rule("fail_once", match={"custom_id": "c"}, times=1)
    prompts = [request_line(one, PROMPT) for one in ("a", "b", "c")]
    bad = [
        f'{{"custom_id": "d", "body": {{"messages": "{PROMPT}'.encode(),
        request_line("e", PROMPT, model=""),
        json.dumps({"custom_id": "h", "method": PROMPT, "url": PROMPT, "body": {}}).encode(),
        f'"{PROMPT}"'.encode(),
        request_line("f", PROMPT, stream=True),
        b'{"custom_id": "g", "\xff": "' + PROMPT.encode() + b'"}',
    ]
    report = stack.run("canary/troubled.jsonl", b"\n".join([*prompts, *bad]))
    assert report["status"] == "partial"
    assert report["requests"] == {"total": 9, "succeeded": 2, "failed": 1, "invalid": 6}
    assert stack.wait_for_report("canary/rejected.jsonl.gz")["status"] == "rejected"

    # Two batches are refused, with all that was sent to the API in its answer.
    begin()
    simulator.add_fault("create", status=400, body=hostile(KEY), times=None)
    lines = [request_line(f"a{number}", PROMPT) for number in range(101)]
    report = stack.run("canary/refused.jsonl", b"\n".join(lines))
    assert report["status"] == "partial"

    # The key is refused, and so is the next thing that stands in the secret.
    begin(None)
    simulator.add_fault("*", status=401, body=hostile(WRONG_KEY), times=None)
    stack.stack.put_secret(secret, WRONG_KEY)
    report = stack.run("canary/wrong-key.jsonl", request_line("a", PROMPT) + b"\n")
    assert report["errors"][0]["code"] == "invalid_api_key"
    stack.stack.put_secret(secret, json.dumps({"ANOTHER_NAME": UNREADABLE}))
    # It is read three times more within 40 seconds.
    report = stack.run("canary/unreadable.jsonl", request_line("a", PROMPT) + b"\n", seconds=180)
    assert report["errors"][0]["code"] == "secret_unreadable"

    # Somebody stops a job while the API is in trouble.
    stack.stack.put_secret(secret, KEY)
    begin()
    simulator.configure(batch_seconds=600)
    stack.upload("input/canary/stopped.jsonl", request_line("a", PROMPT) + b"\n")
    wait_until(simulator.batches, 60, lambda: "no batch of stopped.jsonl")
    simulator.add_fault("cancel", status=500, body=hostile(KEY), times=1)
    (name,) = (one for one in stack.executions() if one.startswith("stopped-"))
    stack.states.stop_execution(executionArn=stack.execution_arn(name))
    assert stack.wait_for_report("canary/stopped.jsonl")["status"] == "cancelled"


def places(left: dict[str, list[Trace]], word: str) -> set[tuple[str, str]]:
    """Return where a word stands: kind and name."""
    return {(one.kind, one.name) for traces in left.values() for one in traces if word in one.text}


def test_everything_was_looked_at(left: dict[str, list[Trace]]) -> None:
    """Otherwise nothing would be found in anything."""
    assert set(left) == {
        "log",
        "execution",
        "map run",
        "child execution",
        "object",
        "metadata",
        "stack",
        "environment",
        "event",
        "mail",
    }
    jobs = {
        json.loads(one.text)["job_id"]: json.loads(one.text)["status"]
        for one in left["object"]
        if one.name.startswith("reports/") and one.name.endswith(".json")
        if json.loads(one.text)["status"] != "running"
    }
    assert sorted(jobs.values()) == [
        "cancelled",
        "failed",
        "failed",
        "partial",
        "partial",
        "rejected",
    ]
    for job in jobs:
        for kind in ("log", "execution", "event", "mail", "object"):
            assert any(job in one.text for one in left[kind]), (kind, job)
    assert len(left["environment"]) == 8
    messages = {entry.get("message") for entry in log_entries(left)}
    assert set(STEPS) <= messages
    assert {entry["level"] for entry in log_entries(left)} >= {"INFO", "WARN"}
    prefixes = {one.name.split("/")[0] for one in left["object"]}
    assert prefixes == {
        "input", "output", "failed", "invalid", "reports", "usage", "jobs", "work",
    }  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_no_key_is_anywhere(left: dict[str, list[Trace]], key: str) -> None:
    assert places(left, key) == set()
    # Nor a piece that could be completed, such as the half that was not masked.
    assert places(left, key[4:20]) == set()


def test_prompts_and_answers_stand_in_what_is_made_of_them_alone(
    left: dict[str, list[Trace]],
) -> None:
    found = places(left, PROMPT)
    elsewhere = {
        (kind, name) for kind, name in found if kind != "object" or not MADE_OF_PROMPTS.match(name)
    }
    assert elsewhere == set()
    for prefix in ("input/", "output/", "failed/", "work/"):
        assert any(name.startswith(prefix) for _, name in found), prefix


def test_words_of_the_api_stay_in_the_bucket(left: dict[str, list[Trace]]) -> None:
    found = places(left, QUOTED)
    elsewhere = {
        (kind, name)
        for kind, name in found
        if kind != "object" or not HOLDS_WORDS_OF_THE_API.match(name)
    }
    assert elsewhere == set()
    assert any(name.startswith("reports/") for _, name in found)


# -- logs ----------------------------------------------------------------------------------------


def log_entries(left: dict[str, list[Trace]]) -> list[dict[str, object]]:
    """Return what the functions wrote; Lambda's own lines are left out."""
    return [json.loads(one.text) for one in left["log"] if one.text.startswith("{")]


def test_every_line_of_the_log_is_one_object(left: dict[str, list[Trace]]) -> None:
    for one in left["log"]:
        if not re.match(r"(START|END|REPORT) RequestId: ", one.text):
            assert isinstance(json.loads(one.text), dict), one.text


def test_every_line_about_a_job_names_it(left: dict[str, list[Trace]]) -> None:
    """Those about a shard name the shard and the attempt, too."""
    about_a_shard = ("Uploaded a shard", "Created a batch", "Collected a shard")
    lines = [one for one in log_entries(left) if one.get("message") in STEPS]
    assert lines
    for line in lines:
        failed = line["message"] == "Job ended" and line["status"] != "succeeded"
        assert line["level"] == ("WARN" if failed else "INFO")
        assert line["job_id"], line
        if line["message"] in about_a_shard:
            assert isinstance(line["shard"], int), line
            assert isinstance(line["attempt"], int), line
