"""Convert the destination that a user gives into a path below ``input/``."""

from __future__ import annotations

from groq_batch.domain import object_keys
from groq_batch.domain.input_key import check_key
from groq_batch_client.errors import WrongArgumentError
from groq_batch_client.text import printable

_ODD_PARTS = {"": "an empty part", ".": "the part '.'", "..": "the part '..'"}


def upload_path(to: str) -> str:
    """Return the path below ``input/`` that a text names, without slashes at either end.

    Raises:
        WrongArgumentError: S3 would accept the text literally, which cannot be intended.
    """
    path = to.removeprefix(object_keys.INPUT_PREFIX).strip("/")
    if to.startswith(object_keys.URI_SCHEME):
        raise WrongArgumentError(f"{to} is a URI. Name a folder below input/ of the bucket: team/")
    odd = sorted(_ODD_PARTS.keys() & set(path.split("/"))) if path else []
    if odd or "\\" in path or printable(path) != path:
        what = _ODD_PARTS[odd[0]] if odd else "a backslash or a control character"
        raise WrongArgumentError(
            f"{to!r} has {what}. S3 has no folders, and would keep it as a part of the key. "
            f"Name a folder below input/ such as team/june."
        )
    return path


def input_key(name: str, to: str | None) -> str:
    """Return the object key for a file.

    Args:
        name: The file's name.
        to: The folder below ``input/``, or the whole path if it has the suffix of a request file.

    Raises:
        WrongArgumentError: ``to`` is not such a folder.
    """
    path = upload_path(to or "")
    if path and object_keys.has_accepted_ending(path):
        return object_keys.INPUT_PREFIX + path
    return object_keys.INPUT_PREFIX + (f"{path}/" if path else "") + name


def check_accepted(key: str) -> None:
    """Check that the pipeline accepts uploads with a key.

    Raises:
        WrongArgumentError: It does not; the message says why.
    """
    problem = check_key(key)
    if problem is not None:
        raise WrongArgumentError(f"{printable(key)[:100]}: {problem.message}")
