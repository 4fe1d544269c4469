"""Facts of each pair of a synthetic world for the reference interpreter: not from the index."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.arrays import Readings
from engine.rules.evaluate import Activation, PairFacts, Value
from tests.worlds import World


@dataclass(frozen=True, repr=False)
class WorldFacts:
    """Facts of every pair and the numbers of the input pairs; without a repr, since failures print it."""

    facts: list[PairFacts]
    input_pairs: list[int]


def facts_of(world: World) -> list[PairFacts]:
    """One record per pair, in order of pair number."""
    return [_facts(world, i, row) for i, row in enumerate(world.pair_rows)]


def is_input(row: Mapping[str, Any]) -> bool:
    """Labelled, not held out, not evaluation."""
    return row["label"] == "chosen" and row["fold"] != 19 and not row["is_evaluation"]


def _facts(world: World, i: int, row: Mapping[str, Any]) -> PairFacts:
    arrays = world.readings.pairs
    columns: dict[str, Value] = {
        "id": row["pair_id"],
        "group": row["group_id"],
        "source": row["source"],
        "source_file": row["source_file"],
        "source_row": float(row["source_row"]),
        "copy": float(row["copy"]),
        "fold": float(row["fold"]),
        "prompt.turns": 1.0,
        "prompt.truncated": False,
        "chosen.truncated": False,
        "rejected.truncated": False,
    }
    tokens = {
        "prompt": arrays.prompt_tokens[i],
        "chosen": arrays.chosen_tokens[i],
        "rejected": arrays.rejected_tokens[i],
    }
    for span in ("prompt", "chosen", "rejected"):
        columns[f"{span}.text"] = row[span][0]["content"]
        columns[f"{span}.tokens"] = float(tokens[span])
    contexts = {0} | ({1} if i % 3 == 0 else {2} if i % 3 == 1 else set())
    return PairFacts(columns, json.loads(row["meta"]), _readings(world.readings, i), {}, frozenset(contexts))


def _readings(readings: Readings, i: int) -> dict[str, dict[int, Activation]]:
    out: dict[str, dict[int, Activation]] = {}
    by_pair, prompts = readings.by_pair, readings.prompts
    places = {
        "chosen": (by_pair.indptr, by_pair.latent, by_pair.chosen),
        "rejected": (by_pair.indptr, by_pair.latent, by_pair.rejected),
        "prompt": (prompts.indptr, prompts.latent, prompts.values),
    }
    for span, (indptr, latent, values) in places.items():
        out[span] = {
            int(latent[k]): Activation(
                float(values.act_max[k]), int(values.n_fired[k]), float(values.act_sum[k])
            )
            for k in range(indptr[i], indptr[i + 1])
        }
    return out
