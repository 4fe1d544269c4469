"""The lines at the edges of the screen: project and progress, where one is, useful keys."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.safe_text import one_line
from tui import actions as act
from tui import format as fmt
from tui.lines import Line, Span

if TYPE_CHECKING:
    from engine.views.tables import Coverage
    from tui.desk import Desk


ALL_KEYS = "help"
"""The action whose key stands among the useful ones however little room there is."""
ABBREVIATED = 5
"""Of names that are cut to fewer letters, the letters say more than a sign of the cut."""
FACTS, MIN_NAME = 52, 20
"""Cells of the second line for facts behind a name or a filter, and cells that a name has at least."""


def status_line(desk: "Desk", width: int) -> Line:
    """Project, size, how far the review is; where there is little room, in shorter forms."""
    parts: list[tuple[int, list[str]]] = [(1, ["prosect", ""])]
    if desk.summary is not None:
        s = desk.summary
        parts.append((4, [one_line(s.root, 30), one_line(s.root, 12)]))
        parts.append((2, [f"{s.n_pairs:,} pairs", f"{fmt.compact(s.n_pairs)} pairs", ""]))
        if s.share_read < 1:
            parts.append((9, [f"READ {s.share_read * 100:.0f}%"]))
        if s.stale:
            parts.append((9, ["OUT OF DATE"]))
        if s.warning:
            parts.append((3, ["! WARNING: g v", "! g v"]))
    if desk.running:
        from tui.views.jobs import short_text

        jobs = [short_text(job) for job in desk.running[:3]]
        parts += [(5, [job, one_line(job, 20), one_line(job, 12)]) for job in jobs]
        if len(desk.running) > len(jobs):
            parts.append((5, [f"and {len(desk.running) - len(jobs)} more jobs", ""]))
    if desk.coverage is not None:
        parts += _coverage_parts(desk.coverage)
    return ((" " + "  ".join(_shortened(parts, width - 1)), "bar"),)


def _coverage_parts(c: "Coverage") -> list[tuple[int, list[str]]]:
    n = sum(n for _, n in c.by_verdict)
    decided = f"decided {c.n_decided:,}/{c.n_concepts:,}"
    parts = [
        (6, [f"{n:,} verdict{'s' if n != 1 else ''}", f"{fmt.compact(n)} vd"]),
        (0, [f"{decided} concepts", decided]),
        (7, [f"{c.n_called_decided:,}/{c.n_called:,} called"]),
    ]
    if c.n_others:
        parts.append((6, [f"{c.n_others:,} by others", f"{fmt.compact(c.n_others)}'", ""]))
    if c.n_carried:
        parts.append((9, [f"{c.n_carried:,} TO CONFIRM"]))
    if c.n_orphaned:
        parts.append((8, [f"orphaned {c.n_orphaned:,}", ""]))
    if c.lost is not None:
        parts.append((10, [f"JOURNAL {c.lost.how.upper()}: W", "JOURNAL: W"]))
    if c.n_damaged_lines:
        parts.append((8, [f"JOURNAL: {c.n_damaged_lines:,} damaged", "JOURNAL damaged"]))
    return [*parts, (9, [f"undo {c.undo_depth:,}"])]


def _shortened(parts: Sequence[tuple[int, list[str]]], width: int) -> list[str]:
    """Each part in its longest form; from the least important on shorter ones, as far as needed."""
    shown = [forms[0] for _, forms in parts]
    for at in sorted(range(len(parts)), key=lambda i: parts[i][0]):
        for form in parts[at][1][1:]:
            if len("  ".join(filter(None, shown))) <= width:
                break
            shown[at] = form
    return list(filter(None, shown))


def too_small(width: int, min_width: int, min_height: int) -> Line:
    """What is said on a screen too small for anything else, as long as there is room for."""
    size = f"{min_width}x{min_height}"
    forms = (f"prosect: enlarge to {size}", f"enlarge to {size}", f"min {size}", size)
    return ((next((f for f in forms if len(f) <= width), size), "warn"),)


def which_key(pending: str, following: Sequence[tuple[str, str]], width: int) -> Line:
    """Keys that may follow with what they do, names as long as all of them fit."""
    for longest, gap in ((99, "  "), (99, " "), *((n, " ") for n in range(12, 0, -1))):
        spans: list[Span] = [(pending, "key")]
        for key, name in following:
            short = name[:longest] if longest < ABBREVIATED else name[: longest - 1] + "…"
            spans += [(gap + key, "key"), (f" {name if len(name) <= longest else short}", "dim")]
        if sum(len(text) for text, _ in spans) <= width:
            break
    return tuple(spans)


def where_line(desk: "Desk") -> Line:
    """What is shown, of how many, in which order."""
    if not desk.place.is_table:
        return _page_where(desk)
    control, grid = desk.table, desk.table.grid
    spans: list[Span] = [(grid.spec.title, "title")]
    if not grid.n_rows and control.cursor is not None:  # first: it must not be cut behind a long filter
        why = one_line(control.remark or "no row matches; / changes the filter, q goes back")
        spans.append((f"  {why}", "warn"))
    if control.wish.filter_text:
        room = max(desk.size.width - FACTS, MIN_NAME)
        spans.append((f"  / {one_line(_said(desk, control.wish.filter_text), room)}", "key"))
    if control.wish.context_id is not None:
        name = desk.context_names.get(control.wish.context_id, "one context")
        spans.append((f"  in {one_line(name, 50)}", "key"))
    if control.cursor is not None:
        at = f"{grid.cursor + 1:,}/" if grid.n_rows else ""
        total = f" of {control.cursor.n_total:,}" if control.cursor.n_rows != control.cursor.n_total else ""
        spans.append((f"  {at}{control.cursor.n_rows:,}{total}", "text"))
    keys = ", ".join(f"{k.column} {desk.glyphs.down if k.descending else desk.glyphs.up}" for k in grid.sort)
    spans.append((f"  by {keys}", "dim"))
    if grid.spec.name == "hypotheses" and not desk.advances:
        spans.append(("  stays after a verdict", "dim"))
    selected = len(grid.selection())
    if selected:
        spans.append((f"  {selected:,} selected", "selected"))
    if control.is_opening:
        spans.append(("  working…", "warn"))
    return tuple(spans)


def _said(desk: "Desk", filter_text: str) -> str:
    """A filter as people read it: contexts that were looked at by name, not by id."""
    for ident, name in desk.context_names.items():
        filter_text = filter_text.replace(f"context_id={ident}", f'in "{name}"')
    return filter_text


def _page_where(desk: "Desk") -> Line:
    from engine.views.details import ConceptDetail, ContextDetail, PairDetail

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
        spans.append((f"  {one_line(detail.name, max(min(desk.size.width - FACTS, 60), MIN_NAME))}", "text"))
    elif isinstance(detail, PairDetail):
        layout = desk.pair_options.layout_for(desk.frame.page_width)
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
    first, n, height = desk.page.top + 1, len(desk.page.lines), desk.page.size.height or desk.size.height - 3
    if n > height > 0:
        spans.append((f"  lines {first:,}–{min(first + height - 1, n):,} of {n:,}", "dim"))
    among = desk.doing.place_among()
    if among is not None:
        spans.append((f"  {among + 1:,}/{len(desk.beside):,} of the page before", "dim"))
    elif grid.n_rows and desk.doing.came_from_list():
        spans.append((f"  from {grid.spec.title.lower()} {grid.cursor + 1:,}/{grid.n_rows:,}", "dim"))
    return tuple(spans)


def hint_line(scopes: tuple[str, ...], width: int) -> Line:
    """The most useful keys here, special before general, as many as fit; the key to all of them always."""
    bound = act.bindings(scopes)
    found = [
        action
        for scope in (act.REVIEW, *reversed([s for s in scopes if s != act.REVIEW]))
        for action in act.ACTIONS
        if scope in scopes and action.scope == scope and action.label
        if bound.get(action.keys[0]) == action.ident
    ]
    needs = {action.ident: len(action.keys[0]) + len(action.label) + 3 for action in found}
    left = width - needs.get(ALL_KEYS, 0) + 2  # nothing stands behind the last one
    shown = []
    for action in found:
        if action.ident != ALL_KEYS:
            left -= needs[action.ident]
        if left < 0:
            shown += [action for action in found if action.ident == ALL_KEYS and action not in shown]
            break
        shown.append(action)
    spans: list[Span] = []
    for n, action in enumerate(shown):
        spans += [(f"{'  ' if n else ''}{action.keys[0]}", "key"), (f" {action.label}", "dim")]
    return tuple(spans)
