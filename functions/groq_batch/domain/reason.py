"""Why something did not happen: a code for programs and a message for people."""

from __future__ import annotations

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """Why a job waits, stopped or failed, or why a request has no answer.

    Attributes:
        code: One of the report's codes, or the API's own; None if the API gave none.
        message: What happened and what to do; None if the API gave none.
    """

    code: str | None
    message: str | None
