"""Counts of a column over the rows of a list: the shell's twin of the workstation's facets."""

from typing import TYPE_CHECKING

import click

from engine.cli.output import write_json, write_table
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.api.listing import Counts


def show_counts(
    column: str, found: "Counts", noun: str, stale: str | None, *, plain: bool, as_json: bool
) -> None:
    """Values with their share of the rows, and the filter that selects exactly them."""
    counts, n_rows, n_total, remark = found
    if as_json:
        listed = [{"value": c.value, "n": c.n, "filter": c.term or None} for c in counts]
        counted = {"counts": listed, "n_rows": n_rows, "n_total": n_total}
        write_json(counted | {"stale": stale, "remark": remark})
        return
    tell(remark)
    table = [
        (c.value if c.value is not None else "undefined", c.n, c.n / n_rows, _typed(c.term)) for c in counts
    ]
    write_table((column, "n", "share", "filter"), table, plain=plain, flexible=0)
    n_shown = sum(c.n for c in counts)
    if not plain:
        click.echo(f"\n{n_shown:,} of {selected(n_rows, n_total, noun)}")


def tell(remark: str | None) -> None:
    """What to know of a filter, on stderr."""
    if remark:
        click.echo(f"warning: {one_line(remark, 400)}", err=True)


def selected(n_rows: int, n_total: int, noun: str) -> str:
    """``3,000 pairs``, or ``120 selected from 3,000 pairs``."""
    return (f"{n_rows:,} selected from " if n_rows != n_total else "") + f"{n_total:,} {noun}"


def _typed(term: str) -> str | None:
    """A filter that can be copied from a terminal; None where what is shown would select something else."""
    return term if term and one_line(term) == term else None
