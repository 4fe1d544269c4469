"""Commands that make a project: ``demo``, ``audit``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import files, projects, readers
from engine.cli.mix import given_mix, parse_mapping, source_options
from engine.cli.options import output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress

if TYPE_CHECKING:
    from engine.pipeline.audit import ReportLine


@click.command("audit")
@click.argument("sources", nargs=-1, required=True, metavar="[NAME=]FILE...|DIR", shell_complete=files)
@click.option(
    "--reader",
    metavar="R",
    shell_complete=readers,
    help="Folder with reader.toml, a preset, or a checkpoint; the project's own where it has one.",
)
@click.option("--layer", type=int, help="Block after which the residual stream is read.")
@click.option(
    "--sae", metavar="SAE", shell_complete=files, help="SAE folder or release:id, when the reader names none."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    shell_complete=projects,
    help="Project folder; made if absent, resumed if there.",
)
@source_options
@set_option
@output_options
def audit_command(
    sources: tuple[str, ...], reader: str | None, layer: int | None, sae: str | None, output: Path | None,
    names: tuple[str, ...], format_: str | None, mapping: tuple[str, ...], weights: tuple[str, ...],
    evaluation: tuple[str, ...], assignments: tuple[str, ...], plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """Read preference pairs with a model and an SAE, and test what they teach.

    FILE is any preference dataset: jsonl, csv, parquet, a folder, a glob or a hub name. The result is a
    project folder for every other command. Stopped or killed, the same command goes on where it was;
    `prosect audit DIR` takes a project's own pairs and reader, for example after `prosect mix`.
    """
    from engine.api import Project, source_specs

    if output is None:
        output, sources = _own_project(sources), ()
        if weights or evaluation or names or mapping or format_:
            raise click.UsageError("change what a project is made of with `prosect mix add` or `mix weight`")
    if reader is None and (layer, sae) != (None, None):
        raise click.UsageError("--layer and --sae belong to a reader: name it with --reader R")
    if reader is None and not output.is_dir():
        raise click.UsageError("name a reader: --reader R (`prosect help guide reader` says what R may be)")
    specs = source_specs(sources, names=names, format_=format_, mapping=parse_mapping(mapping))
    project = Project(output, overrides=parse_assignments(assignments))
    mix = given_mix(weights, evaluation)
    title = f"audit {' '.join(Path(source).name for source in sources)}"
    with job_progress(output, "audit", title, plain=plain, as_json=as_json) as progress:
        report = project.audit(
            specs,
            reader,
            layer=layer,
            sae=sae,
            mix=mix,
            progress=progress,
        )
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


def _own_project(sources: tuple[str, ...]) -> Path:
    """The project that a lone folder is. Raises ``UsageError`` where nobody said where to write."""
    if len(sources) == 1 and (Path(sources[0]) / "pairs" / "report.json").exists():
        return Path(sources[0])
    raise click.UsageError("name a project folder with -o DIR")
