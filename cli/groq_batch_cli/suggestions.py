"""Suggest a command for a misspelled one, as click does for options."""

from __future__ import annotations

import click


class SuggestingGroup(click.Group):
    """A group of commands that suggests one for a misspelled name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first argument names."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            # Imported only for an unknown name, so that other commands start faster.
            from difflib import get_close_matches  # noqa: PLC0415

            close = get_close_matches(name, self.list_commands(ctx), n=1)
            if close:
                ctx.fail(f"No such command {name!r}. Did you mean {close[0]}?")
        return super().resolve_command(ctx, args)
