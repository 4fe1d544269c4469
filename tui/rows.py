"""The first rows of a table, asked for without the framework: they come while it is still being read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.views.tables import GridRow, SortKey
from tui.session import CursorLike, ProjectLike

PAGE_ROWS = 128


class Opened(NamedTuple):
    """A table under a new filter or sort."""

    cursor: CursorLike
    filter_text: str
    context_id: str | None
    row: int
    """Where the record that the cursor was on is now."""
    pages: dict[int, tuple[GridRow, ...]]
    remark: str | None
    """Why the filter leaves no row, where that is known."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to show."""

    filter_text: str = ""
    sort: tuple[SortKey, ...] = ()
    context_id: str | None = None


def open_rows(
    project: ProjectLike, name: str, wish: Wish, *, stay_on: Sequence[GridRow] = (), is_first: bool = False
) -> Opened:
    """Open a table and fetch the page that its cursor is on; a review goes on where it ended.

    Args:
        project: whose table.
        name: which.
        wish: filter, sort, context.
        stay_on: records to stand on, the first of them that is there.
        is_first: nothing was open before: stand on the first record without a verdict.
    """
    cursor = project.open_table(name, wish.filter_text, wish.sort, context_id=wish.context_id)
    places = (cursor.position(record.ident, record.key) for record in stay_on)
    row = next((place for place in places if place is not None), None)
    if row is None:
        row = (cursor.next_undecided(-1) or 0) if is_first else 0
    page = row // PAGE_ROWS
    pages = {page: cursor.rows(page * PAGE_ROWS, PAGE_ROWS)}
    remark = cursor.remark() if not cursor.n_rows else None
    return Opened(cursor, wish.filter_text, wish.context_id, row, pages, remark)


def first_rows(project: ProjectLike) -> Opened:
    """The hypotheses where the review goes on."""
    return open_rows(project, "hypotheses", Wish(), is_first=True)
