"""What becomes of answers: rows into grids, details into pages, and the lines at the edges of the screen."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import ProsectError
from tui import watching
from tui.keyboard import FROM_FILES
from tui.lines import PaneLine, wrap
from tui.review import Written, loss_text
from tui.session import Answer

if TYPE_CHECKING:
    from tui.desk import Desk


def take(desk: "Desk", answer: Answer) -> None:
    """Take over one answer, by its purpose."""
    purpose, _, name = answer.purpose.partition(" ")
    if purpose in ("verdict", "reason", "undo", "redo", "name"):
        _written(desk, answer)
    elif purpose == "save":
        desk.doing.rules_saved(name, answer.value, answer.error)
    elif answer.error is not None:
        _failed(desk, purpose, name, answer.error)
    elif purpose in _TAKERS:
        _TAKERS[purpose](desk, answer.value, name)


def load_pages() -> None:
    """Import what actions and pages need, away from the event loop: no key has to wait for it."""
    import tui.doing
    import tui.drawing  # noqa: F401


def _failed(desk: "Desk", purpose: str, name: str, error: ProsectError) -> None:
    if purpose == "open":
        desk.tables[name].failed()
        if desk.keyboard.prompt is not None:
            return  # half a filter makes no sense yet; enter says so
        if desk.place.is_table and desk.place.ident:
            desk.doing.mend_filter(error)
            return
    if purpose == "cost":
        desk.doing.is_costing = False
    if purpose in ("seek", "facet"):
        desk.is_seeking = False
        if desk.keyboard.prompt is not None:
            desk.keyboard.prompt.is_waiting = False
    if purpose == "side":  # said where it belongs: it must not cover what is said about a verdict
        desk.side_detail = None
        desk.side.set_lines(
            [PaneLine(line) for line in wrap(error.message, desk.frame.side_width - 2, "error")]
        )
        return
    is_unread = desk.place.view in FROM_FILES and desk.page_place != desk.place
    if purpose == "page" or (is_unread and purpose in (*FROM_FILES, "work")):
        desk.set_page([PaneLine(((error.message, "error"),)), PaneLine(((error.hint or "", "dim"),))])
    if purpose != "watch" or not desk.has_watch_failed:
        desk.complain(error)
    desk.has_watch_failed = purpose == "watch"


def _written(desk: "Desk", answer: Answer) -> None:
    desk.reviewer.settle(answer.keys)
    if answer.purpose in ("undo", "redo"):
        desk.is_seeking = False
    if answer.error is not None:
        _back_to(desk, answer.keys)
        desk.complain(answer.error)
    elif isinstance(answer.value, Written):
        desk.reviewer.take(answer.value)
        change = answer.value.change
        is_single_verdict = answer.purpose.startswith("verdict") and len(change.changed) == 1
        target = desk.doing.page_target() if desk.place.view == "concept" else None
        has_gone_on = target is not None and answer.keys != (target.key,)
        if not is_single_verdict or change.differs_from or has_gone_on:  # else the row or page shows it
            can_undo = answer.purpose.startswith(("verdict", "reason")) and change.changed
            head = "reason noted: " if answer.purpose.startswith("reason") else ""
            desk.say(head + change.label + (", u takes it back" if can_undo else ""))
        if answer.purpose in ("undo", "redo"):
            desk.ask_verdicts()
            _to_changed(desk, change.changed)
        desk.doing.reload_names(answer.value.names_version)
    desk.table.grid.refresh_verdicts()
    if desk.place.view in ("concept", "pair"):
        desk.draw_page(keep_place=True)
    desk.draw_side(keep_place=True)
    desk.ask_coverage()


def _back_to(desk: "Desk", keys: tuple[str, ...]) -> None:
    """The cursor went on while a verdict was written that did not get to disk: back to the first such row."""
    grid = desk.table.grid
    row = grid.row_of(keys[0]) if keys else None
    if desk.place.is_table and row is not None and row < grid.cursor:
        grid.move_to(row)


def _to_changed(desk: "Desk", keys: tuple[str, ...]) -> None:
    """A step was taken back or restored: the cursor goes to what it was about."""
    row = desk.table.grid.row_of(*keys)
    if row is not None and (desk.place.is_table or desk.doing.came_from_list()):
        desk.doing.move_list(row)


# -- one for every purpose --------------------------------------------------------------------------------


def _opened(desk: "Desk", value: Any, name: str) -> None:
    n = len(desk.tables[name].grid.selection())
    desk.tables[name].opened(value)
    if n and not desk.message:
        desk.say(f"{n:,} row{'s are' if n > 1 else ' is'} no longer selected: these are other rows")
    desk.draw_where()


def _page(desk: "Desk", value: Any, _name: str) -> None:
    desk.detail = value
    if desk.place.view == "context":
        desk.context_names[value.context_id] = value.name
    desk.draw_page(keep_place=desk.page_place == desk.place)
    if desk.frame.has_preview:
        desk.side_detail = None
        desk.rest()
    if desk.place.view == "concept":
        desk.doing.ask_effect()
    if desk.place.view == "pair":
        desk.doing.ask_fate(value.pair)
        desk.doing.ask_strip()
    desk.draw_where()


def _laid_out(desk: "Desk", value: Any, _name: str) -> None:
    detail, lines, is_kept = value
    if desk.detail is detail and not desk.doing.is_listing:
        desk.set_page(lines, keep_place=is_kept)


def _side(desk: "Desk", value: Any, _name: str) -> None:
    desk.side_detail = value
    desk.draw_side()


def _sought(desk: "Desk", row: int | None, _name: str) -> None:
    desk.is_seeking = False
    if row is None:
        desk.say("no row without a verdict in that direction; n looks below, N above")
    else:
        desk.doing.move_list(row)


def _stopped(desk: "Desk", value: Any, _name: str) -> None:
    if value:
        desk.say(value)
    desk.doing.ask_work()


def _verdicts(desk: "Desk", value: Any, _name: str) -> None:
    news = desk.reviewer.renew(*value)
    if news and (not desk.message or desk.message[0][1] == "text"):
        desk.say(news, "warn")
    for control in desk.tables.values():
        control.grid.refresh()
    desk.draw_side(keep_place=True)
    if desk.place.view in ("concept", "pair"):
        desk.draw_page(keep_place=True)


def _summary(desk: "Desk", value: Any, _name: str) -> None:
    known = (desk.summary.stale, desk.summary.warning) if desk.summary is not None else ()
    new = [text for text in (value.stale, value.warning) if text and text not in known]
    desk.summary = value
    if new and not desk.message:
        desk.say(new[0], "warn")
    if desk.place.view in ("tour", "coverage"):
        desk.draw_page(keep_place=True)
    desk.draw_status()


def _coverage(desk: "Desk", value: Any, _name: str) -> None:
    known, desk.coverage = desk.coverage.lost if desk.coverage is not None else None, value
    if value.lost is not None and value.lost != known:
        desk.say(loss_text(value.lost), "error")
    desk.draw_status()
    if desk.place.view == "coverage":
        desk.draw_page(keep_place=True)


_TAKERS: Mapping[str, Callable[["Desk", Any, str], None]] = {
    "open": _opened,
    "loaded": lambda desk, _value, _name: desk.doing.ask_work(),
    "pages": lambda desk, value, name: desk.tables[name].fetched(value),
    "page": _page,
    "laid-out": _laid_out,
    "side": _side,
    "seek": _sought,
    "facet": lambda desk, value, _: desk.doing.show_facets(value),
    "values": lambda desk, value, _: desk.doing.values_read(*value),
    "rules": lambda desk, value, _: desk.doing.rules_read(value),
    "effect": lambda desk, value, _: desk.doing.effect_read(value),
    "rules-watch": lambda desk, value, _: desk.doing.rules_looked_at(value),
    "rule-files": lambda desk, value, _: setattr(desk.doing, "files", value),
    "completer": lambda desk, value, _: setattr(desk.doing, "completer", value),
    "preview": lambda desk, value, _: desk.doing.previewed(*value),
    "left-out": lambda desk, value, _: desk.doing.left_out(*value),
    "draft": lambda desk, value, _: desk.doing.drafted(value),
    "runs": lambda desk, value, _: desk.doing.runs_read(value),
    "run": lambda desk, value, _: desk.doing.runs_read(value),
    "work": lambda desk, value, _: desk.doing.work_read(value),
    "job": lambda desk, value, _: desk.doing.job_read(*value),
    "cost": lambda desk, value, _: desk.doing.costed(*value),
    "started": lambda desk, value, name: desk.doing.started(name, value),
    "stopped": _stopped,
    "yank": lambda desk, value, _: desk.doing.yanked(*value),
    "strip": lambda desk, value, _: desk.doing.stripped(*value),
    "fate": lambda desk, value, _: desk.doing.fated(value),
    "bulk": lambda desk, value, _: desk.doing.decide_bulk(*value),
    "verdicts": _verdicts,
    "summary": _summary,
    "coverage": _coverage,
    "watch": lambda desk, value, _: watching.watched(desk, value),
}
