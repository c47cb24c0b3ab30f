"""The program that holds answers against JSON schemas, in a process of its own.

A schema comes from whoever uploads, and its validation may take for ever, or all memory. Here it
can take neither: the process has little of both, and ends when it wants more. It has no
credentials, and nothing is ever fetched for a schema. ``schema_checks`` starts it and talks to it.

Questions come on standard input: the lengths of a schema and of a text, then both. For each, one
byte goes to standard output: whether the text fits, or that the schema, or the text, is such that
nobody can tell.
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
"""What one question may take, beside the second that is begun; usual ones take microseconds."""
_MOST_MEMORY_BYTES = 1024**3
_NO_LIMIT = sys.maxsize
_MOST_KEPT = 64
_MOST_KEPT_BYTES = 2 * 1024**2
"""Sizes of the schemas that are kept compiled; compiled, they take some eighty times as much."""


class Validators:
    """Compiled schemas, the latest used ones; None stands for one that cannot be compiled."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[int, Any]] = OrderedDict()

    def of(self, schema: bytes) -> Any:
        """Return the validator of a schema, or None."""
        name = hashlib.blake2b(schema, digest_size=16).digest()
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name][1]
        validator = _compiled(schema)
        self._kept[name] = (len(schema), validator)
        while len(self._kept) > _MOST_KEPT or (
            len(self._kept) > 1 and sum(size for size, _ in self._kept.values()) > _MOST_KEPT_BYTES
        ):
            self._kept.popitem(last=False)
        return validator


def answer(validators: Validators, schema: bytes, text: bytes) -> bytes:
    """Answer one question."""
    validator = validators.of(schema)
    if validator is None:
        return UNKNOWN
    try:
        return FITS if validator.is_valid(parse_json(text.decode())) else BREAKS
    except BaseException:  # noqa: BLE001
        # Also what the library panics with. Whatever it is, nobody can tell whether it fits.
        return UNKNOWN


def _compiled(schema: bytes) -> Any:
    import jsonschema_rs  # noqa: PLC0415 - not for who imports this to talk to the process

    patterns = (
        # Takes time in proportion to the text, whatever the pattern; but not every pattern.
        jsonschema_rs.RegexOptions(),
        # Takes those that look ahead or behind, and may take for ever: a limit of its own would
        # make a text that reaches it one that does not fit.
        jsonschema_rs.FancyRegexOptions(backtrack_limit=_NO_LIMIT),
    )
    for options in patterns:
        with contextlib.suppress(BaseException):  # Also what the library panics with.
            return jsonschema_rs.validator_for(
                json.loads(schema), retriever=_refuse, pattern_options=options
            )
    return None


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema.")


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # Not every system has this limit.
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))


def _limit_time() -> None:
    """Let the system end this process when the next question takes too long."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 1 + CPU_SECONDS_OF_A_QUESTION
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, most))


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until there are no more."""
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
