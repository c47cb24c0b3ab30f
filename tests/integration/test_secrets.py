"""The API key from Secrets Manager, as moto emulates it, and what the functions' wiring does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.stub import Stubber
from moto import mock_aws

from groq_batch import bootstrap
from groq_batch.groq.api_key import SecretApiKey
from groq_batch.groq.client import GroqClient
from groq_batch.groq.errors import AccountError, NoAnswer, NotSentError
from local.function_environment import PARAMETER_DEFAULTS
from local.groq_simulator import DEFAULT_KEY, GroqSimulator

NAME = "groq/api-key"
ENVIRONMENT = {**PARAMETER_DEFAULTS, "BUCKET_NAME": "bucket", "GROQ_API_KEY_SECRET_NAME": NAME}


@pytest.fixture
def secrets() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("secretsmanager")


def key_source(secrets: Any) -> SecretApiKey:
    return SecretApiKey(secret_name=NAME, secrets=secrets)


@pytest.mark.parametrize(
    "value",
    [
        {"SecretString": DEFAULT_KEY},
        {"SecretString": f"{DEFAULT_KEY}\n"},
        {"SecretString": f'{{"GROQ_API_KEY": "{DEFAULT_KEY}"}}'},
        {"SecretBinary": f"{DEFAULT_KEY}\n".encode()},
    ],
)
def test_the_key_is_read(secrets: Any, value: dict[str, Any]) -> None:
    secrets.create_secret(Name=NAME, **value)
    assert key_source(secrets)() == DEFAULT_KEY


def test_a_missing_secret(secrets: Any) -> None:
    with pytest.raises(AccountError, match="There is no secret groq/api-key") as raised:
        key_source(secrets)()
    assert raised.value.code == "secret_missing"


def test_a_secret_without_a_value(secrets: Any) -> None:
    secrets.create_secret(Name=NAME)
    with pytest.raises(AccountError, match="has no value yet") as raised:
        key_source(secrets)()
    assert raised.value.code == "secret_unreadable"


def test_a_secret_that_is_to_be_deleted(secrets: Any) -> None:
    secrets.create_secret(Name=NAME, SecretString=DEFAULT_KEY)
    secrets.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)
    with pytest.raises(AccountError, match="restore-secret") as raised:
        key_source(secrets)()
    assert raised.value.code == "secret_unreadable"


def test_an_empty_secret(secrets: Any) -> None:
    secrets.create_secret(Name=NAME, SecretString=" ")
    with pytest.raises(AccountError, match="is empty"):
        key_source(secrets)()


def test_answers_of_the_service_that_moto_does_not_give(secrets: Any) -> None:
    stub = Stubber(secrets)
    stub.add_client_error(
        "get_secret_value", "AccessDeniedException", "Access to KMS is not allowed", 400
    )
    stub.add_client_error("get_secret_value", "ThrottlingException", "Rate exceeded", 400)
    with stub:
        with pytest.raises(AccountError, match="kms:Decrypt"):
            key_source(secrets)()
        with pytest.raises(NotSentError, match="ThrottlingException"):
            key_source(secrets)()
    stub.assert_no_pending_responses()


# The wiring of the functions


@pytest.fixture
def simulator() -> Iterator[GroqSimulator]:
    with GroqSimulator() as running:
        yield running


@pytest.fixture
def wired(secrets: Any, simulator: GroqSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in (ENVIRONMENT | {"GROQ_BASE_URL": simulator.url}).items():
        monkeypatch.setenv(name, value)
    secrets.create_secret(Name=NAME, SecretString=DEFAULT_KEY)
    bootstrap.reset()
    yield secrets
    bootstrap.reset()


def test_a_rotated_key_is_used_at_once(wired: Any, simulator: GroqSimulator) -> None:
    client = bootstrap.groq()
    assert client.list_files() == []
    simulator.control.set_keys({"gsk_rotated": "paid"})
    with pytest.raises(AccountError) as raised:
        client.list_files()
    assert raised.value.code == "invalid_api_key"
    wired.put_secret_value(SecretId=NAME, SecretString="gsk_rotated\n")
    assert client.list_files() == []


def test_clients_are_built_once(wired: Any) -> None:
    assert bootstrap.groq() is bootstrap.groq()
    assert bootstrap.storage() is bootstrap.storage()
    assert bootstrap.states() is bootstrap.states()
    assert bootstrap.events() is bootstrap.events()
    first: GroqClient = bootstrap.groq()
    bootstrap.reset()
    assert bootstrap.groq() is not first


def test_what_is_asked_of_groq_ends_before_the_invocation(
    wired: Any, simulator: GroqSimulator, lambda_context: LambdaContext
) -> None:
    class CallsEnd:
        def get_remaining_time_in_millis(self) -> int:
            return 0

    assert bootstrap.groq(lambda_context).list_files() == []
    with pytest.raises(NotSentError) as raised:
        bootstrap.groq(CallsEnd()).list_files()
    assert raised.value.reason is NoAnswer.TIMED_OUT
    # It is the invocation that has no time left, not the client.
    assert bootstrap.groq(lambda_context).list_files() == []


def test_debugging_does_not_log_the_key(
    wired: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    assert bootstrap.groq().list_files() == []
    assert DEFAULT_KEY not in caplog.text
    # Without what bootstrap does about it, the key would stand in the log.
    caplog.set_level(logging.DEBUG, logger="botocore")
    bootstrap.reset()
    assert bootstrap.groq().list_files() == []
    assert DEFAULT_KEY in caplog.text
