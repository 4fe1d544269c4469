"""``engine/docs/schema.md``: the tables of an index for people who open it with plain ``duckdb``.

python -m engine.store.schema_page > engine/docs/schema.md
"""

import sys

from engine.store.columns import Table
from engine.store.schema import SCHEMA_VERSION, TABLES

_HEAD = f"""# The index: tables and columns

Generated from `engine/store/schema.py` (schema {SCHEMA_VERSION}); the same comments are in the database
itself: `SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal`.

An index is one DuckDB file, `index-<hash>.duckdb` in the project folder; `current` names the published one of
each reader. It is never changed after it is published, so any number of processes may read it:

    duckdb -readonly audit/index-….duckdb

Signs are chosen − rejected. An undefined number is NULL, never NaN. Only pairs whose `label` is `chosen`
enter signed statistics.

    -- what the labels reward most, with its evidence
    SELECT c.name, h.win_rate, h.win_low, h.win_high, h.taught_q, h.badge
    FROM hypotheses h JOIN concepts c USING (concept)
    WHERE h.context = 0 AND h.taught_call ORDER BY abs(h.win_rate - 0.5) DESC LIMIT 20;

    -- the pairs in which one concept decides most clearly
    SELECT p.pair_id, s.u, p.prompt_text, p.chosen_text, p.rejected_text
    FROM concept_scores s JOIN pairs p USING (pair) WHERE s.concept = 7 ORDER BY abs(s.u) DESC LIMIT 5;

    -- where a latent fires most, and at which token
    SELECT pair, chosen_max, chosen_peak FROM acts WHERE latent = 42 ORDER BY chosen_max DESC LIMIT 50;
"""


def schema_page() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *(_section(table) for table in TABLES)])


def _section(table: Table) -> str:
    rows = [f"| `{c.name}` | {c.sql_type} | {c.comment.replace('|', chr(92) + '|')} |" for c in table.columns]
    order = ", ".join(f"`{name}`" for name in table.order_by)
    head = [f"## {table.name}", "", f"{table.comment}. Sorted by {order}.", ""]
    return "\n".join([*head, "| column | type | meaning |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    sys.stdout.write(schema_page())
