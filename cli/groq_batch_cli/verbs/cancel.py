"""``groq-batch cancel``: stop jobs."""

from __future__ import annotations

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.ending import end_line
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower
from groq_batch_cli.options import jobs_argument, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_cli.verbs.run import leave
from groq_batch_client.cancel import stop_job
from groq_batch_client.follow import Followed
from groq_batch_client.text import one_line


@click.command()
@jobs_argument
@click.option("--wait/--no-wait", default=False, help="Wait until what was answered is delivered.")
@stack_options
@click.pass_obj
def command(terminal: Terminal, jobs: tuple[str, ...], wait: bool, target: Target) -> int:
    """Stop jobs; what was answered until then is kept.

    The batches are cancelled at Groq, which may take it ten minutes; then the rows that were paid
    for are delivered, and the job ends as cancelled. JOB is named as for status.

    \b
    Example:
      groq-batch cancel requests.jsonl --wait && groq-batch results requests.jsonl
    """
    stack = connect(target)
    found = [find_job(stack.storage, text) for text in jobs]
    for job in found:
        follow = target.command("status", job.path, "--watch")
        stop_job(stack, job, cause="Stopped with groq-batch cancel", advice=f"Follow it: {follow}")
        terminal.print(f"{one_line(job.path)}: stopping {job.job_id}")
    if not wait:
        for job in found:
            terminal.note(f"  follow it: {target.command('status', job.path, '--watch')}")
        return EXIT_FINE
    followed = [Followed(one_line(job.path), job) for job in found]

    def tell(one: Followed) -> None:
        if one.report is not None:
            terminal.print(end_line(one.name, one.report, terminal))

    try:
        Follower(stack.storage, terminal).follow(followed, tell)
    except KeyboardInterrupt:
        return leave(terminal, target, followed)
    cancelled = all(
        one.report is not None and one.report["status"] == "cancelled" for one in followed
    )
    return EXIT_FINE if cancelled else EXIT_PROBLEM
