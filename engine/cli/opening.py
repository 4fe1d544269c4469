"""``open``: the command that starts the workstation."""

import sys
from pathlib import Path

import click

from engine.cli.options import project_argument
from engine.cli.workstation import open_workstation
from engine.errors import ProsectError


@click.command("open")
@project_argument
@click.option(
    "--author", metavar="NAME", help="Who decides; default: prosect.toml, then git, then user@host."
)
@click.option("--theme", metavar="NAME", help="terminal, dark, light or mono; else PROSECT_THEME says.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII characters on screen.")
@click.option("--no-mouse", is_flag=True, help="Leave the mouse to the terminal.")
def open_command(
    project: Path, author: str | None, theme: str | None, ascii_only: bool, no_mouse: bool
) -> None:
    """Review concepts by keyboard: hypotheses, evidence, pairs, verdicts, rules."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ProsectError("the workstation needs a terminal", hint=f"try `prosect hypotheses {project}`")
    open_workstation(project, author=author, theme=theme, ascii_only=ascii_only, mouse=not no_mouse)
