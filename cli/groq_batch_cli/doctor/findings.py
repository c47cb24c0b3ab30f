"""Define the result of a check, and turn failures of a check into results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from groq_batch.bucket.s3_errors import (
    UnreadableObjectError,
    UnwritableObjectError,
    error_code,
)
from groq_batch_cli.errors import WrongUsageError
from groq_batch_client.aws_errors import explain, is_denied
from groq_batch_client.errors import GroqBatchError, WrongArgumentError

_UNKNOWN_OPERATION_CODES = frozenset(
    {
        "501",
        "InvalidAction",
        "NotImplemented",
        "UnknownOperation",
        "UnknownOperationException",
        "UnsupportedOperation",
    }
)
"""Error codes for a missing API call. Only emulators lack calls."""


class State(StrEnum):
    """State of a finding.

    ``denied`` means that a permission for the check is missing, so the check has no result.
    ``unknown`` means that there is too little data, or that the service lacks the API call.
    """

    OK = "ok"
    TO_DO = "to do"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        name: Name of the check.
        state: State of the finding.
        text: What was found.
        advice: What to do; empty if there is nothing to do.
        permission: The permissions that a denied check needs; None for other states.
    """

    name: str
    state: State
    text: str
    advice: str = ""
    permission: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do."""
        return self.state in (State.OK, State.UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


def well(name: str, text: str) -> Finding:
    """Return a finding with the state ``ok``."""
    return Finding(name=name, state=State.OK, text=text)


def to_do(name: str, text: str, advice: str) -> Finding:
    """Return a finding with the state ``to do``."""
    return Finding(name=name, state=State.TO_DO, text=text, advice=advice)


def unknown(name: str, text: str) -> Finding:
    """Return a finding with the state ``unknown``."""
    return Finding(name=name, state=State.UNKNOWN, text=text)


@dataclass(frozen=True, slots=True)
class Look:
    """One check.

    Attributes:
        name: Name of the check.
        permission: The permissions that it needs, in IAM syntax.
        find: Runs the check and returns findings; may raise AWS errors.
    """

    name: str
    permission: str
    find: Callable[[], Sequence[Finding]]

    def __call__(self) -> Sequence[Finding]:
        """Run the check; turn AWS errors into findings.

        Raises:
            WrongUsageError: An option has a value that cannot be used.
        """
        try:
            return self.find()
        except (UnreadableObjectError, UnwritableObjectError):
            return [self._denied()]
        except ClientError as error:
            if is_denied(error):
                return [self._denied()]
            if error_code(error) in _UNKNOWN_OPERATION_CODES:
                text = f"not known here: {error.operation_name} is not offered"
                return [unknown(self.name, text)]
            return [self._failed(explain(error))]
        except BotoCoreError as error:
            return [self._failed(explain(error) or str(error))]
        except (WrongUsageError, WrongArgumentError):
            raise
        except GroqBatchError as error:
            return [self._failed(str(error))]

    def _denied(self) -> Finding:
        return Finding(
            name=self.name,
            state=State.DENIED,
            text="AWS denies access",
            advice=f"Ask for {self.permission}, or name a profile that has it with --profile.",
            permission=self.permission,
        )

    def _failed(self, advice: str | None) -> Finding:
        return to_do(self.name, "could not be checked", advice or "")
