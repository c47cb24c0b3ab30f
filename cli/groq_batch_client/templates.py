"""Insert column values into prompts: ``Translate into {language}: {text}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

from groq_batch_client.errors import WrongArgumentError
from groq_batch_client.tables.names import quoted

BRACES = "Write {{ and }} for literal braces."

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_LOOKS_LIKE_A_COLUMN = re.compile(r"\{\{\s*\w+\s*\}\}|\$\{?\w+\}?|<\w+>|%\(\w+\)s")


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt, split at its columns.

    Attributes:
        text: The original prompt.
        parts: Pairs of a text and the column that follows it; None if there is none.
    """

    text: str
    parts: Sequence[tuple[str, str | None]]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse a prompt. Everything up to the closing brace is the name of a column.

        Raises:
            WrongArgumentError: A brace has no partner, or braces are empty.
        """
        parts: list[tuple[str, str | None]] = []
        literal, end = "", 0
        for piece in _PIECE.finditer(text):
            literal += text[end : piece.start()]
            end = piece.end()
            if piece[0] in ("{{", "}}"):
                literal += piece[0][0]
            elif piece[1] is None:
                raise WrongArgumentError(f"The prompt has a brace without a partner. {BRACES}")
            elif not piece[1]:
                raise WrongArgumentError(f"The prompt has braces without a column name. {BRACES}")
            else:
                parts.append((literal, piece[1]))
                literal = ""
        literal += text[end:]
        if literal or not parts:
            parts.append((literal, None))
        return cls(text, parts)

    @property
    def columns(self) -> list[str]:
        """The columns, without duplicates."""
        return list(dict.fromkeys(name for _, name in self.parts if name is not None))

    @property
    def without_values(self) -> str:
        """The prompt of a row whose columns are all empty."""
        return "".join(literal for literal, _ in self.parts)

    def fill(self, rows: int, texts: Callable[[str], list[str]]) -> list[str]:
        """Return the prompts of some rows.

        Args:
            rows: Number of rows.
            texts: Returns a column of them as texts.
        """
        pieces: list[list[str] | repeat[str]] = []
        for literal, name in self.parts:
            if literal:
                pieces.append(repeat(literal, rows))
            if name is not None:
                pieces.append(texts(name))
        if len(pieces) == 1:
            return list(pieces[0])
        return list(map("".join, zip(*pieces, strict=True))) if pieces else [""] * rows


def constant_prompt(text: str, option: str = "--same-prompt") -> str:
    """Return the message about a prompt that is the same for every row.

    Args:
        text: The prompt.
        option: The setting that allows such a prompt.
    """
    found = _LOOKS_LIKE_A_COLUMN.search(text)
    hint = f" It has {quoted(found[0])}, which is not replaced." if found else ""
    return (
        f"The prompt names no column, so every row would send, and pay for, the same.{hint} Write "
        f"{{column}} where a column's value goes, or {option} if you mean it."
    )
