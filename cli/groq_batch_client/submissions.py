"""Turn what a user submits into a request file to upload, and keep its rows."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from groq_batch.domain import object_keys
from groq_batch_client.build_requests import Built, RequestBuilder, build_requests, check_numbers
from groq_batch_client.errors import RequestsError, WrongArgumentError
from groq_batch_client.frames import FrameTable, is_frame
from groq_batch_client.request_files import RequestFile, new_digest
from groq_batch_client.row_ids import RowIds
from groq_batch_client.schemas import AnswerSchema
from groq_batch_client.tables.formats import FORMAT_ENDINGS, Format, kind_of
from groq_batch_client.tables.table import TableFile
from groq_batch_client.templates import Template, constant_prompt
from groq_batch_client.upload_paths import check_accepted, input_key

FRAMES_FOLDER = "frames"
"""The folder below ``input/`` for requests built from rows without a path."""

_NAME_DIGITS = 16
_CHUNK_BYTES = 1024 * 1024
_GZIP_LEVEL = 6
_OWN_FIELDS = ("model", "messages")

Rows = TableFile | FrameTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """Arguments for building requests from rows.

    Attributes:
        prompt: The user message; ``{column}`` inserts a value.
        model: The model.
        id: The column with the ids; None means row numbers.
        system: The system message; ``{column}`` works here too.
        schema: The JSON schema of the answers: a dict, a file or a pydantic model.
        params: Extra fields of the request.
        same_prompt: Whether the prompt may name no column.
    """

    prompt: str | None = None
    model: str | None = None
    id: str | None = None
    system: str | None = None
    schema: Any = None
    params: Mapping[str, Any] | None = None
    same_prompt: bool = False

    @property
    def is_asked_for(self) -> bool:
        """Whether any argument is given."""
        return any(
            one is not None
            for one in (self.prompt, self.model, self.id, self.system, self.schema, self.params)
        )

    def builder(self, schema: AnswerSchema | None) -> RequestBuilder:
        """Return the builder of the requests.

        Raises:
            WrongArgumentError: The prompt or model is missing, or an argument is invalid.
            TableError: The schema asks for strict mode, but does not allow it.
        """
        missing = [
            name
            for name, value in (("prompt=", self.prompt), ("model=", self.model))
            if value is None
        ]
        if missing:
            raise WrongArgumentError(f"To build requests from rows, give {' and '.join(missing)}.")
        fields = dict(self.params or {})
        taken = [name for name in (*_OWN_FIELDS, "response_format") if name in fields]
        if taken and (taken[0] in _OWN_FIELDS or schema is not None):
            raise WrongArgumentError(
                f"params has {taken[0]!r}, which is set by model=, prompt=, system= and schema=."
            )
        if schema is not None:
            if schema.strict:
                schema.check_strict('"strict": true')
            fields["response_format"] = schema.response_format(strict=schema.strict)
        for name, value in fields.items():
            _check_json(value, f"The parameter {name!r}")
        check_numbers(fields)
        prompt = cast("str", self.prompt)
        builder = RequestBuilder(
            model=cast("str", self.model),
            prompt=Template.parse(prompt),
            system=Template.parse(self.system) if self.system is not None else None,
            parameters=fields,
            ids=row_ids(self.id),
        )
        if not (builder.prompted_columns or self.same_prompt):
            raise WrongArgumentError(constant_prompt(prompt, "give same_prompt=True"))
        return builder


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request file to upload.

    Attributes:
        file: The file.
        key: Its future object key.
        digest: The hash of its bytes.
        rows: The rows that the requests were built from; None if requests were given.
        id: The column with the ids of the rows.
        schema: The schema of the answers.
    """

    file: RequestFile
    key: str
    digest: str
    rows: Rows | None = None
    id: str | None = None
    schema: AnswerSchema | None = None


def row_ids(column: str | None) -> RowIds:
    """Return how rows get their ids; messages use the names of the Python arguments."""
    return RowIds(column, "id=")


def schema_of(given: Any) -> AnswerSchema | None:
    """Return the schema from a dict, a file or a pydantic model.

    Raises:
        TableError: It is not a schema.
    """
    if given is None or isinstance(given, AnswerSchema):
        return given
    if isinstance(given, str | os.PathLike):
        return AnswerSchema.load(Path(given))
    if hasattr(given, "model_json_schema"):
        given = given.model_json_schema()
    return AnswerSchema.of(given, "schema=")


def table_of(source: Any) -> Rows | None:
    """Return the rows of a frame or a file; None if the source is neither.

    Raises:
        GroqBatchError: They cannot be read.
    """
    if is_frame(source):
        return FrameTable(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if not Path(path).is_file():
            raise RequestsError(f"{path} does not exist, or is not a file.")
        return TableFile(path)
    return None


@contextlib.contextmanager
def prepared(source: Any, *, to: str | None, making: Making) -> Iterator[Submission]:
    """Write requests to a temporary file within a ``with`` block, unless they are a file.

    Args:
        source: A request file, requests, or rows as a frame or a file.
        to: The path below ``input/``, or a folder there.
        making: Arguments for building requests from rows.

    Raises:
        GroqBatchError: They are invalid; the message says why.
    """
    rows = table_of(source) if making.is_asked_for or is_frame(source) else None
    if rows is not None:
        schema = schema_of(making.schema)
        builder = making.builder(schema)
        with _written(_made(rows, builder), to) as (file, key, digest):
            yield Submission(
                file=file, key=key, digest=digest, rows=rows, id=making.id, schema=schema
            )
        return
    if making.is_asked_for:
        raise WrongArgumentError(
            f"prompt=, model=, id=, system=, schema= and params= build requests from a data frame "
            f"or a file of rows, not from {_said(source)}. Turn rows into a data frame first, such "
            f"as pandas.DataFrame(rows). Whole requests need none of these arguments."
        )
    if isinstance(source, str | os.PathLike):
        yield _file(os.fspath(source), to)
        return
    if isinstance(source, Mapping | bytes) or not isinstance(source, Iterable):
        raise WrongArgumentError(
            f"{type(source).__name__} is nothing to submit. Give a file, requests (dicts, one "
            f"after the other), or a data frame of pandas, Polars or Arrow."
        )
    with _written(_lines(source), to) as (file, key, digest):
        yield Submission(file=file, key=key, digest=digest)


def _said(source: Any) -> str:
    name = type(source).__name__
    return "None" if source is None else f"a {name}"


def _file(path: str, to: str | None) -> Submission:
    """Use a request file unchanged."""
    if not Path(path).is_file():
        raise RequestsError(f"{path} does not exist, or is not a file.")
    if _is_table(path):
        raise WrongArgumentError(
            f"{path} is a table, not a request file. To build requests from its rows, give prompt= "
            f"and model=."
        )
    file = RequestFile(path)
    key = input_key(file.name, to)
    check_accepted(key)
    if object_keys.is_gzip(key) != object_keys.is_gzip(file.name):
        raise WrongArgumentError(
            f"Only one of {path} and {key} ends in .gz, but the file is uploaded unchanged."
        )
    digest = new_digest()
    with file.chunks() as chunks:
        for chunk in chunks:
            digest.update(chunk)
    return Submission(file=file, key=key, digest=digest.hexdigest())


def _is_table(path: str) -> bool:
    if not path.lower().endswith((*FORMAT_ENDINGS, ".gz", ".zst")):
        return False
    try:
        return kind_of(path).format is not Format.JSONL
    except WrongArgumentError:
        return False


def _made(rows: Rows, builder: RequestBuilder) -> Iterator[bytes]:
    built = Built()
    with rows.open(builder.columns) as table:
        yield from build_requests(table, builder, name=rows.name, built=built)


def _lines(requests: Iterable[Any]) -> Iterator[bytes]:
    """Yield requests as the lines of a file.

    Raises:
        RequestsError: One is not a JSON object; the message has its number.
    """
    for number, request in enumerate(requests, start=1):
        what = f"Request {number:,}"
        if not isinstance(request, Mapping):
            raise RequestsError(f"{what} is a {type(request).__name__}, not a dict.")
        yield _check_json(dict(request), what) + b"\n"


def _check_json(value: Any, what: str) -> bytes:
    """Return a value as JSON.

    Raises:
        RequestsError: JSON cannot represent it.
    """
    try:
        return json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestsError(f"{what} cannot be written as JSON: {error}.") from None


@contextlib.contextmanager
def _written(lines: Iterable[bytes], to: str | None) -> Iterator[tuple[RequestFile, str, str]]:
    """Write lines to a temporary file; yield it with its key and the hash of its bytes.

    Raises:
        RequestsError: There are no lines.
    """
    with tempfile.TemporaryDirectory(prefix="groq-batch-") as folder:
        path = Path(folder) / "requests.jsonl"
        name = hashlib.sha256()
        with path.open("wb") as stream:
            for data in lines:
                name.update(data)
                stream.write(data)
        if not path.stat().st_size:
            raise RequestsError("There are no requests to submit.")
        own = f"{name.hexdigest()[:_NAME_DIGITS]}{object_keys.PLAIN_ENDING}"
        key = input_key(own, to if to is not None else FRAMES_FOLDER)
        check_accepted(key)
        if object_keys.is_gzip(key):
            path = _compressed(path)
        digest = new_digest()
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
        yield RequestFile(str(path)), key, digest.hexdigest()


def _compressed(path: Path) -> Path:
    packed = path.with_suffix(".jsonl.gz")
    # Store neither time nor name, so that equal requests give equal bytes.
    with (
        path.open("rb") as plain,
        packed.open("wb") as raw,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as stream,
    ):
        while chunk := plain.read(_CHUNK_BYTES):
            stream.write(chunk)
    return packed
