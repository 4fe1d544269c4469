"""What is known of a concept beyond its estimates: poolings, other concepts, side effects, the mix. Pure."""

from itertools import groupby
from typing import TYPE_CHECKING

from engine.safe_text import one_line
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import PaneLine, Span, fit
from tui.places import Place
from tui.views.headings import heading
from tui.views.top_pairs import more_lines

if TYPE_CHECKING:
    from engine.views.scrutiny import ConceptScrutiny, LevelEffect, SideEffect, Spread


def scrutiny_lines(
    found: "ConceptScrutiny",
    bar: int,
    width: int,
    glyphs: Glyphs,
    *,
    is_called: bool,
    expanded: frozenset[str],
) -> list[PaneLine]:
    """Sections about one concept.

    Args:
        found: what is known.
        bar: cells of an interval bar.
        width: cells.
        glyphs: characters to draw with.
        is_called: it is called everywhere, so that losing the call inside a part of the mix means something.
        expanded: sections shown whole: effects, levels.
    """
    return [
        *_robust(found, bar, width, glyphs),
        *_side_effects(found, width, glyphs, limit=1000 if "effects" in expanded else 10),
        *_levels(found, bar, width, glyphs, is_called=is_called, limit=1000 if "levels" in expanded else 12),
    ]


def _robust(found: "ConceptScrutiny", bar: int, width: int, glyphs: Glyphs) -> list[PaneLine]:
    """Does it stand beside all other concepts, and under other ways of pooling?"""
    if found.unique_win_rate is None and not found.poolings:
        return []
    note = "does it stand by itself, and however latents are pooled?"
    lines = [PaneLine(()), heading("Scrutiny", note if width >= 70 else "by itself, and pooled otherwise")]
    if found.unique_win_rate is not None:
        share = found.unique_selected
        chosen = "" if share is None else f", selected in {share:.0%} of random halves of the data"
        text = f"win rate {fmt.share(found.unique_win_rate)}%{chosen if width >= 80 else ''}"
        lines.append(PaneLine((("beside all others  ", "dim"), (text, "text"))))
    names = [f"pooled by {one_line(pooling.pooling)} " for pooling in found.poolings]
    room = min(max(map(len, names), default=0), max(width - bar - 22, 14))
    for name, pooling in zip(names, found.poolings, strict=True):
        spans: list[Span] = [
            (fit(name, room), "dim"),
            (fmt.interval_bar(pooling.taught, bar, glyphs), fmt.leaning(pooling.taught)),
            (f" {fmt.share(pooling.taught.estimate):>5}%", "text"),
        ]
        if width >= 100:
            spans.append((f"  at equal length {fmt.share(pooling.equal.estimate):>5}%", "text"))
        said = {True: "  same calls", False: "  OTHER CALLS", None: "  untested"}[pooling.agrees]
        spans.append((said, "warn" if pooling.agrees is False else "dim"))
        lines.append(PaneLine(tuple(spans)))
    return lines


def _side_effects(found: "ConceptScrutiny", width: int, glyphs: Glyphs, *, limit: int) -> list[PaneLine]:
    if not found.side_effects:
        return []
    note = "what else moves when it is halved: mean disparity"
    if width >= 110:
        note = f"what else moves when it is halved by leaving out {found.dropped:,.0f} pairs: mean disparity"
    lines = [PaneLine(()), heading("Side effects", note if width >= 65 else "when it is halved")]
    lines += [_side_effect(e, width, glyphs) for e in found.side_effects[:limit]]
    return [*lines, *more_lines("effects", len(found.side_effects) - limit)]


def _side_effect(effect: "SideEffect", width: int, glyphs: Glyphs) -> PaneLine:
    name = fit(one_line(effect.name), min(max(width - 46, 10), 50))
    change = effect.after - effect.before
    interval = f"  {change:+.3f} [{effect.change_low:+.3f}, {effect.change_high:+.3f}]" if width >= 80 else ""
    return PaneLine(
        (
            (f" {name}", "text"),
            (f" {effect.before:+.3f} {glyphs.arrow} {effect.after:+.3f}", "text"),
            (interval or f" {change:+.3f}", "plus" if change > 0 else "minus"),
        ),
        Place("concept", effect.concept_id),
    )


def _levels(
    found: "ConceptScrutiny", bar: int, width: int, glyphs: Glyphs, *, is_called: bool, limit: int
) -> list[PaneLine]:
    """The parts of the mix, by facet: inside each, and without it."""
    spreads = {s.facet: s for s in found.spreads}
    lines: list[PaneLine] = []
    hidden = 0
    for facet, group in groupby(found.levels, key=lambda level: level.facet):
        levels = list(group)
        lines += [PaneLine(()), heading(f"By {one_line(facet)}", _spread_text(spreads.get(facet)))]
        lines += [_level(level, bar, width, glyphs, is_called=is_called) for level in levels[:limit]]
        hidden += max(len(levels) - limit, 0)
    notes = [PaneLine(((f"  {note}", "dim"),)) for note in found.notes]
    if notes and not lines:
        lines = [PaneLine(()), heading("By part of the mix")]
    return [*lines, *notes, *more_lines("levels", hidden)]


def _spread_text(spread: "Spread | None") -> str:
    if spread is None:
        return "inside, and without it"
    text = f"mean over {spread.n_levels} {fmt.interval_text(spread.mean)}"
    return text if spread.i2 is None else f"{text}, I² {spread.i2:.0%}"


def _level(level: "LevelEffect", bar: int, width: int, glyphs: Glyphs, *, is_called: bool) -> PaneLine:
    is_lost = is_called and not level.is_call_without
    spans: list[Span] = [
        (fit(one_line(level.level), min(max(width - bar - 44, 8), 28)) + " ", "text"),
        (fmt.interval_bar(level.win, bar, glyphs), fmt.leaning(level.win)),
        (f" {fmt.share(level.win.estimate):>5}%", "text"),
        (f"  {fmt.count(level.n_discordant)} of {fmt.count(level.n_pairs)} pairs", "dim"),
    ]
    if width >= 80:
        spans.append((f"  without it {fmt.share(level.without.estimate)}%", "text"))
    if is_lost:
        spans.append(("  NOT CALLED WITHOUT IT" if width >= 110 else "  LOST", "warn"))
    return PaneLine(tuple(spans))
