"""JSON schemas of answers: what a request says of them, and what becomes of them in columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groq_batch_cli.errors import CommandError
from groq_batch_cli.file_errors import naming
from groq_batch_cli.text import listed, one_line

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The schema that answers have.

    Attributes:
        name: Its name in the request.
        schema: The schema.
    """

    name: str
    schema: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> AnswerSchema:
        """Read a schema, bare or as ``{"name": …, "schema": …}``.

        Raises:
            CommandError: The file holds no JSON object.
        """
        try:
            with naming(path):
                data = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path} is not JSON: {error}.") from None
        if not isinstance(data, dict):
            raise CommandError(f"{path} has to hold a JSON schema, which is an object.")
        name = data.get("title") or path.name.split(".")[0]
        if isinstance(data.get("schema"), dict):
            name = data.get("name") or name
            data = data["schema"]
        return cls(_NAME.sub("_", str(name))[:_LONGEST_NAME] or "answer", data)

    def response_format(self, *, strict: bool) -> dict[str, Any]:
        """Return what a request says of its answer.

        Args:
            strict: Whether the answer is forced to fit, which not every schema and model can.
        """
        described: dict[str, Any] = {"name": self.name, "schema": self.schema}
        if strict:
            described["strict"] = True
        return {"type": "json_schema", "json_schema": described}

    def check_strict(self) -> None:
        """Check that the schema can be forced on answers.

        Groq asks that all properties of every object are required, and that there are no others
        (https://console.groq.com/docs/structured-outputs).

        Raises:
            CommandError: It cannot; names the place.
        """
        for place, one in _objects(self.schema, "the schema"):
            properties = one.get("properties", {})
            missing = sorted(set(properties) - set(one.get("required", [])))
            if missing:
                raise CommandError(
                    f"With --strict every property has to be required; in {place} these are not: "
                    f"{listed([one_line(name) for name in missing])}. Optional ones may be of the "
                    f"types ['string', 'null']."
                )
            if one.get("additionalProperties") is not False:
                raise CommandError(
                    f'With --strict every object needs "additionalProperties": false; {place} has '
                    f"it not."
                )

    @property
    def properties(self) -> dict[str, Any]:
        """The properties of an answer that is an object; none for others."""
        found = self.schema.get("properties")
        return found if isinstance(found, dict) else {}


def _objects(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of an object within a schema, and where it is."""
    if isinstance(schema, list):
        for one in schema:
            yield from _objects(one, place)
    if not isinstance(schema, dict):
        return
    if "properties" in schema or schema.get("type") == "object":
        yield place, schema
    for name, one in schema.get("properties", {}).items():
        yield from _objects(one, f"property {one_line(name)}")
    for name, one in schema.get("$defs", {}).items():
        yield from _objects(one, f"definition {one_line(name)}")
    for keyword in ("items", "anyOf"):
        yield from _objects(schema.get(keyword), place)
