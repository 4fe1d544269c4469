"""Pages and the pane beside a list: from what was answered to lines. Imported when the first one is drawn."""

from typing import TYPE_CHECKING

from engine.safe_text import one_line
from engine.views.details import ConceptDetail, ContextDetail, PairDetail
from engine.views.tables import FacetCount
from tui import format as fmt
from tui.lines import Line, PaneLine, fit
from tui.review import loss_text
from tui.views.concept import concept_lines, verdict_line
from tui.views.context import context_lines
from tui.views.help import coverage_lines, tour_lines
from tui.views.pair import pair_lines
from tui.views.peek import peek_lines
from tui.views.words import QUICK_DIFF_WORK, diff_work, words_of

if TYPE_CHECKING:
    from tui.desk import Desk

LONG_PAIR = 8_000
"""Characters of a pair above which it is laid out in the background; so is one whose words repeat often."""


def draw_page(desk: "Desk", *, keep_place: bool = False) -> None:
    """Lay out what the page shows."""
    width = desk.frame.page_width
    detail, view = desk.detail, desk.place.view
    if desk.place.is_table or desk.doing.is_listing:
        return
    if view in ("rules", "plan"):
        desk.doing.draw_rules()
    if view in ("runs", "run"):
        desk.doing.draw_runs()
    if view in ("jobs", "job"):
        desk.doing.draw_jobs()
    if view == "tour":
        desk.set_page(tour_lines(desk.summary, width), keep_place=keep_place)
    elif view == "coverage" and desk.coverage is not None:
        author = desk.session.project.author
        lost = loss_text(desk.coverage.lost) if desk.coverage.lost is not None else ""
        lines = coverage_lines(desk.summary, desk.coverage, author, width, desk.glyphs, lost)
        desk.set_page(lines, keep_place=keep_place)
    elif isinstance(detail, ConceptDetail):
        desk.doing.page_subject()  # which the pages of its pairs go on with
        lines = concept_lines(
            detail,
            desk.reviewer.held,
            width,
            desk.glyphs,
            shift=desk.doing.shift_of(detail.concept_id),
            moves=desk.doing.moves,
            expanded=desk.expanded,
        )
        desk.set_page(lines, keep_place=keep_place)
    elif isinstance(detail, ContextDetail):
        desk.set_page(context_lines(detail, width, desk.glyphs), keep_place=keep_place)
    elif isinstance(detail, PairDetail):
        _draw_pair(desk, detail, width, keep_place=keep_place)


def _draw_pair(desk: "Desk", detail: PairDetail, width: int, *, keep_place: bool) -> None:
    """Lay a pair out; a long one elsewhere, since the difference of two long texts takes its time."""
    fate = desk.doing.fate if desk.doing.fate and desk.doing.fate[0] == detail.pair else None
    strip, subject = desk.doing.strip_of(detail), desk.doing.page_subject()
    verdict: Line = ()
    if subject is not None:
        held = desk.reviewer.held.get(subject.target.key)
        where = ((f"in {one_line(subject.context, 30)}  ", "text"),) if subject.context else ()
        verdict = (*where, *verdict_line(held, desk.glyphs))
    options, glyphs, expanded = desk.pair_options, desk.glyphs, desk.expanded

    def lines() -> list[PaneLine]:
        return pair_lines(
            detail, options, width, glyphs, fate=fate, strip=strip, verdict=verdict, expanded=expanded
        )

    if is_quick(detail):
        desk.session.forget("laid-out")
        desk.set_page(lines(), keep_place=keep_place)
    else:
        desk.session.ask("laid-out", lambda: (detail, lines(), keep_place))


def is_quick(detail: PairDetail) -> bool:
    """Laid out before anybody notices."""
    if len(detail.chosen) + len(detail.rejected) + len(detail.prompt) > LONG_PAIR:
        return False
    return diff_work(words_of(detail.chosen), words_of(detail.rejected)) <= QUICK_DIFF_WORK


def draw_side(desk: "Desk", *, keep_place: bool = False) -> None:
    """Lay out the pane beside the list."""
    side = desk.side
    if not side.display or not (desk.place.is_table or desk.frame.has_preview):
        return
    width = desk.frame.side_width - 2
    detail = desk.side_detail
    side.way_to_rest = "" if desk.frame.is_peeking else "enter"
    if desk.frame.is_peeking:
        side.set_lines(peek_lines(detail, desk.list_position, width, desk.glyphs), keep_place=keep_place)
        side.cursor = -1
        return
    if isinstance(detail, ConceptDetail):
        lines = concept_lines(detail, desk.reviewer.held, width, desk.glyphs, is_brief=True)
        side.set_lines(lines, keep_place=keep_place)
    elif isinstance(detail, ContextDetail):
        side.set_lines(context_lines(detail, width, desk.glyphs, is_brief=True), keep_place=keep_place)
    elif isinstance(detail, PairDetail):
        lines = pair_lines(detail, desk.pair_options, width, desk.glyphs, is_brief=True)
        side.set_lines(lines, keep_place=keep_place)
    else:
        side.set_lines([])
    side.cursor = -1


def facet_lines(
    counts: tuple[FacetCount, ...], width: int, desk: "Desk", marked: frozenset[FacetCount] = frozenset(),
    *, is_cut: bool = False,
) -> list[PaneLine]:  # fmt: skip
    """Values of a column with counts and bars; cut: there are more than these."""
    if not counts:
        return [PaneLine((("no value of this column matches", "dim"),))]
    top = max(c.n for c in counts)
    bar = max(min(width - 50, 40), 6)
    room = max(width - bar - 16, 8)
    mark = desk.glyphs.selected
    lines = [
        PaneLine(
            (
                (f"{mark} " if c in marked else "  ", "selected"),
                (fit("none" if c.value is None else one_line(c.value, 200), room), "text"),
                (f"{c.n:>10,} ", "bold"),
                (fmt.tally(c.n, top, bar, desk.glyphs), "key"),
            ),
            c,
        )
        for c in counts
    ]
    if is_cut:
        said = "these are the most frequent values only; / with the column and tab finds any other"
        lines.append(PaneLine(((f"  {said}", "dim"),)))
    return lines
