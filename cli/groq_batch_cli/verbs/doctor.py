"""``groq-batch doctor``: check whether a stack can run jobs, and suggest fixes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from groq_batch import __version__
from groq_batch_cli.aws import Target
from groq_batch_cli.doctor.checklist import Checklist
from groq_batch_cli.doctor.findings import Finding, State
from groq_batch_cli.doctor.trial import Trial, path_at
from groq_batch_cli.errors import EXIT_FINE, EXIT_INTERRUPTED, EXIT_PROBLEM
from groq_batch_cli.options import json_option, stack_options
from groq_batch_cli.terminal import Terminal
from groq_batch_client.text import counted, one_line

_STYLES = {State.OK: "green", State.TO_DO: "red", State.DENIED: "yellow", State.UNKNOWN: "dim"}
_STATE_COLUMNS = max(len(state) for state in State)


@click.command()
@click.option("--job", "runs_job", is_flag=True, help="Also run a file of three requests, twice.")
@json_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, runs_job: bool, as_json: bool, target: Target) -> int:
    """Check whether a stack can run jobs, and suggest fixes.

    Each line is one check with a state: ok, to do (with a fix), denied (with the permission you
    lack) or unknown. One of the stack's functions calls Groq, so that the command never reads the
    API key, and writes, copies and deletes an object of 6 MB below work/, as jobs do.

    With --job, also uploads a file of three requests below input/doctor/ and runs it twice, for
    less than 0.001 USD each. This takes a few minutes; after 15 the command stops waiting and says
    how to check the jobs later.

    \b
    Exit status: 0 if every line is ok or unknown, 1 if not, 2 for a usage error, 130
    after Ctrl-C.

    \b
    Examples:
      groq-batch doctor
      groq-batch doctor --job --json | jq '.looks[] | select(.state != "ok")'
    """
    now = datetime.now(UTC)
    checklist = Checklist(target, now)
    findings: list[Finding] = []
    trial: Trial | None = None

    def show(found: Iterator[Finding]) -> None:
        for finding in found:
            findings.append(finding)
            if not as_json:
                terminal.print(finding_line(finding, terminal))

    try:
        show(checklist.run())
        if runs_job and checklist.stack is not None:
            trial = Trial(checklist.stack, path_at(now), terminal.note)
            show(trial.run())
    except KeyboardInterrupt:
        if trial is not None:
            terminal.note(trial.come_back())
        return EXIT_INTERRUPTED
    to_do = sum(not finding.is_well for finding in findings)
    if as_json:
        document = {
            "stack": target.stack_name,
            "version": __version__,
            "ok": not to_do,
            "looks": [finding.to_json() for finding in findings],
        }
        terminal.print(json.dumps(document, indent=2, ensure_ascii=False))
    elif to_do:
        terminal.note(f"{counted(to_do, 'line')} of {len(findings)} not ok.")
    return EXIT_PROBLEM if to_do else EXIT_FINE


def finding_line(finding: Finding, terminal: Terminal) -> str:
    """Return the line of a finding: state, name of the check, result, what to do."""
    state = terminal.styled(f"{finding.state:<{_STATE_COLUMNS}}", _STYLES[finding.state])
    text = one_line(f"{finding.name}: {finding.text}")
    advice = f". {one_line(finding.advice)}" if finding.advice else ""
    return f"{state}  {text}{advice}"
