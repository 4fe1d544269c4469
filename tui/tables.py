"""One table of the project behind one grid: filter, sort, paging, and keeping one's place."""

from collections.abc import Callable

from engine.views.tables import GridRow, SortKey
from tui.rows import PAGE_ROWS, Opened, Wish, open_rows
from tui.session import CursorLike, Session
from tui.widgets.grid import GridView


class TableControl:
    """Asks for rows; answers come back through the desk."""

    def __init__(self, name: str, grid: GridView, session: Session) -> None:
        self.name, self.grid = name, grid
        self._session = session
        self.cursor: CursorLike | None = None
        self.wish = Wish()
        self.is_opening = False
        self.remark: str | None = None
        """Why the filter leaves no row, where that is known."""
        self._wanted = self.wish
        self._left: dict[Wish, GridRow] = {}
        """Where the cursor was when rows were left."""
        self._edge = 0

    def open(self, wish: Wish, *, stay_on: GridRow | None = None) -> None:
        """Show rows under another filter or sort.

        The cursor stays on a record if it is there, else goes to where it was when these rows were left.
        """
        self.is_opening = True
        here = self.grid.current
        if here is not None and self.cursor is not None:
            self._left[self.wish] = here
        known = tuple(row for row in (stay_on, self._left.get(wish)) if row is not None)
        is_first = self.cursor is None
        project, name, warm = self._session.project, self.name, self._session.warm

        def question() -> Opened:
            if warm is not None and is_first and name == "hypotheses" and wish == Wish():
                opened: Opened = warm.result()
                return opened
            return open_rows(project, name, wish, stay_on=known, is_first=is_first)

        self._wanted = wish
        self._session.forget(f"pages {name}")
        self._session.ask(f"open {name}", question)

    def opened(self, answer: Opened) -> None:
        """The rows are there."""
        old, self.cursor = self.cursor, answer.cursor
        self.is_opening, self.remark = False, answer.remark
        self.wish = self._wanted
        if old is not None:
            old.close()
        self.grid.sort = self.wish.sort or self.grid.spec.default_sort
        self.grid.reset(answer.cursor.n_rows, cursor=answer.row)
        self.grid.put_pages(answer.pages)

    def failed(self) -> None:
        """The old rows stay."""
        self.is_opening = False

    def fetch(self, pages: list[int]) -> None:
        """Fetch pages; a newer request replaces this one."""
        cursor = self.cursor
        if cursor is None:
            return

        def question() -> tuple[CursorLike, dict[int, tuple[GridRow, ...]]]:
            first, last = min(pages), max(pages)
            if last - first < len(pages):
                rows = cursor.rows(first * PAGE_ROWS, (last - first + 1) * PAGE_ROWS)
                return cursor, {p: rows[(p - first) * PAGE_ROWS : (p - first + 1) * PAGE_ROWS] for p in pages}
            return cursor, {p: cursor.rows(p * PAGE_ROWS, PAGE_ROWS) for p in pages}

        self._session.ask(f"pages {self.name}", question)

    def fetched(self, answer: tuple[CursorLike, dict[int, tuple[GridRow, ...]]]) -> None:
        """Pages arrived."""
        cursor, pages = answer
        if cursor is self.cursor:
            self.grid.put_pages(pages)

    def sort_by(self, column: str, *, is_added: bool = False) -> None:
        """Sort by a column from its top, descending first for numbers; again turns it round."""
        keys = list(self.wish.sort or self.grid.spec.default_sort)
        old = next((k for k in keys if k.column == column), None)
        kind = self.grid.spec.columns[self.grid.spec.index(column)].kind
        key = SortKey(column, not old.descending) if old else SortKey(column, kind != "text")
        if is_added:
            keys = [key if k.column == column else k for k in keys] if old else [*keys, key]
        else:
            keys = [key]
        self.open(Wish(self.wish.filter_text, tuple(keys), self.wish.context_id))

    def sort_as(self, keys: tuple[SortKey, ...]) -> None:
        """Sort by columns as they are given."""
        self.open(Wish(self.wish.filter_text, keys, self.wish.context_id))

    def filter_by(self, text: str) -> None:
        """Show the rows that a filter text matches."""
        self.open(Wish(text, self.wish.sort, self.wish.context_id), stay_on=self.grid.current)

    def next_undecided(self, is_open: Callable[[str], bool], *, step: int = 1) -> int | None:
        """The next loaded row without a verdict, −1 where missing rows come first, None at the end."""
        target = self.grid.spec.index("target")
        at = self.grid.cursor + step
        while 0 <= at < self.grid.n_rows:
            row = self.grid.row(at)
            if row is None:
                self._edge = at - step
                return -1
            if is_open(str(row.values[target])):
                return at
            at += step
        return None

    @property
    def edge(self) -> int:
        """Where the last search among loaded rows ended."""
        return self._edge
