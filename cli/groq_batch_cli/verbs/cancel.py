"""``groq-batch cancel``: cancel jobs."""

from __future__ import annotations

import click

from groq_batch_cli.aws import Target, connect
from groq_batch_cli.ending import end_line
from groq_batch_cli.errors import EXIT_FINE, EXIT_PROBLEM
from groq_batch_cli.job_lookup import find_job
from groq_batch_cli.job_progress import Follower, leave
from groq_batch_cli.options import jobs_argument, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_client.cancel import stop_job
from groq_batch_client.follow import Followed
from groq_batch_client.text import one_line


@click.command()
@jobs_argument
@click.option(
    "--wait/--no-wait",
    default=False,
    help="Wait until the answers received so far are delivered.  [default: no-wait]",
)
@stack_options
@click.pass_obj
def command(terminal: Terminal, jobs: tuple[str, ...], wait: bool, target: Target) -> int:
    """Cancel jobs; answers received so far are kept.

    Cancels the batches at Groq, which can take up to ten minutes. Then the stack delivers the rows
    that you paid for, and the job ends with the status cancelled. Give JOB as for status.

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
