"""Concepts that people decided to keep: what matching holds, and how far a plan moves what it does not.

A keep everywhere holds Σ w·u over the matched pairs, whose total weight stays. A keep inside a context holds
Σ w·(u − ū) over the context's pairs, with ū their mean: that stays the context's mean whatever becomes of the
context's share of the weight.
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import with_definitions
from engine.compiler.forecast import pull
from engine.compiler.match_targets import Bools, Held
from engine.compiler.population import Floats, Population
from engine.compiler.records import Collateral, Fates, HeldInside, VerdictNote
from engine.records import Verdict
from engine.rules.checked import CheckedFile, CheckedShape
from engine.rules.terms import Inside, walk


def held_everywhere(verdicts: Sequence[VerdictNote]) -> frozenset[str]:
    """Ids of the concepts with a verdict keep that is about no context."""
    return frozenset(v.concept_id for v in verdicts if v.verdict is Verdict.KEEP and v.context_id is None)


def held_rows(
    everyone: Population,
    verdicts: Sequence[VerdictNote],
    checked: CheckedFile,
    flipped: Bools,
    weight: Floats,
) -> list[Held]:
    """What matching must not move, over the N input pairs.

    What statements name as a target is not held: a concept that is matched anywhere is not held everywhere,
    and one that is matched inside a context is not held in it.

    Args:
        everyone: the index.
        verdicts: in force.
        checked: the file.
        flipped: (N,) sides are exchanged.
        weight: (N,) before matching; a context's mean is taken with it.
    """
    matching = [s for s in checked.shapes if s.concept is not None and s.method == "matching"]
    targets = {s.concept.concept_id for s in matching if s.concept is not None}
    turn = np.where(flipped, -1.0, 1.0)
    wanted = held_everywhere(verdicts) - targets
    out = []
    for row, ident in enumerate(everyone.concepts.ids):
        if ident in wanted:
            out.append(Held(everyone.concepts.labels[row], _u(everyone, row) * turn))
    for row, place, _ in _inside(everyone, verdicts):
        ident, context_id = everyone.concepts.ids[row], everyone.context_ids[place]
        if any(
            s.concept is not None and s.concept.concept_id == ident and context_id in _contexts(s, checked)
            for s in matching
        ):
            continue
        members = _members(everyone, place)
        u, mass = _u(everyone, row) * turn, weight * members
        if mass.sum() > 0:
            mean = float(u @ mass / mass.sum())
            name = f"{everyone.concepts.labels[row]} in {everyone.context_names[place]}"
            out.append(Held(name, np.where(members, u - mean, 0.0)))
    return out


def held_inside(
    everyone: Population,
    fates: Fates,
    verdicts: Sequence[VerdictNote],
    moved: Sequence[Collateral],
    share: float,
) -> tuple[HeldInside, ...]:
    """Keeps inside contexts: the mean there before and after, and whether it moves beyond its limit.

    Args:
        everyone: the index.
        fates: the plan.
        verdicts: in force.
        moved: every concept everywhere.
        share: of the largest target's change (of the largest of all without targets) that is the limit.
    """
    changes = [abs(c.change) for c in moved if c.is_target] or [abs(c.change) for c in moved]
    limit = share * max(changes, default=0.0)
    at = everyone.input_pairs
    base, weight, force = everyone.base_weight[at], fates.weight[at], pull(fates)[at]
    signed = np.where(fates.flipped[at], -force, force)
    out = []
    for row, place, note in _inside(everyone, verdicts):
        members, u = _members(everyone, place), _u(everyone, row)
        before = _mean(base[members], u[members], base[members])
        after = _mean(signed[members], u[members], weight[members])
        out.append(
            HeldInside(
                note.concept_id, everyone.concepts.labels[row], everyone.context_ids[place],
                everyone.context_names[place], before, after, limit, abs(after - before) > limit + 1e-12,
            )
        )  # fmt: skip
    return tuple(sorted(out, key=lambda h: (not h.is_beyond, -abs(h.change), h.concept_id, h.context_id)))


def members_of(everyone: Population, context_id: str) -> Bools:
    """Which of the N input pairs are in a context."""
    return _members(everyone, everyone.context_ids.index(context_id))


def _mean(pulls: Floats, u: Floats, weight: Floats) -> float:
    return float(pulls @ u) / max(float(weight.sum()), 1e-12)


def _inside(everyone: Population, verdicts: Sequence[VerdictNote]) -> Iterator[tuple[int, int, VerdictNote]]:
    """(row of the concept, row of the context, verdict) for every keep inside a context of this index."""
    concepts = {ident: row for row, ident in enumerate(everyone.concepts.ids)}
    contexts = {ident: row for row, ident in enumerate(everyone.context_ids)}
    for note in verdicts:
        is_known = note.concept_id in concepts and (note.context_id or "") in contexts
        if note.verdict is Verdict.KEEP and note.context_id is not None and is_known:
            yield concepts[note.concept_id], contexts[note.context_id], note


def _u(everyone: Population, row: int) -> Floats:
    """(N,) disparity of a concept over the input pairs."""
    return np.asarray(everyone.concepts.u.getrow(row).toarray()[0][everyone.input_pairs], np.float64)


def _members(everyone: Population, place: int) -> NDArray[np.bool_]:
    """(N,)"""
    return np.asarray(everyone.contexts.getrow(place).toarray()[0][everyone.input_pairs] > 0, np.bool_)


def _contexts(shape: CheckedShape, checked: CheckedFile) -> Collection[str]:
    """Contexts that a statement's selection speaks of."""
    terms = with_definitions([shape.condition], checked.definitions)
    return {t.context_id for term in terms for t in walk(term) if isinstance(t, Inside)}
