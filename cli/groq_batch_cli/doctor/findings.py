"""What a look has found, and how a look that fails becomes a finding as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from groq_batch.bucket.s3_errors import UnreadableObjectError, UnwritableObjectError
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
"""How a service says that it has no such call. AWS's have; emulators lack some."""


class State(StrEnum):
    """What a finding means.

    ``denied`` is no fault of the stack, yet nobody knows whether there is one; ``unknown`` is what
    the services that were asked do not have.
    """

    OK = "ok"
    TO_DO = "to do"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one look has found.

    Attributes:
        name: What was looked at.
        state: What it means.
        text: What was found.
        advice: What to do; empty where nothing is.
        permission: The permissions that a denied look needs; None for all others.
    """

    name: str
    state: State
    text: str
    advice: str = ""
    permission: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.state in (State.OK, State.UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON data."""
        return asdict(self)


def well(name: str, text: str) -> Finding:
    """Return the finding that something is well."""
    return Finding(name=name, state=State.OK, text=text)


def to_do(name: str, text: str, advice: str) -> Finding:
    """Return the finding that something has to be done."""
    return Finding(name=name, state=State.TO_DO, text=text, advice=advice)


def unknown(name: str, text: str) -> Finding:
    """Return the finding that nobody can tell here."""
    return Finding(name=name, state=State.UNKNOWN, text=text)


@dataclass(frozen=True, slots=True)
class Look:
    """One look.

    Attributes:
        name: What is looked at.
        permission: The permissions that it needs, as IAM writes them.
        find: Looks, and tells what was found; may raise errors of AWS's.
    """

    name: str
    permission: str
    find: Callable[[], Sequence[Finding]]

    def __call__(self) -> Sequence[Finding]:
        """Look; an error of AWS's is a finding.

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
            if error.response.get("Error", {}).get("Code") in _UNKNOWN_OPERATION_CODES:
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
            text="AWS denies to look",
            advice=f"Ask for {self.permission}, or name a profile that has it with --profile.",
            permission=self.permission,
        )

    def _failed(self, advice: str | None) -> Finding:
        return to_do(self.name, "could not be looked at", advice or "")
