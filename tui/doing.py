"""What every action of the table does. One method per action: ``next-undecided`` is ``do_next_undecided``."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.views.tables import ColumnKind, SortKey
from tui.amending import Amending
from tui.commanding import Commanding
from tui.deciding import Deciding
from tui.faceting import Faceting
from tui.jobbing import Jobbing
from tui.paging import Paging
from tui.pairing import Pairing
from tui.running import Running
from tui.tools import Tools

if TYPE_CHECKING:
    from tui.desk import Desk


class Doing(Deciding, Faceting, Commanding, Paging, Tools, Pairing, Amending, Running, Jobbing):
    """Runs actions on a desk."""

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self.desk = desk
        self.is_listing = False
        self._subjects = {}

    def run(self, action: str, *, count: int | None = None, argument: str | None = None) -> None:
        """Run an action by its id."""
        given = {"count": count, "argument": argument}
        accepted = self.takes(action)
        self._method(action)(**{k: v for k, v in given.items() if k in accepted})

    def takes(self, action: str) -> frozenset[str]:
        """What an action may be given: a count, a text."""
        return frozenset(inspect.signature(self._method(action)).parameters)

    def _method(self, action: str) -> Callable[..., None]:
        found: Callable[..., None] = getattr(self, "do_" + action.replace("-", "_"))
        return found

    # -- tables -----------------------------------------------------------------------------------------

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
        marks = "; ' by somebody else, ~ from an older index" if column.kind is ColumnKind.VERDICT else ""
        self.desk.say(f"{column.name}: {column.help}{marks}", "dim")

    def do_select(self) -> None:
        """Select and move on."""
        if not self._can_select():
            return
        grid = self.desk.table.grid
        grid.toggle_select(grid.cursor)
        grid.move_to(grid.cursor + 1)
        self.desk.draw_where()

    def _can_select(self) -> bool:
        """Rows are selected to be decided on."""
        if self.desk.list_name != "hypotheses":
            self.desk.say("rows are selected to be decided on, and only hypotheses are", "warn")
            return False
        return self.desk.table.grid.n_rows > 0

    def do_select_range(self) -> None:
        """Begin or end a range."""
        if not self._can_select():
            return
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
        if not self.desk.frame.has_side:
            why = (
                "needs a higher screen" if self.desk.place.is_table else "stands beside lists and rules only"
            )
            self.desk.say(f"no pane to hide or show here: one {why}", "warn")
            return
        self.desk.frame.is_side_wanted = not self.desk.frame.is_side_wanted
        self.desk.show(self.desk.place)
