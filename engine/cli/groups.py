"""Groups of commands whose help keeps whole sentences."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Commands(click.Group):
    """A group that lists what its commands do in full: Click cuts at 80 columns what it could wrap."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Commands with the first sentence of their help."""
        found = super().shell_complete(ctx, incomplete)
        for item in found:
            command = self.get_command(ctx, str(item.value))
            item.help = command.get_short_help_str(limit=1000) if command else item.help
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with the first sentence of its help."""
        lines = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                lines.append((name, command.get_short_help_str(limit=1000)))
        with formatter.section("Commands"):
            formatter.write_dl(lines)
