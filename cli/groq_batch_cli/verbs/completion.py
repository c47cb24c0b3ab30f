"""``groq-batch completion``: print the script for commands, options and files in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from groq_batch_cli.errors import EXIT_FINE
from groq_batch_cli.terminal import Terminal

_PROGRAM = "groq-batch"
_VARIABLE = "_GROQ_BATCH_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def command(terminal: Terminal, shell: str) -> int:
    """Print a shell completion script.

    \b
    Examples:
      groq-batch completion bash >> ~/.bashrc
      groq-batch completion zsh >> ~/.zshrc
      groq-batch completion fish > ~/.config/fish/completions/groq-batch.fish
    """
    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"There is no completion for {shell}.")
    # Not ``source()``, which asks the installed bash for its version.
    script = (
        completion.source_template
        % completion(
            click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE
        ).source_vars()
    )
    terminal.print(script.strip())
    return EXIT_FINE
