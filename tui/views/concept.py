"""A concept as lines: evidence, dose, sources, contexts where it differs, neighbours, top pairs. Pure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.safe_text import one_line
from engine.views.details import ConceptDetail, Evidence
from engine.views.tables import VerdictView
from tui import format as fmt
from tui.cells import verdict_cell
from tui.format import Glyphs
from tui.lines import Line, PaneLine, Span, fit, wrapped
from tui.places import Place
from tui.views.headings import heading
from tui.views.moves import Moves, mover, moves_lines
from tui.views.proposals import imported_lines, proposal_lines
from tui.views.scrutiny import scrutiny_lines
from tui.views.top_pairs import More, more_lines, top_pairs_lines, within

if TYPE_CHECKING:
    from engine.views.rules import ConceptShift
    from engine.views.scrutiny import LabelEvidence

BAR = 25
WITH_MOVER = 105
"""From so many cells on, the line about the rules names the statement that does most of it."""


def concept_lines(
    detail: ConceptDetail, held: Mapping[str, VerdictView], width: int, glyphs: Glyphs, *,
    is_brief: bool = False, shift: "ConceptShift | None" = None,
    moves: Moves | None = None, expanded: frozenset[str] = frozenset(),
) -> list[PaneLine]:  # fmt: skip
    """The page of a concept.

    Args:
        detail: the concept.
        held: verdicts by target key.
        width: cells.
        glyphs: characters to draw with.
        is_brief: the pane beside the list.
        shift: what the rules do to it, as last planned.
        moves: which of their statements do it, as far as known; None: nobody asked.
        expanded: sections that are shown whole: pairs, contexts.
    """
    bar = min(BAR, max(width // 4, 9)) | 1
    lines = [PaneLine(line) for line in _head(detail, width, glyphs, is_brief=is_brief)]
    if detail.inside is not None:
        lines += [*_inside(detail.inside, held, bar, width, glyphs), heading("Everywhere")]
    lines.append(PaneLine(verdict_line(held.get(f"concept:{detail.concept_id}"), glyphs)))
    if detail.everywhere is not None:
        lines += [PaneLine(line) for line in evidence_lines(detail.everywhere, bar, width, glyphs)]
    else:
        lines.append(PaneLine((("no estimate everywhere", "dim"),)))
    if shift is not None:
        is_known = moves is not None and moves.is_whole and width >= WITH_MOVER
        by = " ".join(mover(shift, moves, 26)[0].split()) if is_known else ""
        lines.append(PaneLine((*shift_line(shift, glyphs), (f"  most by {by}" if by else "", "dim"))))
    lines += _dose(detail, width, glyphs)
    if is_brief:
        lines += top_pairs_lines(detail, width, glyphs, limit=8)
        lines += _differs(detail, bar, width, glyphs, limit=5)
        return [PaneLine(x.spans) if isinstance(x.item, More) else x for x in lines]
    lines += top_pairs_lines(detail, width, glyphs, limit=1000 if "pairs" in expanded else 12)
    lines += _differs(detail, bar, width, glyphs, limit=1000 if "contexts" in expanded else 12)
    if shift is not None and moves is not None:
        # Below the pairs: it comes later than the rest, and what enter opens first must not change then.
        lines += moves_lines(shift, moves, width, glyphs, is_expanded="moves" in expanded)
    if detail.scrutiny is not None:
        is_called = bool(detail.everywhere and detail.everywhere.is_taught_call)
        lines += scrutiny_lines(detail.scrutiny, bar, width, glyphs, is_called=is_called, expanded=expanded)
    lines += _neighbours(detail, width)
    return lines


def shift_line(shift: "ConceptShift", glyphs: Glyphs) -> Line:
    """What the rules do to a concept, in a line."""
    what = "target of the rules" if shift.is_target else "held" if shift.is_held else "moved by the rules"
    return (
        (f"{what}  ", "dim"),
        (
            f"mean disparity {shift.mean_before:+.3f} {glyphs.arrow} {round(shift.mean_after, 3) + 0.0:+.3f}",
            "text",
        ),
        (f"  win rate {fmt.share(shift.rate_before)}% {glyphs.arrow} {fmt.share(shift.rate_after)}%", "text"),
        ("  BEYOND ITS LIMIT" if shift.is_beyond else "", "error"),
    )


def _inside(
    evidence: Evidence, held: Mapping[str, VerdictView], bar: int, width: int, glyphs: Glyphs
) -> list[PaneLine]:
    """The hypothesis inside one context: verdict, evidence, and whether it differs from everywhere."""
    lines = [heading(f"In {one_line(evidence.context_name, 40)}")]
    lines.append(PaneLine(verdict_line(held.get(f"hypothesis:{evidence.hypothesis_id}"), glyphs)))
    lines += [PaneLine(line) for line in evidence_lines(evidence, bar, width, glyphs)]
    if evidence.differs_z is not None:
        said = "differs from everywhere" if evidence.is_differs_call else "no call on a difference"
        if width < 60:
            said = "differs" if evidence.is_differs_call else "no difference called"
        numbers = f"  z {fmt.signed(evidence.differs_z)}  q {fmt.q_value(evidence.differs_q)}"
        lines.append(PaneLine(((said, "warn" if evidence.is_differs_call else "dim"), (numbers, "text"))))
    return [*lines, PaneLine(())]


def _head(detail: ConceptDetail, width: int, glyphs: Glyphs, *, is_brief: bool) -> list[Line]:
    made_of = (
        detail.kind if detail.n_latents < 2 else f"{detail.kind} of {fmt.count(detail.n_latents)} latents"
    )
    # a name hides the label that rules, runs and older pages may still use
    label = f"{one_line(detail.working_label, 40)} " if detail.working_label not in ("", detail.name) else ""
    facts = [made_of, f"label {label}from {detail.name_source or 'nowhere'}", detail.concept_id[:10]]
    lines: list[Line] = [
        ((one_line(detail.name, width - 2), "bold"),),
        *_packed(facts, width, "dim", f" {glyphs.no} "),
    ]
    if detail.definition:
        counted = fit(one_line(detail.definition), max(width - 16, 4)).rstrip()
        lines.append((("counts          ", "dim"), (counted, "text")))
    if detail.tokens:
        words = " ".join(one_line(t) or "␣" for t in detail.tokens)
        lines.append((("telling words   ", "dim"), (fit(words, max(width - 16, 4)).rstrip(), "text")))
    lines += _label_lines(detail.label, width)
    if detail.proposal is not None:
        lines += proposal_lines(detail.proposal, width, is_brief=is_brief)
    return lines if is_brief else lines + imported_lines(detail.labels, width)


def _label_lines(label: "LabelEvidence | None", width: int) -> list[Line]:
    """What a label made from tokens rests on: places, and where its words stand."""
    if label is None:
        return []
    room = max(width - 16, 4)
    lines: list[Line] = [
        ((f"{title:16}", "dim"), (fit(one_line(text), room).rstrip(), role))
        for title, places, role in (("fires", label.fires, "text"), ("silent", label.silent, "dim"))
        for text in places
    ]
    if label.inside is not None:
        others = "" if label.outside is None else f", {label.outside:.0%} of the others"
        said = f"a word of it in {label.inside:.0%} of responses that carry it{others}"
        for n, part in enumerate(wrapped(said, room)):
            lines.append(((f"{'' if n else 'label':16}{part}", "dim"),))
    return lines


def verdict_line(verdict: VerdictView | None, glyphs: Glyphs) -> Line:
    """What was decided, by whom, when and why."""
    if verdict is None:
        return (("undecided", "dim"),)
    glyph, role = verdict_cell(verdict.verdict.value, glyphs)
    spans: list[Span] = [
        (f"{glyph} {verdict.verdict.value}", role),
        (f" by {one_line(verdict.author, 40)}", "dim"),
    ]
    spans.append((f" {verdict.time[:16].replace('T', ' ')}", "dim"))
    if verdict.carried_from is not None:
        spans.append(
            (f"  ~ carried from an older index ({verdict.match or 0:.0%} alike): decide to confirm", "warn")
        )
    if verdict.reason:
        spans.append((f"  {one_line(verdict.reason, 200)}", "text"))
    if verdict.disputed_by:
        spans.append((f"  ! {one_line(verdict.disputed_by, 40)} decided otherwise", "warn"))
    return tuple(spans)


def evidence_lines(evidence: Evidence, bar: int, width: int, glyphs: Glyphs) -> list[Line]:
    """Taught and equal-length effects as bars with numbers, then what they rest on."""
    is_short, is_narrow = width < 74, width < 60
    label, gap = (7, " ") if is_short else (16, "  ")
    title = "win rate [95%]"
    if is_narrow and width >= label + bar + 24:
        title = f"{title:<19}call"
    lines: list[Line] = [(("".ljust(label), "dim"), (_axis(bar, glyphs), "dim"), (gap + title, "dim"))]
    for short, long, interval, q, call in (
        ("taught", "taught", evidence.taught, evidence.taught_q, evidence.is_taught_call),
        ("equal", "at equal length", evidence.equal, evidence.equal_q, evidence.is_equal_call),
    ):
        said = "untested" if call is None else "called" if call else "not called"
        text = fmt.interval_text(interval)
        if is_narrow:
            said, text = fmt.flag(call, glyphs), f"{text:<18}"
        lines.append(
            (
                (fit(short if is_short else long, label), "dim"),
                (fmt.interval_bar(interval, bar, glyphs), fmt.leaning(interval)),
                (gap + text, "text"),
                ("" if is_narrow else f"{gap}q {fmt.q_value(q)}", "text"),
                (gap + said, "bold" if call else "dim"),
            )
        )
    if evidence.skip_reason:
        lines.append(((f"untested: {one_line(evidence.skip_reason, 120)}", "warn"),))
    facts = [
        f"length: {evidence.badge or fmt.UNDEFINED}",
        f"halves {fmt.share(evidence.half_a)} / {fmt.share(evidence.half_b)}"
        + ("" if evidence.is_stable is None else " stable" if evidence.is_stable else " UNSTABLE"),
        f"{fmt.count(evidence.n_discordant)} discordant pairs in"
        f" {fmt.count(evidence.n_discordant_groups)} groups",
        f"carried by {fmt.share(evidence.prevalence)}% of {fmt.count(evidence.n_pairs)} pairs",
    ]
    if evidence.min_effect is not None:
        facts.append(f"effects show from {fmt.share(evidence.min_effect)} points on")
    return [*lines, *_packed(facts, width)]


def _packed(facts: list[str], width: int, role: str = "text", between: str = " · ") -> list[Line]:
    """Facts on as few lines as hold them whole."""
    rows: list[str] = []
    for fact in facts:
        if rows and len(rows[-1]) + len(between) + len(fact) <= width:
            rows[-1] += between + fact
        else:
            rows.append(fact)
    return [((row, role),) for row in rows]


def _axis(width: int, glyphs: Glyphs) -> str:
    cells = [" "] * width
    cells[0], cells[width // 2], cells[-1] = ("¼", "½", "¾") if glyphs.axis != ":" else ("<", ":", ">")
    return "".join(cells)


def _dose(detail: ConceptDetail, width: int, glyphs: Glyphs) -> list[PaneLine]:
    if not detail.dose:
        return []
    low, high = detail.dose[0].low, detail.dose[-1].high
    said = "by score, " if width < 60 else "labelled responses by score, "
    said += f"{low:.2f} to {high:.2f}"
    if low == high:
        said = "all with " if width < 60 else "labelled responses that carry it, all with "
        said += f"score {low:.2f}"
    top = max(max(b.n_chosen, b.n_rejected) for b in detail.dose) or 1
    lines = [PaneLine(()), heading(f"Dose{within(detail)}", said)]
    for side in ("chosen", "rejected"):
        values = [float(b.n_chosen if side == "chosen" else b.n_rejected) for b in detail.dose]
        steps = len(glyphs.blocks) - 1
        picture = "".join(
            glyphs.blocks[max(round(v / top * steps), 1) if v > 0 else 0] * (2 if width >= 70 else 1)
            for v in values
        )
        role = "plus" if side == "chosen" else "minus"
        lines.append(
            PaneLine(((side.ljust(9), "dim"), (picture, role), (f"  {fmt.count(sum(values))}", "text")))
        )
    return lines


def _differs(detail: ConceptDetail, bar: int, width: int, glyphs: Glyphs, *, limit: int) -> list[PaneLine]:
    if not detail.differs:
        return []
    n_called = sum(1 for e in detail.differs if e.is_differs_call)
    n_all = max(detail.n_contexts, len(detail.differs))
    is_narrow = width < 60
    said = f"differs{'' if is_narrow else ' from everywhere'} in {n_called:,} of {n_all:,}"
    lines = [PaneLine(()), heading("Inside contexts", said)]
    name = min(max(width - bar - (19 if is_narrow else 34), 8), 32)
    for evidence in detail.differs[:limit]:
        place = Place("context", evidence.context_id)
        z = f"  z {fmt.signed(evidence.differs_z)}" if evidence.differs_z is not None else ""
        rests_on = f"  {fmt.count(evidence.n_discordant)} pairs{z}"
        if is_narrow:  # the difference says what the count of pairs would be looked at for
            rests_on = z.removeprefix(" ") or f" n {fmt.compact(evidence.n_discordant)}"
        lines.append(
            PaneLine(
                (
                    ("≠ " if evidence.is_differs_call else "  ", "warn"),
                    (fit(fmt.context_name(evidence.context_name, name), name) + " ", "text"),
                    (fmt.interval_bar(evidence.taught, bar, glyphs), fmt.leaning(evidence.taught)),
                    (f" {fmt.share(evidence.taught.estimate):>5}%", "text"),
                    (rests_on, "dim"),
                ),
                place,
            )
        )
    lines += more_lines("contexts", len(detail.differs) - limit)
    if n_all > len(detail.differs):
        everyone = Place("hypotheses", f"concept_id={detail.concept_id}")
        said = f"{n_all - len(detail.differs):>9,} more that differ less: enter lists all"
        lines.append(PaneLine(((said, "key"),), everyone))
    return lines


def _neighbours(detail: ConceptDetail, width: int) -> list[PaneLine]:
    if not detail.neighbours:
        return []
    lines = [
        PaneLine(()),
        heading("Moves with", f"the nearest {len(detail.neighbours)}: cosine of the disparities"),
    ]
    for other in detail.neighbours:
        role = "plus" if other.cosine > 0 else "minus"
        lines.append(
            PaneLine(
                (
                    (f" {other.cosine:+.2f} ", role),
                    (fit(one_line(other.name), min(max(width - 40, 10), 50)), "text"),
                    (f" {fmt.count(other.n_shared)} pairs", "dim"),
                    ("  says the same" if other.is_redundant else "", "warn"),
                ),
                Place("concept", other.concept_id),
            )
        )
    return lines
