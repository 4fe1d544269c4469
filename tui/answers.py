"""What becomes of answers: rows into grids, details into pages, and the lines at the edges of the screen."""

from typing import TYPE_CHECKING

from engine.errors import ProsectError
from engine.safe_text import one_line
from engine.views import ConceptDetail, ContextDetail, FacetCount, PairDetail
from tui import actions as act
from tui import format as fmt
from tui.lines import Line, PaneLine, Span, fit
from tui.review import Written
from tui.session import Answer
from tui.views.concept import concept_lines
from tui.views.context import context_lines
from tui.views.help import coverage_lines, tour_lines
from tui.views.jobs import short_text
from tui.views.pair import pair_lines

if TYPE_CHECKING:
    from tui.desk import Desk


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
        if isinstance(value, PairDetail):
            desk.doing.ask_fate(value.pair)
        desk.draw_where()
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
        )
        desk.set_page(lines, keep_place=keep_place)
    elif isinstance(detail, ContextDetail):
        desk.set_page(context_lines(detail, width, desk.glyphs), keep_place=keep_place)
    elif isinstance(detail, PairDetail):
        fate = desk.doing.fate if desk.doing.fate and desk.doing.fate[0] == detail.pair else None
        lines = pair_lines(detail, desk.pair_options, width, desk.glyphs, fate=fate)
        desk.set_page(lines, keep_place=keep_place)


def draw_side(desk: "Desk", *, keep_place: bool = False) -> None:
    """Lay out the pane beside the list."""
    side = desk.side
    if not side.display or not desk.place.is_table:
        return
    width = desk.side_width - 2
    detail = desk.side_detail
    if isinstance(detail, ConceptDetail):
        row = desk.doing.row_place()
        about = row.about if row is not None else None
        held = desk.reviewer.held
        lines = concept_lines(detail, held, width, desk.glyphs, context_id=about, is_brief=True)
        side.set_lines(lines, keep_place=keep_place)
    elif isinstance(detail, ContextDetail):
        side.set_lines(context_lines(detail, width, desk.glyphs, is_brief=True), keep_place=keep_place)
    elif isinstance(detail, PairDetail):
        side.set_lines(pair_lines(detail, desk.pair_options, width, desk.glyphs), keep_place=keep_place)
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


# -- edges ------------------------------------------------------------------------------------------------


def status_line(desk: "Desk") -> Line:
    """Project, size, how far the review is."""
    parts = ["prosect"]
    if desk.summary is not None:
        s = desk.summary
        parts += [one_line(s.root, 30), f"{s.n_pairs:,} pairs"]
        if s.share_read < 1:
            parts.append(f"READ {s.share_read * 100:.0f}%")
        if s.warning:
            parts.append("! WARNING: g v")
    parts += [short_text(job) for job in desk.doing.running[:3]]
    if desk.coverage is not None:
        c = desk.coverage
        n = sum(n for _, n in c.by_verdict)
        parts.append(f"{n:,} verdict{'s' if n != 1 else ''}")
        parts.append(f"decided {c.n_decided:,}/{c.n_concepts:,} concepts")
        parts.append(f"{c.n_called_decided:,}/{c.n_called:,} called")
        if c.n_carried:
            parts.append(f"{c.n_carried:,} TO CONFIRM")
        if c.n_orphaned:
            parts.append(f"orphaned {c.n_orphaned:,}")
        if c.n_damaged_lines:
            parts.append(f"JOURNAL: {c.n_damaged_lines:,} damaged")
        parts.append(f"undo {c.undo_depth:,}")
    return ((" " + "  ".join(parts), "bar"),)


def where_line(desk: "Desk") -> Line:
    """What is shown, of how many, in which order."""
    if not desk.place.is_table:
        return _page_where(desk)
    control, grid = desk.table, desk.table.grid
    spans: list[Span] = [(grid.spec.title, "title")]
    if control.wish.filter_text:
        spans.append((f"  / {one_line(control.wish.filter_text, 80)}", "key"))
    if control.wish.context_id is not None:
        spans.append(("  of one context", "key"))
    if control.cursor is not None:
        at = f"{grid.cursor + 1:,}/" if grid.n_rows else ""
        total = f" of {control.cursor.n_total:,}" if control.cursor.n_rows != control.cursor.n_total else ""
        spans.append((f"  {at}{control.cursor.n_rows:,}{total}", "text"))
        if not grid.n_rows:
            spans.append(("  no row matches; / changes the filter, q takes it off", "warn"))
    keys = ", ".join(f"{k.column} {desk.glyphs.down if k.descending else desk.glyphs.up}" for k in grid.sort)
    spans.append((f"  by {keys}", "dim"))
    selected = len(grid.selection())
    if selected:
        spans.append((f"  {selected:,} selected", "selected"))
    if control.is_opening:
        spans.append(("  working…", "warn"))
    return tuple(spans)


def _page_where(desk: "Desk") -> Line:
    place, grid = desk.place, desk.table.grid
    title = {"help": "Keys and commands", "coverage": "Coverage", "facets": "Values", "rules": "Rules"}.get(
        place.view, place.view.capitalize()
    )
    spans: list[Span] = [(title, "title")]
    detail = desk.detail
    if isinstance(detail, ConceptDetail | ContextDetail):
        spans.append((f"  {one_line(detail.name, 60)}", "text"))
    elif isinstance(detail, PairDetail):
        layout = desk.pair_options.layout_for(desk.page_width)
        spans.append(
            (f"  {detail.pair:,}  {layout.value}{'' if desk.pair_options.is_diffed else ', no diff'}", "text")
        )
    elif place.view in ("rules", "plan"):
        state = "saved" if desk.doing.rule_name else "working…"
        spans.append((f"  {one_line(desk.doing.rule_name, 60)}.rules", "text"))
        spans.append((f"  {state}, {len(desk.doing.book.past)} edits can be taken back", "dim"))
    elif place.view in ("concept", "context", "pair"):
        spans.append(("  working…", "warn"))
    if place.view in ("concept", "context", "pair") and grid.n_rows:
        spans.append((f"  from {grid.spec.title.lower()} {grid.cursor + 1:,}/{grid.n_rows:,}", "dim"))
    return tuple(spans)


def hint_line(scopes: tuple[str, ...], width: int) -> Line:
    """The most useful keys here, special before general, as many as fit."""
    bound = act.bindings(scopes)
    spans: list[Span] = []
    left = width
    for scope in (act.REVIEW, *reversed([s for s in scopes if s != act.REVIEW])):
        for action in act.ACTIONS:
            key = action.keys[0]
            if (
                scope not in scopes
                or action.scope != scope
                or not action.label
                or bound.get(key) != action.ident
            ):
                continue
            need = len(key) + len(action.label) + 3
            if need > left:
                return tuple(spans)
            spans += [(key, "key"), (f" {action.label}  ", "dim")]
            left -= need
    return tuple(spans)
