"""The demo's request file: its checks and its content."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from groq_batch_client.found_jobs import file_stem
from local.demo.errors import UsageError
from local.environment import PROJECT_ROOT

SAMPLE = PROJECT_ROOT / "events" / "sample.jsonl"

_ENDINGS = (".jsonl", ".jsonl.gz")
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class RequestFile:
    """A file that exists and has the right kind of name."""

    path: Path

    @property
    def name(self) -> str:
        """The name that it gets in the bucket."""
        return self.path.name.encode("utf-8", "replace").decode()

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return file_stem(self.name)

    @property
    def is_gzip(self) -> bool:
        """Whether it is compressed."""
        return self.name.endswith(".gz")

    @property
    def is_sample(self) -> bool:
        """Whether it is the demo's own."""
        return self.path.resolve() == SAMPLE

    def open(self) -> BinaryIO:
        """Open its content."""
        return cast("BinaryIO", gzip.open(self.path) if self.is_gzip else self.path.open("rb"))


@dataclass(frozen=True, slots=True)
class Upload:
    """The file to upload: the file itself, or a copy without hints for the simulator.

    Attributes:
        file: The file to upload.
        hints: How many hints were left out.
    """

    file: RequestFile
    hints: int = 0


def choose_file(arguments: list[str]) -> RequestFile:
    """Return the file that the command line names, by default the sample.

    Raises:
        UsageError: It cannot be used; says why.
    """
    if len(arguments) > 1:
        raise UsageError("Give one file: make demo FILE=requests.jsonl")
    path = Path(arguments[0]).expanduser() if arguments and arguments[0] else SAMPLE
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Give a file: make demo FILE=requests.jsonl")
    if not path.exists():
        raise UsageError(f"{path} does not exist. Give a file: make demo FILE=requests.jsonl")
    stem, ending = path.name, next((e for e in _ENDINGS if path.name.endswith(e)), None)
    if ending is None or not stem.removesuffix(ending):
        raise UsageError(
            f"{path} does not end in .jsonl or .jsonl.gz. The file has to hold one request a line; "
            "events/sample.jsonl shows how they look."
        )
    try:
        with path.open("rb") as stream:
            is_empty = not stream.read(1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if is_empty:
        raise UsageError(f"{path} is empty. It has to hold one request a line.")
    return RequestFile(path)


def without_hint(line: bytes) -> bytes:
    """Return a request line without its hint for the simulator.

    The real API knows no ``metadata`` in a request. A line without a hint stays as it is.
    """
    if b'"simulate"' not in line:
        return line
    try:
        request = json.loads(line)
    except ValueError:
        return line
    body = request.get("body") if isinstance(request, dict) else None
    if not isinstance(body, dict):
        return line
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or "simulate" not in metadata:
        return line
    del metadata["simulate"]
    if not metadata:
        del body["metadata"]
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


@contextlib.contextmanager
def hints_removed(file: RequestFile) -> Iterator[Upload]:
    """Yield a file to upload without hints for the simulator.

    A file without any, or one that cannot be unpacked, is yielded itself.
    """
    hints = _count_hints(file)
    if not hints:
        yield Upload(file)
        return
    with tempfile.TemporaryDirectory(prefix="groq-batch-demo-") as folder:
        cleaned = Path(folder) / file.name
        with (
            file.open() as source,
            gzip.open(cleaned, "wb") if file.is_gzip else cleaned.open("wb") as target,
        ):
            for line in source:
                target.write(without_hint(line))
        yield Upload(RequestFile(cleaned), hints)


def _count_hints(file: RequestFile) -> int:
    try:
        with file.open() as source:
            return sum(without_hint(line) != line for line in source)
    except _UNREADABLE:
        return 0
