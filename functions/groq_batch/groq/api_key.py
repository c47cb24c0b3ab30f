"""Read the Groq API key from Secrets Manager, its only source."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from groq_batch.domain.error_code import ErrorCode
from groq_batch.groq.errors import AccountError, GroqApiError, NotSentError

KEY_FIELD = "GROQ_API_KEY"
MAX_AGE_SECONDS = 300
"""Seconds for which a key is used before the secret is read again."""


class SecretApiKey:
    """Reads the API key from a secret and caches it for some minutes; call it to get the key."""

    def __init__(
        self,
        *,
        secret_name: str,
        secrets: Any,
        max_age_seconds: int = MAX_AGE_SECONDS,
    ) -> None:
        """Use a secret that holds the bare key, or JSON with ``GROQ_API_KEY``.

        Args:
            secret_name: Name of the secret.
            secrets: The client of Secrets Manager.
            max_age_seconds: Seconds for which a value is used before the secret is read again.
        """
        self._name = secret_name
        self._secrets = secrets
        self._max_age = max_age_seconds
        self._value: str | bytes = ""
        self._expires_at = 0.0
        self._last: str | None = None
        self._lock = threading.Lock()

    def __call__(self, *, refresh: bool = False) -> str:
        """Return the key.

        While Secrets Manager is unreachable, the last key is used.

        Args:
            refresh: Whether to read the secret now, even if a key is cached.

        Raises:
            AccountError: The secret is missing or unusable; the message says what to do.
            NotSentError: Secrets Manager is unreachable at present.
        """
        with self._lock:
            try:
                self._last = self._read(refresh=refresh)
            except NotSentError:
                if refresh or self._last is None:
                    raise
            return self._last

    def _read(self, *, refresh: bool) -> str:
        value = self._cached_value(refresh=refresh)
        try:
            return self._key_of(value)
        except AccountError:
            if refresh:
                raise
        # The cached value may be older than a correction of the secret.
        return self._key_of(self._cached_value(refresh=True))

    def _cached_value(self, *, refresh: bool) -> str | bytes:
        if refresh or time.time() >= self._expires_at:
            self._value = self._fetch()
            self._expires_at = time.time() + self._max_age
        return self._value

    def _fetch(self) -> str | bytes:
        try:
            secret = self._secrets.get_secret_value(SecretId=self._name)
        except (BotoCoreError, ClientError) as error:
            problem = self._unreadable(error)
        else:
            value: str | bytes = secret.get("SecretString") or secret.get("SecretBinary") or ""
            return value
        # Raised here, it has no context, so the service's own text is not passed on.
        raise problem

    def _key_of(self, value: str | bytes) -> str:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        # Files written on Windows begin with a byte order mark.
        text = text.removeprefix("\ufeff").strip()
        if text.startswith("{"):
            text = self._field_of(text)
        # A key copied from a shell script or from JSON may include its quotation marks.
        text = text.strip().strip("\"'")
        if not text:
            raise self._bad("is empty")
        if not (text.isascii() and text.isprintable() and " " not in text):
            raise self._bad("contains characters that are not allowed in an API key")
        return text

    def _field_of(self, text: str) -> str:
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            problem = self._bad("is not valid JSON")
        else:
            key = fields.get(KEY_FIELD)
            if isinstance(key, str):
                return key
            problem = self._bad(f"is JSON without a string in the field {KEY_FIELD}")
        # Raised here, it has no context: a JSON error contains the whole secret.
        raise problem

    def _bad(self, what: str) -> AccountError:
        return AccountError(
            f"The secret {self._name} {what}. Store the bare Groq API key in it, or JSON with the "
            f"field {KEY_FIELD}.",
            code=ErrorCode.SECRET_UNREADABLE,
        )

    def _unreadable(self, error: Exception) -> GroqApiError:
        code, text = "", ""
        if isinstance(error, ClientError):
            code = str(error.response.get("Error", {}).get("Code", ""))
            text = str(error.response.get("Error", {}).get("Message", "")).lower()
        if code == "ResourceNotFoundException" and "secret value" in text:
            return self._bad("has no value yet")
        if code == "ResourceNotFoundException":
            return AccountError(
                f"There is no secret {self._name} in this account and region. Create it with the "
                f"Groq API key (aws secretsmanager create-secret), or deploy the stack with the "
                f"name of your secret as GroqApiKeySecretName.",
                code=ErrorCode.SECRET_MISSING,
            )
        if code in ("AccessDeniedException", "AccessDenied") and "kms" not in text:
            # For a missing secret, IAM may deny access before the secret is looked up.
            return self._denied(
                "the functions may not read it, or there is no such secret in this region"
            )
        if code in ("AccessDeniedException", "AccessDenied", "DecryptionFailure"):
            return self._denied("it is encrypted with a key that the functions may not use")
        if code == "InvalidRequestException":
            return AccountError(
                f"The secret {self._name} cannot be read; it may be marked for deletion. Restore "
                f"it (aws secretsmanager restore-secret) or create a new one.",
                code=ErrorCode.SECRET_UNREADABLE,
            )
        if code in ("InvalidParameterException", "ValidationException"):
            return AccountError(
                f"{self._name} is not a valid name of a secret. Deploy the stack with the name of "
                f"your secret (not its ARN) as GroqApiKeySecretName.",
                code=ErrorCode.SECRET_UNREADABLE,
            )
        return NotSentError(f"The call to Secrets Manager failed ({code or 'no answer'}).")

    def _denied(self, why: str) -> AccountError:
        return AccountError(
            f"The secret {self._name} cannot be read: {why}. Deploy the stack with the name of "
            f"your secret as GroqApiKeySecretName; if it is encrypted with your own KMS key, allow "
            f"the functions' roles kms:Decrypt on that key.",
            code=ErrorCode.SECRET_UNREADABLE,
        )
