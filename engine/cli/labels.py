"""``names import``: labels that other people gave the latents of a public SAE."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.options import index_argument, output_options
from engine.cli.output import write_json
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.views.names import LabelReport


@click.command("import")
@index_argument
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--index", "index", default="", metavar="COLUMN", help="Column with the number of the latent.")
@click.option("--label", "label", default="", metavar="COLUMN", help="Column with its label.")
@click.option("--accept-other", is_flag=True, help="Take labels that say that they are of another SAE.")
@output_options
def import_command(
    project: Path, files: tuple[Path, ...], index: str, label: str, accept_other: bool, plain: bool,  # noqa: ARG001 - text is plain already
    as_json: bool,
) -> None:  # fmt: skip
    """Labels that other people gave the latents of a public SAE, such as an export of Neuronpedia.

    FILE is JSON lines, JSON, CSV or TSV, also gzipped. Pages of concepts and latents show the labels as
    untested; no list takes them for names. Nothing is sent.
    """
    from engine.api import Project

    with Project(project) as opened:
        reports = opened.import_labels(files, index=index, label=label, accept_other=accept_other)
    if as_json:
        write_json(reports)
        return
    for report in reports:
        _tell_imported(report)
    if len(reports) > 1:
        n = sum(report.n_kept for report in reports if report.is_new)
        click.echo(f"{n:,} new labels from {len(reports):,} files")


def _tell_imported(report: "LabelReport") -> None:
    file = one_line(report.file, 80)
    if not report.is_new:
        click.echo(f"{file}: its {report.n_kept:,} labels were there already")
    else:
        click.echo(
            f"{file}: {report.n_kept:,} labels of {report.n_latents:,} latents; {report.n_rows:,} rows"
        )
    left_out = (
        (report.n_unreadable, "are no records"), (report.n_no_index, "have no whole number of a latent"),
        (report.n_out_of_range, "have a number beyond the reader's latents"),
        (report.n_empty, "have no label"), (report.n_doubled, "say the same again"),
        (report.n_other, "say that they are of another SAE"),
    )  # fmt: skip
    for n, why in left_out:
        if n:
            click.echo(f"  left out: {n:,} that {why}")
    if not report.says_whose:
        click.echo("  the file does not say which SAE its labels are of: make sure that it is the reader's")
