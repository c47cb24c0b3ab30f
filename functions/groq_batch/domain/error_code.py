"""Error codes of this project: in reports, in result rows and in the command line's checks.

``docs/reference/error-codes.md`` explains each. Codes from Groq are kept unchanged and are not
listed here.
"""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """An error code; users compare codes, so none is ever renamed."""

    # The Groq account, its key or the configuration.
    INVALID_API_KEY = "invalid_api_key"
    PLAN_REQUIRED = "plan_required"
    PERMISSION_DENIED = "permission_denied"
    SPEND_LIMIT = "spend_limit"
    SECRET_MISSING = "secret_missing"  # noqa: S105 (not a secret)
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 (not a secret)

    # A file or a job.
    CANARY_FAILED = "canary_failed"
    """A retry would fail like the canary: the requests have to be corrected."""
    CANARY_TOO_EXPENSIVE = "canary_too_expensive"
    EMPTY_FILE = "empty_file"
    GROQ_UNAVAILABLE = "groq_unavailable"
    GZIP_TOO_LARGE = "gzip_too_large"
    INPUT_UNREADABLE = "input_unreadable"
    INTERNAL_ERROR = "internal_error"
    INVALID_OPTION = "invalid_option"
    KEY_TOO_LONG = "key_too_long"
    NOT_GZIP = "not_gzip"
    RESERVED_PATH = "reserved_path"
    TOO_EXPENSIVE = "too_expensive"
    UNSUPPORTED_NAME = "unsupported_name"

    # A line of a file.
    INVALID_ENCODING = "invalid_encoding"
    INVALID_JSON = "invalid_json"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_CUSTOM_ID = "missing_custom_id"
    INVALID_CUSTOM_ID = "invalid_custom_id"
    DUPLICATE_CUSTOM_ID = "duplicate_custom_id"
    INVALID_METHOD = "invalid_method"
    INVALID_URL = "invalid_url"
    INVALID_BODY = "invalid_body"
    MISSING_MODEL = "missing_model"
    UNKNOWN_MODEL = "unknown_model"
    UNSUITABLE_MODEL = "unsuitable_model"
    INVALID_MESSAGES = "invalid_messages"
    MISSING_AUDIO = "missing_audio"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    LINE_TOO_LONG = "line_too_long"

    # A request without an answer, or with an answer that gives no reason.
    UNKNOWN_ERROR = "unknown_error"
    NO_BODY = "no_body"
    NO_RESPONSE = "no_response"
    MISSING = "missing"
    NOT_SENT = "not_sent"
    DEADLINE_PASSED = "deadline_passed"
    OUTCOME_UNKNOWN = "outcome_unknown"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    BATCH_FAILED = "batch_failed"
    BATCH_NOT_FOUND = "batch_not_found"
