"""Compare the version of a stack with that of the command line."""

from __future__ import annotations

from collections.abc import Mapping

from groq_batch import __version__
from groq_batch_client.text import one_line, shorten

OUTPUT = "Version"
"""The template output with the version. Stacks from before it was added lack it."""

_LONGEST_VERSION = 40


def version_difference(outputs: Mapping[str, str], stack_name: str) -> str | None:
    """Return a warning if a stack has another version; None if it has the same.

    Args:
        outputs: The outputs of the stack.
        stack_name: Its name.
    """
    found = outputs.get(OUTPUT)
    if found == __version__:
        return None
    its = (
        "is of an older version"
        if found is None
        else f"is of version {shorten(one_line(found), _LONGEST_VERSION)}"
    )
    return (
        f"The stack {stack_name} {its}, this command line of {__version__}; what they check and "
        f"report may differ. Deploy the stack again, or install the command line of its version."
    )
