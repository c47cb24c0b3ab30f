"""Reads a file of settings such as ``.env``: ``NAME=value`` lines as a shell would take them."""

from __future__ import annotations

import re
from pathlib import Path

from local.demo.errors import DemoError

_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(["'])(.*?)\1\s*(?:#.*)?""")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the settings of a file's text.

    A line is ``NAME=value``, with or without ``export``; a value may be in single or double
    quotes, and ``#`` begins a comment. Nothing is expanded. Other lines are left out, and of a name
    that occurs twice, the last value counts.
    """
    settings: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        assignment = _ASSIGNMENT.fullmatch(line.strip())
        if assignment is not None:
            name, value = assignment.groups()
            quoted = _QUOTED.fullmatch(value)
            settings[name] = quoted[2] if quoted else _COMMENT.sub("", value).strip()
    return settings


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the settings of a file; none when it does not exist.

    Raises:
        DemoError: It cannot be read.
    """
    try:
        return parse_dotenv(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise DemoError(f"{path} is not text in UTF-8. Save it as such, or remove it.") from None
    except OSError as error:
        raise DemoError(f"{path} cannot be read: {error.strerror}.") from None
