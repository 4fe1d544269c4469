"""The journal's state as in-memory tables beside the index, which filters and sorts join."""

from collections.abc import Iterable

from engine.store import database
from engine.store.connection import Store
from engine.views.names import MARK

SHOWN_NAME = f"coalesce(CASE WHEN n.given THEN n.name ELSE '{MARK}' || n.name END, c.name)"
"""What concept ``c`` is called where it is shown, ``n`` being its row in ``memory.main.names``: a given name,
a proposed one with its mark, else the working label."""


def mirror(store: Store, verdicts: Iterable[tuple[str, str]], names: Iterable[tuple[str, str, bool]]) -> None:
    """Copy verdicts and names into the in-memory tables that filters and sorts join.

    Args:
        store: the index that they lie beside.
        verdicts: target key and verdict.
        names: concept id, name, and whether a person gave it; without, a model proposed it.
    """
    cursor = store.cursor()
    try:
        cursor.execute("CREATE OR REPLACE TABLE memory.main.verdicts (target VARCHAR, verdict VARCHAR)")
        cursor.execute(
            "CREATE OR REPLACE TABLE memory.main.names (concept_id VARCHAR, name VARCHAR, given BOOLEAN)"
        )
        _insert(cursor, "verdicts", list(verdicts))
        rows = list(names)
        if rows:
            cursor.execute(
                "INSERT INTO memory.main.names"
                " SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::BOOLEAN[])",
                [list(column) for column in zip(*rows, strict=True)],
            )
    finally:
        cursor.close()


def update_mirror(store: Store, verdicts: Iterable[tuple[str, str | None]]) -> None:
    """Change some targets' verdicts in the mirror; None removes."""
    changes = list(verdicts)
    cursor = store.cursor()
    try:
        cursor.execute("BEGIN")
        cursor.execute(
            "DELETE FROM memory.main.verdicts WHERE target IN (SELECT unnest(?::VARCHAR[]))",
            [[target for target, _ in changes]],
        )
        _insert(cursor, "verdicts", [(t, v) for t, v in changes if v is not None])
        cursor.execute("COMMIT")
    finally:
        cursor.close()


def _insert(cursor: database.DuckDBPyConnection, table: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        cursor.execute(
            f"INSERT INTO memory.main.{table} SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[a for a, _ in rows], [b for _, b in rows]],
        )
