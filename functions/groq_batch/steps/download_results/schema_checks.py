"""Validate answers against their JSON schemas in a separate, expendable process.

That process limits what one schema can consume (see ``schema_process``). This module limits what
all schemas together can cost the collection of a shard.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Self

from groq_batch.steps.download_results import schema_process
from groq_batch.telemetry.log import logger

LARGEST_SCHEMA_BYTES = 1024**2
"""A larger schema is not compiled, because it would take more than 80 MB of memory."""
MAX_LOST = 3
"""Number of processes that may crash or time out before validation is given up."""
MAX_SECONDS = 240.0
"""Seconds that a shard may spend waiting for validation; a function has 840 seconds per shard."""
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""Environment variables passed to the process: where Python is, and no credentials."""


class SchemaChecks:
    """Validates answers against their schemas; use it in a ``with`` block.

    Attributes:
        unknown: Number of answers that could not be validated.
    """

    def __init__(self, *, command: Sequence[str] | None = None) -> None:
        """Prepare the checks; the process is started with the first question.

        Args:
            command: The program to start instead of ``schema_process``.
        """
        module = schema_process.__name__
        self._command = command or [sys.executable, "-m", module]
        self._process: subprocess.Popen[bytes] | None = None
        self._lost: set[bytes] = set()
        self._seconds = 0.0
        self.unknown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        if self.unknown:
            # The log must not contain parts of schemas or answers.
            logger.warning(
                "Answers could not be checked against their schemas and count as valid",
                answers=self.unknown,
                processes_lost=len(self._lost),
                seconds=round(self._seconds, 1),
            )

    def breaks_schema(self, schema: bytes, texts: Sequence[str]) -> bool:
        """Tell whether one of some JSON texts violates a schema.

        If that cannot be determined, because the validator rejects a schema that the API accepted,
        or does not finish, the answer counts as valid.
        """
        replies = [self._ask(schema, text.encode("utf-8", "replace")) for text in texts]
        if schema_process.BREAKS in replies:
            return True
        self.unknown += schema_process.UNKNOWN in replies
        return False

    def _ask(self, schema: bytes, text: bytes) -> bytes:
        name = hashlib.blake2b(schema, digest_size=16).digest()
        if (
            len(schema) > LARGEST_SCHEMA_BYTES
            or name in self._lost
            or len(self._lost) >= MAX_LOST
            or self._seconds > MAX_SECONDS
        ):
            return schema_process.UNKNOWN
        begun = time.monotonic()
        try:
            return self._exchange(schema, text)
        except OSError:
            self._lost.add(name)
            self._end()
            return schema_process.UNKNOWN
        finally:
            self._seconds += time.monotonic() - begun

    def _exchange(self, schema: bytes, text: bytes) -> bytes:
        """Send one question to the process and return its answer.

        Raises:
            OSError: The process has ended or cannot be started.
        """
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise BrokenPipeError
        process.stdin.write(schema_process.LENGTHS.pack(len(schema), len(text)) + schema + text)
        process.stdin.flush()
        reply = process.stdout.read(1)
        if not reply:
            raise BrokenPipeError
        return reply

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(  # noqa: S603 - this Python, with one of our own modules
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # Closing flushes the rest of the output, which has no reader any more.
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()
