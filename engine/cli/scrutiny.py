"""Commands about the whole of an audit: ``sources`` (what each part of a mix teaches), ``coverage``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import index_argument, output_options, parse_assignments, set_option
from engine.cli.output import write_json, write_table
from engine.cli.progress import job_progress
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.stats.auc import Coverage
    from engine.views.scrutiny import ConceptScrutiny, LevelEffect, Mix, MixConcept
    from engine.views.tables import Interval

_SHOWN = 4
"""Levels beside each other in a terminal; --plain has them all."""


@click.command("sources")
@index_argument
@click.option(
    "--by", "facet", type=click.Choice(["source", "model", "annotator"]), default="source", show_default=True,
    help="What to decompose by.",
)  # fmt: skip
@click.option(
    "--level", metavar="NAME", help="One source, model or annotator: which concepts hang on it, most first."
)
@click.option(
    "-n", "--limit", type=click.IntRange(1), default=20, show_default=True, help="Concepts to show."
)
@output_options
def sources_command(
    project: Path, facet: str, level: str | None, limit: int, plain: bool, as_json: bool
) -> None:
    """What each source, model or annotator teaches, and which calls are lost or appear without it."""
    from engine.api import Project

    with Project(project) as opened:
        found = opened.browser.mix(facet)
        is_table = level is None and not plain and not as_json
        weights = {r.source: r.weight for r in opened.mix() if r.weight is not None} if is_table else {}
    if level is not None:
        _show_level(found, level, limit, plain=plain, as_json=as_json)
        return
    if as_json:
        extra = [
            {"depends_on": list(c.depends_on), "appears_without": list(c.appears_without)}
            for c in found.concepts
        ]
        write_json({"mix": found, "calls": extra})
        return
    _show_mix(found, limit, plain=plain)
    if any(w != 1 for w in weights.values()):
        said = ", ".join(f"{one_line(name)} {w:g}" for name, w in weights.items())
        click.echo(f"\nweights in the mix: {said} (prosect mix weight)")


def _show_mix(found: "Mix", limit: int, *, plain: bool) -> None:
    rows = [(s.level, s.n_pairs, s.n_groups, s.n_called, s.n_lost, s.n_gained) for s in found.levels]
    header = (found.facet, "pairs", "groups", "called inside", "calls lost without", "calls gained without")
    write_table(header, rows, plain=plain, flexible=0, ranks=(1, 1, 3, 2, 2, 2))
    if found.note and not plain:
        click.echo(found.note)
    click.echo("")
    names = [s.level for s in found.levels] if plain else [s.level for s in found.levels][:_SHOWN]
    table = [
        (c.name, c.taught.estimate, c.spread.i2, *_rates(c, len(names)), ", ".join(c.depends_on) or "–")
        for c in found.concepts[:limit]
    ]
    columns = ("concept", "win", "I²", *names, "call lost without")
    ranks = (1, 1, 3, *(2 for _ in names), 4)
    write_table(columns, table, plain=plain, flexible=(0, len(columns) - 1), ranks=ranks)


def _rates(concept: "MixConcept", n: int) -> list[float | None]:
    return [e.win.estimate for e in concept.levels[:n]]


def _show_level(found: "Mix", name: str, limit: int, *, plain: bool, as_json: bool) -> None:
    if name not in {s.level for s in found.levels}:
        known = ", ".join(s.level for s in found.levels)
        raise click.UsageError(f"--level {name}: known {found.facet}s are {known}")
    rows = [(c, e) for c in found.concepts for e in c.levels if e.level == name]
    # Lost and new calls first, then by how far the win rate moves without the level, against its interval.
    rows.sort(key=lambda r: (_fate(r[0], r[1]) == "same", -_shift(r[0], r[1])))
    if as_json:
        write_json([{"concept_id": c.concept_id, "name": c.name, "level": e} for c, e in rows[:limit]])
        return
    table = [
        (
            c.name, e.n_discordant, interval(e.win), interval(c.taught), interval(e.without),
            interval(e.equal_without), _fate(c, e),
        )
        for c, e in rows[:limit]
    ]  # fmt: skip
    header = (
        "concept", "discordant", f"in {name}", "everywhere", "without it", "without it, equal length", "calls"
    )  # fmt: skip
    write_table(header, table, plain=plain, flexible=0, ranks=(1, 3, 1, 2, 1, 2, 1))


def _shift(concept: "MixConcept", effect: "LevelEffect") -> float:
    whole, (low, rest, high) = concept.taught.estimate, effect.without
    if effect.is_call_without is None or whole is None or low is None or rest is None or high is None:
        return -1.0
    return abs(whole - rest) / max(high - low, 1e-9)


def _fate(concept: "MixConcept", effect: "LevelEffect") -> str:
    said = []
    for title, before, after in (
        ("taught", concept.is_taught_call, effect.is_call_without),
        ("equal length", concept.is_equal_call, effect.is_equal_call_without),
    ):
        if before and not after:
            said.append(f"{title} lost")
        elif after and not before:
            said.append(f"{title} appears")
    return ", ".join(said) or "same"


def interval(value: "Interval | tuple[Any, ...]") -> str | None:
    """``0.61 [0.55, 0.67]``, None when undefined."""
    low, estimate, high = value
    if estimate is None:
        return None
    return f"{estimate:.2f}" if low is None or high is None else f"{estimate:.2f} [{low:.2f}, {high:.2f}]"


def show_scrutiny(found: "ConceptScrutiny") -> None:
    """Poolings, unique contribution, side effects and parts of the mix of one concept."""
    if found.unique_selected is not None:
        click.echo(
            f"beside all others: win rate {found.unique_win_rate or 0.5:.3f} at equal length (shrunk),"
            f" selected in {found.unique_selected:.0%} of random halves"
        )
    if found.poolings:
        click.echo(f"\n{found.n_agree} of {found.n_compared} poolings that test it make the same calls")
        rows = [
            (p.pooling, interval(p.taught), p.is_taught_call, interval(p.equal), p.is_equal_call, p.agrees)
            for p in found.poolings
        ]
        header = ("pooling", "taught", "called", "at equal length", "called", "agrees")
        write_table(header, rows, plain=False)
    if found.side_effects:
        click.echo(
            f"\nHalving it, by leaving out a weight of {found.dropped:,.0f} pairs, also moves (mean u)"
        )
        moved = [
            (e.name, e.before, e.after, f"[{e.change_low:+.3f}, {e.change_high:+.3f}]")
            for e in found.side_effects
        ]
        write_table(("concept", "before", "after", "change"), moved, plain=False, flexible=0)
    for spread in found.spreads:
        click.echo(
            f"\nBy {spread.facet}: mean over {spread.n_levels} {interval(spread.mean) or '–'}, "
            f"I² {'–' if spread.i2 is None else f'{spread.i2:.0%}'}"
        )
        levels = [e for e in found.levels if e.facet == spread.facet]
        table = [
            (e.level, e.n_pairs, e.n_discordant, e.push, interval(e.win), e.is_call, interval(e.without),
             e.is_call_without, interval(e.equal_without), e.is_equal_call_without)
            for e in levels
        ]  # fmt: skip
        columns = (
            spread.facet, "pairs", "discordant", "push", "win rate", "called", "without it", "called",
            "equal length without", "called",
        )  # fmt: skip
        ranks = (1, 1, 3, 3, 1, 2, 1, 2, 4, 4)
        write_table(columns, table, plain=False, flexible=0, ranks=ranks)
    for note in found.notes:
        click.echo("\n" + note)


@click.command("coverage")
@index_argument
@set_option
@output_options
def coverage_command(project: Path, assignments: tuple[str, ...], plain: bool, as_json: bool) -> None:
    """How much of what the labels hold the concepts judged so far account for, on held-out pairs."""
    from engine.api import Project

    with (
        Project(project, overrides=parse_assignments(assignments)) as opened,
        job_progress(project, "coverage", "coverage", plain=plain, as_json=as_json) as progress,
    ):
        meter, review = opened.coverage(progress=progress), opened.browser.coverage()
    if as_json:
        write_json({"meter": meter, "review": review})
        return
    rows = [
        ("judged concepts", meter.n_judged, meter.judged_loss, *_share(meter.judged)),
        ("all concepts", meter.n_concepts, meter.concepts_loss, *_share(meter.concepts)),
        ("full reading", None, meter.reading_loss, 1.0, None, None),
    ]
    header = ("features", "concepts", "held-out log-loss", "share of the gain", "low", "high")
    write_table(header, rows, plain=plain)
    if not plain:
        click.echo(
            f"\n{review.n_called_decided:,} of {review.n_called:,} called concepts decided, "
            f"{review.n_decided:,} of {review.n_concepts:,} in all"
        )


def _share(covered: "Coverage") -> tuple[float | None, float | None, float | None]:
    return covered.share, covered.low, covered.high
