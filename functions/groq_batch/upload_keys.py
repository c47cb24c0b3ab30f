"""Which keys an upload may have: one pure function."""

from __future__ import annotations

from groq_batch import layout
from groq_batch.checks import Problem


def check_key(key: str) -> Problem | None:
    """Return why an upload is rejected for its key alone, or None when it is not."""
    if len(key.encode("utf-8", "surrogatepass")) > layout.MAX_KEY_BYTES:
        return _problem(
            "key_too_long",
            f"The key is longer than {layout.MAX_KEY_BYTES} bytes, and the results' keys are "
            f"longer still. Upload the file under a shorter name.",
        )
    path = layout.input_path(key)
    if key.startswith(layout.INPUT_PREFIX) and path.startswith(layout.RESERVED_FOLDERS):
        folders = " and ".join(f"input/{folder}" for folder in layout.RESERVED_FOLDERS)
        return _problem(
            "reserved_path",
            f"{folders} are reserved: the results would stand among those of other jobs. Upload "
            f"the file under another folder of input/, or below recurring/ to run it on schedule.",
        )
    if not layout.has_accepted_ending(key):
        return _problem(
            "unsupported_name",
            "The name must end in .jsonl, or in .jsonl.gz for a compressed file, and have "
            "something before that. Upload the file under such a name.",
        )
    return None


def _problem(code: str, message: str) -> Problem:
    return Problem(line=None, custom_id=None, code=code, message=message)
