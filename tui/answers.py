"""What becomes of answers: rows into grids, details into pages, and the lines at the edges of the screen."""

from typing import TYPE_CHECKING

from engine.errors import ProsectError
from engine.safe_text import one_line
from engine.views import ConceptDetail, ContextDetail, FacetCount, PairDetail
from tui import format as fmt
from tui.lines import PaneLine, fit, wrap
from tui.review import Written
from tui.session import Answer
from tui.views.concept import concept_lines, verdict_line
from tui.views.context import context_lines
from tui.views.help import coverage_lines, tour_lines
from tui.views.pair import pair_lines
from tui.views.peek import peek_lines

if TYPE_CHECKING:
    from tui.desk import Desk


LONG_PAIR = 8_000
"""Characters of both responses above which a pair is laid out in the background."""


def take(desk: "Desk", answer: Answer) -> None:
    """Take over one answer, by its purpose."""
    purpose, _, name = answer.purpose.partition(" ")
    if purpose in ("verdict", "undo", "redo", "name"):
        _written(desk, answer)
        return
    if answer.error is not None:
        _failed(desk, purpose, name, answer.error)
        return
    value = answer.value
    if purpose == "open":
        desk.tables[name].opened(value)
        desk.draw_where()
    elif purpose == "pages":
        desk.tables[name].fetched(value)
    elif purpose == "page":
        desk.detail = value
        draw_page(desk)
        if desk.has_preview:
            desk.side_detail = None
            desk.rest()
        if isinstance(value, PairDetail):
            desk.doing.ask_fate(value.pair)
            desk.doing.ask_strip()
        desk.draw_where()
    elif purpose == "laid-out":
        laid_out, lines, is_kept = value
        if desk.detail is laid_out and not desk.doing.is_listing:
            desk.set_page(lines, keep_place=is_kept)
    elif purpose == "side":
        desk.side_detail = value
        draw_side(desk)
    elif purpose == "seek":
        _sought(desk, value)
    elif purpose == "facet":
        desk.doing.show_facets(value)
    elif purpose == "rules":
        desk.doing.rules_read(value)
    elif purpose == "preview":
        desk.doing.previewed(value)
    elif purpose == "draft":
        desk.doing.drafted(value)
    elif purpose in ("runs", "run"):
        desk.doing.runs_read(value)
    elif purpose == "save":
        desk.doing.unsaved = None
        desk.draw_where()
    elif purpose == "work":
        desk.doing.work_read(value)
    elif purpose == "job":
        desk.doing.job_read(value)
    elif purpose == "cost":
        desk.doing.costed(*value)
    elif purpose == "started":
        desk.doing.started(name, value)
    elif purpose == "stopped":
        if value:
            desk.say(value)
        desk.doing.ask_work()
    elif purpose == "yank":
        desk.doing.yanked(*value)
    elif purpose == "strip":
        desk.doing.stripped(*value)
    elif purpose == "fate":
        desk.doing.fated(value)
    elif purpose == "bulk":
        desk.doing.decide_bulk(*value)
    elif purpose == "verdicts":
        desk.reviewer.held = dict(value)
        for control in desk.tables.values():
            control.grid.refresh()
    elif purpose == "summary":
        is_new = value.warning and (desk.summary is None or desk.summary.warning != value.warning)
        desk.summary = value
        if is_new and not desk.message:
            desk.say(value.warning, "warn")
        if desk.place.view in ("tour", "coverage"):
            draw_page(desk, keep_place=True)
        desk.draw_status()
    elif purpose == "coverage":
        desk.coverage = value
        desk.draw_status()
        if desk.place.view == "coverage":
            draw_page(desk, keep_place=True)
    elif purpose == "watch":
        _watched(desk, *value)


def _failed(desk: "Desk", purpose: str, name: str, error: ProsectError) -> None:
    if purpose == "open":
        desk.tables[name].failed()
        if desk.keyboard.prompt is not None:
            return  # half a filter makes no sense yet; enter says so
    if purpose == "seek":
        desk.is_seeking = False
    if purpose == "save":
        desk.doing.unsaved = error.message
        desk.draw_where()
    if purpose == "side":  # said where it belongs: it must not cover what is said about a verdict
        desk.side_detail = None
        desk.side.set_lines([PaneLine(line) for line in wrap(error.message, desk.side_width - 2, "error")])
        return
    if purpose == "page":
        desk.set_page([PaneLine(((error.message, "error"),)), PaneLine(((error.hint or "", "dim"),))])
    if purpose != "watch" or not desk.has_watch_failed:
        desk.complain(error)
    desk.has_watch_failed = purpose == "watch"


def _written(desk: "Desk", answer: Answer) -> None:
    desk.reviewer.settle(answer.keys)
    if answer.error is not None:
        desk.complain(answer.error)
    elif isinstance(answer.value, Written):
        desk.reviewer.take(answer.value)
        change = answer.value.change
        is_single_verdict = answer.purpose.startswith("verdict") and len(change.changed) == 1
        if not is_single_verdict:
            desk.say(change.label + (", u takes it back" if answer.purpose.startswith("verdict") else ""))
        if answer.purpose in ("undo", "redo"):
            desk.session.ask("verdicts", desk.session.project.verdicts)
        if change.names_changed:
            desk.doing.reload_names()
    desk.table.grid.refresh_verdicts()
    if desk.place.view in ("concept", "pair"):
        draw_page(desk, keep_place=True)
    draw_side(desk, keep_place=True)
    desk.ask_coverage()


def _sought(desk: "Desk", row: int | None) -> None:
    desk.is_seeking = False
    if row is None:
        desk.say("no row without a verdict in that direction")
    else:
        desk.doing.move_list(row)


def _watched(desk: "Desk", has_new_index: bool, has_new_entries: bool) -> None:
    desk.has_watch_failed = False
    if has_new_index:
        desk.doing.reload_tables()
        desk.session.ask("summary", desk.session.project.summary)
        desk.say("a newer index is here; places are kept")
    if has_new_index or has_new_entries:
        desk.session.ask("verdicts", desk.session.project.verdicts)
        desk.ask_coverage()


# -- pages ------------------------------------------------------------------------------------------------


def draw_page(desk: "Desk", *, keep_place: bool = False) -> None:
    """Lay out what the page shows."""
    width = desk.page_width
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
        desk.set_page(
            coverage_lines(desk.summary, desk.coverage, author, width, desk.glyphs), keep_place=keep_place
        )
    elif isinstance(detail, ConceptDetail):
        lines = concept_lines(
            detail,
            desk.reviewer.held,
            width,
            desk.glyphs,
            context_id=desk.place.about,
            shift=desk.doing.shift_of(detail.concept_id),
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
    strip, target = desk.doing.strip_of(detail), desk.doing.page_target()
    held = desk.reviewer.held.get(target.key) if target else None
    verdict = verdict_line(held, desk.glyphs) if target else ()
    options, glyphs = desk.pair_options, desk.glyphs

    def lines() -> list[PaneLine]:
        return pair_lines(detail, options, width, glyphs, fate=fate, strip=strip, verdict=verdict)

    if len(detail.chosen) + len(detail.rejected) <= LONG_PAIR:
        desk.session.forget("laid-out")
        desk.set_page(lines(), keep_place=keep_place)
    else:
        desk.session.ask("laid-out", lambda: (detail, lines(), keep_place))


def draw_side(desk: "Desk", *, keep_place: bool = False) -> None:
    """Lay out the pane beside the list."""
    side = desk.side
    if not side.display or not (desk.place.is_table or desk.has_preview):
        return
    width = desk.side_width - 2
    detail = desk.side_detail
    if desk.is_peeking:
        side.set_lines(peek_lines(detail, desk.list_position, width, desk.glyphs), keep_place=keep_place)
        side.cursor = -1
        return
    if isinstance(detail, ConceptDetail):
        place = desk.doing.preview_place()
        about = place.about if place is not None else None
        held = desk.reviewer.held
        lines = concept_lines(detail, held, width, desk.glyphs, context_id=about, is_brief=True)
        side.set_lines(lines, keep_place=keep_place)
    elif isinstance(detail, ContextDetail):
        side.set_lines(context_lines(detail, width, desk.glyphs, is_brief=True), keep_place=keep_place)
    elif isinstance(detail, PairDetail):
        side.set_lines(pair_lines(detail, desk.pair_options, width, desk.glyphs), keep_place=keep_place)
    else:
        side.set_lines([])
    side.cursor = -1


def facet_lines(counts: tuple[FacetCount, ...], column: str, width: int, desk: "Desk") -> list[PaneLine]:
    """Values of a column with counts and bars."""
    top = max((c.n for c in counts), default=1)
    bar = max(min(width - 50, 40), 6)
    return [
        PaneLine(
            (
                (
                    fit("none" if c.value is None else one_line(c.value, 200), max(width - bar - 14, 8)),
                    "text",
                ),
                (f"{c.n:>10,} ", "bold"),
                (fmt.meter(c.n, top, bar, desk.glyphs), "key"),
            ),
            (column, c.value),
        )
        for c in counts
    ]
