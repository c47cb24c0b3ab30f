"""What a secret may hold, and what is said of one that cannot be used."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from hypothesis import given
from hypothesis import strategies as st

from groq_batch.groq.api_key import SecretApiKey
from groq_batch.groq.errors import AccountError, GroqApiError, NotSentError

KEY = "gsk_0123456789abcdef"
NAME = "groq/api-key"
INTERNAL_TEXT = "text of the service"


class FakeSecrets:
    """Secrets Manager with answers that a test gives one after the other."""

    def __init__(self, *answers: str | bytes | Exception) -> None:
        self._answers = list(answers)
        self.reads = 0

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803 (as in AWS)
        assert SecretId == NAME
        self.reads += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"SecretBinary" if isinstance(answer, bytes) else "SecretString": answer}


def source(*answers: Any, max_age_seconds: int = 300) -> tuple[SecretApiKey, FakeSecrets]:
    secrets = FakeSecrets(*answers)
    key = SecretApiKey(secret_name=NAME, secrets=secrets, max_age_seconds=max_age_seconds)
    return key, secrets


def failure(call: Callable[[], Any]) -> GroqApiError:
    """Return the error of a call; nothing about it may tell what the secret or the service said."""
    with pytest.raises(GroqApiError) as raised:
        call()
    error = raised.value
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception(error)) + repr(vars(error))
    assert KEY not in shown
    assert INTERNAL_TEXT not in shown
    return error


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"{KEY}\n",
        f"  {KEY}\r\n",
        f"\ufeff{KEY}",
        f'"{KEY}"',
        f"'{KEY}'",
        KEY.encode(),
        f"{KEY}\n".encode(),
        f"\ufeff{KEY}".encode(),
        json.dumps({"GROQ_API_KEY": KEY}),
        json.dumps({"OTHER": {"x": 1}, "GROQ_API_KEY": f" {KEY}\n"}, indent=2),
        f'\n{{"GROQ_API_KEY": "{KEY}"}}\n',
        json.dumps({"GROQ_API_KEY": KEY}).encode(),
    ],
)
def test_forms_of_the_secret(value: str | bytes) -> None:
    key, _ = source(value)
    assert key() == KEY


@pytest.mark.parametrize(
    ("value", "says"),
    [
        *((value, "is empty") for value in ("", " \n", b"", '""', '{"GROQ_API_KEY": " "}')),
        (f"{KEY} {KEY}", "characters that are not allowed"),
        (f"{KEY}\n{KEY}", "characters that are not allowed"),
        (f"{KEY}\x00", "characters that are not allowed"),
        (f"{KEY}\u00e4", "characters that are not allowed"),
        (KEY.encode("utf-16"), "characters that are not allowed"),
        (b"\xff\xfe\xfd", "characters that are not allowed"),
        (f'{{"GROQ_API_KEY": "{KEY}"', "is not valid JSON"),
        (f"{{'GROQ_API_KEY': '{KEY}'}}", "is not valid JSON"),
        ('{"a":' * 100_000, "is not valid JSON"),
        ("{}", "JSON without a string in the field GROQ_API_KEY"),
        (json.dumps({"groq_key": KEY}), "JSON without a string in the field GROQ_API_KEY"),
        (json.dumps({"GROQ_API_KEY": [KEY]}), "JSON without a string in the field GROQ_API_KEY"),
        (json.dumps({"GROQ_API_KEY": None}), "JSON without a string in the field GROQ_API_KEY"),
    ],
)
def test_secrets_that_cannot_be_a_key(value: str | bytes, says: str) -> None:
    error = failure(source(value)[0])
    assert isinstance(error, AccountError)
    assert error.code == "secret_unreadable"
    assert says in str(error)
    assert f"The secret {NAME} " in str(error)
    assert "Store the bare Groq API key" in str(error)


@given(st.text() | st.binary())
def test_a_key_is_fit_for_a_header_whatever_the_secret_holds(value: str | bytes) -> None:
    try:
        key = source(value)[0]()
    except AccountError:
        return
    assert key
    assert all("!" <= character <= "~" for character in key)


def client_error(code: str, message: str = INTERNAL_TEXT) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetSecretValue")


KMS = "Access to KMS is not allowed"
NO_VALUE = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT"


@pytest.mark.parametrize(
    ("cause", "code", "says"),
    [
        (client_error("ResourceNotFoundException"), "secret_missing", "create-secret"),
        (
            client_error("ResourceNotFoundException", NO_VALUE),
            "secret_unreadable",
            "has no value yet",
        ),
        (
            client_error("AccessDeniedException"),
            "secret_unreadable",
            "may not read it, or there is no such secret in this region.",
        ),
        (client_error("AccessDeniedException", KMS), "secret_unreadable", "kms:Decrypt"),
        (client_error("DecryptionFailure"), "secret_unreadable", "kms:Decrypt"),
        (client_error("InvalidRequestException"), "secret_unreadable", "restore-secret"),
        (client_error("ValidationException"), "secret_unreadable", "not its ARN"),
        (client_error("InvalidParameterException"), "secret_unreadable", "not its ARN"),
    ],
)
def test_secrets_that_cannot_be_read(cause: Exception, code: str, says: str) -> None:
    error = failure(source(cause)[0])
    assert isinstance(error, AccountError)
    assert error.code == code
    assert NAME in str(error)
    assert says in str(error)


UNREACHABLE: list[BotoCoreError | ClientError] = [
    client_error("ThrottlingException"),
    client_error("InternalServiceError"),
    client_error("ExpiredTokenException"),
    EndpointConnectionError(endpoint_url=f"https://{INTERNAL_TEXT}"),
    ConnectTimeoutError(endpoint_url=f"https://{INTERNAL_TEXT}"),
    NoCredentialsError(),
]


@pytest.mark.parametrize("cause", UNREACHABLE, ids=lambda cause: type(cause).__name__)
def test_an_outage_of_secrets_manager_is_waited_for(cause: Exception) -> None:
    assert type(failure(source(cause)[0])) is NotSentError


def test_a_key_is_kept_and_read_again_on_demand() -> None:
    key, secrets = source("gsk_old", "gsk_new")
    assert [key(), key(), key()] == ["gsk_old"] * 3
    assert secrets.reads == 1
    assert [key(refresh=True), key(), key()] == ["gsk_new"] * 3
    assert secrets.reads == 2


def test_a_mended_secret_is_read_at_once() -> None:
    """What was kept is no key, and the job that is started again must not wait for its end."""
    key, secrets = source("{}", "{}", KEY)
    assert failure(key).code == "secret_unreadable"
    assert key() == KEY
    assert secrets.reads == 3
    assert key() == KEY
    assert secrets.reads == 3


def test_a_key_grows_old() -> None:
    key, secrets = source("gsk_old", "gsk_new", max_age_seconds=0)
    assert [key(), key()] == ["gsk_old", "gsk_new"]
    assert secrets.reads == 2


def test_an_outage_does_not_take_the_key_away() -> None:
    throttled = client_error("ThrottlingException")
    key, secrets = source("gsk_old", throttled, throttled, "gsk_new", max_age_seconds=0)
    assert [key(), key()] == ["gsk_old", "gsk_old"]
    # Groq has refused this key: it must not be used again.
    assert type(failure(lambda: key(refresh=True))) is NotSentError
    assert key() == "gsk_new"
    assert secrets.reads == 4


def test_a_deleted_secret_takes_the_key_away() -> None:
    key, _ = source("gsk_old", client_error("ResourceNotFoundException"), max_age_seconds=0)
    assert key() == "gsk_old"
    assert failure(key).code == "secret_missing"


def test_neither_the_source_nor_its_errors_show_the_key() -> None:
    key, _ = source(KEY)
    assert key() == KEY
    assert KEY not in repr(key)
    assert KEY not in str(key)
