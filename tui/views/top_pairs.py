"""The pairs in which a concept differs most, one line each, cut near the peak. Pure."""

import re
from dataclasses import dataclass

from engine.safe_text import one_line, sanitise
from engine.views.details import ConceptDetail, Snippet, TopPair
from tui.format import Glyphs
from tui.lines import Line, PaneLine, Span, fit
from tui.places import Place
from tui.views.headings import heading


@dataclass(frozen=True, slots=True)
class More:
    """A line that shows the rest of a section."""

    section: str


def top_pairs_lines(detail: ConceptDetail, width: int, glyphs: Glyphs, *, limit: int) -> list[PaneLine]:
    """One line per pair: number, difference of the scores, and a snippet of each response."""
    if not detail.top_pairs:
        return []
    is_counted = any(side.marks for top in detail.top_pairs for side in (top.chosen, top.rejected))
    said = "cut at the first match" if is_counted else "cut near the peak"
    if width >= 80:
        said = f"chosen − rejected; {said}, {'matches' if is_counted else 'telling words'} marked"
    lines = [PaneLine(()), heading(f"Top pairs{within(detail)}", said)]
    words = frozenset(word.casefold() for token in detail.tokens for word in token.split())
    for top in detail.top_pairs[:limit]:
        lines += _pair_lines(top, detail.concept_id, words, width, glyphs)
    return [*lines, *more_lines("pairs", len(detail.top_pairs) - limit)]


def within(detail: ConceptDetail) -> str:
    """`` in CONTEXT`` where what follows is about the pairs of one context."""
    return f" in {one_line(detail.inside.context_name, 40)}" if detail.inside is not None else ""


def more_lines(section: str, n: int) -> list[PaneLine]:
    """A line that says what is left out, none where nothing is."""
    if n <= 0:
        return []
    return [PaneLine(((f"{n:>9,} more: enter", "key"),), More(section))]


def _pair_lines(
    top: TopPair, concept_id: str, words: frozenset[str], width: int, glyphs: Glyphs
) -> list[PaneLine]:
    delta = top.chosen_score - top.rejected_score
    head: tuple[Span, ...] = (
        (f"{top.pair:>9,} ", "text"),
        (f"{delta:+6.2f} ", "plus" if delta > 0 else "minus"),
    )
    place = Place("pair", str(top.pair), concept_id)
    room = width - 18
    if width >= 90:
        half = (room - 3) // 2
        chosen, rejected = (
            snippet(top.chosen, half, words, glyphs),
            snippet(top.rejected, half, words, glyphs),
        )
        return [PaneLine((*head, *chosen, (f" {glyphs.column} ", "dim"), *rejected), place)]
    side, label = (top.chosen, "+") if delta > 0 else (top.rejected, "-")
    return [
        PaneLine(
            (*head, (label, "plus" if delta > 0 else "minus"), *snippet(side, room - 1, words, glyphs)), place
        )
    ]


def snippet(piece: Snippet, width: int, words: frozenset[str], glyphs: Glyphs) -> Line:
    """One line of exactly ``width`` cells around the place of the peak, telling words marked."""
    if piece.marks:
        centre = piece.marks[0][0]
    elif piece.peak_token is None or not piece.n_tokens:
        centre = 0
    else:
        whole = piece.n_before + len(piece.text) + piece.n_after
        centre = int((piece.peak_token + 0.5) / piece.n_tokens * whole) - piece.n_before
    start = min(max(centre - width // 3, 0), max(len(piece.text) - width, 0))
    lead = glyphs.more if start or piece.n_before else ""
    if piece.marks:
        return _marked_at(piece, start, width, lead, glyphs)
    text = " ".join(sanitise(piece.text[start : start + 2 * width]).split())
    text = fit(lead + text, width, more=glyphs.more)
    return marked(text, words, "text" if piece.peak_token is not None else "dim")


def _marked_at(piece: Snippet, start: int, width: int, lead: str, glyphs: Glyphs) -> Line:
    """The piece from ``start`` on in exactly ``width`` cells, what a column counts underlined."""
    end = min(start + 2 * width, len(piece.text))
    parts: list[Span] = [(lead, "text")]
    at = start
    for first, behind in (*piece.marks, (end, end)):
        if first < at or first > end:
            continue
        parts += [
            (_flat(piece.text[at:first]), "text"),
            (_flat(piece.text[first : min(behind, end)]), "mark"),
        ]
        at = min(behind, end)
    whole = fit("".join(text for text, _ in parts), width, more=glyphs.more)
    spans, at = [], 0
    for text, role in (*parts, (" " * width, "text")):
        shown_part = whole[at : at + len(text)]
        at += len(text)
        if shown_part:
            spans.append((shown_part, role))
    return tuple(spans)


def _flat(text: str) -> str:
    """Sanitised, with white space as one space each, also at the ends."""
    return re.sub(r"\s+", " ", sanitise(text))


def marked(text: str, words: frozenset[str], role: str) -> Line:
    """Text with whole words of a set underlined."""
    if not words:
        return ((text, role),)
    spans: list[Span] = []
    plain = ""
    for part in _parts(text):
        if part.casefold().strip(".,;:!?'\"()") in words:
            if plain:
                spans.append((plain, role))
            spans.append((part, "mark"))
            plain = ""
        else:
            plain += part
    return (*spans, (plain, role)) if plain else tuple(spans)


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    for i, word in enumerate(text.split(" ")):
        if i:
            parts.append(" ")
        if word:
            parts.append(word)
    return parts
