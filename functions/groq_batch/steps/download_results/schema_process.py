"""Validate answers against JSON schemas, as a program that runs in a separate process.

A schema comes from an uploader, and validating with it may take unlimited time or memory. This
process has little of both, and ends when it exceeds either. It has no credentials,
and never fetches anything for a schema. ``schema_checks`` starts it and talks to it.

Questions arrive on standard input: the lengths of a schema and of a text, then both. For each
question, one byte is written to standard output: the text fits, it does not fit, or the answer
cannot be determined.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from groq_batch.domain.structured_output import parse_json

LENGTHS = struct.Struct("!II")
FITS, BREAKS, UNKNOWN = b"+", b"-", b"?"
CPU_SECONDS_OF_A_QUESTION = 2
"""CPU seconds allowed per question, plus the current second; typical ones take microseconds."""
_MAX_MEMORY_BYTES = 1024**3
_NO_LIMIT = sys.maxsize
_MAX_KEPT = 64
_MAX_KEPT_BYTES = 2 * 1024**2
"""Total size of the schemas that are kept compiled; compiled they take about 80 times as much."""


class Validators:
    """Compiled schemas, most recently used ones; None for a schema that cannot be compiled."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[int, Any]] = OrderedDict()

    def of(self, schema: bytes) -> Any:
        """Return the validator of a schema; None if the schema cannot be compiled."""
        name = hashlib.blake2b(schema, digest_size=16).digest()
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name][1]
        validator = _compiled(schema)
        self._kept[name] = (len(schema), validator)
        while len(self._kept) > _MAX_KEPT or (
            len(self._kept) > 1 and sum(size for size, _ in self._kept.values()) > _MAX_KEPT_BYTES
        ):
            self._kept.popitem(last=False)
        return validator


def answer(validators: Validators, schema: bytes, text: bytes) -> bytes:
    """Return the byte that answers one question."""
    validator = validators.of(schema)
    if validator is None:
        return UNKNOWN
    try:
        return FITS if validator.is_valid(parse_json(text.decode())) else BREAKS
    except BaseException:  # noqa: BLE001
        # Includes panics of the library. In every case the result is unknown.
        return UNKNOWN


def _compiled(schema: bytes) -> Any:
    import jsonschema_rs  # noqa: PLC0415 - not needed by importers that only talk to the process

    patterns = (
        # Runs in time linear in the text for every pattern, but does not support every pattern.
        jsonschema_rs.RegexOptions(),
        # Supports look-around, but may take unlimited time. Its own limit is off, because a text
        # that reaches it would count as one that does not fit.
        jsonschema_rs.FancyRegexOptions(backtrack_limit=_NO_LIMIT),
    )
    for options in patterns:
        with contextlib.suppress(BaseException):  # Includes panics of the library.
            return jsonschema_rs.validator_for(
                json.loads(schema), retriever=_refuse, pattern_options=options
            )
    return None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema.")


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # Not every system has this limit.
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))


def _limit_time() -> None:
    """Let the system end this process if the next question takes too long."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS_OF_A_QUESTION
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until the input ends."""
    validators = Validators()
    while len(head := questions.read(LENGTHS.size)) == LENGTHS.size:
        schema_bytes, text_bytes = LENGTHS.unpack(head)
        schema, text = questions.read(schema_bytes), questions.read(text_bytes)
        _limit_time()
        answers.write(answer(validators, schema, text))
        answers.flush()


if __name__ == "__main__":
    _limit_memory()
    serve(sys.stdin.buffer, sys.stdout.buffer)
