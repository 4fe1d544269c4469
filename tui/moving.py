"""Getting around: lists, history, marks, and asking for what is shown."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tui import prompts
from tui.places import Place
from tui.rows import Wish
from tui.widgets.grid import GridView

if TYPE_CHECKING:
    from textual.timer import Timer

    from tui.desk import Desk

FILTER_DELAY_S, READING_DELAY_S = 0.08, 0.5
"""Pauses of typing after which a list is narrowed; the longer one where that reads many texts."""
MANY_PAIRS = 100_000
_UNDECIDED = {1: "below; N looks above", -1: "above; n looks below"}


class Moving:
    """Actions that move."""

    desk: "Desk"
    is_listing: bool
    _later: "Timer | None" = None

    # -- asking -----------------------------------------------------------------------------------------

    def ask_page(self) -> None:
        """Ask for what the page shows."""
        desk, place = self.desk, self.desk.place
        project = desk.session.project
        if place.view not in ("rules", "plan", "concept", "context", "pair") and desk.page_place != place:
            desk.page.set_lines([])  # lines of another page, until these are here
        if place.view == "concept":
            desk.session.ask("page", lambda: project.concept(place.ident, place.about))
        elif place.view == "context":
            desk.session.ask("page", lambda: project.context(place.ident))
        elif place.view == "pair":
            desk.session.ask("page", lambda: project.pair(int(place.ident), place.about))
        elif place.view in ("rules", "plan"):
            desk.doing.ask_rules()
            desk.doing.ask_work()
        elif place.view in ("jobs", "job"):
            desk.doing.ask_work()
        elif place.view in ("runs", "run"):
            desk.doing.ask_runs()
            desk.doing.ask_work()
        elif place.view in ("coverage", "tour"):
            desk.draw_page(keep_place=desk.page_place == place)

    def ask_side(self) -> None:
        """Ask for the detail of the row or line that the cursor rests on."""
        desk = self.desk
        place, project = self.preview_place(), desk.session.project
        if not desk.side.display:
            return
        if place is None or place.view not in ("concept", "context", "pair"):
            desk.session.forget("side")  # what was asked for the place before may still come
            desk.side_detail = None
            desk.draw_side()
            return
        if place.view == "concept":
            desk.session.ask("side", lambda: project.concept(place.ident, place.about, is_brief=True))
        elif place.view == "context":
            desk.session.ask("side", lambda: project.context(place.ident, is_brief=True))
        else:
            desk.session.ask("side", lambda: project.pair(int(place.ident), place.about, is_brief=True))

    def row_place(self) -> Place | None:
        """What enter opens on the row under the cursor."""
        grid = self.desk.table.grid
        row = grid.current
        if row is None:
            return None
        if grid.spec.name == "hypotheses":
            is_inside = row.values[grid.spec.index("family")] != "concepts"
            context_id = str(row.values[grid.spec.index("context_id")]) if is_inside else None
            return Place("concept", str(row.values[grid.spec.index("concept_id")]), context_id)
        if grid.spec.name == "contexts":
            return Place("context", row.ident)
        return Place("pair", str(row.key))

    def preview_place(self) -> Place | None:
        """What the pane at the side shows: what enter would open."""
        if self.desk.place.is_table:
            return self.row_place()
        item = self.desk.page.item
        return item if self.desk.frame.has_preview and isinstance(item, Place) else None

    def came_from_list(self) -> bool:
        """The page shows the record of the row under the list's cursor."""
        place, row = self.desk.place, self.row_place()
        if place.view == "pair" and row is not None and row.view == "pair":
            return row.ident == place.ident
        return row == place

    def ask_line(
        self, kind: str, label: str, done: Callable[[str], None], *, text: str = "",
        change: Callable[[str], None] | None = None, cancel: Callable[[], None] | None = None,
        complete: Callable[[str], str | None] | None = None, hint: Callable[[str], str] | None = None,
    ) -> None:  # fmt: skip
        """Let the person type a line; what was typed is remembered by kind."""
        history = self.desk.histories.setdefault(kind, [])

        def remember(value: str) -> None:
            self.not_later()
            if value.strip() and (not history or history[-1] != value):
                history.append(value)
            done(value)

        self.desk.keyboard.ask_line(
            prompts.make(
                label,
                remember,
                text=text,
                history=history,
                change=change,
                cancel=cancel,
                complete=complete,
                hint=hint,
            )
        )

    def _start_list(
        self, place: Place, label: str, lines: Callable[[str], None], done: Callable[[str], None],
        *, keys: Mapping[str, Callable[[], None]] | None = None, hint: Callable[[str], str] | None = None,
        text: str = "",
    ) -> None:  # fmt: skip
        desk = self.desk
        desk.past.append(desk.place)
        self.is_listing = True
        desk.show(place)
        lines(text)
        prompt = prompts.make(
            label, done, text=text, change=lines, cancel=self._end_list, is_list=True, hint=hint
        )
        prompt.keys = keys or {}
        desk.keyboard.ask_line(prompt)

    def _end_list(self) -> None:
        self.is_listing = False
        self.desk.session.forget("facet")  # counts that are still to come would open the menu again
        self.desk.show(self.desk.past.pop(), is_return=True)

    def not_later(self) -> None:
        """Forget the call that was put off."""
        if self._later is not None:
            self._later.stop()
            self._later = None

    def later(self, call: Callable[[], None], after_s: float = FILTER_DELAY_S) -> None:
        """Call once typing has paused for so long."""
        self.not_later()
        self._later = self.desk.set_timer(after_s, call)

    # -- lists ------------------------------------------------------------------------------------------

    @property
    def grid(self) -> GridView:
        """The list's grid."""
        return self.desk.table.grid

    def do_down(self, count: int | None = None) -> None:
        """Down."""
        self.grid.move_to(self.grid.cursor + (count or 1))

    def do_up(self, count: int | None = None) -> None:
        """Up."""
        self.grid.move_to(self.grid.cursor - (count or 1))

    def do_first(self, count: int | None = None) -> None:
        """First, or row ``count``."""
        self.grid.move_to((count or 1) - 1)

    def do_last(self, count: int | None = None) -> None:
        """Last, or row ``count``."""
        self.grid.move_to(count - 1 if count else self.grid.n_rows - 1)

    def do_half_down(self, count: int | None = None) -> None:
        """Half a screen down."""
        self.grid.scroll_rows((count or 1) * max(self.grid.body_height // 2, 1))

    def do_half_up(self, count: int | None = None) -> None:
        """Half a screen up."""
        self.grid.scroll_rows(-(count or 1) * max(self.grid.body_height // 2, 1))

    def do_page_down(self, count: int | None = None) -> None:
        """A screen down."""
        self.grid.scroll_rows((count or 1) * self.grid.body_height)

    def do_page_up(self, count: int | None = None) -> None:
        """A screen up."""
        self.grid.scroll_rows(-(count or 1) * self.grid.body_height)

    def do_screen_top(self, count: int | None = None) -> None:
        """First row on the screen."""
        self.grid.move_on_screen((count or 1) - 1)

    def do_screen_middle(self) -> None:
        """Row in the middle of the screen."""
        self.grid.move_on_screen(None)

    def do_screen_bottom(self, count: int | None = None) -> None:
        """Last row on the screen."""
        self.grid.move_on_screen(-(count or 1))

    def do_line_down(self, count: int | None = None) -> None:
        """The view a row down."""
        self.grid.scroll_view(count or 1)

    def do_line_up(self, count: int | None = None) -> None:
        """The view a row up."""
        self.grid.scroll_view(-(count or 1))

    def do_open(self) -> None:
        """Open the row."""
        place = self.row_place()
        if place is not None:
            self.desk.go(place)

    def do_next_undecided(self, *, is_quiet: bool = False) -> None:
        """Next row without a verdict."""
        self._seek_undecided(1, is_quiet=is_quiet)

    def do_previous_undecided(self) -> None:
        """Previous row without a verdict."""
        self._seek_undecided(-1)

    def _seek_undecided(self, step: int, *, is_quiet: bool = False) -> None:
        desk, control = self.desk, self.desk.table
        if control.name != "hypotheses" or control.cursor is None:
            desk.say("only hypotheses have verdicts", "warn")
            return
        found = control.next_undecided(desk.reviewer.is_open, step=step)
        if found is not None and found >= 0:
            self.move_list(found)
        elif found is None:
            if not is_quiet or self.grid.cursor + 1 >= self.grid.n_rows:
                desk.say(f"no row without a verdict {_UNDECIDED[step]}")
        else:
            cursor, at = control.cursor, control.edge
            desk.is_seeking = True
            desk.session.ask("seek", lambda: cursor.next_undecided(at, backwards=step < 0))

    def move_list(self, row: int) -> None:
        """Move the list's cursor; a page that came from the list follows."""
        follows = not self.desk.place.is_table and self.came_from_list()
        self.grid.move_to(row)
        place = self.row_place()
        if follows and place is not None:
            self.desk.show(place)

    # -- places -----------------------------------------------------------------------------------------

    def do_back(self) -> None:
        """Back; on the first list: take the filter off, then say how to quit."""
        desk = self.desk
        if desk.place.is_table and self.grid.selection():
            self.grid.clear_selection()
            desk.draw_where()
        elif desk.past:
            desk.future.append(desk.place)
            desk.show(desk.past.pop(), is_return=True)
        elif not desk.place.is_table:
            desk.show(Place("hypotheses"))
        elif desk.place.ident:
            desk.show(replace(desk.place, ident=""))
        else:
            unsaved = desk.doing.unsaved_rules
            saved = f"{unsaved[0]}.rules is NOT SAVED" if unsaved else "verdicts are saved already"
            desk.say(f"this is the first view; Q quits, {saved}")

    def do_close(self) -> None:
        """Close the innermost thing that is open here."""
        desk = self.desk
        if desk.place.is_table:
            if not self.grid.selection() and desk.place.ident and not self._is_filtered_here():
                desk.show(replace(desk.place, ident=""))
                return
        elif desk.expanded:
            before, desk.expanded = desk.page.lines, frozenset()
            desk.draw_page(keep_place=True)
            if desk.page.lines != before:
                return
        self.do_back()

    def _is_filtered_here(self) -> bool:
        """The place before is this list with another filter: going back closes this one."""
        past = self.desk.past
        return bool(past) and (past[-1].view, past[-1].about) == (self.desk.place.view, self.desk.place.about)

    def do_history_back(self) -> None:
        """Back in history."""
        if self.desk.past:
            self.desk.future.append(self.desk.place)
            self.desk.show(self.desk.past.pop(), is_return=True)

    def do_history_forward(self) -> None:
        """Forward in history."""
        if self.desk.future:
            self.desk.past.append(self.desk.place)
            self.desk.show(self.desk.future.pop(), is_return=True)

    def do_last_view(self) -> None:
        """The view before."""
        if self.desk.past:
            self.desk.go(self.desk.past[-1], is_return=True)

    def do_hypotheses(self) -> None:
        """Hypotheses."""
        self._go_table("hypotheses")

    def do_contexts(self) -> None:
        """Contexts."""
        self._go_table("contexts")

    def do_pairs(self) -> None:
        """Pairs."""
        self._go_table("pairs")

    def _go_table(self, name: str) -> None:
        wish = self.desk.tables[name].wish
        # from the pairs of one context the key leads to all of them; `q` and `[` lead back
        self.desk.go(Place(name, wish.filter_text if wish.context_id is None else ""))

    def do_tour(self) -> None:
        """Tour."""
        self.desk.go(Place("tour"))

    def do_coverage(self) -> None:
        """Coverage."""
        self.desk.go(Place("coverage"))

    def do_mark(self, argument: str | None = None) -> None:
        """Mark this place; in a list: the row in it."""
        if argument and not ("a" <= argument <= "z"):
            self.desk.say(f"marks are letters from a to z: {argument} is none", "warn")
        elif argument:
            row = self.grid.current if self.desk.place.is_table else None
            self.desk.marks[argument] = (self.desk.place, row)
            self.desk.say(f"marked {argument}")

    def do_jump(self, argument: str | None = None) -> None:
        """Jump to a mark."""
        desk = self.desk
        marked = desk.marks.get(argument or "")
        if marked is None:
            desk.say(f"no mark {argument}", "warn")
            return
        place, row = marked
        here = self.grid.current if desk.place.is_table else None
        if place == desk.place and (row is None or (here is not None and here.ident == row.ident)):
            desk.say(f"this is the place marked {argument}")
            return
        desk.go(place)
        if row is not None:
            desk.table.open(Wish(place.ident, desk.table.wish.sort, place.about), stay_on=row)


def pause_s(name: str, n_rows: int, typed: str) -> float:
    """How long typing pauses before a list is narrowed.

    A word without a column reads all texts of many pairs: not for every letter of it.
    """
    has_word = any(not re.search("[:=<>]", term) for term in typed.split())
    return READING_DELAY_S if name == "pairs" and n_rows > MANY_PAIRS and has_word else FILTER_DELAY_S
