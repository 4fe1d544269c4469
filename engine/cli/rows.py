"""Pairs behind a number of a plan, as the commands list them."""

from typing import TYPE_CHECKING, Any

import click

from engine.cli.output import write_json, write_table
from engine.safe_text import one_line

if TYPE_CHECKING:
    from engine.compiler.rows import PairRows

_TEXT_WIDTH = 40


def show_pairs(found: "PairRows", *, plain: bool, as_json: bool) -> None:
    """Pairs with what a plan does to them, one line each."""
    if as_json:
        write_json(found)
        return
    has_plan = any(row.fate is not None for row in found.rows)
    header = ["pair", "id", "source", "prompt", "chosen", "rejected"]
    if has_plan:
        header[3:3] = ["fate", "weight", "offset", "sides"]
    rows: list[list[Any]] = []
    for r in found.rows:
        texts = [one_line(t, None if plain else _TEXT_WIDTH) for t in (r.prompt, r.chosen, r.rejected)]
        fate = [r.fate, r.weight, r.offset, "flipped" if r.is_flipped else ""] if has_plan else []
        rows.append([r.pair, r.pair_id[:10], r.source, *fate, *texts])
    write_table(header, rows, plain=plain, flexible=len(header) - 3, copied=(1,))
    if not plain:
        click.echo(f"\n{len(found.rows):,} of {found.n_pairs:,} pairs; `prosect show DIR ID` shows one")
