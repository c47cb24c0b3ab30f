"""``groq-batch local fault``: make the simulated Groq API of the emulated stack fail."""

from __future__ import annotations

from collections.abc import Sequence

import click

from groq_batch_cli.errors import EXIT_FINE, CommandError
from groq_batch_cli.local_choice import running_state
from groq_batch_cli.local_faults import FAULTS, Extent, Fault, end_of_faults, make_calls
from groq_batch_cli.local_state import LocalState
from groq_batch_cli.terminal import Terminal

_SHARE = 0.1


@click.command(name="fault")
@click.argument("name", required=False, type=click.Choice(list(FAULTS)), metavar="[NAME]")
@click.option(
    "--share",
    type=click.FloatRange(0, 1),
    help=f"Share of the requests to hit.  [default: {_SHARE:g}]",
)
@click.option("--times", type=click.IntRange(1), help="How many times the fault happens.")
@click.option("--clear", is_flag=True, help="Clear all faults.")
@click.pass_obj
def command(
    terminal: Terminal, name: str | None, share: float | None, times: int | None, clear: bool
) -> int:
    """Make the simulated Groq API fail, to see how a job reacts.

    Without NAME, lists all faults. A fault applies to everything sent from now on, until --clear or
    until it has happened --times. For faults of requests, --times counts for each request.

    \b
    Examples:
      groq-batch local fault requests-refused --share 0.2
      groq-batch run requests.jsonl --local
      groq-batch local fault --clear
    """
    if name is None and not clear:
        if share is not None or times is not None:
            raise click.UsageError("Name a fault: groq-batch local fault lists them.")
        for line in _listing(terminal):
            terminal.print(line)
        return EXIT_FINE
    fault = FAULTS[name] if name is not None else None
    if fault is not None:
        _check_options(str(name), fault, share, times)
    state = running_state()
    if clear:
        make_calls(state.groq_base_url, end_of_faults(_key(state)))
        terminal.note("All faults have ended.")
    if fault is not None:
        extent = Extent(
            share=_SHARE if share is None else share,
            times=fault.times if times is None else times,
            api_key=_key(state),
        )
        make_calls(state.groq_base_url, fault.calls(extent))
        terminal.note(_told(fault, extent))
        terminal.note("To end it: groq-batch local fault --clear")
    return EXIT_FINE


def _listing(terminal: Terminal) -> Sequence[str]:
    width = max(map(len, FAULTS))
    return [
        f"{terminal.styled(name, 'bold')}{' ' * (width - len(name))}  {fault.text}"
        for name, fault in FAULTS.items()
    ]


def _check_options(name: str, fault: Fault, share: float | None, times: int | None) -> None:
    """Check that the options apply to a fault.

    Raises:
        UsageError: One does not apply.
    """
    if share is not None and not fault.has_share:
        raise click.UsageError(f"{name} does not hit single requests; leave out --share.")
    if times is not None and not fault.can_end:
        raise click.UsageError(f"{name} lasts until --clear; leave out --times.")


def _told(fault: Fault, extent: Extent) -> str:
    parts = [fault.text]
    if fault.has_share:
        parts.append(f"It hits {100 * extent.share:g} % of the requests.")
    if extent.times is not None:
        times = "once" if extent.times == 1 else f"{extent.times} times"
        parts.append(f"It happens {times}.")
    return " ".join(parts)


def _key(state: LocalState) -> str:
    if not state.groq_api_key:
        raise CommandError(
            "The stack was started by an older version, which did not record its key. Restart "
            "it: groq-batch local up --restart"
        )
    return state.groq_api_key
