"""A large index for benchmarks, made in SQL: shapes and sizes are real, values are seeded noise."""

from pathlib import Path

import duckdb

from engine.paths import ProjectPaths
from engine.store.build import Published, publish
from engine.store.schema import SCHEMA_VERSION, TABLES

_HASH = "md5({0} || '{1}')"


def make_big_world(
    root: Path, *, n_pairs: int = 1_000_000, n_concepts: int = 4_000, n_contexts: int = 99
) -> ProjectPaths:
    """A published project with ``n_concepts × (n_contexts + 1)`` hypotheses; kept when it is there."""
    paths = ProjectPaths(root)
    if paths.current.exists():
        return paths
    root.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(paths.index("big"))) as connection:
        for table in TABLES:
            columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in table.columns)
            connection.execute(f"CREATE TABLE {table.name} ({columns})")
        _fill(connection, n_pairs, n_concepts, n_contexts)
    publish(paths, Published("reader", "big", 1.0))
    return paths


def _fill(connection: duckdb.DuckDBPyConnection, n_pairs: int, n_concepts: int, n_contexts: int) -> None:
    def insert(table: str, values: dict[str, str], source: str) -> None:
        connection.execute(
            f"INSERT INTO {table} ({', '.join(values)}) SELECT {', '.join(values.values())} FROM {source}"
        )

    connection.execute("SELECT setseed(0.5)")
    connection.execute(
        "INSERT INTO meta VALUES ('schema_version', ?), ('share_read', '1.0')", [str(SCHEMA_VERSION)]
    )
    words = "['tea','code','lock','poem','train','river','plain','seven','maybe','sorry'][1 + i % 10]"
    text = f"repeat({words} || ' and then ' || i || ' ', 12)"
    insert(
        "pairs",
        {
            "pair": "i",
            "pair_id": "md5(i || 'p')",
            "source": "['alpha','beta','gamma'][1 + i % 3]",
            "source_row": "i",
            "source_file": "'big.jsonl'",
            "label": "CASE WHEN i % 20 = 0 THEN 'tie' ELSE 'chosen' END",
            "group_index": "i",
            "group_id": "md5(i || 'g')",
            "fold": "i % 20",
            "prompt_text": f"'how to ' || {text}",
            "chosen_text": f"'first ' || {text}",
            "rejected_text": f"'never ' || {text}",
            "prompt_tokens": "20 + i % 50",
            "chosen_tokens": "30 + (i * 7919) % 400",
            "rejected_tokens": "30 + (i * 104729) % 400",
            "prompt_turns": "1",
            "prompt_truncated": "FALSE",
            "chosen_truncated": "FALSE",
            "rejected_truncated": "FALSE",
        },
        f"range({n_pairs}) r(i)",
    )
    insert(
        "concepts",
        {
            "concept": "i",
            "concept_id": "md5(i || 'c')",
            "kind": "'cluster'",
            "name": f"{words} || ' concept ' || i",
            "name_source": "'tokens'",
            "tokens": '\'["sorry", "tea"]\'',
            "n_latents": "1",
            "n_chosen": "900",
            "n_rejected": "800",
            "n_prompt": "0",
            "u_square": "500",
        },
        f"range({n_concepts}) r(i)",
    )
    insert("concept_members", {"concept": "i", "latent": "i", "centrality": "1"}, f"range({n_concepts}) r(i)")
    insert(
        "contexts",
        {
            "context": "i",
            "context_id": "md5(i || 'x')",
            "kind": "CASE i WHEN 0 THEN 'everywhere' ELSE 'topic' END",
            "name": "CASE i WHEN 0 THEN 'everywhere' ELSE 'topic ' || i END",
            "definition": "'{}'",
            "n_pairs": f"{n_pairs} // greatest(i, 1)",
            "n_groups": f"{n_pairs} // greatest(i, 1)",
        },
        f"range({n_contexts + 1}) r(i)",
    )
    rate = "(0.5 + (random() - 0.5) * 0.4)"
    insert(
        "hypotheses",
        {
            "hypothesis": "row_number() OVER () - 1",
            "hypothesis_id": "md5(c || 'h' || x)",
            "family": "CASE x WHEN 0 THEN 'concepts' ELSE 'cells' END",
            "context": "x",
            "concept": "c",
            "n_pairs": "10000",
            "n_groups": "9000",
            "n_carry": "2000",
            "n_discordant": "1000",
            "n_plus": "500",
            "n_discordant_groups": "900",
            "prevalence": "0.2",
            "mean_u": "0.01",
            "win_rate": "r",
            "win_low": "r - 0.05",
            "win_high": "r + 0.05",
            "taught_z": "(r - 0.5) * 40",
            "taught_q": "abs(r - 0.5)",
            "taught_call": "abs(r - 0.5) > 0.1",
            "equal_win_rate": "r",
            "equal_low": "r - 0.06",
            "equal_high": "r + 0.06",
            "equal_q": "0.2",
            "equal_call": "FALSE",
            "badge": "'only with length'",
            "is_stable": "TRUE",
            "half_a": "r",
            "half_b": "r",
        },
        f"(WITH cells AS MATERIALIZED (SELECT c, x, {rate} AS r FROM range({n_concepts}) a(c),"
        f" range({n_contexts + 1}) b(x)) SELECT * FROM cells ORDER BY abs(r - 0.5) DESC)",
    )
    insert(
        "concept_scores",
        {
            "concept": "c",
            "pair": f"(c * 7919 + k * 613) % {n_pairs}",
            "chosen": "random() * 4",
            "prompt": "0",
            "rejected": "random() * 4",
            "u": "CASE WHEN random() < 0.5 THEN 1 ELSE -1 END",
        },
        f"(SELECT c, k FROM range({n_concepts}) a(c), range(500) b(k) ORDER BY c, k)",
    )
    insert(
        "pair_scores",
        {name: name for name in ("pair", "concept", "chosen", "rejected", "u")},
        "(SELECT * FROM concept_scores ORDER BY pair, concept)",
    )
    insert(
        "acts",
        {
            "latent": "concept",
            "pair": "pair",
            "chosen_max": "chosen",
            "rejected_max": "rejected",
            "chosen_n": "2",
            "rejected_n": "1",
            "chosen_sum": "chosen",
            "rejected_sum": "rejected",
            "chosen_peak": "5",
            "rejected_peak": "7",
        },
        "concept_scores",
    )
