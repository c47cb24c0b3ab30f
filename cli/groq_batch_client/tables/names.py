"""Format and check column names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from groq_batch_client.errors import TableError

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_MAX_SHOWN = 12
_LONGEST_SHOWN = 80


def quoted(name: str) -> str:
    """Return a name in quotes, with invisible characters escaped."""
    shown = "".join(
        one if one == " " or unicodedata.category(one) not in _INVISIBLE else _escaped(one)
        for one in name[:_LONGEST_SHOWN]
    )
    return f"'{shown}{'…' if len(name) > _LONGEST_SHOWN else ''}'"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def listed(names: Iterable[str]) -> str:
    """Join quoted names; those beyond a dozen are only counted."""
    every = list(names)
    shown = ", ".join(quoted(name) for name in every[:_MAX_SHOWN])
    rest = len(every) - _MAX_SHOWN
    return f"{shown} and {rest:,} more" if rest > 0 else shown or "none"


def missing_column(name: str, names: Iterable[str]) -> str:
    """Return the message about a missing column of a table or row."""
    return f"there is no column {quoted(name)}; there are {listed(names)}"


def check_unique(names: Sequence[str], table: str) -> None:
    """Check that all columns have different names, as only one of two could be used.

    Raises:
        TableError: Two columns have the same name, or none.
    """
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        if name in seen and not name:
            raise TableError(
                f"{table} has two columns without a name, columns {names.index(name) + 1} and "
                f"{place}. Name them or, if they are empty, remove them; the first line must name "
                f"the columns."
            )
        if name in seen:
            raise TableError(f"{table} has two columns named {quoted(name)}. Rename one.")
        seen.add(name)
