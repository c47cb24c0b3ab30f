"""Invoke the stack's function that answers the questions of ``groq-batch doctor``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from groq_batch_cli.aws import Stack
from groq_batch_cli.errors import CommandError
from groq_batch_client.text import one_line, shorten

TOO_OLD = "The functions are too old for this check. Deploy the stack again."
_LONGEST_KIND = 64


def invoke_doctor(stack: Stack, question: bool | str) -> Any:
    """Invoke the status function and return its response.

    Args:
        stack: The stack.
        question: True for the account at Groq, ``bucket`` for the bucket.

    Raises:
        CommandError: The function has an older version, or it fails.
    """
    name = stack.outputs.get("CheckStatusFunctionName")
    if name is None:
        raise CommandError(
            "The stack has no output CheckStatusFunctionName: it has an older version. Deploy "
            "the stack again."
        )
    answer = stack.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps({"doctor": question}).encode()
    )
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise CommandError(_function_error(result if isinstance(result, dict) else {}))
    return result


def _function_error(result: Mapping[str, Any]) -> str:
    kind = shorten(one_line(str(result.get("errorType", ""))), _LONGEST_KIND)
    if kind == "KeyError":
        # An older function takes this payload for one of a job.
        return TOO_OLD
    return f"The function fails ({kind or 'without a reason'}). See its log."
