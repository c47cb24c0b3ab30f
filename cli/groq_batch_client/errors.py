"""Define the errors of the client; each message says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GroqBatchError(Exception):
    """Base of all errors that callers should handle; the message is for users."""


class TableError(GroqBatchError):
    """A table cannot be read, used or written; the message names the file and the row or column."""


class WrongArgumentError(GroqBatchError):
    """An argument has an invalid value, regardless of files and jobs."""


class OptionError(WrongArgumentError):
    """An upload option does not exist, or the stack would reject its value."""


class RequestsError(GroqBatchError):
    """Requests cannot be read or uploaded; the message names the file or the request."""


class AwsError(GroqBatchError):
    """AWS is unreachable or denies a call, or there are no credentials."""


class StackError(GroqBatchError):
    """There is no stack with this name, or it is not a Groq Batch stack."""


class StackNeeded(GroqBatchError):  # noqa: N818 - reads well where it is caught
    """The operation requires the stack, but the client knows only the bucket."""


class JobError(GroqBatchError):
    """A job does not allow an operation; the message says why."""


class JobNotFound(JobError):  # noqa: N818
    """The bucket has no such job."""


class JobConflict(JobError):  # noqa: N818
    """A job for the same requests is running with other options."""


class JobRejected(JobError):  # noqa: N818
    """A job ended without result rows: it was rejected, or ended before it sent any request.

    Attributes:
        report: Its final report; ``errors`` says what is wrong.
    """

    def __init__(self, message: str, report: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.report = report


class NotEnded(JobError):  # noqa: N818
    """A job has no results yet because it has not ended."""


class WaitTimeout(JobError):  # noqa: N818
    """The timeout has passed while the job is still running; the job continues.

    Attributes:
        report: Its last report; None if it has none yet.
    """

    def __init__(self, message: str, report: Mapping[str, Any] | None) -> None:
        super().__init__(message)
        self.report = report


class BrokenDownloadError(JobError):
    """A download differs from the object in the bucket."""
