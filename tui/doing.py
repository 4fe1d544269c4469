"""What every action of the table does. One method per action: ``next-undecided`` is ``do_next_undecided``."""

import inspect
import re
from typing import TYPE_CHECKING

from engine.errors import ProsectError
from engine.views.tables import FacetCount, SortKey
from tui import drawing
from tui.amending import Amending
from tui.commanding import Commanding
from tui.deciding import Deciding
from tui.jobbing import Jobbing
from tui.moving import pause_s
from tui.paging import Paging
from tui.pairing import Pairing
from tui.places import Place
from tui.running import Running
from tui.tools import Tools

if TYPE_CHECKING:
    from tui.desk import Desk


_TERM = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+')


def terms(filter_text: str) -> list[str]:
    """The terms of a filter; quotes hold words together."""
    return _TERM.findall(filter_text)


class Doing(Deciding, Commanding, Paging, Tools, Pairing, Amending, Running, Jobbing):
    """Runs actions on a desk."""

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self.desk = desk
        self.is_listing = False
        self._subjects = {}
        self._columns_offered: tuple[str, ...] = ()
        """The filter with each column that ``tab`` goes round."""

    def run(self, action: str, *, count: int | None = None, argument: str | None = None) -> None:
        """Run an action by its id."""
        method = getattr(self, "do_" + action.replace("-", "_"))
        accepted = inspect.signature(method).parameters
        given = {"count": count, "argument": argument}
        method(**{k: v for k, v in given.items() if k in accepted})

    # -- tables -----------------------------------------------------------------------------------------

    def do_filter(self, argument: str | None = None) -> None:
        """Filter, live while typing."""
        self._filter(argument)

    def mend_filter(self, error: ProsectError) -> None:
        """A filter that means nothing: the line again, with what is wrong beside it until it is changed."""
        text = self.desk.place.ident
        if self.desk.past and self.desk.past[-1].view == self.desk.place.view:
            self.desk.place = self.desk.past.pop()
        said = f"{error.message} ({error.hint})" if error.hint else error.message
        self._filter(None, text=text, said=said)

    def _filter(self, argument: str | None, *, text: str | None = None, said: str = "") -> None:
        desk = self.desk
        control, before = desk.table, desk.place
        n_rows = control.grid.n_rows
        if text is None:
            text = f"{control.wish.filter_text} ".lstrip()

        def give_up() -> None:
            self.not_later()
            control.filter_by(before.ident)

        def apply(text: str) -> None:
            place = Place(desk.list_name, text.strip(), control.wish.context_id)
            if place != before:
                desk.past.append(before)
            desk.place = place
            control.filter_by(text.strip())

        if argument is not None:
            apply(argument)
            return
        self.ask_line(
            "filter", "/", apply, text=text,
            change=lambda typed: self.later(
                lambda: control.filter_by(typed.strip()), pause_s(desk.list_name, n_rows, typed)
            ),
            cancel=give_up,
            complete=self._complete_column,
            hint=lambda typed: said if said and typed == text else self._hint_column(typed),
        )  # fmt: skip

    def _complete_column(self, text: str) -> str | None:
        """The filter with the first column that the last word begins; again: with the next one."""
        if text not in self._columns_offered:
            head, _, word = text.rpartition(" ")
            bare = word.lstrip("!")
            before = f"{head} " if head else ""
            mark = word[: len(word) - len(bare)]
            names = [c.name for c in self.desk.table.grid.spec.columns if c.name.startswith(bare)]
            if not names:
                return None
            self._columns_offered = tuple(f"{before}{mark}{name}:" for name in names)
            return self._columns_offered[0]
        at = self._columns_offered.index(text) + 1
        return self._columns_offered[at % len(self._columns_offered)]

    def _hint_column(self, text: str) -> str:
        word = text.rpartition(" ")[2].lstrip("!")
        columns = self.desk.table.grid.spec.columns
        if not text:
            searched = " or ".join(c.name for c in columns if c.is_searched)
            return f"words of {searched}, column:text, column>number, !term; tab completes columns"
        name = re.split("[:=<>]", word, maxsplit=1)[0].lower() if re.search("[:=<>]", word) else ""
        if name:
            return next((f"{c.name}: {c.help}" for c in columns if c.name == name), f"no column {name}")
        return "  ".join(c.name for c in columns if word and c.name.startswith(word))

    def do_sort(self, argument: str | None = None) -> None:
        """Sort."""
        spec = self.desk.table.grid.spec
        asked = [part.strip() for part in (argument or "").split(",") if part.strip()]
        unknown = [a for a in asked if a.lstrip("-") not in {c.name for c in spec.columns}]
        if unknown:
            known = ", ".join(c.name for c in spec.columns)
            self.desk.say(f"no column {unknown[0].lstrip('-')}; there are {known}", "warn")
        elif len(asked) > 1 or any(
            a.startswith("-") for a in asked
        ):  # as --sort of the shell command has them
            self.desk.table.sort_as(tuple(SortKey(a.lstrip("-"), a.startswith("-")) for a in asked))
        else:
            self.desk.table.sort_by(asked[0] if asked else self.desk.table.grid.chosen_column.name)

    def do_sort_add(self) -> None:
        """Add a sort key."""
        self.desk.table.sort_by(self.desk.table.grid.chosen_column.name, is_added=True)

    def do_column_left(self, count: int | None = None) -> None:
        """Column to the left."""
        self._column(-(count or 1))

    def do_column_right(self, count: int | None = None) -> None:
        """Column to the right."""
        self._column(count or 1)

    def _column(self, by: int) -> None:
        grid = self.desk.table.grid
        grid.move_column(by)
        column = grid.chosen_column
        self.desk.say(f"{column.name}: {column.help}", "dim")

    def do_facets(self) -> None:
        """Values of the chosen column."""
        cursor, column = self.desk.table.cursor, self.desk.table.grid.chosen_column.name
        if cursor is not None:
            self.desk.session.ask("facet", lambda: (column, cursor.facet(column)))

    def show_facets(self, answer: tuple[str, tuple[FacetCount, ...]]) -> None:
        """The counts are there: let the person pick one."""
        column, counts = answer
        desk = self.desk

        def lines(text: str) -> None:
            chosen = tuple(c for c in counts if text.casefold() in (c.value or "none").casefold())
            desk.set_page(drawing.facet_lines(chosen, desk.frame.page_width, desk))

        def done(_text: str) -> None:
            item = desk.page.item
            self._end_list()
            if isinstance(item, FacetCount):
                self._filter_to(column, item.term)

        self._start_list(Place("facets", column), f"{column}: ", lines, done)

    def do_like_cell(self) -> None:
        """Rows like this cell."""
        grid, cursor = self.desk.table.grid, self.desk.table.cursor
        row, column = grid.current, grid.chosen_column
        if row is None or cursor is None:
            return
        value = row.values[grid.spec.index(column.name)]
        if column.kind == "verdict":
            held = self.desk.reviewer.verdict(str(row.values[grid.spec.index("target")]))
            value = held.value if held is not None else None
        if isinstance(value, tuple | float):
            self.desk.say(f"{column.name} is a measure; F shows its bins, / filters with > and <", "warn")
        else:
            self._filter_to(column.name, cursor.term(column.name, None if value is None else str(value)))

    def _filter_to(self, column: str, term: str) -> None:
        """Filter to some of the rows that are shown, instead of what the filter asks of their column."""
        if not term:
            self.desk.say("no filter selects just these rows", "warn")
            return
        asked = tuple(f"{column}{operator}" for operator in ":=<>")
        others = [t for t in terms(self.desk.table.wish.filter_text) if not t.startswith(asked)]
        self.do_filter(" ".join([*others, term]))

    def do_everywhere(self) -> None:
        """All, everywhere, inside contexts."""
        desk = self.desk
        if desk.list_name != "hypotheses":
            desk.say("only hypotheses are about everywhere or a context", "warn")
            return
        old = terms(desk.table.wish.filter_text)
        now = next((t for t in old if t.startswith("family:")), "")
        following = {"": "family:concepts", "family:concepts": "family:cells", "family:cells": ""}.get(
            now, ""
        )
        gone = ("family:", *(("context=", "context:") if following == "family:concepts" else ()))
        self.do_filter(" ".join([*(t for t in old if not t.startswith(gone)), following]).strip())
        said = {"": "all", "family:concepts": "everywhere only", "family:cells": "inside contexts only"}[
            following
        ]
        desk.say(f"hypotheses: {said}")

    def do_select(self) -> None:
        """Select and move on."""
        grid = self.desk.table.grid
        grid.toggle_select(grid.cursor)
        grid.move_to(grid.cursor + 1)
        self.desk.draw_where()

    def do_select_range(self) -> None:
        """Begin or end a range."""
        grid = self.desk.table.grid
        if grid.range_start is None:
            grid.range_start = grid.cursor
        else:
            grid.selected = set(grid.selection())
            grid.range_start = None
        grid.refresh_rows(grid.cursor)
        self.desk.draw_where()

    def do_zoom(self) -> None:
        """Detail pane on and off."""
        self.desk.frame.is_side_wanted = not self.desk.frame.is_side_wanted
        self.desk.show(self.desk.place)
