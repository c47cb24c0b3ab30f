"""``groq-batch doctor``: whether a stack can run jobs, and what to do where it cannot."""

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
@click.option("--job", "runs_job", is_flag=True, help="Run a file of three requests twice, too.")
@json_option
@stack_options
@click.pass_obj
def command(terminal: Terminal, runs_job: bool, as_json: bool, target: Target) -> int:
    """Look whether a stack can run jobs, and say what to do.

    Each line is one look: ok, what there is to do, which permission is missing to look, or that
    nobody can tell here. Nothing is changed but for a probe of a few bytes below work/, which is
    removed again. The API key is never read; the stack's own function asks Groq with it.

    With --job, a file of three requests is uploaded below input/doctor/ and run twice, for less
    than 0.001 USD each. That takes some minutes; after 15 it says how to come back.

    \b
    Exit status: 0 when every line is ok or cannot be told here, 1 when not, 2 for a wrong
    usage, 130 after Ctrl-C.

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
    """Return the line of a finding: its state, what was looked at, what was found, what to do."""
    state = terminal.styled(f"{finding.state:<{_STATE_COLUMNS}}", _STYLES[finding.state])
    text = one_line(f"{finding.name}: {finding.text}")
    advice = f". {one_line(finding.advice)}" if finding.advice else ""
    return f"{state}  {text}{advice}"
