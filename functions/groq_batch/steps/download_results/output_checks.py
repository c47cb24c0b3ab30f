"""Detect answers that do not have the requested form, so that they are requested once more.

Used only for jobs with the option ``retry-invalid-output``.
"""

from __future__ import annotations

from groq_batch.domain.structured_output import asked_form, given_form
from groq_batch.steps.download_results.schema_checks import SchemaChecks


def is_invalid_output(row: bytes, request_line: bytes, schemas: SchemaChecks) -> bool:
    """Tell whether an answer is not the JSON that its request asked for.

    Args:
        row: The result row, which has an answer.
        request_line: The request.
        schemas: Validates answers against schemas.
    """
    asked = asked_form(request_line)
    if asked is None:
        return False
    given = given_form(row)
    if given.is_broken:
        return True
    return asked.schema is not None and schemas.breaks_schema(asked.schema, given.texts)
