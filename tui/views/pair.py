"""A pair as lines: what it is, its prompt, both responses, what fires on it, where it came from. Pure."""

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from engine.safe_text import one_line
from engine.views.details import PairDetail, Peak
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, PaneLine, fit, width_of, wrap, wrapped
from tui.places import Place
from tui.views.headings import heading
from tui.views.layouts import PairOptions
from tui.views.responses import TEXTS, head_of, limit_of, response_lines
from tui.views.strip import legend, strip_bar, top_of
from tui.views.top_pairs import More

if TYPE_CHECKING:
    from engine.views.rules import PairFate
    from engine.views.strips import PairStrip

PROMPT_LINES, PROMPT_COUNTED = 2, 100
"""Lines of a prompt that is not open, and up to how many lines it is said how many more there are."""
PROMPT_READ = 8_000
"""Characters that are looked at for these."""


def pair_lines(
    detail: PairDetail, options: PairOptions, width: int, glyphs: Glyphs, *,
    fate: "tuple[int, str, PairFate | None] | None" = None, strip: "PairStrip | str | None" = None,
    verdict: Line = (), expanded: frozenset[str] = frozenset(), is_brief: bool = False,
) -> list[PaneLine]:  # fmt: skip
    """The page of a pair, or the pane beside a list.

    Args:
        detail: the pair.
        options: what the person chose.
        width: cells.
        glyphs: characters to draw with.
        fate: (pair, rule file, what that does to it).
        strip: activations of the concept token by token, or why they are not here.
        verdict: what was decided about the concept whose peaks are shown.
        expanded: sections that are shown whole; ``TEXTS`` for long texts.
        is_brief: beside a list, where it is laid out while the cursor moves.
    """
    read = None if isinstance(strip, str) else strip
    lines = _head(detail, width, verdict)
    lines += _activations(detail, read, width, glyphs)
    if isinstance(strip, str):
        lines.append(PaneLine(((fit(strip, width).rstrip(), "dim"),)))
    if fate is not None:
        lines.append(_fate(fate[1], fate[2]))
    lines += _prompt(detail, options, width, limit_of(expanded, is_brief=is_brief), is_brief=is_brief)
    lines.append(PaneLine(()))
    lines += response_lines(detail, options, read, width, glyphs, expanded=expanded, is_brief=is_brief)
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
    lines = [PaneLine(line) for line in wrap(first, width, "bold")]
    if detail.truncated:
        lines.append(PaneLine(((f"cut for reading: {', '.join(detail.truncated)}", "warn"),)))
    named = next((c for c in detail.concepts if c.concept_id == detail.concept_id), None)
    if named is not None:
        text = f"{named.chosen:.2f} chosen − {named.rejected:.2f} rejected, u {named.u:+.2f}"
        name = one_line(named.name, max(width // 2, 8))
        scores: Line = (("concept ", "dim"), (name, "title"), (f"  {text}", "text"))
        if width_of((*scores, ("  ", "text"), *verdict)) <= width or not verdict:
            lines.append(PaneLine((*scores, ("  ", "text"), *verdict)))
        else:  # neither the scores nor what was decided may be cut off
            short = one_line(named.name, max(width - 10 - len(text), 8))
            lines.append(PaneLine((("concept ", "dim"), (short, "title"), (f"  {text}", "text"))))
            lines.append(PaneLine((("        ", "dim"), *verdict)))
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
    # One scale for both responses: a side that hardly fires must not look like the other.
    largest = [v for side in ("chosen", "rejected") if side in read for v in read[side].largest]
    top = max([*largest, *(p.act_max for p in detail.peaks)], default=0.0)
    lines = []
    for side, n_tokens in (("chosen", detail.chosen_tokens), ("rejected", detail.rejected_tokens)):
        peaks = [p for p in detail.peaks if p.side == side]
        if not detail.peaks or not n_tokens:
            continue
        cells = min(max(width - 46, 10), n_tokens, 80)
        bar = strip_bar(read[side].largest, cells, glyphs, top) if side in read else ""
        said = "  silent"
        if peaks:
            first = peaks[0]
            said = f"  token {first.token + 1} of {n_tokens}: {first.act_max:.2f}, latent {first.latent}"
        bar = bar or peak_strip(peaks, n_tokens, cells, glyphs, top)
        lines.append(PaneLine(((f"{side:<9}", "dim"), (bar, "selected"), (said, "text" if peaks else "dim"))))
    return [*lines, legend(top_of(strip))] if strip is not None and top_of(strip) > 0 else lines


def peak_strip(peaks: Sequence[Peak], n_tokens: int, cells: int, glyphs: Glyphs, top: float) -> str:
    """Where the latents of a concept peak, one cell per stretch of tokens; full at ``top``."""
    values = [0.0] * cells
    for peak in peaks:
        at = min(peak.token * cells // max(n_tokens, 1), cells - 1)
        values[at] = max(values[at], peak.act_max)
    return fmt.sparkline(values, glyphs, top).replace(glyphs.blocks[0], glyphs.empty)


def _prompt(
    detail: PairDetail, options: PairOptions, width: int, limit: int | None, *, is_brief: bool
) -> list[PaneLine]:
    """The first lines of its last turn, or all of it; lines that nobody sees are not made."""
    title = f"{detail.prompt_tokens} tokens"
    if options.is_prompt_open:
        head = detail.prompt if limit is None else head_of(detail.prompt, limit)
        lines = [PaneLine(()), heading("PROMPT", title), *(PaneLine(line) for line in wrap(head, width))]
        if len(head) < len(detail.prompt):
            how = "enter opens the pair" if is_brief else "enter shows all"
            said = f"… {len(detail.prompt) - len(head):,} more characters of the prompt: {how}"
            lines.append(PaneLine(((said, "key"),), None if is_brief else More(TEXTS)))
        return lines
    at = len(detail.prompt) - len(fmt.last_turn(detail.prompt))
    before = _some(detail.prompt[max(at - PROMPT_READ, 0) : at], width, PROMPT_COUNTED + 1)
    found = _some(head_of(detail.prompt[at:], PROMPT_READ), width, PROMPT_LINES + PROMPT_COUNTED + 1)
    more = len(before) + max(len(found) - PROMPT_LINES, 0)
    way = "enter" if is_brief else "p"
    if more > PROMPT_COUNTED:
        title += f", over {PROMPT_COUNTED} more lines: {way}"
    elif more > 0:
        title += f", {more} more line{'s' if more > 1 else ''}: {way}"
    lines = [PaneLine(((line, "text"),)) for line in found[:PROMPT_LINES]]
    return [PaneLine(()), heading("PROMPT", title), *lines]


def _some(text: str, width: int, n: int) -> list[str]:
    """The first lines that are not empty."""
    return list(islice((line for line in wrapped(text, width) if line.strip()), n))


# -- beside them ------------------------------------------------------------------------------------------


def _concepts(detail: PairDetail, width: int) -> list[PaneLine]:
    if not detail.concepts:
        return []
    lines = [PaneLine(()), heading("CONCEPTS", "disparity u, then the score of chosen / rejected")]
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
    hidden = detail.n_concepts - len(detail.concepts)
    if hidden > 0:
        said = f" {hidden:,} more that move less are left out; `prosect show` with --json has all"
        lines.append(PaneLine(((fit(said, width).rstrip(), "dim"),)))
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
    if detail.n_contexts > len(detail.contexts):
        said = f"                     {detail.n_contexts - len(detail.contexts):,} more contexts"
        lines.append(PaneLine(((said, "dim"),)))
    return lines
