"""A few lines below a list on a narrow screen: what the row under the cursor is about. Pure."""

from engine.safe_text import one_line
from engine.views.details import ConceptDetail, ContextDetail, PairDetail
from tui import format as fmt
from tui.format import Glyphs
from tui.lines import Line, PaneLine, Span, fit, width_of
from tui.places import Place
from tui.views.top_pairs import top_pairs_lines

Detail = ConceptDetail | ContextDetail | PairDetail | None


def peek_lines(detail: Detail, position: str, width: int, glyphs: Glyphs) -> list[PaneLine]:
    """A rule with the name, then what does not fit into the list's columns."""
    if isinstance(detail, ConceptDetail):
        head: list[Span] = [(one_line(detail.name, width // 2), "bold")]
        if detail.inside is not None:
            head.append((f"  in {fmt.context_name(detail.inside.context_name, 30).rstrip()}", "text"))
        if detail.tokens:
            head.append(("  " + " ".join(one_line(t) or "␣" for t in detail.tokens), "dim"))
        return [_rule(head, position, width, glyphs), *_concept(detail, width, glyphs)]
    if isinstance(detail, ContextDetail):
        head = [(one_line(detail.name, width // 2), "bold"), (f"  {detail.kind}", "dim")]
        return [_rule(head, position, width, glyphs), *_context(detail, width)]
    if isinstance(detail, PairDetail):
        head = [(f"pair {detail.pair:,}", "bold"), (f"  {detail.label}, fold {detail.fold}", "dim")]
        texts = (("", fmt.last_turn(detail.prompt)), ("+ ", detail.chosen), ("- ", detail.rejected))
        roles = ("dim", "plus", "minus")
        return [
            _rule(head, position, width, glyphs),
            *(
                PaneLine(((mark, role), (fit(one_line(text, width), width - len(mark)), "text")))
                for (mark, text), role in zip(texts, roles, strict=True)
            ),
        ]
    return [_rule([], position, width, glyphs)]


def _rule(head: list[Span], position: str, width: int, glyphs: Glyphs) -> PaneLine:
    room = width - len(position) - 6
    spans: list[Span] = [(glyphs.rule * 2 + " ", "dim")]
    for text, role in head:
        cut = fit(text, min(max(room, 0), width_of([(text, role)])), more=glyphs.more)
        room -= width_of([(cut, role)])
        spans.append((cut, role))
    spans.append((f" {glyphs.rule * max(room, 0)} {position}", "dim"))
    return PaneLine(tuple(spans))


def _concept(detail: ConceptDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    lines: list[PaneLine] = []
    found = detail.inside or detail.everywhere  # what the row says, with its interval
    if found is not None:
        line: Line = (
            ("taught ", "dim"), (fmt.interval_text(found.taught), fmt.leaning(found.taught)),
            ("  equal ", "dim"), (fmt.interval_text(found.equal), fmt.leaning(found.equal)),
            (f"  {fmt.count(found.n_discordant)} discordant", "dim"),
        )  # fmt: skip
        carry: Span = (f"  carry {fmt.share(found.prevalence)}%", "dim")
        line = (*line, carry) if width_of([*line, carry]) <= width else line
        lines.append(PaneLine(line))
    pairs = top_pairs_lines(detail, width, glyphs, limit=4 - len(lines))
    return lines + [PaneLine(p.spans) for p in pairs if isinstance(p.item, Place)]


def _context(detail: ContextDetail, width: int) -> list[PaneLine]:
    sources = ", ".join(f"{one_line(f.value or '?', 24)} {fmt.count(f.n)}" for f in detail.sources[:6])
    size = f"{detail.n_pairs:,} pairs in {detail.n_groups:,} groups"
    named = " · ".join(one_line(c.name, 30) for c in detail.concepts[:6])
    said = "differs most  " if detail.context else "most evidence  "
    return [
        PaneLine(((fit(f"{size}: {sources}", width), "text"),)),
        PaneLine(((said, "dim"), (fit(named, max(width - len(said), 4)), "text"))),
    ]
