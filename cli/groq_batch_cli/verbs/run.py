"""``groq-batch run``: check and upload files, follow their jobs, fetch the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from groq_batch.domain import object_keys
from groq_batch_cli import uploads
from groq_batch_cli.aws import Target, connect
from groq_batch_cli.bucket_folders import check_upload_key
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.file_run import FileRun, results_folder
from groq_batch_cli.options import (
    json_option,
    out_folder_option,
    request_files_argument,
    stack_options,
    upload_options,
)
from groq_batch_cli.output_guard import check_folder, identity
from groq_batch_cli.terminal import Terminal
from groq_batch_client.found_jobs import FoundJob
from groq_batch_client.job_files import targets
from groq_batch_client.request_files import RequestFile


@click.command()
@request_files_argument(stdin=False)
@click.option(
    "--to",
    metavar="PREFIX",
    help="Folder below input/, such as team/; for one file also its whole path, with .jsonl.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    help="Follow the jobs and fetch their results.  [default: wait]",
)
@out_folder_option
@upload_options()
@click.option("--now", is_flag=True, help="Start the jobs now instead of on the stack's schedule.")
@click.option(
    "--again", is_flag=True, help="Run files again, and pay again, even if they have answers."
)
@json_option
@stack_options
@click.pass_obj
def command(
    terminal: Terminal,
    files: tuple[RequestFile, ...],
    to: str | None,
    wait: bool,
    out: Path,
    metadata: dict[str, str],
    now: bool,
    again: bool,
    as_json: bool,
    target: Target,
) -> int:
    """Check, upload and follow request files, then fetch the results.

    FILE is a request file (.jsonl, .jsonl.gz) or a folder. For a folder, all request files below it
    run, except hidden ones, and keep their subfolders in the bucket and below --out. Nothing is
    uploaded unless every file passes the checks. A file that is running or already has answers does
    not run again, so you do not pay twice: the command follows its job and fetches its results.
    Ctrl-C leaves the jobs running.

    \b
    Exit status: 0 if every request of every file was answered (with --no-wait: if all
    files are uploaded), 1 if not, 2 for a usage error, 130 after Ctrl-C.

    \b
    Examples:
      groq-batch run requests.jsonl
      groq-batch run part-*.jsonl --to 2026/june --window 7d --out results
      groq-batch run requests/ --to team --out results
      groq-batch run requests.jsonl --no-wait --max-cost 5
    """
    keys = _keys(files, to)
    if wait:
        _check_results(files, keys, out)
        check_folder(out)
    stack = connect(target)
    options = uploads.options_in_force(stack, metadata)
    say = terminal.note if as_json else terminal.print
    running = FileRun(stack, terminal, say, out)
    plan = [(file, key) for file, key in zip(files, keys, strict=True)]
    surveys = running.check(plan, options)
    if surveys is None:
        return EXIT_PROBLEM
    jobs = [
        running.begin(found, key, metadata, again=again)
        for found, key in zip(surveys, keys, strict=True)
    ]
    running.tell_wait(jobs, is_started=now)
    if now:
        running.start(jobs)
    if not wait:
        running.tell_where(jobs)
        return EXIT_FINE
    return running.follow(jobs, as_json=as_json)


def _keys(files: Sequence[RequestFile], to: str | None) -> list[str]:
    """Return the object key of each file.

    Raises:
        UsageError: Two files would get the same key, or ``to`` is not a folder for uploads.
    """
    keys = [uploads.input_key(file, to) for file in files]
    for place, key in enumerate(keys):
        if to is not None:
            check_upload_key(key, to)
        if key in keys[:place]:
            raise click.UsageError(
                f"{files[keys.index(key)].shown} and {files[place].shown} would both be uploaded "
                f"to {key}. Run them one by one, each with its own --to."
            )
    return keys


def _check_results(files: Sequence[RequestFile], keys: Sequence[str], out: Path) -> None:
    """Check that results would not overwrite an input file or the results of another file.

    Raises:
        UsageError: They would overwrite one.
    """
    written: dict[Path, RequestFile] = {}
    read = {identity(Path(file.argument)): file for file in files}
    for file, key in zip(files, keys, strict=True):
        job = FoundJob(path=object_keys.input_path(key), job_id=None)
        for target in targets(job, results_folder(file, out)).values():
            first = written.setdefault(target, file)
            if first is not file:
                raise click.UsageError(
                    f"{target} would hold results of {first.shown} and of {file.shown}. Run them "
                    f"one by one, each with its own --out."
                )
            found = identity(target)
            if found is not None and found in read:
                raise click.UsageError(
                    f"{target}, a result of {file.shown}, would overwrite {read[found].shown}, "
                    f"which runs too. Give another folder with --out."
                )
