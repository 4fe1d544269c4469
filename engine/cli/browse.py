"""Commands that list: ``hypotheses``, ``concepts``, ``contexts``, ``pairs``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import columns, contexts
from engine.cli.counts import selected, show_counts, tell
from engine.cli.options import index_argument, output_options
from engine.cli.output import interval_text, write_json, write_table

if TYPE_CHECKING:
    from engine.views.tables import GridRow, TableSpec

_WORDS = "tokens"
"""The column that holds a list."""
_LAST = 99
"""Rank of what is left out first."""
_OF_CONCEPTS = "family:concepts"
"""``engine.views.tables.OF_CONCEPTS``: --help waits for no records of tables."""
_NOUNS = {"hypotheses": "hypotheses", _OF_CONCEPTS: "concepts", "contexts": "contexts", "pairs": "pairs"}
"""What the rows of a list are."""
_FILTER_HELP = "Such as 'win>60% badge:both' or '!verdict:none sorry'; terms are joined by and, see below."


def _searched(grid: str) -> str:
    """Where a word alone is looked for in a grid."""
    from engine.store.grids import GRIDS

    *most, last = (c.spec.name for c in GRIDS[grid].columns if c.spec.is_searched)
    where = f"{', '.join(most)} or {last}" if most else last
    return f'rows with the word in {where}, whatever the case; "two words" in quotes'


class _Listing(click.Command):
    """A command that lists a grid: its help names the columns and how they are filtered."""

    grid = ""

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - Click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """List what -f may compare and -s sort by."""
        from engine.store.grids import GRIDS

        with formatter.section("Filters"):
            formatter.write_dl([("word", _searched(self.grid)), *_TERMS])
        with formatter.section("Columns for -f and -s"):
            formatter.write_dl([(c.spec.name, c.spec.help) for c in GRIDS[self.grid].columns])


class _Hypotheses(_Listing):
    grid = "hypotheses"


class _Contexts(_Listing):
    grid = "contexts"


class _Pairs(_Listing):
    grid = "pairs"


_TERMS = (
    ("#812", "what has the latent"),
    ("column:text", "contains the text, whatever the case; yes or no for flags; a,b is either"),
    ("column=text", "is the text"),
    ("column>n", "also >= < <=; numbers such as .6, 60%, 2k"),
    ("column:none", "undefined"),
    ("!term", "the opposite"),
)


def _listing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("-f", "--filter", "filter_", default="", help=_FILTER_HELP),
        click.option(
            "-s",
            "--sort",
            default="",
            metavar="COLUMN[,COLUMN]",
            shell_complete=columns,
            help="-COLUMN for largest first.",
        ),
        click.option("-n", "--limit", type=click.IntRange(1), default=40, show_default=True),
        click.option("--all-columns", is_flag=True, help="Every column, not only the usual ones."),
        click.option(
            "--count",
            metavar="COLUMN",
            shell_complete=columns,
            help="How many rows have each value of COLUMN, numbers in bins, each with its filter.",
        ),
    ):
        function = option(function)
    return function


def _list(
    project: Path, table: str, filter_: str, sort: str, limit: int, count: str | None, *, all_columns: bool,
    plain: bool, as_json: bool, context: str | None = None, within: str = "",
) -> None:  # fmt: skip
    from engine.api import Project

    if count is not None and sort:
        raise click.UsageError("counts have an order of their own: give either --sort or --count")
    with Project(project) as opened:
        if count is not None:
            counts = opened.counts(table, count, filter_, limit, context=context, within=within)
            show_counts(count, counts, _NOUNS[within or table], opened.stale(), plain=plain, as_json=as_json)
            return
        found = opened.listing(
            table, filter_, sort, limit, context=context, within=within, whole=plain or as_json
        )
        warning = opened.warning() if table == "hypotheses" else None
        stale = opened.stale()
    if as_json:
        listed = {"rows": found.records(), "n_rows": found.n_rows, "n_total": found.n_total}
        write_json(listed | {"warning": warning, "stale": stale, "remark": found.remark})
        return
    tell(found.remark)
    if warning:
        click.echo(f"warning: {warning}", err=plain)
    show_rows(found.spec, found.rows, every=all_columns, plain=plain)
    if not plain:
        noun = _NOUNS[within or table]
        click.echo(f"\n{len(found.rows):,} of {selected(found.n_rows, found.n_total, noun)}")


def show_rows(
    spec: "TableSpec", rows: "tuple[GridRow, ...]", *, every: bool = False, plain: bool = False
) -> None:
    """A grid's rows as a table; intervals as ``estimate [low, high]``, or three fields with --plain."""
    from engine.api.listing import telling_words

    twice = set() if plain else {"win", "equal_win"}  # the intervals show these numbers already
    chosen = [i for i, c in enumerate(spec.columns) if (every or 0 < c.rank <= 8) and c.name not in twice]
    header: list[str] = []
    for i in chosen:
        column = spec.columns[i]
        header += (
            [f"{column.name}_low", column.name, f"{column.name}_high"]
            if plain and column.kind == "interval"
            else [column.name]
        )
    table = [
        [
            cell
            for i in chosen
            for cell in (
                [" ".join(word.strip() for word in telling_words(row.values[i]))]
                if spec.columns[i].name == _WORDS
                else _cells(row.values[i], split=plain)
            )
        ]
        for row in rows
    ]
    flexible = next((k for k, i in enumerate(chosen) if spec.columns[i].width == 0), None)
    if plain:
        write_table(header, table, plain=True)
        return
    ranks = [_rank(spec, i, rows) for i in chosen]
    write_table(
        header, table, plain=False, flexible=() if flexible is None else flexible, ranks=ranks, every=every
    )


def _rank(spec: "TableSpec", at: int, rows: "tuple[GridRow, ...]") -> int:
    """Of a column in a narrow terminal: contexts tell rows apart, unless all are of one."""
    column = spec.columns[at]
    if column.name != "context":
        return column.rank
    return 1 if len({row.values[at] for row in rows}) > 1 else _LAST


def _cells(value: Any, *, split: bool) -> list[Any]:
    if not isinstance(value, tuple):
        return [value]
    return list(value) if split else [interval_text(value)]


@click.command("hypotheses", cls=_Hypotheses)
@index_argument
@_listing_options
@output_options
def hypotheses_command(project: Path, **options: Any) -> None:
    """What the data teaches, everywhere and inside contexts, strongest evidence first."""
    _list(project, "hypotheses", **options)


@click.command("concepts", cls=_Hypotheses)
@index_argument
@_listing_options
@output_options
def concepts_command(project: Path, **options: Any) -> None:
    """Every concept with its effect everywhere, strongest evidence first."""
    _list(project, "hypotheses", within=_OF_CONCEPTS, **options)


@click.command("contexts", cls=_Contexts)
@index_argument
@_listing_options
@output_options
def contexts_command(project: Path, **options: Any) -> None:
    """Topics, prompt concepts and sources, largest first."""
    _list(project, "contexts", **options)


@click.command("pairs", cls=_Pairs)
@index_argument
@_listing_options
@click.option(
    "--context",
    metavar="CONTEXT",
    shell_complete=contexts,
    help="Only pairs of this context (name or start of an id).",
)
@output_options
def pairs_command(project: Path, **options: Any) -> None:
    """The pairs as read, in the order of their numbers."""
    _list(project, "pairs", **options)
