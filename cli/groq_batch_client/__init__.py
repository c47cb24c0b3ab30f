"""Python client of Groq Batch on AWS.

``GroqBatch`` is a deployed stack, ``Job`` one of its jobs. All errors are ``GroqBatchError``s.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groq_batch_client.client import GroqBatch
    from groq_batch_client.errors import (
        AwsError,
        BrokenDownloadError,
        GroqBatchError,
        JobConflict,
        JobError,
        JobNotFound,
        JobRejected,
        NotEnded,
        OptionError,
        RequestsError,
        StackError,
        StackNeeded,
        TableError,
        WaitTimeout,
        WrongArgumentError,
    )
    from groq_batch_client.job import Job
    from groq_batch_client.options import Options

__all__ = [
    "AwsError",
    "BrokenDownloadError",
    "GroqBatch",
    "GroqBatchError",
    "Job",
    "JobConflict",
    "JobError",
    "JobNotFound",
    "JobRejected",
    "NotEnded",
    "OptionError",
    "Options",
    "RequestsError",
    "StackError",
    "StackNeeded",
    "TableError",
    "WaitTimeout",
    "WrongArgumentError",
]

_MODULES = {"GroqBatch": "client", "Job": "job", "Options": "options"}
"""Modules of the exported names that are not errors."""


def __getattr__(name: str) -> Any:
    """Import a name on first use. boto3 takes longer to import than most commands take to run."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)
