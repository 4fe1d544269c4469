"""The journal's state as in-memory tables beside the index, which filters and sorts join."""

from collections.abc import Iterable

from engine.store import database
from engine.store.connection import Store


def mirror(store: Store, verdicts: Iterable[tuple[str, str]], names: Iterable[tuple[str, str]]) -> None:
    """Copy the journal's state into the in-memory tables that filters and sorts join."""
    cursor = store.cursor()
    try:
        cursor.execute("CREATE OR REPLACE TABLE memory.main.verdicts (target VARCHAR, verdict VARCHAR)")
        cursor.execute("CREATE OR REPLACE TABLE memory.main.names (concept_id VARCHAR, name VARCHAR)")
        for table, rows in (("verdicts", list(verdicts)), ("names", list(names))):
            _insert(cursor, table, rows)
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
