"""Writes engine/docs/commands.md from the commands themselves: ``python -m engine.cli.reference``."""

from pathlib import Path

import click

from engine.cli.main import main

TARGET = Path(__file__).parent.parent / "docs" / "commands.md"
_WIDTH = 74
"""Columns: indented as code the page fits a terminal of 80."""
_HEAD = "# Commands\n\nMade by `python -m engine.cli.reference`; a test fails when it is out of date.\n"


def reference() -> str:
    """Help of every command as Markdown."""
    parts = [_HEAD, *_sections(main, "prosect")]
    return "\n".join(parts)


def _sections(command: click.Command, path: str) -> list[str]:
    # A command keeps the help option of the first context it meets: the names must be those of a real call.
    context = click.Context(
        command, info_name=path, max_content_width=_WIDTH, terminal_width=_WIDTH,
        help_option_names=["-h", "--help"],
    )  # fmt: skip
    parts = [f"## `{path}`\n\n```\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            parts += _sections(command.commands[name], f"{path} {name}")
    return parts


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
