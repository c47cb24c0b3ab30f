"""``groq-batch``: finds the verb, runs it, and turns what went wrong into a sentence.

A verb's module is imported only when the verb is used, and boto3 only by verbs that need AWS, so
that ``groq-batch --help`` and ``groq-batch check`` start at once.
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

VERBS: dict[str, str] = {
    "make": "Turn rows (JSONL, CSV, TSV, Parquet) into a file of requests.",
    "check": "Check files of requests offline, and estimate their cost.",
    "run": "Check, upload and follow files; fetch their results.",
    "start": "Start a job of a file that is in the bucket already.",
    "jobs": "List jobs, the newest first.",
    "status": "Show how far a job is, or how it ended.",
    "results": "Fetch the results of jobs that have ended.",
    "open": "Open the report of a job, or of all jobs, in the browser.",
    "usage": "Show what the jobs of a stack have used and cost.",
    "join": "Put the answers back beside the rows.",
    "cancel": "Stop jobs; what was answered until then is kept.",
    "retry": "Run again what has failed, and merge the results.",
    "merge": "Put the results of retries into the original results.",
    "logs": "Show what the functions have logged about a job.",
    "doctor": "Look whether a stack can run jobs, and say what to do.",
    "local": "Keep an emulated stack running on this machine.",
    "completion": "Print the script that completes commands in a shell.",
}
"""The verbs with their one-line helps, in the order in which they are shown."""


class _Verbs(SuggestingGroup):
    """The verbs, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        return load_verb(cmd_name) if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every verb for the first line of its help.
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def load_verb(name: str) -> click.Command:
    """Import the command of a verb."""
    command = importlib.import_module(f"groq_batch_cli.verbs.{name}").command
    if not isinstance(command, click.Command):
        raise TypeError(f"{name} is no command")
    return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="groq-batch", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run files of LLM requests through Groq's Batch API, on a stack in your AWS account.

    A verb's own help has examples: groq-batch run --help
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
    """Return the sentence for an error of AWS's or of this machine's files; None for any other."""
    # Without botocore nothing of AWS's can have failed, and there is no need to import it now.
    if "botocore" in sys.modules:
        explain: Any = importlib.import_module("groq_batch_client.aws_errors").explain
        sentence: str | None = explain(error)
        if sentence is not None:
            return sentence
    if isinstance(error, OSError) and error.strerror is not None:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return None
