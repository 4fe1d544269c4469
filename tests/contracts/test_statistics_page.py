"""Every number of the index is defined on the statistics page."""

from pathlib import Path

import pytest

from engine.store.columns import Table
from engine.store.schema import HYPOTHESES, LATENTS
from engine.store.schema_scrutiny import SCRUTINY

PAGE = (Path(__file__).parents[2] / "engine" / "docs" / "statistics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", [HYPOTHESES, LATENTS, *SCRUTINY], ids=lambda table: table.name)
def test_every_column_with_an_estimate_is_on_the_page(table: Table) -> None:
    index = PAGE[PAGE.index("## Every column") :]
    assert [c.name for c in table.columns if f"`{c.name}`" not in index] == []
