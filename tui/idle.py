"""What is said after a key that changed nothing: why there was nothing to do."""

from typing import TYPE_CHECKING

from tui import actions as act
from tui.places import Place

if TYPE_CHECKING:
    from tui.desk import Desk

_ENDS = {
    **dict.fromkeys(("down", "half-down", "page-down", "last", "screen-bottom"), "this is the last row"),
    **dict.fromkeys(("up", "half-up", "page-up", "first", "screen-top"), "this is the first row"),
    "screen-middle": "this is the row in the middle",
    "line-down": "the last rows are on the screen",
    "line-up": "the first rows are on the screen",
    **dict.fromkeys(
        ("page-next", "page-last", "scroll-half-down", "scroll-down", "scroll-line-down", "section-next"),
        "this is the end of the page",
    ),
    **dict.fromkeys(
        (
            "page-previous", "page-first", "scroll-half-up", "scroll-up", "scroll-line-up",
            "section-previous",
        ),
        "this is the beginning of the page",
    ),
    "history-back": "there is no place before this one",
    "last-view": "there is no view before this one",
    "history-forward": "there is no place after this one: [ was not pressed",
    "rule-down": "nothing below that this could change places with",
    "rule-up": "nothing above that this could change places with",
    "delete-rule": "there is no statement to take out here",
    "switch-rule": "there is no statement to switch here",
}  # fmt: skip


def mark(desk: "Desk") -> tuple[object, ...]:
    """What a key can change at once: where somebody is, what is shown, what was asked for."""
    table, grid, page = desk.table, desk.table.grid, desk.page
    at = page.cursor if page.top <= page.cursor < page.top + page.size.height else -1
    return (
        desk.place, desk.list_name, len(desk.past), len(desk.future), grid.cursor, grid.top, grid.column,
        tuple(grid.selected), grid.range_start, table.wish, table.is_opening, at, page.top,
        page.matched, page.lines, desk.expanded, desk.frame.is_side_wanted, desk.session.n_begun,
        desk.pair_options, desk.keyboard.prompt, desk.advances, desk.message,
    )  # fmt: skip


def reason(desk: "Desk", ident: str) -> str:
    """Why an action had nothing to do."""
    scope, view = act.BY_ID[ident].scope, desk.place.view
    if desk.place.is_table and scope in (act.GRID, act.REVIEW) and not desk.table.grid.n_rows:
        return "there are no rows here; / changes the filter, q goes back"
    if scope == act.PAGE and ident in _ENDS and len(desk.page.lines) <= desk.page.size.height:
        return "the whole page is on the screen" + (
            "" if _has_stops(desk) else "; nothing on it can be opened"
        )
    if ident in _ENDS:
        return _ENDS[ident]
    if ident == "open-item":
        item = desk.page.item
        return (
            "enter edits the line" if view == "rules" and item is not None else "nothing on it can be opened"
        )
    if ident in (view, desk.list_name):
        return f"these are the {ident} already" if ident.endswith("s") else f"this is the {ident} already"
    return f"{ident}: there is nothing to do here"


def _has_stops(desk: "Desk") -> bool:
    return any(line.item is not None for line in desk.page.lines)


def unknown(desk: "Desk", keys: str) -> str:
    """What to say of keys that mean nothing here: where they do, or where all keys are listed."""
    bare = keys.lstrip("0123456789 ") or keys
    elsewhere = [a for a in act.ACTIONS if bare in a.keys]
    if not elsewhere:
        return f"{keys} means nothing; ? shows the keys"
    first = elsewhere[0]
    if first.scope == act.REVIEW and desk.place.view == "pair":
        return f"{bare} ({first.ident}) is about a concept, and none is chosen: t chooses one of this pair"
    if first.scope == act.REVIEW:
        item = desk.page.item if not desk.place.is_table else None
        on_it = "; enter opens the concept" if isinstance(item, Place) and item.view == "concept" else ""
        return f"{bare} ({first.ident}) is for hypotheses and concepts{on_it}"
    where = ", ".join(dict.fromkeys(act.TITLES[a.scope].lower() for a in elsewhere))
    return f"{bare} ({first.ident}) means nothing here; it does on: {where}"
