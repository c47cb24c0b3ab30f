"""Runs the whole demo."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from groq_batch_cli.terminal import Terminal
from groq_batch_client.errors import GroqBatchError
from local.build import build_application
from local.demo.dotenv import read_dotenv
from local.demo.errors import EXIT_FAILED, DemoError
from local.demo.groq_access import GroqAccess, check_access, find_access
from local.demo.interrupts import Interrupts, drop_output
from local.demo.introduction import introduce
from local.demo.job import Job, deployed
from local.demo.log_folder import LogFolder
from local.demo.presentation import present, shown_path
from local.demo.request_file import RequestFile, Upload, choose_file, hints_removed
from local.demo.results_folder import results_folder
from local.demo.stopping import stop_job
from local.processes import log_tail
from local.stack import DEFAULT_WAIT_SCALE, LocalStack, LocalStackError

SETTINGS_FILE = Path(".env")

_STACK_NAME = "groq-batch-demo"
_SECRET_NAME = "groq/api-key"  # noqa: S105 - where the key is, not what it is
_SAMPLE_REQUESTS_PER_BATCH = "12"
"""Small enough that the sample becomes more than one batch."""

_SIMULATED_BATCH_SECONDS = "3"
_GOOD_ENDS = frozenset({"succeeded", "partial"})


def run(
    arguments: list[str], *, environ: Mapping[str, str], terminal: Terminal, interrupts: Interrupts
) -> int:
    """Run the demo.

    Args:
        arguments: The command line's.
        environ: The environment.
        terminal: Where to write.
        interrupts: Who takes Ctrl-C.

    Returns:
        The exit status.
    """
    try:
        file = choose_file(arguments)
        access = find_access(environ, read_dotenv(SETTINGS_FILE))
        uploading = hints_removed(file) if access else contextlib.nullcontext(Upload(file))
        # Before anything is paid for there is a place for it.
        with uploading as upload, results_folder(file) as results:
            introduce(terminal, file, access, upload)
            if access is not None:
                with step(terminal, "Asking Groq whether this key can run batches"):
                    check_access(access, environ)
            return Session(upload.file, access, results, terminal, interrupts).run()
    except DemoError as error:
        terminal.print()
        terminal.error(str(error))
        return error.exit_status


@contextlib.contextmanager
def step(terminal: Terminal, doing: str) -> Iterator[None]:
    """Say what is done within the ``with`` block, and how long it took."""
    begun = time.monotonic()
    terminal.live([f"{doing} ..."])
    if not terminal.is_live:
        terminal.print(f"{doing} ...")
    yield
    shown = doing if terminal.is_live else " "
    took = f"{time.monotonic() - begun:.1f} s"
    terminal.print(f"{shown} {terminal.styled(took, 'dim')}")


@dataclass(slots=True)
class Session:
    """One job, from the build of the application to the files in the user's folder.

    Attributes:
        file: What to upload.
        access: The real Groq API; None for the simulator.
        results: Folder for what the job delivers.
        terminal: Where to write.
        interrupts: Who takes Ctrl-C.
    """

    file: RequestFile
    access: GroqAccess | None
    results: Path
    terminal: Terminal
    interrupts: Interrupts

    def run(self) -> int:
        """Run it; returns the exit status."""
        with LogFolder() as logs:
            try:
                return self._run(logs)
            except (LocalStackError, GroqBatchError) as error:
                return self._fail(str(error), logs)
            except (BotoCoreError, ClientError) as error:
                tail = log_tail(logs.path / "emulator.log")
                return self._fail(f"The emulated AWS does not work: {error}\n{tail}", logs)
            except BrokenPipeError:
                raise
            except OSError as error:
                return self._fail(f"A file cannot be read or written: {error}", logs)

    def _run(self, logs: LogFolder) -> int:
        with step(self.terminal, "Building the application (sam build)"):
            build = build_application(log_file=logs.path / "sam-build.log")
        with contextlib.ExitStack() as resources:
            with step(self.terminal, "Starting the emulated AWS"):
                stack = resources.enter_context(self._local_stack(logs.path))
            # Always do this first at the end, because the rest takes a moment.
            resources.callback(self.interrupts.end)
            with step(self.terminal, "Deploying the template (sam deploy)"):
                stack.use_build(build)
                self._deploy(stack)
            return self.run_job(Job(deployed(stack, _STACK_NAME), self.file), logs)

    def _local_stack(self, log_dir: Path) -> LocalStack:
        if self.access is None:
            arguments = ("--batch-seconds", _SIMULATED_BATCH_SECONDS)
            return LocalStack(
                wait_scale=DEFAULT_WAIT_SCALE, simulator_arguments=arguments, log_dir=log_dir
            )
        # In real time, so that the real API is not polled fifty times as often.
        return LocalStack(wait_scale=1.0, groq_url=self.access.base_url, log_dir=log_dir)

    def _deploy(self, stack: LocalStack) -> None:
        key = self.access.key if self.access else stack.groq_api_key
        stack.put_secret(_SECRET_NAME, key)
        parameters = {"GroqApiKeySecretName": _SECRET_NAME, "GroqBaseUrl": stack.groq_base_url}
        if self.access is None and self.file.is_sample:
            parameters["MaxRequestsPerBatch"] = _SAMPLE_REQUESTS_PER_BATCH
        stack.deploy(_STACK_NAME, parameters)

    # -- the job ---------------------------------------------------------------------------------

    def run_job(self, job: Job, logs: LogFolder) -> int:
        """Upload the file and show its job to the end; returns the exit status."""
        try:
            job.upload()
            self.terminal.print(f"Uploaded to {job.input_url}")
            job.follow(self.terminal)
        except BaseException as error:
            if isinstance(error, BrokenPipeError):
                drop_output()
            if self.access is not None:
                self._stop(job, self.access)
            if isinstance(error, LocalStackError):
                self._save_function_logs(job, logs)
            raise
        self._show(job)
        status = job.found.status
        if status == "failed":
            self._save_function_logs(job, logs)
            logs.keep()
            self._say_where_logs_are(logs)
        return 0 if status in _GOOD_ENDS else EXIT_FAILED

    def _stop(self, job: Job, access: GroqAccess) -> None:
        """Cancel everything at Groq, and keep the answers received so far."""
        if stop_job(job, access, terminal=self.terminal, interrupts=self.interrupts):
            self._show(job)

    def _show(self, job: Job) -> None:
        files = job.fetch(self.results, self.terminal)
        present(self.terminal, job.stack.storage, job.found, files)

    @staticmethod
    def _save_function_logs(job: Job, logs: LogFolder) -> None:
        with contextlib.suppress(BotoCoreError, ClientError):
            job.save_function_logs(logs.path / "functions.log")

    # -- when it does not work -------------------------------------------------------------------

    def _fail(self, message: str, logs: LogFolder) -> int:
        logs.keep()
        self.terminal.print()
        self.terminal.error(message)
        self._say_where_logs_are(logs)
        return EXIT_FAILED

    def _say_where_logs_are(self, logs: LogFolder) -> None:
        self.terminal.print()
        self.terminal.print(f"The logs are in {shown_path(logs.path)}")
