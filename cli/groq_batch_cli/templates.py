"""Prompts with columns of rows in them: ``Translate into {language}: {text}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from groq_batch_cli.errors import CommandError, WrongUsageError
from groq_batch_cli.rows.reading import as_text
from groq_batch_cli.text import listed, one_line

_BRACES = "Write {{ and }} for braces of the prompt itself."


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt, cut at its columns.

    Attributes:
        parts: Pairs of a text and the column behind it; None when there is none.
    """

    parts: Sequence[tuple[str, str | None]]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a prompt.

        Raises:
            WrongUsageError: Its braces do not enclose names of columns.
        """
        try:
            pieces = list(Formatter().parse(text))
        except ValueError as error:
            raise WrongUsageError(
                f"The prompt has a brace too many or too few ({error}). {_BRACES}"
            ) from None
        parts: list[tuple[str, str | None]] = []
        for literal, name, spec, conversion in pieces:
            if name == "":
                raise WrongUsageError(
                    f"The prompt has braces without the name of a column. {_BRACES}"
                )
            if spec or conversion:
                mark = f"!{conversion}" if conversion else f":{spec}"
                raise WrongUsageError(
                    f"{{{one_line(name or '')}{one_line(mark)}}} is not the name of a column. "
                    f"Write the name alone. {_BRACES}"
                )
            parts.append((literal, name))
        return cls(parts)

    @property
    def columns(self) -> list[str]:
        """The columns, each once."""
        return list(dict.fromkeys(name for _, name in self.parts if name is not None))

    def fill(self, row: Mapping[str, Any]) -> str:
        """Return the prompt of a row.

        Raises:
            CommandError: The row lacks a column; names those that it has.
        """
        pieces = []
        for literal, name in self.parts:
            pieces.append(literal)
            if name is not None:
                if name not in row:
                    raise CommandError(
                        f"there is no column {one_line(name)!r}; there are "
                        f"{listed([one_line(column) for column in row], 12)}. {_BRACES}"
                    )
                pieces.append(as_text(row[name]))
        return "".join(pieces)
