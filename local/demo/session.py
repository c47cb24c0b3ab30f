"""Runs the whole demo."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local.build import build_application
from local.demo.console import Console
from local.demo.dotenv import read_dotenv
from local.demo.errors import EXIT_FAILED, DemoError
from local.demo.groq_access import GroqAccess, check_access, find_access
from local.demo.interrupts import Interrupts
from local.demo.introduction import introduce
from local.demo.job import Job, is_final
from local.demo.log_folder import LogFolder
from local.demo.presentation import present, shown_path
from local.demo.progress import Report, news, progress_text
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
_LOOK_SECONDS = 0.3
_GOOD_ENDS = frozenset({"succeeded", "partial"})


def run(
    arguments: list[str], *, environ: Mapping[str, str], console: Console, interrupts: Interrupts
) -> int:
    """Run the demo.

    Args:
        arguments: The command line's.
        environ: The environment.
        console: Where to write.
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
            introduce(console, file, access, upload)
            if access is not None:
                with console.step("Asking Groq whether this key can run batches"):
                    check_access(access, environ)
            return Session(upload.file, access, results, console, interrupts).run()
    except DemoError as error:
        console.error(str(error))
        return error.exit_status


@dataclass(slots=True)
class Session:
    """One job, from the build of the application to the files in the user's folder.

    Attributes:
        file: What to upload.
        access: The real Groq API; None for the simulator.
        results: Folder for what the job delivers.
        console: Where to write.
        interrupts: Who takes Ctrl-C.
    """

    file: RequestFile
    access: GroqAccess | None
    results: Path
    console: Console
    interrupts: Interrupts

    def run(self) -> int:
        """Run it; returns the exit status."""
        with LogFolder() as logs:
            try:
                return self._run(logs)
            except LocalStackError as error:
                return self._fail(str(error), logs)
            except (BotoCoreError, ClientError) as error:
                tail = log_tail(logs.path / "emulator.log")
                return self._fail(f"The emulated AWS does not work: {error}\n{tail}", logs)
            except OSError as error:
                return self._fail(f"A file cannot be read or written: {error}", logs)

    def _run(self, logs: LogFolder) -> int:
        step = self.console.step
        with step("Building the application (sam build)"):
            build = build_application(log_file=logs.path / "sam-build.log")
        with contextlib.ExitStack() as resources:
            with step("Starting the emulated AWS"):
                stack = resources.enter_context(self._local_stack(logs.path))
            # Always do this first at the end, because the rest takes a moment.
            resources.callback(self.interrupts.end)
            with step("Deploying the template (sam deploy)"):
                stack.use_build(build)
                outputs = self._deploy(stack)
            return self.run_job(Job(stack, _STACK_NAME, outputs, self.file), logs)

    def _local_stack(self, log_dir: Path) -> LocalStack:
        if self.access is None:
            arguments = ("--batch-seconds", _SIMULATED_BATCH_SECONDS)
            return LocalStack(
                wait_scale=DEFAULT_WAIT_SCALE, simulator_arguments=arguments, log_dir=log_dir
            )
        # In real time, so that the real API is not polled fifty times as often.
        return LocalStack(wait_scale=1.0, groq_url=self.access.base_url, log_dir=log_dir)

    def _deploy(self, stack: LocalStack) -> dict[str, str]:
        key = self.access.key if self.access else stack.groq_api_key
        stack.put_secret(_SECRET_NAME, key)
        parameters = {"GroqApiKeySecretName": _SECRET_NAME, "GroqBaseUrl": stack.groq_base_url}
        if self.access is None and self.file.is_sample:
            parameters["MaxRequestsPerBatch"] = _SAMPLE_REQUESTS_PER_BATCH
        return stack.deploy(_STACK_NAME, parameters)

    # -- the job ---------------------------------------------------------------------------------

    def run_job(self, job: Job, logs: LogFolder) -> int:
        """Upload the file and show its job to the end; returns the exit status."""
        try:
            job.upload()
            self.console.line(f"Uploaded to {job.input_url}")
            self.console.line()
            report = self._watch(job)
        except BaseException as error:
            if self.access is not None:
                self._stop(job, self.access)
            if isinstance(error, LocalStackError):
                self._save_function_logs(job, logs)
            raise
        self._show(job, report)
        if report["status"] == "failed":
            self._save_function_logs(job, logs)
            logs.keep()
            self._say_where_logs_are(logs)
        return 0 if report["status"] in _GOOD_ENDS else EXIT_FAILED

    def _watch(self, job: Job) -> Report:
        """Show the progress of the job until its end; return its final report.

        Raises:
            LocalStackError: It will never end.
        """
        begun = time.monotonic()
        seen: Report | None = None
        while True:
            report = job.report()
            seconds = time.monotonic() - begun
            for sentence in news(seen, report):
                self.console.news(sentence, seconds)
            if report is not None and is_final(report):
                return report
            self.console.progress(
                progress_text(report, unicode=self.console.speaks_unicode), seconds
            )
            trouble = job.trouble(report)
            if trouble is not None:
                raise LocalStackError(trouble)
            seen = report
            time.sleep(_LOOK_SECONDS)

    def _stop(self, job: Job, access: GroqAccess) -> None:
        """Cancel everything at Groq, and keep the answers received so far."""
        report = stop_job(job, access, console=self.console, interrupts=self.interrupts)
        if report is not None:
            self._show(job, report)

    def _show(self, job: Job, report: Report) -> None:
        delivered = job.fetch(report, self.results)
        present(self.console, report, delivered, is_simulated=self.access is None)

    @staticmethod
    def _save_function_logs(job: Job, logs: LogFolder) -> None:
        with contextlib.suppress(BotoCoreError, ClientError):
            job.save_function_logs(logs.path / "functions.log")

    # -- when it does not work -------------------------------------------------------------------

    def _fail(self, message: str, logs: LogFolder) -> int:
        logs.keep()
        self.console.error(message)
        self._say_where_logs_are(logs)
        return EXIT_FAILED

    def _say_where_logs_are(self, logs: LogFolder) -> None:
        self.console.line()
        self.console.line(f"The logs are in {shown_path(logs.path)}")
