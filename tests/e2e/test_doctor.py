"""``groq-batch doctor`` on the deployed stack."""

from __future__ import annotations

import json

from tests.e2e.command_line import CommandLine
from tests.e2e.pipeline import Pipeline, secret_of


def test_doctor_on_a_sound_stack_finds_every_line_ok(cli: CommandLine, pipeline: Pipeline) -> None:
    out, err = cli.run("doctor", "--job", "--json")

    document = json.loads(out)
    assert document["ok"] is True
    states = {look["name"]: look["state"] for look in document["looks"]}
    # The emulator has no account's limit; the others depend on what ran before.
    assert {name for name, state in states.items() if state != "ok"} <= {
        "last Map Run",
        "Groq's list of batches",
        "Lambda's concurrency",
    }
    assert {"key", "plan", "schedule", "reconciler", "dead letters", "job"} <= states.keys()
    assert states["job, again"] == "ok"
    assert "waiting for" in err
    (path,) = [key.removeprefix("input/") for key in pipeline.keys("input/") if "/doctor/" in key]
    assert [row["custom_id"] for row in pipeline.rows(f"output/{path}")] == [
        "doctor-1",
        "doctor-2",
        "doctor-3",
    ]
    assert not [key for key in pipeline.keys("work/") if key.startswith("work/doctor-")]


def test_doctor_of_a_refused_key_says_what_to_do(cli: CommandLine, pipeline: Pipeline) -> None:
    pipeline.simulator.set_keys({"another": "paid"})

    out, err = cli.run("doctor", status=1)

    secret = secret_of(pipeline.parameters)
    for name in ("key", "plan"):
        assert f"to do    {name}: the call to Groq failed: invalid_api_key. Put a valid key" in out
    assert f"into the secret {secret}" in out
    assert "2 lines of " in err
