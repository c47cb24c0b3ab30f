"""Run the emulated AWS: MiniStack on a free local port, isolated from the user's environment."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from local.emulator_corrections import MAX_PROCESSES_VARIABLE
from local.environment import REGION, aws_environment
from local.function_limits import FunctionLimits, limits_of_this_machine
from local.processes import LOOPBACK, LeashedProgram, LocalStackError, answers_ok, free_port

_START_ATTEMPTS = 3
_START_TIMEOUT_SECONDS = 60.0


_MEMORY_THAT_STAYS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
"""Settings of glibc that keep and reuse freed memory instead of returning it to the system: to
get new pages for each object took longer than all other work on large objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorOptions:
    """How an emulator behaves.

    Attributes:
        wait_scale: Factor for the waits and retry intervals of Step Functions.
        check_permissions: Whether the functions may do only what their roles allow.
        limits: How many functions may run, and how many of their processes may live; those that fit
            this machine if not given.
        keeps_memory: Whether memory that held objects is kept for the next ones.
    """

    wait_scale: float
    check_permissions: bool
    limits: FunctionLimits | None = None
    keeps_memory: bool = False


def emulator_environment(port: int, folder: Path, options: EmulatorOptions) -> dict[str, str]:
    """Return MiniStack's environment, which its Lambda workers inherit.

    Args:
        port: Where it listens, on the loopback address only.
        folder: A folder of its own for everything that it writes.
        options: How it behaves.
    """
    limits = options.limits or limits_of_this_machine()
    # No AWS_ENDPOINT_URL: Lambda workers get the emulator's address from the emulator itself.
    environment = aws_environment()
    environment.update(
        AUTH="true" if options.check_permissions else "false",
        BIND_HOST=LOOPBACK,
        GATEWAY_PORT=str(port),
        MINISTACK_REGION=REGION,
        SFN_WAIT_SCALE=str(options.wait_scale),
        # Only one listener, no containers, no persistence, no files of the user.
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LAMBDA_EXECUTOR="local",
        LAMBDA_ACCOUNT_CONCURRENCY=str(limits.concurrent),
        DOCKER_HOST=f"unix://{folder / 'no-docker'}",
        PERSIST_STATE="0",
        S3_PERSIST="0",
        STATE_DIR=str(folder / "state"),
        S3_DATA_DIR=str(folder / "s3"),
        TMPDIR=str(folder),
        HOME=str(folder),
        LOG_LEVEL="INFO",
        **{MAX_PROCESSES_VARIABLE: str(limits.processes)},
        **(_MEMORY_THAT_STAYS if options.keeps_memory else {}),
    )
    return environment


class Emulator(LeashedProgram):
    """A running MiniStack; leaving it ends it with its Lambda workers and removes its files."""

    def __init__(self, log_file: Path, options: EmulatorOptions) -> None:
        """Start it; ``start`` waits until it is ready."""
        self.port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="groq-batch-aws-"))
        super().__init__(
            "The emulator (MiniStack)",
            [sys.executable, "-m", "local.emulator_main"],
            environment=emulator_environment(self.port, folder, options),
            log_file=log_file,
            remove_afterwards=[folder],
        )

    @property
    def endpoint_url(self) -> str:
        """Where the AWS APIs are."""
        return f"http://{LOOPBACK}:{self.port}"

    def wait(self) -> None:
        """Wait until the AWS APIs answer.

        Raises:
            LocalStackError: It ended, or is not ready in time.
        """
        self.wait_until(lambda: answers_ok(self.port, "/_ministack/health"), _START_TIMEOUT_SECONDS)

    @classmethod
    def start(cls, log_file: Path, options: EmulatorOptions) -> Emulator:
        """Start an emulator and wait until it is ready.

        Raises:
            LocalStackError: It does not start; its log's end is in the message.
        """
        for attempt in range(1, _START_ATTEMPTS + 1):
            emulator = cls(log_file, options)
            try:
                emulator.wait()
            except LocalStackError:
                emulator.stop()
                # Another program may have taken the port since it was found free.
                if attempt == _START_ATTEMPTS:
                    raise
            except BaseException:
                emulator.stop()
                raise
            else:
                return emulator
        raise AssertionError("unreachable")  # pragma: no cover
