"""Converts JSON objects of the control API to dataclasses, with helpful error messages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

Made = TypeVar("Made")


def build(kind: type[Made], value: Mapping[str, Any]) -> Made:
    """Makes a dataclass from a JSON object.

    Raises:
        ValueError: A field is unknown or missing.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{kind.__name__} must be a JSON object")  # noqa: TRY004 (one error type)
    known = {one.name for one in dataclasses.fields(kind) if one.init}  # type: ignore[arg-type]
    unknown = set(value) - known
    if unknown:
        raise ValueError(
            f"{kind.__name__} has no field {', '.join(sorted(unknown))}; "
            f"known: {', '.join(sorted(known))}"
        )
    try:
        return kind(**value)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


def metadata_matches(wanted: Mapping[str, str], metadata: Mapping[str, str] | None) -> bool:
    """Tells whether a batch's metadata has every wanted entry (values: full-match regex)."""
    have = metadata or {}
    return all(
        name in have and re.fullmatch(str(pattern), have[name]) is not None
        for name, pattern in wanted.items()
    )
