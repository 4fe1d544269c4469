"""``card``: the audit as one Markdown page."""

from pathlib import Path

import click

from engine.cli.options import project_argument


@click.command("card")
@project_argument
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File to write, over what it held; default: stdout.",
)  # fmt: skip
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=30, show_default=True,
    help="Rows at most of each table of hypotheses.",
)  # fmt: skip
def card_command(project: Path, output: Path | None, limit: int) -> None:
    """The audit as a Markdown page: what it teaches, what was decided and made of it, what was read.

    For pull requests and for people without the workstation. The page says nothing of time or machine, so
    that two versions of it can be compared line by line.
    """
    from engine.api import Project
    from engine.manifest import write_atomic

    with Project(project) as opened:
        page = opened.card(limit).encode("utf-8", "backslashreplace")
    if output is None:
        click.echo(page, nl=False)
        return
    write_atomic(output, page)
    click.echo(output)
