"""The documented schema is the real one."""

from pathlib import Path

from engine.store.schema import TABLES
from engine.store.schema_page import schema_page

PAGE = Path(__file__).parents[2] / "engine" / "docs" / "schema.md"


def test_the_page_in_the_docs_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == schema_page(), (
        "run: python -m engine.store.schema_page > engine/docs/schema.md"
    )


def test_every_column_is_on_the_page() -> None:
    page = schema_page()
    for table in TABLES:
        assert f"## {table.name}\n" in page
        for column in table.columns:
            assert f"| `{column.name}` | {column.sql_type} |" in page
