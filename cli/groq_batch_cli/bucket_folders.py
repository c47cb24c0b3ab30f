"""Parse the bucket folders that options name."""

from __future__ import annotations

import click

from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch_client.found_jobs import MIRRORS
from groq_batch_client.text import printable

_CODES_OF_FOLDERS = frozenset({"reserved_path", "key_too_long"})


def folder_below(text: str, bucket: str) -> str:
    """Return the prefix of all paths below a folder; empty for the whole bucket.

    Args:
        text: The folder as a path (``team``), a key (``output/team/``) or an S3 URI.
        bucket: The stack's bucket.

    Raises:
        BadParameter: The S3 URI names another bucket.
    """
    if text.startswith(object_keys.URI_SCHEME):
        named, text = object_keys.split_uri(text)
        if named != bucket:
            raise click.BadParameter(
                f"{object_keys.URI_SCHEME}{named} is not this stack's bucket, which is {bucket}.",
                param_hint="--under",
            )
    text = text.removeprefix("./").strip("/")
    for prefix in (*MIRRORS, object_keys.REPORTS_PREFIX):
        if f"{text}/".startswith(prefix):
            text = text[len(prefix) :]
            break
    return f"{text}/" if text else ""


def check_upload_key(key: str, to: str) -> None:
    """Check that ``--to`` is a folder that accepts uploads.

    Raises:
        BadParameter: It is not.
    """
    problem = check_key(key)
    if problem is not None and problem.code in _CODES_OF_FOLDERS:
        message = f"{printable(to)[:100]}: {problem.message}"
        raise click.BadParameter(message, param_hint="--to")
