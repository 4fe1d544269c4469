"""The disparity u of any concept on every pair: from the index where it is stored, else from readings."""

from collections.abc import Iterable

import numpy as np

from engine.compiler.population import Floats, Population
from engine.rules.terms import Concept
from engine.store.connection import Store


def disparities(
    store: Store, everyone: Population, concepts: Iterable[Concept], threshold: float
) -> dict[str, Floats]:
    """Concept key to u over the input pairs, (N,); built-in measures have none.

    u is the mean over the concept's latents of 1{chosen fires} − 1{rejected fires}, firing meaning that the
    share of fired tokens exceeds ``threshold`` (τ).
    """
    out: dict[str, Floats] = {}
    for concept in concepts:
        if concept.key in out or concept.kind == "built-in":
            continue
        if concept.number is not None:
            row = everyone.concepts.u.getrow(everyone.concepts.row(concept.number))
            out[concept.key] = row.toarray()[0][everyone.input_pairs]
        else:
            out[concept.key] = _from_readings(store, everyone, concept, threshold)
    return out


def _from_readings(store: Store, everyone: Population, concept: Concept, threshold: float) -> Floats:
    found = store.columns(
        "SELECT a.pair, sum(CAST(a.chosen_n > $tau * p.chosen_tokens AS INTEGER)"
        " - CAST(a.rejected_n > $tau * p.rejected_tokens AS INTEGER)) AS total"
        " FROM acts a JOIN pairs p ON p.pair = a.pair"
        " WHERE a.latent IN (SELECT unnest($latents)) GROUP BY a.pair",
        {"tau": threshold, "latents": list(concept.members)},
    )
    u = np.zeros(everyone.n_pairs)
    u[found["pair"].astype(np.int64)] = np.asarray(found["total"], np.float64) / len(concept.members)
    return np.asarray(u[everyone.input_pairs])
