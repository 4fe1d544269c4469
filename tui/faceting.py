"""The menu of a column's values with their counts: choose some, and the list holds only their rows."""

from engine.views.tables import ColumnKind, FacetCount
from tui import drawing, filter_text
from tui.filtering import Filtering
from tui.places import Place

LIMIT = 200
"""Values that are counted, the most frequent first."""
_HIDDEN = frozenset({"target", "pair"})
_HINT = "left and right: other columns; tab marks; enter filters"


class Faceting(Filtering):
    """Actions that choose rows by what they hold."""

    _facets: tuple[str, tuple[FacetCount, ...]] = ("", ())
    _counted = ""
    """The column that was asked for last."""
    _marked: frozenset[FacetCount] = frozenset()

    def do_facets(self, argument: str | None = None) -> None:
        """Values of the chosen column, or of one that is named."""
        columns = self._counted_columns()
        if argument is not None and argument not in columns:
            self.desk.say(f"no column {argument} to count; there are {', '.join(columns)}", "warn")
            return
        if not self.desk.table.grid.n_rows:
            self.desk.say("there are no rows to count; / changes the filter, q goes back", "warn")
            return
        self.desk.is_seeking = self.desk.table.cursor is not None  # keys that follow are for the menu
        self._ask_facets(self._number_of(argument or self.desk.table.grid.chosen_column.name))

    def _counted_columns(self) -> list[str]:
        names = [c.name for c in self.desk.table.grid.spec.columns]
        return [n for n in names if n not in _HIDDEN and not n.endswith("_id")]

    def _number_of(self, name: str) -> str:
        """Of an interval the column with its estimate as a number, which stands behind it: the same bins."""
        columns = self.desk.table.grid.spec.columns
        at = next(n for n, column in enumerate(columns) if column.name == name)
        return columns[at + 1].name if columns[at].kind is ColumnKind.INTERVAL else name

    def _ask_facets(self, column: str) -> None:
        cursor, self._counted = self.desk.table.cursor, column
        if cursor is not None:
            self.desk.session.ask("facet", lambda: (column, cursor.facet(column, LIMIT)))

    def show_facets(self, answer: tuple[str, tuple[FacetCount, ...]]) -> None:
        """The counts are here: let the person pick, unless they went on meanwhile."""
        desk = self.desk
        desk.is_seeking = False
        prompt = desk.keyboard.prompt
        is_open = self.is_listing and desk.place.view == "facets" and prompt is not None
        if not is_open and (not desk.place.is_table or prompt is not None):
            return
        self._facets, self._marked = answer, frozenset()
        if is_open and prompt is not None:
            prompt.is_waiting = False
            self._draw_facets(prompt.typing.text)
            return
        keys = {
            "left": lambda: self._turn_column(-1), "right": lambda: self._turn_column(1), "tab": self._mark,
        }  # fmt: skip
        place = Place("facets", answer[0])
        self._start_list(
            place, f"{answer[0]}: ", self._draw_facets, self._take_facets, keys=keys,
            hint=lambda text: "" if text else _HINT,
        )  # fmt: skip

    def _draw_facets(self, text: str, *, keep_place: bool = False) -> None:
        desk, (_, counts) = self.desk, self._facets
        chosen = tuple(c for c in counts if text.casefold() in (c.value or "none").casefold())
        is_cut = len(counts) >= LIMIT
        lines = drawing.facet_lines(chosen, desk.frame.page_width, desk, self._marked, is_cut=is_cut)
        desk.set_page(lines, keep_place=keep_place)

    def _turn_column(self, by: int) -> None:
        desk, prompt = self.desk, self.desk.keyboard.prompt
        columns = list(dict.fromkeys(self._number_of(name) for name in self._counted_columns()))
        at = columns.index(self._counted) if self._counted in columns else 0
        self._ask_facets(columns[(at + by) % len(columns)])
        if prompt is not None:  # what is typed from here on is about the values of that column
            self._facets, self._marked = (self._counted, ()), frozenset()
            desk.place = Place("facets", self._counted)
            prompt.typing.restart(f"{self._counted}: ")
            prompt.is_waiting = True
            desk.set_page([])
            desk.draw_bottom()
            desk.draw_where()

    def _mark(self) -> None:
        """Mark the value under the cursor, or no more, and go on to the next."""
        item, prompt = self.desk.page.item, self.desk.keyboard.prompt
        if isinstance(item, FacetCount) and prompt is not None:
            self._marked ^= {item}
            self.desk.page.step(1)
            self._draw_facets(prompt.typing.text, keep_place=True)

    def _take_facets(self, _text: str) -> None:
        column, counts = self._facets
        marked = [c for c in counts if c in self._marked]
        item = self.desk.page.item
        self._end_list()
        if len(marked) > 1:
            term = filter_text.joined(column, [c.term for c in marked])
            if not term:
                self.desk.say("no filter selects just these rows: bins of numbers cannot be joined", "warn")
            else:
                self._filter_to(column, term)
        elif marked:
            self._filter_to(column, marked[0].term)
        elif isinstance(item, FacetCount):
            self._filter_to(column, item.term)

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
        others = [t for t in filter_text.terms(self.desk.table.wish.filter_text) if not t.startswith(asked)]
        text = " ".join([*others, term])
        if text == self.desk.table.wish.filter_text:
            self.desk.say(f"the list has only rows with {term} already")
        else:
            self.do_filter(text)

    def do_everywhere(self) -> None:
        """All, everywhere, inside contexts."""
        desk = self.desk
        if desk.list_name != "hypotheses":
            desk.say("only hypotheses are about everywhere or a context", "warn")
            return
        old = filter_text.terms(desk.table.wish.filter_text)
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
