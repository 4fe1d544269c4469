"""Commands that make a project: ``demo``, ``audit``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress

if TYPE_CHECKING:
    from engine.pipeline.audit import ReportLine


@click.command("audit")
@click.argument("sources", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--reader", required=True, metavar="R", help="Folder with reader.toml, a preset, or a checkpoint."
)
@click.option("--layer", type=int, help="Block after which the residual stream is read.")
@click.option("--sae", metavar="SAE", help="SAE folder or release:id, when the reader names none.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Project folder; made if absent, resumed if there.",
)
@click.option("--name", "names", multiple=True, help="Name of each FILE's source, in order.")
@click.option("--format", "format_", help="Format of the files when it is guessed wrongly.")
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Where a generic table keeps prompt, chosen, rejected, ...; may be repeated.",
)
@set_option
@output_options
def audit_command(
    sources: tuple[str, ...], reader: str, layer: int | None, sae: str | None, output: Path,
    names: tuple[str, ...], format_: str | None, mapping: tuple[str, ...], assignments: tuple[str, ...],
    plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read preference pairs with a model and an SAE, and test what they teach.

    FILE is any preference dataset: jsonl, csv, parquet, a folder, a glob or a hub name. The result is a
    project folder for every other command. Stopped or killed, the same command goes on where it was.
    """
    from engine.api import Project, source_specs

    specs = source_specs(sources, names=names, format_=format_, mapping=parse_mapping(mapping))
    project = Project(output, overrides=parse_assignments(assignments))
    title = f"audit {' '.join(Path(source).name for source in sources)}"
    with job_progress(output, "audit", title, plain=plain, as_json=as_json) as progress:
        report = project.audit(specs, reader, layer=layer, sae=sae, progress=progress)
        progress.result("index", report.index_hash)
    if as_json:
        write_json(report)
        return
    show_report(report.lines, plain=plain)
    click.echo(f"\nopen it: prosect open {output}")


@click.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("prosect-demo"),
    show_default=True,
    metavar="DIR",
    help="Project folder to write.",
)
@output_options
def demo_command(output: Path, plain: bool, as_json: bool) -> None:  # fmt: skip
    """Audit the sample pairs that ship with prosect, offline; opens the workstation in a terminal."""
    from engine.api import Project, sample_folder, source_specs

    sample = sample_folder()
    project = Project(output)
    with job_progress(output, "audit", "audit of the sample", plain=plain, as_json=as_json) as progress:
        report = project.audit(
            source_specs([str(sample / "pairs"), str(sample / "votes")]),
            str(sample / "reader"),
            layer=None,
            sae=None,
            progress=progress,
        )
    if as_json:
        write_json(report)
        return
    show_report(report.lines, plain=plain)
    if sys.stdout.isatty() and sys.stdin.isatty() and not plain:
        from engine.cli.workstation import open_workstation

        open_workstation(output, tour=True)
        return
    _top_hypotheses(project, plain=plain)
    click.echo(f"\nopen it in a terminal: prosect open {output}")


def show_report(lines: "Sequence[ReportLine]", *, plain: bool) -> None:
    """What was read, dropped and found, in a few lines."""
    rows = [(line.what, line.n, line.remark) for line in lines]
    write_table(("what", "n", ""), rows, plain=plain, flexible=2)


def _top_hypotheses(project: Any, *, plain: bool, limit: int = 15) -> None:
    from engine.cli.browse import show_rows

    listing = project.listing("hypotheses", "family:concepts", "", limit)
    click.echo("")
    show_rows(listing.spec, listing.rows, plain=plain)


def parse_mapping(pairs: tuple[str, ...]) -> dict[str, str]:
    """``("prompt=question",)`` → ``{"prompt": "question"}``."""
    mapping = {}
    for text in pairs:
        field, separator, column = text.partition("=")
        if not separator or not field or not column:
            raise click.UsageError(f"--map {text}: write FIELD=COLUMN, for example --map prompt=question")
        mapping[field.strip()] = column.strip()
    return mapping
