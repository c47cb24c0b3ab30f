"""Run the emulated stack; this is the server process of ``groq-batch local up``.

Run it from a clone of the project with its tools: ``python -m groq_batch_cli.local_server``. It
writes its progress to the state file. On SIGTERM it stops, and stops everything that it started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from groq_batch_cli.local_choice import folder_to_start
from groq_batch_cli.local_registry import Registry
from groq_batch_cli.local_state import FAILED, STARTING, LocalFolder, LocalState

_SECRET_NAME = "groq/api-key"  # noqa: S105 - where the key is, not what it is


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack-name", required=True)
    parser.add_argument("--batch-seconds", default="5")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    folder = folder_to_start()
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    # Closing the terminal must not stop the stack.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with folder.locked(), _registered(folder):
        try:
            _serve(folder, options, stopped)
        except SystemExit:
            folder.forget()
            return 0
        except Exception as error:  # noqa: BLE001 - the waiting command must report any error
            folder.write(FAILED, message=str(error) or type(error).__name__)
            return 1
    return 0


@contextlib.contextmanager
def _registered(folder: LocalFolder) -> Iterator[None]:
    """Let commands in other folders find the stack within a ``with`` block."""
    registry = Registry()
    try:
        registry.add(folder)
    except OSError as error:
        # Goes to the log. Commands in the clone itself still find the stack.
        print(f"Other folders cannot find this stack: {error}", file=sys.stderr)  # noqa: T201
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            registry.remove(folder)


def _serve(folder: LocalFolder, options: argparse.Namespace, stopped: threading.Event) -> None:
    # These tools exist only in a clone, not in the installed command line.
    from local.build import build_application  # noqa: PLC0415
    from local.environment import ROOT_ACCESS_KEY, ROOT_SECRET_KEY  # noqa: PLC0415
    from local.stack import LocalStack  # noqa: PLC0415

    begun = time.time()
    folder.write(STARTING, step="Building the application (sam build)", pid=os.getpid())
    build = build_application(log_file=folder.logs / "sam-build.log")
    folder.write(STARTING, step="Starting the emulated AWS", pid=os.getpid())
    stack = LocalStack(
        simulator_arguments=("--batch-seconds", options.batch_seconds), log_dir=folder.logs
    )
    with stack:
        folder.write(STARTING, step="Deploying the template (sam deploy)", pid=os.getpid())
        stack.use_build(build)
        stack.put_secret(_SECRET_NAME, stack.groq_api_key)
        outputs = stack.deploy(options.stack_name, _parameters(stack, options.parameter))
        folder.write_ready(
            LocalState(
                pid=os.getpid(),
                endpoint_url=stack.endpoint_url,
                region=stack.region,
                stack_name=options.stack_name,
                access_key=ROOT_ACCESS_KEY,
                secret_key=ROOT_SECRET_KEY,
                bucket=outputs["BucketName"],
                groq_base_url=stack.groq_base_url,
                started_at=begun,
                log_folder=str(folder.logs),
                parameters=stack.parameters(options.stack_name),
                batch_seconds=float(options.batch_seconds),
                groq_api_key=stack.groq_api_key,
            )
        )
        stopped.wait()


def _parameters(stack: Any, given: list[str]) -> dict[str, str]:
    """Return the template parameters; those of the user come last and win."""
    parameters = {"GroqApiKeySecretName": _SECRET_NAME, "GroqBaseUrl": stack.groq_base_url}
    parameters.update(one.partition("=")[::2] for one in given)
    return parameters


if __name__ == "__main__":
    sys.exit(main())
