"""The lines at the edges of the screen: project and progress, where one is, useful keys."""

from typing import TYPE_CHECKING

from engine.safe_text import one_line
from tui import actions as act
from tui.lines import Line, Span

if TYPE_CHECKING:
    from tui.desk import Desk


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
    if desk.running:
        from tui.views.jobs import short_text

        parts += [short_text(job) for job in desk.running[:3]]
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
            spans.append(("  no row matches; / changes the filter, q goes back", "warn"))
    keys = ", ".join(f"{k.column} {desk.glyphs.down if k.descending else desk.glyphs.up}" for k in grid.sort)
    spans.append((f"  by {keys}", "dim"))
    selected = len(grid.selection())
    if selected:
        spans.append((f"  {selected:,} selected", "selected"))
    if control.is_opening:
        spans.append(("  working…", "warn"))
    return tuple(spans)


def _page_where(desk: "Desk") -> Line:
    from engine.detail_views import ConceptDetail, ContextDetail, PairDetail

    place, grid = desk.place, desk.table.grid
    title = {
        "help": "Keys and commands",
        "coverage": "Coverage",
        "facets": "Values of",
        "rules": "Rules",
    }.get(place.view, place.view.capitalize())
    spans: list[Span] = [(title, "title")]
    detail = desk.detail
    if isinstance(detail, ConceptDetail | ContextDetail):
        spans.append((f"  {one_line(detail.name, 60)}", "text"))
    elif isinstance(detail, PairDetail):
        layout = desk.pair_options.layout_for(desk.page_width)
        spans.append(
            (f"  {detail.pair:,}  {layout.value}{'' if desk.pair_options.is_diffed else ', no diff'}", "text")
        )
    elif place.view in ("run", "job", "facets"):
        spans.append((f"  {place.ident}", "text"))
    elif place.view in ("rules", "plan"):
        spans.append((f"  {one_line(desk.doing.rule_name, 60)}.rules", "text"))
        spans += desk.doing.rule_state()
    elif place.view in ("concept", "context", "pair"):
        spans.append(("  working…", "warn"))
    among = desk.doing.place_among()
    if among is not None:
        spans.append((f"  {among + 1:,}/{len(desk.beside):,} of the page before", "dim"))
    elif grid.n_rows and desk.doing.came_from_list():
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
