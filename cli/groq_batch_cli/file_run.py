"""Run request files: check and upload them, follow their jobs, fetch the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import ClientError

from groq_batch.domain import object_keys
from groq_batch.domain.job_options import JobOptions
from groq_batch_cli.aws import Stack
from groq_batch_cli.check_report import problem_lines
from groq_batch_cli.ending import end
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.file_check import FileCheck, check_file
from groq_batch_cli.job_progress import Follower, leave
from groq_batch_cli.prices import price
from groq_batch_cli.progress_bar import ByteProgress
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.upload_waits import reason_to_wait
from groq_batch_client.aws_errors import explain
from groq_batch_client.errors import GroqBatchError
from groq_batch_client.file_errors import file_sentence
from groq_batch_client.follow import Followed
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_view import GOOD, headline, is_final
from groq_batch_client.request_files import RequestFile
from groq_batch_client.text import batches, counted, dollars, one_line
from groq_batch_client.uploads import standing_upload, start_by_hand, upload


def results_folder(file: RequestFile, out: Path) -> Path:
    """Return the folder for the results of a file; subfolders are repeated below ``out``."""
    return out / Path(file.name).parent


@dataclass(slots=True)
class FileRun:
    """One run of some files.

    Attributes:
        stack: The stack.
        terminal: Where to write.
        say: Writes a line of the result.
        out: Folder for the results.
        unfetched: The files whose job has ended and whose results could not be fetched.
        has_looked_again: Whether the stack was read again since the uploads.
        folders: Folders for the results of each file, by its name.
    """

    stack: Stack
    terminal: Terminal
    say: Callable[[str], None]
    out: Path
    unfetched: list[str] = field(default_factory=list)
    has_looked_again: bool = False
    folders: dict[str, Path] = field(default_factory=dict)

    def check(
        self, plan: Sequence[tuple[RequestFile, str]], options: JobOptions
    ) -> list[FileCheck] | None:
        """Check all files; return None if the pipeline would reject one."""
        surveys = []
        for file, key in plan:
            with ByteProgress(self.terminal, f"Checking {file.shown}", file.size) as progress:
                found = check_file(
                    file,
                    limits=self.stack.limits,
                    max_cost_usd=options.max_job_cost_usd,
                    stack_cap_usd=self.stack.default_options.max_job_cost_usd,
                    key=key,
                    with_digest=True,
                    progress=progress.add,
                )
            for line in problem_lines(found, self.terminal, with_source=self.terminal.is_live):
                self.say(line)
            surveys.append(found)
            if found.passes(skip_invalid=options.skip_invalid_lines):
                self.say(_checked(found))
        bad = [
            found for found in surveys if not found.passes(skip_invalid=options.skip_invalid_lines)
        ]
        if not bad:
            return surveys
        skips = options.skip_invalid_lines
        self.terminal.error(f"Nothing was uploaded.{_advice(bad, of=len(plan), skips=skips)}")
        return None

    def begin(
        self, found: FileCheck, key: str, metadata: dict[str, str], *, again: bool
    ) -> Followed:
        """Upload a file, unless the bucket has it already; return its job."""
        storage = self.stack.storage
        name = one_line(found.file.name)
        self.folders[name] = results_folder(found.file, self.out)
        standing = standing_upload(storage, key)
        if standing is not None and standing.digest == found.digest and not again:
            job = standing.job
            if standing.is_worth_keeping:
                self.terminal.note(f"{name} {_standing(job, key)}: --again")
                return Followed(name, job)
        if standing is not None:
            self._warn_of_running(standing.job)
        with ByteProgress(self.terminal, f"Uploading {name}", found.bytes) as progress:
            uploaded = upload(
                storage,
                found.file,
                key,
                metadata=metadata,
                digest=found.digest,
                progress=progress.add,
            )
        return Followed(name, FoundJob(path=uploaded.path, job_id=uploaded.job_id))

    def _warn_of_running(self, job: FoundJob) -> None:
        """Warn if this upload replaces a job that is still running."""
        if job.job_id is None or is_final(job.report):
            return
        so_far = f" ({headline(job.report)})" if job.report is not None else ""
        aside = object_keys.superseded_path(job.job_id, job.path)
        self.terminal.warn(
            f"An earlier upload of {one_line(job.path)} is still running, as {job.job_id}"
            f"{so_far}. This one replaces it; the results of the earlier one will be in "
            f"output/{one_line(aside)}. To stop it: "
            f"{self.stack.target.command('cancel', job.job_id)}"
        )

    def start(self, jobs: Sequence[Followed]) -> None:
        """Start the jobs now, without waiting for the upload event or the schedule."""
        for one in jobs:
            if one.report is None:
                start_by_hand(self.stack, f"input/{one.job.path}")

    def tell_where(self, jobs: Sequence[Followed]) -> None:
        """Print the commands that follow the jobs and fetch their results."""
        for one in jobs:
            self.say(f"{one.name}: uploaded as {self.stack.storage.url('input/' + one.job.path)}")
            self.say(f"  follow it: {self.stack.target.command('status', one.job.path, '--watch')}")
            self.say(f"  fetch its results: {self._fetch(one)}")

    def _fetch(self, one: Followed) -> str:
        """Return the command that fetches the results of a job after its end."""
        folder = self.folders[one.name]
        out = [] if folder == Path() else ["--out", str(folder)]
        return self.stack.target.command("results", one.job.path, *out)

    def tell_wait(self, jobs: Sequence[Followed], *, is_started: bool) -> None:
        """Tell the user if the stack does not start uploads at once.

        Args:
            jobs: The jobs.
            is_started: Whether this command starts them itself.
        """
        reason = reason_to_wait(self.stack)
        if reason is None or all(one.report is not None for one in jobs):
            return
        if not is_started:
            self.terminal.note(f"{reason} --now starts them at once.")
        elif self.stack.is_paused:
            self.terminal.note(
                f"The stack {self.stack.name} is paused; --now starts the jobs anyway."
            )

    def follow(self, jobs: Sequence[Followed], *, as_json: bool) -> int:
        """Follow the jobs until all have ended; return the exit status."""
        # If uploads wait on purpose, no event is missing.
        waits = reason_to_wait(self.stack) is not None
        follower = Follower(
            self.stack.storage,
            self.terminal,
            on_silence=None if waits else self._start_silent,
        )
        try:
            follower.follow(jobs, self._end)
        except KeyboardInterrupt:
            return leave(self.terminal, self.stack.target, jobs, fetch=self._fetch)
        except ClientError:
            # For example, the credentials have expired. The jobs don't need them.
            leave(self.terminal, self.stack.target, jobs, fetch=self._fetch)
            raise
        if as_json:
            for one in jobs:
                self.terminal.print(json.dumps(one.report, ensure_ascii=False))
        good = all(one.report is not None and one.report["status"] == GOOD for one in jobs)
        return EXIT_FINE if good and not self.unfetched else EXIT_PROBLEM

    def _end(self, one: Followed) -> None:
        folder = self.folders[one.name]
        try:
            end(self.stack, one.job, one.name, folder, self.terminal, self.say)
        except (GroqBatchError, OSError) as error:
            # Continue with the other jobs and their results.
            self.unfetched.append(one.name)
            said = file_sentence(error) if isinstance(error, OSError) else str(error)
            self.terminal.error(f"{one.name}: {said} Fetch its results again: {self._fetch(one)}")

    def _start_silent(self, one: Followed) -> None:
        """Start the job of an upload whose event is missing, unless uploads now wait on purpose."""
        if not self.has_looked_again:
            self.has_looked_again = True
            self.stack.look_again()
            self.tell_wait([one], is_started=False)
        if reason_to_wait(self.stack) is not None:
            return
        try:
            start_by_hand(self.stack, f"input/{one.job.path}")
        except (GroqBatchError, ClientError) as error:
            self.terminal.warn(
                f"The upload of {one.name} has not started a job yet. {explain(error) or error}"
            )
        else:
            self.terminal.note(
                f"S3 sent no event for {one.name}, as happens in the first minutes of a new "
                f"bucket, so this command started the job."
            )


def _standing(job: FoundJob, key: str) -> str:
    """Return what has come of an upload that the bucket has already, and what ``--again`` does."""
    if job.job_id is None:
        waits = f"is uploaded already, as {key}, and its job has not started"
        return f"{waits}. To upload it once more, and pay twice"
    state = "has run" if is_final(job.report) else "is running"
    return f"{state} already, as {job.job_id}. To run it again, and pay again"


def _advice(bad: Sequence[FileCheck], *, of: int, skips: bool) -> str:
    """Return what to do about rejected files; their problems have been printed before.

    Args:
        bad: The rejected files.
        of: The number of all files.
        skips: Whether invalid lines are skipped.
    """
    if all(found.passes(skip_invalid=True) for found in bad):
        files = "file" if of == 1 else "files"
        return f" Repair the {files}, or run the good lines only: --skip-invalid"
    if any((found.invalid and not skips) or not found.good for found in bad):
        return f" Repair the {'file' if of == 1 else 'files'}."
    return ""


def _checked(found: FileCheck) -> str:
    cost = price(found.models).batch
    costs = f", estimated {dollars(cost)}" if cost is not None else ""
    skipped = f" ({counted(found.invalid, 'bad line')} skipped)" if found.invalid else ""
    return (
        f"{one_line(found.file.shown)}: {counted(found.good, 'request')}{skipped}, "
        f"{batches(found.shards)}{costs}"
    )
