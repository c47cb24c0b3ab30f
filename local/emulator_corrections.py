"""Corrects the emulator (MiniStack) where it answers differently from AWS, or harms its machine.

Each ``_correct_...`` function replaces one piece of MiniStack in memory. Its docstring says what
AWS does, with the source, and what MiniStack does instead. They reach into MiniStack's private
parts, so they hold for one version only; with any other the emulator does not start.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

WRITTEN_FOR = "1.5.33"
"""The version of MiniStack that was corrected, as pinned in requirements-dev.in."""

Answer = tuple[int, dict[str, str], bytes]


class UnknownVersionError(Exception):
    """The installed MiniStack is not the one that the corrections were written for."""


def check_version(installed: str) -> None:
    """Check that the corrections are for the installed MiniStack.

    Raises:
        UnknownVersionError: They are for another version.
    """
    if installed != WRITTEN_FOR:
        raise UnknownVersionError(
            f"MiniStack {installed} is installed, but local/emulator_corrections.py was written "
            f"for {WRITTEN_FOR}. Install what is pinned (make setup), or go through the "
            f"corrections, drop those that are not needed any more, and set WRITTEN_FOR."
        )


def apply_corrections() -> None:
    """Correct the MiniStack of this process; to be called before it serves.

    Raises:
        UnknownVersionError: Another version of it is installed.
    """
    check_version(version("ministack"))
    for correct in _CORRECTIONS:
        correct()


def _correct_ranges_of_versions() -> None:
    """Answer a GET of a range of one version of an object with that range.

    S3 takes ``Range`` and ``versionId`` together
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html). MiniStack answers 200 with
    the whole object; a client that fetches in parts then writes the whole object for each part.
    """
    from ministack.services import s3  # noqa: PLC0415 - only the emulator's process needs it

    get_object = s3._get_object

    def corrected(bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Answer:
        status, answered, body = get_object(bucket, key, headers, query)
        wanted = headers.get("range")
        if status != 200 or not wanted:  # noqa: PLR2004
            return status, answered, body
        bounds = s3._parse_range(wanted, len(body))
        if bounds is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(body)}"}
            return 416, refused, s3._xml_body(s3._range_error_xml(bucket, key))
        first, last = bounds
        # The checksum is of the whole object.
        partial = {
            name: value
            for name, value in answered.items()
            if not name.lower().startswith("x-amz-checksum-")
        }
        partial["Content-Length"] = str(last - first + 1)
        partial["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return 206, partial, body[first : last + 1]

    s3._get_object = corrected


_CORRECTIONS: tuple[Callable[[], None], ...] = (_correct_ranges_of_versions,)
