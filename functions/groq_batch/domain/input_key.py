"""Check the key of an upload."""

from __future__ import annotations

from groq_batch.domain import object_keys
from groq_batch.domain.error_code import ErrorCode
from groq_batch.domain.problem import Problem


def check_key(key: str) -> Problem | None:
    """Return the problem of an upload that is rejected for its key; None if the key is accepted."""
    if len(key.encode("utf-8", "surrogatepass")) > object_keys.MAX_KEY_BYTES:
        return Problem.of_file(
            ErrorCode.KEY_TOO_LONG,
            f"The key is longer than {object_keys.MAX_KEY_BYTES} bytes, and the results' keys are "
            f"longer still. Upload the file under a shorter name.",
        )
    path = object_keys.input_path(key)
    if key.startswith(object_keys.INPUT_PREFIX) and path.startswith(object_keys.RESERVED_FOLDERS):
        folders = " and ".join(f"input/{folder}" for folder in object_keys.RESERVED_FOLDERS)
        return Problem.of_file(
            ErrorCode.RESERVED_PATH,
            f"{folders} are reserved: the results would be mixed with those of other jobs. "
            f"Upload the file under another folder of input/, or below recurring/ to run it on a "
            f"schedule.",
        )
    if not object_keys.has_accepted_ending(key):
        return Problem.of_file(
            ErrorCode.UNSUPPORTED_NAME,
            "The name must be more than its extension, and end in .jsonl, or in .jsonl.gz for a "
            "compressed file. Upload the file under such a name.",
        )
    return None
