"""Send identical requests once, and give each row the answer that it shares.

Requests are identical if their method, URL and body are equal byte for byte. A file next to the
requests, ``requests.jsonl.rows``, maps rows to requests. It has JSON lines: the first identifies
the file, the last has its totals, and each line between them has the request number for one row of
the table. Requests are numbered from 1 in the order of their file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tempfile
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from groq_batch_client.errors import TableError
from groq_batch_client.file_errors import naming
from groq_batch_client.output import output
from groq_batch_client.row_ids import RowIds
from groq_batch_client.tables.names import quoted

ENDING = ".rows"
"""Suffix that the file adds to the name of the request file."""
_VERSION = 1
_DIGEST_BYTES = 16
"""With 128 bits, no two different texts with the same digest are known."""
_BEHIND_ID = b',"method":'
"""Text after the id in our request lines. No JSON text contains it, as quotes are escaped."""
_FIRST_SIZE = 1024
_LONGEST_LINE = 10_000

_ADVICE = (
    "Join the rows that the requests were built from, in the same order, with the results of those "
    "requests and their .rows file."
)

_encode = msgspec.json.Encoder().encode


def rows_file(requests: Path) -> Path:
    """Return the path of the .rows file for a request file."""
    return requests.with_name(requests.name + ENDING)


class _Numbers:
    """Numbers requests by their digest, in the order of their first appearance.

    A hash table in arrays: a request takes 23 to 50 bytes, where a dictionary takes 170.
    """

    def __init__(self) -> None:
        self._digests = bytearray()
        self._table = array("I", [0]) * _FIRST_SIZE
        self.count = 0

    def of(self, digest: bytes) -> int:
        """Return the number of a request; a new one gets the next number."""
        slot = self._slot(digest)
        number = self._table[slot]
        if number:
            return number
        self.count += 1
        self._digests += digest
        self._table[slot] = self.count
        if 5 * self.count > 3 * len(self._table):
            self._grow()
        return self.count

    def _slot(self, digest: bytes) -> int:
        """Return the slot of a digest, or the free slot for it."""
        table, mask = self._table, len(self._table) - 1
        slot = int.from_bytes(digest[:8], "little") & mask
        while number := table[slot]:
            if self._digest(number) == digest:
                break
            slot = (slot + 1) & mask
        return slot

    def _digest(self, number: int) -> bytes:
        return bytes(self._digests[(number - 1) * _DIGEST_BYTES : number * _DIGEST_BYTES])

    def _grow(self) -> None:
        self._table = array("I", [0]) * (2 * len(self._table))
        for number in range(1, self.count + 1):
            self._table[self._slot(self._digest(number))] = number


class Sharing:
    """Finds identical requests, and records which request has the answer for each row.

    Attributes:
        rows: Rows so far.
    """

    def __init__(self, stream: BinaryIO, *, ids: RowIds) -> None:
        """Start the .rows file.

        Args:
            stream: The stream to write to.
            ids: How the requests get their ids.
        """
        self._stream = stream
        self._numbers = _Numbers()
        self._ids = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self.rows = 0
        self._stream.write(_encode({"deduped": _VERSION, "id": ids.column}) + b"\n")

    @property
    def requests(self) -> int:
        """Number of different requests so far."""
        return self._numbers.count

    def first_uses(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return request lines, with a placeholder for each duplicate.

        Args:
            lines: Lines without line ends, as ``make`` writes them.
        """
        firsts: list[bytes] = []
        numbers: list[int] = []
        for line in lines:
            end_of_id = line.index(_BEHIND_ID)
            self._ids.update(line[len(b'{"custom_id":') : end_of_id] + b"\n")
            digest = hashlib.blake2b(line[end_of_id:], digest_size=_DIGEST_BYTES).digest()
            before = self._numbers.count
            number = self._numbers.of(digest)
            numbers.append(number)
            firsts.append(line if number > before else b"")
        self._stream.write(b"".join(b"%d\n" % number for number in numbers))
        self.rows += len(lines)
        return firsts

    def finish(self) -> None:
        """Write the last line of the .rows file."""
        end = {"rows": self.rows, "requests": self.requests, "ids": self._ids.hexdigest()}
        self._stream.write(_encode(end) + b"\n")


@contextlib.contextmanager
def open_sharing(requests: Path | None, ids: RowIds) -> Iterator[Sharing | None]:
    """Open the .rows file of a request file within a ``with`` block.

    Args:
        requests: The request file; None to keep duplicates.
        ids: How the requests get their ids.
    """
    if requests is None:
        yield None
        return
    with output(rows_file(requests)) as stream:
        sharing = Sharing(stream, ids=ids)
        yield sharing
        sharing.finish()


class SharedAnswers:
    """Gives the rows of a table the results of the requests that they share.

    It reads the results once and keeps those that several rows share in a temporary file. Memory
    use is 8 bytes for each request.
    """

    def __init__(
        self, path: Path, results: Iterable[bytes], *, ids: RowIds, names: tuple[str, str]
    ) -> None:
        """Read the .rows file.

        Args:
            path: The .rows file.
            results: The result rows of the requests.
            ids: How the requests got their ids.
            names: The names of the table and the results in messages.

        Raises:
            TableError: The file is not a .rows file, or its requests have other ids.
            OSError: It cannot be read.
        """
        self._path = path
        self._results = iter(results)
        self._table_name, self._results_name = names
        with naming(path), path.open("rb") as stream:
            self._rows_told, self._ids_told, self._is_shared = _look_through(stream, path, ids)
        self._ids = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._rows = 0
        self._read = 0
        self._offsets = array("Q", [0]) * len(self._is_shared)
        self._stack = contextlib.ExitStack()
        self._numbers = _numbers_in(path)
        self._kept: BinaryIO = io.BytesIO()

    def __enter__(self) -> Self:
        self._kept = self._stack.enter_context(tempfile.TemporaryFile())
        self._stack.enter_context(contextlib.closing(self._numbers))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(self, custom_ids: Sequence[str]) -> list[tuple[bytes, bool]]:
        """Return the results for the next rows, and whether each request has the id of its row.

        Args:
            custom_ids: The ids of the rows.

        Raises:
            TableError: The table has more rows than the file of rows, or than there are results.
        """
        taken = []
        for custom_id in custom_ids:
            number = next(self._numbers, None)
            if number is None:
                raise TableError(
                    f"{self._path} is for {self._rows:,} rows, but {self._table_name} has more. "
                    f"{_ADVICE}"
                )
            self._rows += 1
            self._ids.update(_encode(custom_id) + b"\n")
            is_own = number > self._read
            taken.append((self._next_result() if is_own else self._kept_result(number), is_own))
        return taken

    def close(self) -> None:
        """Check after the last row that rows and results belong together.

        Raises:
            TableError: They do not.
        """
        if self._rows < self._rows_told:
            raise TableError(
                f"{self._table_name} ends after {self._rows:,} rows, but {self._path} is for "
                f"{self._rows_told:,}. {_ADVICE}"
            )
        if self._ids.hexdigest() != self._ids_told:
            raise TableError(
                f"The ids of {self._table_name} differ from those of {self._path}, or their order "
                f"does. {_ADVICE}"
            )
        if next(self._results, None) is not None:
            raise TableError(
                f"{self._results_name} has more rows than the {self._read:,} requests of "
                f"{self._path}. {_ADVICE}"
            )

    def _next_result(self) -> bytes:
        line = next(self._results, None)
        if line is None:
            raise TableError(
                f"{self._results_name} ends after {self._read:,} rows, but {self._path} has more "
                f"requests. {_ADVICE}"
            )
        self._read += 1
        if self._is_shared[self._read]:
            self._offsets[self._read] = self._kept.seek(0, io.SEEK_END)
            self._kept.write(line.rstrip(b"\r\n") + b"\n")
        return line

    def _kept_result(self, number: int) -> bytes:
        self._kept.seek(self._offsets[number])
        return self._kept.readline()


def _look_through(stream: BinaryIO, path: Path, ids: RowIds) -> tuple[int, str, bytearray]:
    """Check a .rows file; return its number of rows, the digest of their ids, and shared requests.

    The last is an array with one byte for each request, by number.
    """
    try:
        head = json.loads(stream.readline(_LONGEST_LINE))
        if head["deduped"] != _VERSION:
            raise TableError(f"{path} was written by a newer version. Update groq-batch.")
        is_shared, rows = bytearray(1), 0
        while (line := stream.readline(_LONGEST_LINE))[:1].isdigit():
            number = int(line)
            if not (line.endswith(b"\n") and 1 <= number <= len(is_shared)):
                raise ValueError(number)  # noqa: TRY301 - reported below with the other errors
            if number == len(is_shared):
                is_shared.append(0)
            else:
                is_shared[number] = 1
            rows += 1
        end = json.loads(line)
        if (end["rows"], end["requests"]) != (rows, len(is_shared) - 1) or stream.read(1):
            raise ValueError(end)  # noqa: TRY301
        column, digest = head["id"], str(end["ids"])
    except (ValueError, TypeError, LookupError, RecursionError):
        raise TableError(
            f"{path} is not a complete file from make --dedupe. That file is next to the request "
            f"file and ends in {ENDING}."
        ) from None
    if column != ids.column:
        made = "without --id" if column is None else f"with --id {quoted(str(column))}"
        raise TableError(f"The requests of {path} were made {made}; join the rows in the same way.")
    return rows, digest, is_shared


def _numbers_in(path: Path) -> Generator[int]:
    """Yield the request number of each row of a checked file."""
    with naming(path), path.open("rb") as stream:
        stream.readline()
        for line in stream:
            if not line[:1].isdigit():
                return
            yield int(line)
