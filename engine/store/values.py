"""Values of a column as a filter writes them: what the filter line completes."""

from typing import TYPE_CHECKING

from engine.records import Verdict
from engine.store.facets import Column, begun
from engine.store.filters import text_term
from engine.store.grids import Grid
from engine.views.tables import ColumnKind

if TYPE_CHECKING:
    from engine.store.pages import QuerySlot


def values(slot: "QuerySlot", grid: Grid, column: str, part: str, limit: int) -> tuple[str, ...]:
    """Values of a column that hold a part, ignoring case, those that begin so first.

    None for numbers, for long texts, and for a column that is not there.
    """
    found = next((c for c in grid.columns if c.spec.name == column), None)
    if found is None or found.whole is not None:
        return ()
    fixed = found.values
    if found.spec.kind is ColumnKind.FLAG:
        fixed = ("yes", "no")
    elif found.spec.kind is ColumnKind.VERDICT:
        fixed = tuple(Verdict)
    elif found.spec.kind is not ColumnKind.TEXT:
        return ()
    if fixed:
        texts = sorted(
            (v for v in map(str, fixed) if part.lower() in v), key=lambda v: not v.startswith(part)
        )
    else:
        source = grid.source(grid.aliases(frozenset([column])))
        texts = list(begun(slot, Column(column, found.spec.kind, found.sql[0], source, False), part, limit))
    terms = [text_term(column, text).removeprefix(f"{column}=") for text in texts]
    can_lack = found.spec.kind is not ColumnKind.FLAG and "none".startswith(part.lower())
    return (*terms, "none") if can_lack else tuple(terms)
