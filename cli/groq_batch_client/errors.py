"""The errors of the client: one tree, each with a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GroqBatchError(Exception):
    """Base of all errors that a caller is meant to handle; the text is for people."""


class TableError(GroqBatchError):
    """A table cannot be read, used or written; names the file, and the row or column at fault."""


class WrongArgumentError(GroqBatchError):
    """An argument has a value that cannot be used, whatever files and jobs hold."""


class OptionError(WrongArgumentError):
    """An option of an upload is not known, or has a value that the stack would refuse."""


class RequestsError(GroqBatchError):
    """Requests cannot be read or uploaded; names the file or the request at fault."""


class AwsError(GroqBatchError):
    """AWS cannot be reached, refuses a call, or has no credentials; names what to do."""


class StackError(GroqBatchError):
    """There is no stack of this name, or it is no stack of Groq Batch on AWS."""


class StackNeeded(GroqBatchError):  # noqa: N818 - reads as what it says, where it is caught
    """Something was asked for that takes a stack, of a client that knows a bucket alone."""


class JobError(GroqBatchError):
    """What was asked of a job cannot be done; says why."""


class JobNotFound(JobError):  # noqa: N818
    """What was named is no job of this bucket."""


class JobConflict(JobError):  # noqa: N818
    """A job of the same requests runs with other options."""


class JobRejected(JobError):  # noqa: N818
    """A job has ended without result rows: it was rejected, or ended before anything was sent.

    Attributes:
        report: Its final report, whose ``errors`` say what is wrong.
    """

    def __init__(self, message: str, report: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.report = report


class NotEnded(JobError):  # noqa: N818
    """A job has no results yet, for it has not ended."""


class WaitTimeout(JobError):  # noqa: N818
    """The time to wait has passed, and the job still runs; nothing was stopped.

    Attributes:
        report: Its last report; None when it has none yet.
    """

    def __init__(self, message: str, report: Mapping[str, Any] | None) -> None:
        super().__init__(message)
        self.report = report


class BrokenDownloadError(JobError):
    """What has arrived is not what stands in the bucket."""
