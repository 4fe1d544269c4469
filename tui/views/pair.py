"""A pair as lines: both responses side by side, stacked or as one text with differences. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from engine.detail_views import PairDetail, Peak
from engine.safe_text import one_line
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, PaneLine, fit, width_of, wrap
from tui.places import Place
from tui.views.headings import heading
from tui.views.strip import char_levels, legend, strip_bar, top_of
from tui.views.words import (
    MAX_DIFF_WORDS,
    Word,
    differences,
    fold_words,
    inline_words,
    marked_words,
    words_of,
)

if TYPE_CHECKING:
    from engine.rule_views import PairFate
    from engine.strip_views import PairStrip

MIN_SPLIT = 90
"""Cells below which two columns are too narrow to read."""


class Layout(StrEnum):
    """How the two responses are shown."""

    SPLIT = "side by side"
    STACK = "stacked"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class PairOptions:
    """What the keys of the pair screen change."""

    layout: Layout | None = None
    """None: by width."""
    is_diffed: bool = True
    is_prompt_open: bool = False
    is_lit: bool = True
    """Activations token by token, once they were read."""

    def layout_for(self, width: int) -> Layout:
        """The layout at a width."""
        if self.layout is Layout.SPLIT and width < MIN_SPLIT:
            return Layout.STACK
        return self.layout or (Layout.SPLIT if width >= MIN_SPLIT else Layout.INLINE)


def pair_lines(
    detail: PairDetail, options: PairOptions, width: int, glyphs: Glyphs, *,
    fate: "tuple[int, str, PairFate | None] | None" = None, strip: "PairStrip | str | None" = None,
    verdict: Line = (),
) -> list[PaneLine]:  # fmt: skip
    """The page of a pair.

    Args:
        detail: the pair.
        options: what the person chose.
        width: cells.
        glyphs: characters to draw with.
        fate: (pair, rule file, what that does to it).
        strip: activations of the concept token by token, or why they are not here.
        verdict: what was decided about the concept whose peaks are shown.
    """
    read = None if isinstance(strip, str) else strip
    lines = _head(detail, width, verdict)
    lines += _activations(detail, read, width, glyphs)
    if isinstance(strip, str):
        lines.append(PaneLine(((fit(strip, width).rstrip(), "dim"),)))
    if fate is not None:
        lines.append(_fate(fate[1], fate[2]))
    lines += _prompt(detail, options, width)
    layout = options.layout_for(width)
    sides = _sides(detail, options, read, layout)
    lines.append(PaneLine(()))
    if sides.note:
        lines.append(PaneLine(((sides.note, "warn"),)))
    if layout is Layout.SPLIT:
        lines += _split(detail, sides, width, glyphs)
    elif layout is Layout.STACK:
        lines += _stacked(detail, sides, width)
    else:
        lines += _inline(detail, sides, width)
    lines += _concepts(detail, width)
    return lines + _facts(detail, width)


def _head(detail: PairDetail, width: int, verdict: Line) -> list[PaneLine]:
    fold = f"fold {detail.fold}" + (" held out" if detail.fold == 19 else "")
    label = {"chosen": "labelled", "tie": "TIE", "both_bad": "BOTH BAD"}.get(detail.label, "UNLABELLED")
    first = f"pair {detail.pair:,} · {label} · {one_line(detail.source, 30)} · {fold}"
    if detail.n_group > 1:
        first += f" · {detail.n_group} pairs share the prompt"
    if detail.is_evaluation:
        first += " · EVALUATION SET"
    lines = [PaneLine(((first, "bold"),))]
    if detail.truncated:
        lines.append(PaneLine(((f"cut for reading: {', '.join(detail.truncated)}", "warn"),)))
    named = next((c for c in detail.concepts if c.concept_id == detail.concept_id), None)
    if named is not None:
        text = f"{named.chosen:.2f} chosen − {named.rejected:.2f} rejected, u {named.u:+.2f}"
        name = one_line(named.name, max(width // 2, 8))
        lines.append(PaneLine((("concept ", "dim"), (name, "title"), ("  " + text + "  ", "text"), *verdict)))
    elif detail.concept_id:
        lines.append(PaneLine((("the concept is silent on this pair  ", "dim"), *verdict)))
    return lines


def _fate(name: str, fate: "PairFate | None") -> PaneLine:
    """What the rules do to the pair."""
    head = (f"{one_line(name, 30)}.rules  ", "dim")
    if fate is None:
        return PaneLine((head, ("no plan: the rules have errors", "warn")))
    facts = [fate.fate.replace("_", " ")]
    if fate.fate == "kept":
        facts.append(f"weight {fate.weight:.2f}")
    if fate.offset:
        facts.append(f"offset {fate.offset:+.3f}")
    if fate.is_flipped:
        facts.append("FLIPPED")
    by = fate.dropped_by or fate.touched_by
    if by:
        facts.append("by " + ", ".join(one_line(b, 40) for b in by[:8]))
    if fate.tags:
        facts.append("tags " + ", ".join(one_line(t, 30) for t in fate.tags[:8]))
    return PaneLine((head, (", ".join(facts), "text" if fate.fate == "kept" else "warn")))


def _activations(detail: PairDetail, strip: "PairStrip | None", width: int, glyphs: Glyphs) -> list[PaneLine]:
    """Where in the responses the concept fires: its latents' peaks, or every token once those were read."""
    read = {s.span: s for s in strip.spans} if strip is not None else {}
    lines = []
    for side, n_tokens in (("chosen", detail.chosen_tokens), ("rejected", detail.rejected_tokens)):
        peaks = [p for p in detail.peaks if p.side == side]
        if not detail.peaks or not n_tokens:
            continue
        cells = min(max(width - 46, 10), n_tokens, 80)
        bar = strip_bar(read[side].largest, cells, glyphs) if side in read else ""
        said = "  silent"
        if peaks:
            top = peaks[0]
            said = f"  token {top.token + 1} of {n_tokens}: {top.act_max:.2f}, latent {top.latent}"
        bar = bar or peak_strip(peaks, n_tokens, cells, glyphs)
        lines.append(PaneLine(((f"{side:<9}", "dim"), (bar, "selected"), (said, "text" if peaks else "dim"))))
    return [*lines, legend(top_of(strip))] if strip is not None and top_of(strip) > 0 else lines


def peak_strip(peaks: Sequence[Peak], n_tokens: int, cells: int, glyphs: Glyphs) -> str:
    """Where the latents of a concept peak along a response, one cell per stretch of tokens."""
    values = [0.0] * cells
    for peak in peaks:
        at = min(peak.token * cells // max(n_tokens, 1), cells - 1)
        values[at] = max(values[at], peak.act_max)
    return fmt.sparkline(values, glyphs).replace(glyphs.blocks[0], glyphs.empty)


def _prompt(detail: PairDetail, options: PairOptions, width: int) -> list[PaneLine]:
    lines = [PaneLine(line) for line in wrap(detail.prompt, width)]
    shown_lines = lines if options.is_prompt_open else lines[:2]
    more = len(lines) - len(shown_lines)
    note = f"{detail.prompt_tokens} tokens" + (f", {more} more lines: p" if more else "")
    return [PaneLine(()), heading("PROMPT", note), *shown_lines]


# -- the two responses ------------------------------------------------------------------------------------


class Sides(NamedTuple):
    """Both responses as words with roles."""

    chosen: list[Word]
    rejected: list[Word]
    note: str


def _sides(detail: PairDetail, options: PairOptions, strip: "PairStrip | None", layout: Layout) -> Sides:
    chosen, rejected = words_of(detail.chosen), words_of(detail.rejected)
    telling = frozenset(t.strip().casefold() for t in detail.concept_tokens if t.strip())
    lit = {s.span: s for s in strip.spans} if strip is not None else {}
    top = top_of(strip) if strip is not None else 0.0
    levels = {
        side: char_levels("".join(words), lit[side], top) if side in lit else []
        for side, words in (("chosen", chosen), ("rejected", rejected))
    }
    is_long = max(len(chosen), len(rejected)) > MAX_DIFF_WORDS
    note = f"no difference is shown beyond {MAX_DIFF_WORDS:,} words" if options.is_diffed and is_long else ""
    only: tuple[set[int], set[int]] = (set(), set())
    if options.is_diffed and not is_long and layout is not Layout.INLINE:
        only = differences(chosen, rejected)
    return Sides(
        marked_words(chosen, only[0], "added", telling, levels["chosen"]),
        marked_words(rejected, only[1], "removed", telling, levels["rejected"]),
        note,
    )


def _titles(detail: PairDetail) -> tuple[str, str]:
    return f"CHOSEN  {detail.chosen_tokens} tokens", f"REJECTED  {detail.rejected_tokens} tokens"


def _split(detail: PairDetail, sides: Sides, width: int, glyphs: Glyphs) -> list[PaneLine]:
    half = (width - 3) // 2
    left, right = fold_words(sides.chosen, half), fold_words(sides.rejected, half)
    titles = _titles(detail)
    lines = [PaneLine(((fit(titles[0], half), "title"), (f" {glyphs.column} ", "dim"), (titles[1], "title")))]
    for i in range(max(len(left), len(right))):
        one = left[i] if i < len(left) else ()
        other = right[i] if i < len(right) else ()
        gap = " " * max(half - width_of(one), 0)
        lines.append(PaneLine((*one, (gap, "text"), (f" {glyphs.column} ", "dim"), *other)))
    return lines


def _stacked(detail: PairDetail, sides: Sides, width: int) -> list[PaneLine]:
    lines: list[PaneLine] = []
    for title, words, gutter, role in zip(
        _titles(detail), (sides.chosen, sides.rejected), "+-", ("plus", "minus"), strict=True
    ):
        lines.append(heading(title))
        lines += [PaneLine(((gutter + " ", role), *line)) for line in fold_words(words, width - 2)]
        lines.append(PaneLine(()))
    return lines


def _inline(detail: PairDetail, sides: Sides, width: int) -> list[PaneLine]:
    """One text with marks for what only one response has."""
    if max(len(sides.chosen), len(sides.rejected)) > MAX_DIFF_WORDS:
        return _stacked(detail, sides, width)
    head: Line = (
        ("{+chosen only+}", "added"),
        (" [-rejected only-]", "removed"),
        (f"  {detail.chosen_tokens} and {detail.rejected_tokens} tokens", "dim"),
    )
    words = inline_words(sides.chosen, sides.rejected)
    return [PaneLine(head), *(PaneLine(line) for line in fold_words(words, width))]


# -- beside them ------------------------------------------------------------------------------------------


def _concepts(detail: PairDetail, width: int) -> list[PaneLine]:
    if not detail.concepts:
        return []
    lines = [PaneLine(()), heading("CONCEPTS", "u, then score chosen / rejected")]
    for concept in detail.concepts:
        role = "plus" if concept.u > 0 else "minus" if concept.u < 0 else "dim"
        lines.append(
            PaneLine(
                (
                    (f" {concept.u:+.2f} ", role),
                    (fit(one_line(concept.name), min(max(width - 30, 10), 60)), "text"),
                    (f" {concept.chosen:7.2f} / {concept.rejected:.2f}", "dim"),
                ),
                Place("concept", concept.concept_id),
            )
        )
    return lines


def _facts(detail: PairDetail, width: int) -> list[PaneLine]:
    lines = [PaneLine(()), heading("ROW")]
    place = f"{one_line(detail.source_file, 80)}, row {detail.source_row:,}"
    for name, value in (("file", place), ("id", detail.pair_id), *detail.facts):
        lines.append(
            PaneLine(
                (
                    (f"{one_line(name, 20):<20} ", "dim"),
                    (fit(one_line(value, width), max(width - 22, 4)), "text"),
                )
            )
        )
    lines += [
        PaneLine((("in context           ", "dim"), (one_line(name, 60), "text")), Place("context", ident))
        for ident, name in detail.contexts
    ]
    return lines
