"""Handle JSON schemas of answers: the request format, validation, and columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from groq_batch_client.errors import TableError
from groq_batch_client.file_errors import file_sentence, naming
from groq_batch_client.tables.names import listed, quoted

_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 64
_LONGEST_MESSAGE = 300
_WRAPPERS = (
    "response_format",
    "text",
    "format",
    "json_schema",
    "function",
    "schema",
    "parameters",
    "input_schema",
)
"""Keys that API guides put around a schema, for an answer or for the arguments of a tool."""
_TYPE_NAMES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_MAX_HOPS = 32
"""Maximum number of references and combinations to follow, as a schema may refer to itself."""

Kind = Literal["string", "number", "integer", "boolean", "json"]
_TYPES: dict[type, Kind] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def strict_json(text: str) -> Any:
    """Parse JSON without the words NaN and Infinity, which Python's parser allows.

    Raises:
        ValueError: It is not JSON.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"it holds {name}, which JSON cannot represent")

    return json.loads(text, parse_constant=refuse)


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """A schema of answers.

    Attributes:
        name: Its name in the request.
        schema: The schema.
        strict: Whether the file asks for strict mode.
    """

    name: str
    schema: dict[str, Any]
    strict: bool = False
    _validator: list[Any] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def load(cls, path: Path) -> AnswerSchema:
        """Read a schema, bare or in one of the wrappers in API guides.

        Such are a ``response_format`` (``{"type": "json_schema", "json_schema": {…}}``), also
        under that key as in a request, its inner part (``{"name": …, "schema": …}``), the format of
        the Responses API, which has everything in one object, and the definition of a tool.

        Raises:
            TableError: The file cannot be read, or is not a JSON schema.
        """
        try:
            with naming(path):
                text = path.read_text(encoding="utf-8-sig")
                data = strict_json(text)
        except OSError as error:
            raise TableError(file_sentence(error)) from None
        except UnicodeDecodeError:
            raise TableError(f"{path} is not UTF-8. Save it as UTF-8.") from None
        except (ValueError, RecursionError) as error:
            raise TableError(f"{path} is not JSON: {error}.") from None
        return cls.of(data, str(path), fallback_name=path.name.split(".")[0])

    @classmethod
    def of(cls, data: Any, source: str, *, fallback_name: str = "answer") -> AnswerSchema:
        """Create a schema from JSON data; ``source`` is its name in messages.

        Raises:
            TableError: It is not a JSON schema.
        """
        data, name, strict = _unwrapped(data)
        if not isinstance(data, dict):
            raise TableError(f"{source} must be a JSON schema, which is an object.")
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise TableError(
                f"{source} has half of a surrogate pair, often half of an emoji that was cut. "
                f"Remove it or complete it."
            ) from None
        name = name or data.get("title") or fallback_name
        schema = cls(_NAME.sub("_", str(name))[:_LONGEST_NAME] or "answer", data, strict)
        try:
            schema.check_valid()
        except ValueError as error:
            raise TableError(f"{source} is not a valid JSON schema: {error}.") from None
        return schema

    def check_valid(self) -> None:
        """Compile the schema.

        Raises:
            ValueError: It is not a JSON schema; the message says why.
        """
        import jsonschema_rs  # noqa: PLC0415 - a compiled library, only needed with a schema

        def refuse(uri: str) -> Any:
            raise ValueError(f"it refers to {uri}, which is not part of it")

        # The first engine takes linear time for any pattern; only the second one has look-around.
        engines = (jsonschema_rs.RegexOptions(), jsonschema_rs.FancyRegexOptions())
        for engine in engines if not self._validator else ():
            try:
                self._validator.append(
                    jsonschema_rs.validator_for(
                        self.schema, retriever=refuse, pattern_options=engine
                    )
                )
            except jsonschema_rs.ValidationError as error:
                if engine is engines[-1]:
                    raise ValueError(error.message) from None
            else:
                break

    def misfit(self, value: Any) -> str | None:
        """Return why a value does not match, with the invalid property; None if it matches."""
        self.check_valid()
        error = next(iter(self._validator[0].iter_errors(value)), None)
        if error is None:
            return None
        place = ".".join(str(one) for one in error.instance_path)
        # The message contains the invalid value, which may be a whole long answer.
        said = str(error.message)
        if len(said) > _LONGEST_MESSAGE:
            said = f"{said[:_LONGEST_MESSAGE]}…"
        return f"{place}: {said}" if place else said

    def response_format(self, *, strict: bool) -> dict[str, Any]:
        """Return the ``response_format`` of a request.

        Args:
            strict: Whether to use strict mode, which not every schema and model supports.
        """
        described: dict[str, Any] = {"name": self.name, "schema": self.schema}
        if strict:
            described["strict"] = True
        return {"type": "json_schema", "json_schema": described}

    def check_strict(self, option: str = "--strict") -> None:
        """Check that the schema supports strict mode.

        Groq requires that the root is an object, and that every object requires all its properties
        and allows no others (https://console.groq.com/docs/structured-outputs).

        Args:
            option: The name of the setting in messages.

        Raises:
            TableError: It does not; the message names the place.
        """
        if self.schema.get("type") != "object":
            raise TableError(
                f'With {option} the schema itself must be of "type": "object"; move its current '
                f"content into a property."
            )
        for place, one in _objects(self.schema, "the schema"):
            properties = one.get("properties", {})
            missing = sorted(set(properties) - set(one.get("required", [])))
            if missing:
                raise TableError(
                    f"With {option} every property must be required; in {place} these are not: "
                    f"{listed(missing)}. Optional ones can have the types ['string', 'null']."
                )
            if one.get("additionalProperties") is not False:
                raise TableError(
                    f'With {option} every object needs "additionalProperties": false; {place} has '
                    f"it not."
                )

    @property
    def properties(self) -> dict[str, Kind]:
        """The properties of an object answer, with their kinds; empty for other answers."""
        root = self._resolved(self.schema)
        found = root.get("properties")
        if not isinstance(found, dict):
            return {}
        return {name: self._kind(one) for name, one in found.items()}

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Follow local references."""
        for _ in range(_MAX_HOPS):
            if not isinstance(schema, dict):
                return {}
            reference = schema.get("$ref")
            if not isinstance(reference, str) or not reference.startswith("#"):
                return schema
            target: Any = self.schema
            for step in reference.removeprefix("#").strip("/").split("/"):
                key = step.replace("~1", "/").replace("~0", "~")
                if key:
                    target = target.get(key) if isinstance(target, dict) else None
            schema = target
        return {}

    def _kind(self, schema: Any, hops: int = 0) -> Kind:
        """Return the kind of a property; ``json`` if it may have several kinds."""
        one = self._resolved(schema)
        if hops > _MAX_HOPS:
            return "json"
        kinds: set[Kind] = set()
        declared = one.get("type")
        for name in declared if isinstance(declared, list) else [declared]:
            if name in ("string", "number", "integer", "boolean"):
                kinds.add(name)
            elif name is not None and name != "null":
                kinds.add("json")
        if declared is None:
            values = one.get("enum", [one["const"]] if "const" in one else [])
            kinds.update(_TYPES.get(type(value), "json") for value in values if value is not None)
            for keyword in ("anyOf", "oneOf", "allOf"):
                branches = one.get(keyword)
                for branch in branches if isinstance(branches, list) else []:
                    if self._resolved(branch).get("type") != "null":
                        kinds.add(self._kind(branch, hops + 1))
        if kinds == {"integer", "number"}:
            return "number"
        return kinds.pop() if len(kinds) == 1 else "json"


def _unwrapped(data: Any) -> tuple[Any, Any, bool]:
    """Return the schema within wrappers, its name if they have one, and whether it is strict."""
    name, strict = None, False
    while isinstance(data, dict) and not _is_schema(data):
        inner = next((data[key] for key in _WRAPPERS if isinstance(data.get(key), dict)), None)
        if inner is None:
            break
        name = data.get("name") or name
        strict = strict or data.get("strict") is True
        data = inner
    return data, name, strict


def _is_schema(data: dict[str, Any]) -> bool:
    """Tell whether an object has a keyword that schemas of answers have and wrappers have not."""
    kind = data.get("type")
    return not {"properties", "$ref"}.isdisjoint(data) or (
        isinstance(kind, list) or (isinstance(kind, str) and kind in _TYPE_NAMES)
    )


def _objects(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object schema within a schema, with its place."""
    if isinstance(schema, list):
        for one in schema:
            yield from _objects(one, place)
    if not isinstance(schema, dict):
        return
    if "properties" in schema or schema.get("type") == "object":
        yield place, schema
    for keyword, what in (
        ("properties", "property"),
        ("$defs", "definition"),
        ("definitions", "definition"),
    ):
        found = schema.get(keyword)
        for name, one in found.items() if isinstance(found, dict) else ():
            yield from _objects(one, f"{what} {quoted(name)}")
    for keyword in ("items", "anyOf", "oneOf", "allOf"):
        yield from _objects(schema.get(keyword), place)
