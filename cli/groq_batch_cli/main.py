"""Run ``groq-batch``: load the command that was asked for, and print errors as sentences.

A command's module is imported only when that command runs, and boto3 only by commands that need
AWS, so that ``groq-batch --help`` and ``groq-batch check`` start at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from groq_batch import __version__
from groq_batch_cli.errors import EXIT_INTERRUPTED, EXIT_PROBLEM, exit_status
from groq_batch_cli.suggestions import SuggestingGroup
from groq_batch_cli.terminal import Terminal
from groq_batch_client.errors import GroqBatchError
from groq_batch_client.file_errors import file_sentence

VERBS: dict[str, str] = {
    "make": "Build a request file from rows (JSONL, CSV, TSV, Parquet).",
    "check": "Check request files offline and estimate their cost.",
    "run": "Check, upload and follow request files, then fetch the results.",
    "start": "Start a job for a file that is already in the bucket.",
    "jobs": "List jobs, newest first.",
    "status": "Show the progress or the outcome of a job.",
    "results": "Fetch the results of jobs that have ended.",
    "open": "Open the report of a job, or of all jobs, in the browser.",
    "usage": "Show the tokens and the cost of the jobs of a stack.",
    "join": "Join the answers to the original rows.",
    "cancel": "Cancel jobs; answers received so far are kept.",
    "retry": "Rerun the failed requests of a job and merge the results.",
    "merge": "Merge the results of retries into the original results.",
    "logs": "Show the log lines of a job.",
    "doctor": "Check whether a stack can run jobs, and suggest fixes.",
    "local": "Run an emulated stack on this machine.",
    "completion": "Print a shell completion script.",
}
"""The commands with their one-line help, in display order."""


class _Verbs(SuggestingGroup):
    """Load each command from its own module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return load_verb(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command to get the first line of its help.
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def load_verb(name: str) -> click.Command:
    """Import a command by its name."""
    command = importlib.import_module(f"groq_batch_cli.verbs.{name}").command
    if not isinstance(command, click.Command):
        raise TypeError(f"{name} is not a command")
    return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="groq-batch", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run files of LLM requests through Groq's Batch API, on a stack in your AWS account.

    The help of each command has examples: groq-batch run --help
    """
    ctx.obj = Terminal.of_process()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    try:
        status = cli.main(args=arguments, prog_name="groq-batch", standalone_mode=False)
    except click.exceptions.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except GroqBatchError as error:
        Terminal.of_process().error(str(error))
        return exit_status(error)
    except Exception as error:
        sentence = _explain(error)
        if sentence is None:
            raise
        Terminal.of_process().error(sentence)
        return EXIT_PROBLEM
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> str | None:
    """Return the message for an AWS error or a local file error; None for any other error."""
    # If botocore was never imported, no AWS call can have failed; don't import it now.
    if "botocore" in sys.modules:
        explain: Any = importlib.import_module("groq_batch_client.aws_errors").explain
        sentence: str | None = explain(error)
        if sentence is not None:
            return sentence
    if isinstance(error, OSError) and error.strerror is not None:
        return file_sentence(error)
    return None
