"""Commands that look: ``hypotheses``, ``concepts``, ``contexts``, ``pairs``, ``show``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.complete import columns, concepts, contexts
from engine.cli.counts import selected, show_counts, tell
from engine.cli.options import index_argument, output_options
from engine.cli.output import write_json, write_table
from engine.cli.scrutiny import show_scrutiny
from engine.safe_text import one_line, sanitise

if TYPE_CHECKING:
    from engine.views.details import ConceptDetail, Evidence, PairDetail
    from engine.views.names import NameProposal
    from engine.views.scrutiny import LabelEvidence
    from engine.views.tables import GridRow, Interval, TableSpec

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


def interval_text(value: "Interval | tuple[Any, ...]") -> str | None:
    """``0.612 [0.551, 0.668]``, None when undefined."""
    low, estimate, high = value
    if estimate is None:
        return None
    return f"{estimate:.3f}" if low is None or high is None else f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


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


@click.command("show")
@index_argument
@click.argument("what", metavar="PAIR|CONCEPT", shell_complete=concepts)
@click.option(
    "--context",
    metavar="CONTEXT",
    shell_complete=contexts,
    help="The concept inside this context (name or start of an id).",
)
@output_options
def show_command(project: Path, what: str, context: str | None, plain: bool, as_json: bool) -> None:  # noqa: ARG001 - text is plain already
    """One pair (number or start of its id) or one concept (name or start of its id)."""
    from engine.api import Project
    from engine.views.details import PairDetail

    with Project(project) as opened:
        detail = opened.find(what, context)
    if as_json:
        write_json(detail)
    elif isinstance(detail, PairDetail):
        _show_pair(detail)
    else:
        _show_concept(detail)


def _show_pair(pair: "PairDetail") -> None:
    click.echo(f"pair {pair.pair:,}  {pair.pair_id}  label {pair.label}  fold {pair.fold}")
    click.echo(f"from {one_line(pair.source)}: {one_line(pair.source_file)} row {pair.source_row} (from 0)")
    for key, value in pair.facts:
        click.echo(f"{one_line(key)}: {one_line(value, 200)}")
    for title, text, tokens in (
        ("PROMPT", pair.prompt, pair.prompt_tokens),
        ("CHOSEN", pair.chosen, pair.chosen_tokens),
        ("REJECTED", pair.rejected, pair.rejected_tokens),
    ):
        cut = ", cut for reading" if title.lower() in pair.truncated else ""
        click.echo(f"\n── {title} ({tokens:,} tokens{cut})\n{sanitise(text)}")
    click.echo("")
    rows = [(c.name, c.chosen, c.rejected, c.u) for c in pair.concepts[:20]]
    write_table(("concept", "chosen", "rejected", "u"), rows, plain=False, flexible=0)


def _show_concept(concept: "ConceptDetail") -> None:
    click.echo(f"{one_line(concept.name)}  {concept.kind}  {concept.concept_id}")
    if concept.definition:
        click.echo(f"counts: {one_line(concept.definition)}")
    if concept.tokens:
        click.echo("telling words: " + "  ".join(one_line(t) for t in concept.tokens))
    if concept.label is not None:
        _show_label(concept.label)
    if concept.proposal is not None:
        _show_proposal(concept.proposal)
    if concept.latents:
        shown = " ".join(f"#{n}" for n in concept.latents[:16])
        click.echo(f"latents ({concept.n_latents}): {shown}{' …' if concept.n_latents > 16 else ''}")
    if concept.inside is not None:
        click.echo(f"in {one_line(concept.inside.context_name)}")
        _show_evidence(concept.inside)
        click.echo("everywhere")
    if concept.everywhere is not None:
        _show_evidence(concept.everywhere)
    if concept.scrutiny is not None:
        show_scrutiny(concept.scrutiny)
    click.echo("")
    top = [
        (t.pair, t.chosen_score, t.rejected_score, t.chosen.text, t.rejected.text)
        for t in concept.top_pairs[:10]
    ]
    if concept.inside is not None:
        click.echo(f"top pairs in {one_line(concept.inside.context_name)}")
    write_table(
        ("pair", "chosen", "rejected", "chosen at the peak", "rejected at the peak"),
        top,
        plain=False,
        flexible=(3, 4),
    )


def _show_label(label: "LabelEvidence") -> None:
    """What the working label rests on."""
    if label.inside is not None:
        others = "" if label.outside is None else f", in {label.outside:.0%} of the others"
        click.echo(f"words of the label stand in {label.inside:.0%} of the responses that carry it{others}")
    for title, places in (("fires", label.fires), ("silent", label.silent)):
        for text in places:
            click.echo(f"  {title:7}{one_line(text)}")


def _show_proposal(proposal: "NameProposal") -> None:
    """A name that a model proposed, and whether it says where the concept fires."""
    click.echo(
        f"proposed name: {one_line(proposal.name)}  by {one_line(proposal.model)}, {proposal.time[:10]}"
    )
    if proposal.description:
        click.echo(f"  {one_line(proposal.description)}")
    found = proposal.recognition
    if found is None:
        click.echo("  not tested")
        return
    said = "recognised" if found.is_recognised else "not recognised"
    among = "" if found.are_silent else ", against responses with least of it"
    click.echo(
        f"  {said}: {found.n_right} of {found.n} excerpts told right by the name alone"
        f" [{found.low:.0%}, {found.high:.0%}], p {_q(found.p)} (level {found.level:g}){among}"
    )


def _show_evidence(evidence: "Evidence") -> None:
    click.echo(
        f"taught: {interval_text(evidence.taught) or '–'}  q {_q(evidence.taught_q)}   "
        f"at equal length: {interval_text(evidence.equal) or '–'}  q {_q(evidence.equal_q)}   "
        f"{evidence.badge or ''}"
    )
    click.echo(f"{evidence.n_discordant or 0:,} discordant of {evidence.n_pairs:,} labelled pairs")
    if evidence.skip_reason:
        click.echo(f"untested: {evidence.skip_reason}")


def _q(value: float | None) -> str:
    return "–" if value is None else ("<.001" if value < 1e-3 else f"{value:.3f}")
