"""A fault of the account or the configuration ends a job at once and says what to do."""

from __future__ import annotations

import pytest

from tests.e2e.pipeline import Pipeline, request_file, secret_of

KEY = "gsk_another_key"


@pytest.mark.parametrize(
    ("state", "code", "advice"),
    [
        (None, "invalid_api_key", "Put a valid key into the secret"),
        ("free", "plan_required", "Upgrade it"),
        ("spend_limit", "spend_limit", "Raise it"),
        ("network_blocked", "permission_denied", "address"),
    ],
)
def test_account_at_fault(
    pipeline: Pipeline, name: str, state: str | None, code: str, advice: str
) -> None:
    pipeline.simulator.set_keys({KEY: state} if state else {})
    pipeline.stack.put_secret(secret_of(pipeline.parameters), KEY)
    report = pipeline.run(f"{name}.jsonl", request_file([f"r-{number}" for number in range(250)]))
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == code
    assert advice in report["errors"][0]["message"]
    assert KEY not in str(report)
    assert pipeline.simulator.stats()["creates"] == 0
    if code in ("invalid_api_key", "spend_limit"):
        # The list of models is refused already, before the file is read.
        assert report["outputs"] == {"results": None, "failed": None, "invalid": None}
        return
    # Any plan may list models, and a blocked address only costs the list.
    rows = pipeline.rows(f"output/{name}.jsonl")
    assert [row["error"]["code"] for row in rows] == ["not_sent"] * 250
    assert report["requests"] == {"total": 250, "succeeded": 0, "failed": 250, "invalid": 0}


def test_missing_secret(pipeline: Pipeline, name: str) -> None:
    # Warm functions still have the key; when it is refused they look for a newer one.
    pipeline.simulator.set_keys({})
    secrets = pipeline.stack.client("secretsmanager")
    secret = secret_of(pipeline.parameters)
    secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    report = pipeline.run(f"{name}.jsonl", request_file(["a"]))
    assert report["status"] == "failed"
    assert report["errors"][0]["code"] == "secret_missing"
    assert secret in report["errors"][0]["message"]
    assert "create-secret" in report["errors"][0]["message"]


def test_a_rotated_key_is_found_without_a_word(pipeline: Pipeline, name: str) -> None:
    assert pipeline.run(f"{name}-1.jsonl", request_file(["a"]))["status"] == "succeeded"
    pipeline.simulator.set_keys({KEY: "paid"})
    pipeline.stack.put_secret(secret_of(pipeline.parameters), f'{{"GROQ_API_KEY": "{KEY}"}}')
    report = pipeline.run(f"{name}-2.jsonl", request_file(["a"]))
    assert report["status"] == "succeeded"
    assert report["errors"] == []
