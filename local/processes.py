"""Start programs that end with this one, and wait until they are ready."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from local.environment import PROJECT_ROOT
from local.leash import GRACE_SECONDS

LOOPBACK = "127.0.0.1"

_LOG_TAIL_LINES = 15


class LocalStackError(Exception):
    """A part of the local stack failed; the message names it and shows the end of its log."""


def free_port() -> int:
    """Return a currently free port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def log_tail(log_file: Path) -> str:
    """Return the last lines of a log, or nothing when there is none."""
    try:
        text = log_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().split("\n")[-_LOG_TAIL_LINES:])


def answers_ok(port: int, path: str, timeout_seconds: float = 1.0) -> bool:
    """Tell whether a local server answers a GET with 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class LeashedProgram:
    """A program in its own process group that ends, with its children, when this one ends."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_file: Path,
        directory: Path | None = None,
        remove_afterwards: Sequence[Path] = (),
    ) -> None:
        """Start the program.

        Args:
            name: What error messages call it.
            command: The program and its arguments.
            environment: Its whole environment.
            log_file: Where its output goes.
            directory: Where it runs; the project's folder when not given.
            remove_afterwards: Folders to remove when it has ended, however it ended.
        """
        self.name = name
        self.log_file = log_file
        options = [part for folder in remove_afterwards for part in ("--remove", str(folder))]
        if directory is not None:
            options += ["--directory", str(directory)]
        try:
            with log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "local.leash", *options, "--", *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=PROJECT_ROOT,
                    env=dict(environment),
                    # The terminal's Ctrl-C must not reach it: this process ends it in order.
                    start_new_session=True,
                )
        except BaseException:
            # Interrupted while starting: a started program finds its owner gone and ends.
            for folder in remove_afterwards:
                shutil.rmtree(folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait until the program is ready.

        Raises:
            LocalStackError: It ended, or is not ready in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if not self.is_running:
                raise LocalStackError(f"{self.name} ended at its start:\n{log_tail(self.log_file)}")
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"{self.name} was not ready after {timeout_seconds:.0f} seconds:\n"
                    f"{log_tail(self.log_file)}"
                )
            time.sleep(0.05)

    def wait_for_end(self, timeout_seconds: float) -> int:
        """Wait until the program ends by itself.

        Returns:
            Its exit status.

        Raises:
            LocalStackError: It has not ended in time.
        """
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise LocalStackError(
                f"{self.name} took over {timeout_seconds:.0f} seconds:\n{log_tail(self.log_file)}"
            ) from None

    def stop(self) -> None:
        """End the program and its children; nothing happens when they have ended."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=GRACE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run_program(
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log_file: Path,
    directory: Path,
    timeout_seconds: float,
) -> None:
    """Run a program to its end; it and its children end early when this process does.

    Args:
        name: What error messages call it.
        command: The program and its arguments.
        environment: Its whole environment.
        log_file: Where its output goes.
        directory: Where it runs.
        timeout_seconds: When it has to have ended.

    Raises:
        LocalStackError: It failed or took too long; the end of its output is in the message.
    """
    with LeashedProgram(
        name, command, environment=environment, log_file=log_file, directory=directory
    ) as program:
        status = program.wait_for_end(timeout_seconds)
    if status != 0:
        raise LocalStackError(f"{name} failed:\n{log_tail(log_file)}")
