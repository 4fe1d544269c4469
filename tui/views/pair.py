"""A pair as lines: both responses side by side, stacked or as one text with differences. Pure."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from engine.rule_views import PairFate
from engine.safe_text import one_line, sanitise
from engine.views import PairDetail, Peak
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, PaneLine, Span, fit, shown, width_of, wrap
from tui.places import Place
from tui.views.concept import heading

MAX_DIFF_WORDS = 5_000
MIN_SPLIT = 90
"""Cells below which two columns are too narrow to read."""
Word = tuple[str, str]


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

    def layout_for(self, width: int) -> Layout:
        """The layout at a width."""
        if self.layout is Layout.SPLIT and width < MIN_SPLIT:
            return Layout.STACK
        return self.layout or (Layout.SPLIT if width >= MIN_SPLIT else Layout.INLINE)


def pair_lines(
    detail: PairDetail, options: PairOptions, width: int, glyphs: Glyphs, *,
    fate: tuple[int, str, PairFate | None] | None = None,
) -> list[PaneLine]:  # fmt: skip
    """The page of a pair; ``fate`` is (pair, rule file, what that does to it)."""
    lines = _head(detail, width, glyphs)
    if fate is not None:
        lines.append(_fate(fate[1], fate[2]))
    lines += _prompt(detail, options, width)
    chosen, rejected, note = _diffed(detail, options)
    layout = options.layout_for(width)
    lines.append(PaneLine(()))
    if note:
        lines.append(PaneLine(((note, "warn"),)))
    if layout is Layout.SPLIT:
        lines += _split(detail, chosen, rejected, width, glyphs)
    elif layout is Layout.STACK:
        lines += _stacked(detail, chosen, rejected, width)
    else:
        lines += _inline(detail, width)
    lines += _concepts(detail, width)
    return lines + _facts(detail, width)


def _head(detail: PairDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
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
        lines.append(
            PaneLine(
                (("concept ", "dim"), (one_line(named.name, width // 2), "title"), ("  " + text, "text"))
            )
        )
    elif detail.concept_id:
        lines.append(PaneLine((("the concept is silent on this pair", "dim"),)))
    lines += _peak_lines(detail, width, glyphs)
    return lines


def _fate(name: str, fate: PairFate | None) -> PaneLine:
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


def _peak_lines(detail: PairDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    lines = []
    for side, n_tokens in (("chosen", detail.chosen_tokens), ("rejected", detail.rejected_tokens)):
        peaks = [p for p in detail.peaks if p.side == side]
        if not peaks or not n_tokens:
            continue
        cells = min(max(width - 46, 10), n_tokens, 80)
        top = peaks[0]
        spans: Line = (
            (f"{side:<9}", "dim"),
            (peak_strip(peaks, n_tokens, cells, glyphs), "peak1"),
            (f"  token {top.token + 1} of {n_tokens}: {top.act_max:.2f}, latent {top.latent}", "text"),
        )
        lines.append(PaneLine(spans))
    return lines


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


def words_of(text: str) -> list[str]:
    """Words with the white space after them; a line end is a word of its own."""
    return re.findall(r"\n|[^\S\n]+|[^\s]+[^\S\n]*", sanitise(text))


def _diffed(detail: PairDetail, options: PairOptions) -> tuple[list[Word], list[Word], str]:
    chosen, rejected = words_of(detail.chosen), words_of(detail.rejected)
    telling = frozenset(t.strip().casefold() for t in detail.concept_tokens if t.strip())
    if not options.is_diffed or max(len(chosen), len(rejected)) > MAX_DIFF_WORDS:
        note = f"no difference is shown beyond {MAX_DIFF_WORDS:,} words" if options.is_diffed else ""
        return _roles(chosen, set(), "", telling), _roles(rejected, set(), "", telling), note
    only_chosen, only_rejected = _differences(chosen, rejected)
    return (
        _roles(chosen, only_chosen, "added", telling),
        _roles(rejected, only_rejected, "removed", telling),
        "",
    )


def _differences(chosen: list[str], rejected: list[str]) -> tuple[set[int], set[int]]:
    matcher = difflib.SequenceMatcher(
        None, [w.strip() for w in chosen], [w.strip() for w in rejected], autojunk=False
    )
    only_chosen, only_rejected = set(range(len(chosen))), set(range(len(rejected)))
    for a, b, size in matcher.get_matching_blocks():
        only_chosen.difference_update(range(a, a + size))
        only_rejected.difference_update(range(b, b + size))
    return only_chosen, only_rejected


def _roles(words: list[str], different: set[int], role: str, telling: frozenset[str]) -> list[Word]:
    return [
        (w, "mark" if w.strip(" .,;:!?'\"()").casefold() in telling else role if i in different else "text")
        for i, w in enumerate(words)
    ]


def fold_words(words: Sequence[Word], width: int) -> list[Line]:
    """Words with roles folded to lines of at most ``width`` cells."""
    lines: list[Line] = []
    current: list[Span] = []
    size = 0
    for word, role in words:
        if word == "\n":
            lines.append(_closed(current))
            current, size = [], 0
            continue
        rest = shown(word)
        need = cell_len(rest.rstrip())
        if current and size + need > width:
            lines.append(_closed(current))
            current, size = [], 0
        while need > width:
            head = rest[: max(width // 2, 1)] if not rest.isascii() else rest[:width]
            lines.append(((head, role),))
            rest = rest[len(head) :]
            need = cell_len(rest.rstrip())
        if current and current[-1][1] == role:
            current[-1] = (current[-1][0] + rest, role)
        elif rest:
            current.append((rest, role))
        size += cell_len(rest)
    lines.append(_closed(current))
    return lines


def _closed(spans: list[Span]) -> Line:
    """A line without the white space at its end."""
    spans = list(spans)
    while spans and not spans[-1][0].rstrip():
        spans.pop()
    if spans:
        spans[-1] = (spans[-1][0].rstrip(), spans[-1][1])
    return tuple(spans)


def _titles(detail: PairDetail) -> tuple[str, str]:
    return f"CHOSEN  {detail.chosen_tokens} tokens", f"REJECTED  {detail.rejected_tokens} tokens"


def _split(
    detail: PairDetail, chosen: list[Word], rejected: list[Word], width: int, glyphs: Glyphs
) -> list[PaneLine]:
    half = (width - 3) // 2
    left, right = fold_words(chosen, half), fold_words(rejected, half)
    titles = _titles(detail)
    lines = [PaneLine(((fit(titles[0], half), "title"), (f" {glyphs.column} ", "dim"), (titles[1], "title")))]
    for i in range(max(len(left), len(right))):
        one = left[i] if i < len(left) else ()
        other = right[i] if i < len(right) else ()
        gap = " " * max(half - width_of(one), 0)
        lines.append(PaneLine((*one, (gap, "text"), (f" {glyphs.column} ", "dim"), *other)))
    return lines


def _stacked(detail: PairDetail, chosen: list[Word], rejected: list[Word], width: int) -> list[PaneLine]:
    lines: list[PaneLine] = []
    for title, words, gutter, role in zip(
        _titles(detail), (chosen, rejected), "+-", ("plus", "minus"), strict=True
    ):
        lines.append(heading(title))
        lines += [PaneLine(((gutter + " ", role), *line)) for line in fold_words(words, width - 2)]
        lines.append(PaneLine(()))
    return lines


def _inline(detail: PairDetail, width: int) -> list[PaneLine]:
    """One text: common words plain, ``[-rejected only-]`` and ``{+chosen only+}``."""
    chosen, rejected = words_of(detail.chosen), words_of(detail.rejected)
    if max(len(chosen), len(rejected)) > MAX_DIFF_WORDS:
        return _stacked(detail, [(w, "text") for w in chosen], [(w, "text") for w in rejected], width)
    lines = [
        PaneLine(
            (
                ("{+chosen only+}", "added"),
                (" [-rejected only-]", "removed"),
                (f"  {detail.chosen_tokens} and {detail.rejected_tokens} tokens", "dim"),
            )
        )
    ]
    matcher = difflib.SequenceMatcher(
        None, [w.strip() for w in rejected], [w.strip() for w in chosen], autojunk=False
    )
    words: list[Word] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            words += [(w, "text") for w in chosen[c:d]]
            continue
        words += _bracketed(rejected[a:b], "[-", "-]", "removed") + _bracketed(
            chosen[c:d], "{+", "+}", "added"
        )
    return lines + [PaneLine(line) for line in fold_words(words, width)]


def _bracketed(words: list[str], opening: str, closing: str, role: str) -> list[Word]:
    found = [(w, role) for w in words if w != "\n"]
    if not found:
        return [("\n", role)] if "\n" in words else []
    found[0] = (opening + found[0][0], role)
    found[-1] = (found[-1][0].rstrip() + closing + " ", role)
    return found + ([("\n", role)] if words[-1] == "\n" else [])


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
