"""``report``: what became of every row that was read."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import sources as offer_sources
from engine.cli.options import output_options, project_argument
from engine.cli.output import write_json, write_table
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.ingest.report import IngestReport
    from engine.pipeline.entries import Entries

_FROM_0 = "row (from 0)"
_HEADER = ("source", "file", "row", "kind", "reason", "detail")


@click.command("report")
@project_argument
@click.option("--reason", metavar="REASON", help="Entries with this reason, such as empty_side.")
@click.option("--kind", type=click.Choice(["dropped", "repaired", "noted"]), help="Entries of this kind.")
@click.option("--source", metavar="NAME", help="Entries about this source.", shell_complete=offer_sources)
@click.option("--file", "file_", metavar="NAME", help="Entries about files whose names end so.")
@click.option(
    "--rows", "with_rows", is_flag=True, help="Show what stands in the file, where it is still there."
)
@click.option(
    "-n", "--limit", type=click.IntRange(0), default=40, show_default=True, help="Entries at most; 0: all."
)
@output_options
def report_command(
    project: Path, reason: str | None, kind: str | None, source: str | None, file_: str | None,
    with_rows: bool, limit: int, plain: bool, as_json: bool,
) -> None:  # fmt: skip
    """What became of every row: counts that add up file by file, and each row dropped, repaired or noted.

    Without a choice of entries the counts come first. `--plain -n 0` writes every entry as tab-separated
    values; pairs/report.parquet holds the same.
    """
    from engine.api import Project
    from engine.pipeline.entries import EntryFilter

    wanted = EntryFilter(reason, kind, source, file_)
    with Project(project) as opened:
        report = opened.ingest_report()
        entries = opened.ingest_entries(wanted, limit or None)
        texts = opened.original_rows(entries.rows) if with_rows else {}
    if as_json:
        rows = [e | ({"text": texts.get((e["file"], e["row"]))} if with_rows else {}) for e in entries.rows]
        write_json({"report": report.as_dict(), "entries": rows, "n_selected": entries.n_selected})
        return
    if wanted == EntryFilter() and not plain:
        _show_counts(report)
        if any(weight != 1 for weight in report.weights.values()):
            _show_weights(report)
    _show_entries(entries, texts, plain=plain)


def _show_counts(report: "IngestReport") -> None:
    from engine.pipeline.entries import reason_counts

    files = [f for s in report.sources for f in s.files]
    rows: list[tuple[Any, ...]] = [
        (f.file, f.rows_read, f.expanded, f.pairs, f.merged, f.dropped) for f in files
    ]
    total = (
        "all",
        report.rows_read,
        report.expanded,
        report.pairs,
        report.merged,
        sum(report.dropped.values()),
    )
    write_table(
        ("file", "rows read", "+ expanded", "= pairs", "+ merged", "+ dropped"),
        [*rows, total] if len(rows) > 1 else rows,
        plain=False,
        flexible=0,
    )
    click.echo("")
    counted = reason_counts(report)
    if counted:
        write_table(("kind", "reason", "n", "meaning"), counted, plain=False, flexible=3)
        click.echo("")
    for remark in report.remarks + tuple(r for s in report.sources for r in s.remarks):
        click.echo(f"remark: {one_line(remark, 300)}")


def _show_weights(report: "IngestReport") -> None:
    total = sum(report.weight_by_source.values())
    rows = [
        (name, n, f"{report.weights[name]:g}", f"{report.weight_by_source[name] / total:.1%}")
        for name, n in report.pairs_by_source.items()
    ]
    write_table(("source", "pairs", "weight", "share of the mix"), rows, plain=False, flexible=0)
    click.echo("")


def _show_entries(entries: "Entries", texts: dict[tuple[str, int], str], *, plain: bool) -> None:
    shown = [tuple(row[name] for name in _HEADER) for row in entries.rows]
    if plain or not texts:
        more = [(texts.get((r["file"], r["row"]), ""),) if texts else () for r in entries.rows]
        names = _HEADER if plain else tuple(_FROM_0 if name == "row" else name for name in _HEADER)
        header = (*names, "text") if texts else names
        table = [(*a, *b) for a, b in zip(shown, more, strict=True)]
        write_table(header, table, plain=plain, flexible=(1, 5))
    else:
        for row in entries.rows:
            what = f"{row['kind']}, {row['reason']} {row['detail']}".rstrip()
            click.echo(one_line(f"{row['file']} row {row['row']} (from 0): {what}", 300))
            click.echo(f"    {one_line(texts.get((row['file'], row['row']), '(no such row any more)'), 600)}")
    if plain:
        return
    click.echo(f"\n{len(entries.rows):,} of {entries.n_selected:,} entries")
    if len(entries.rows) < entries.n_selected:
        click.echo("choose with --reason, --kind, --source or --file; -n 0 shows all")
