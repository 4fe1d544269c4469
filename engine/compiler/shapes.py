"""Stage 4: suppress, amplify and soften, on the pairs that survived the set statements.

Offsets and ranked drops see the pair after flips. Matching weights are solved together for all statements of
a file, so that one target cannot undo another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Evaluation
from engine.compiler.population import Floats
from engine.compiler.row_effects import rounded
from engine.errors import CompileError
from engine.rules.checked import CheckedShape
from engine.rules.terms import Concept, Reading, Term

Bools = NDArray[np.bool_]


def side_terms(concept: Concept, aggregate: str = "max") -> tuple[Term, Term]:
    """Score on the chosen and the rejected response."""
    return Reading(concept, "chosen", aggregate), Reading(concept, "rejected", aggregate)


@dataclass(frozen=True, slots=True)
class Offsets:
    """Result of ``offsets``."""

    offset: Floats  # (N,)
    touched: dict[str, Bools]


def response_sd(evaluation: Evaluation, concept: Concept) -> float:
    """Population sd of the scores of all response spans of the input pairs."""
    chosen, rejected = (evaluation.values[t] for t in side_terms(concept))
    return float(np.std(np.concatenate([chosen, rejected])))


def offsets(shapes: Sequence[CheckedShape], evaluation: Evaluation, flipped: Bools, alive: Bools) -> Offsets:
    """M per pair: +λ·Δc/sd to suppress, −λ·Δc/sd to amplify, λ·sign(Δc) when constant, +c to soften.

    Raises:
        CompileError: a concept whose score never varies.
    """
    total = np.zeros(len(alive))
    touched: dict[str, Bools] = {}
    for shape in shapes:
        inside = evaluation.truths[shape.condition] & alive
        if shape.method == "constant":
            part = np.where(inside, shape.amount or 0.0, 0.0)
        elif shape.method == "offset" and shape.concept is not None:
            chosen, rejected = (evaluation.values[t] for t in side_terms(shape.concept))
            delta = np.where(flipped, rejected - chosen, chosen - rejected)
            sd = response_sd(evaluation, shape.concept)
            if sd == 0:
                raise CompileError(
                    f"`@{shape.concept.name}` has the same score on every response",
                    hint="it cannot be shaped by an offset; check the concept",
                )
            unit = np.sign(delta) if shape.is_constant else delta / sd
            part = np.where(inside, shape.sign * (shape.amount or 0.0) * unit, 0.0)
        else:
            continue
        total += part
        touched[shape.name] = part != 0
    return Offsets(rounded(total), touched)


def ranked_drops(
    shapes: Sequence[CheckedShape], evaluation: Evaluation, flipped: Bools, alive: Bools, protected: Bools
) -> dict[str, Bools]:
    """Pairs that `by dropping N%` removes: the N% of the selection that teach the concept most.

    Suppressing ranks by delta after flips, amplifying by its negative; only pairs on that side of zero go.
    All statements rank the same survivors, so their order does not matter. Protected pairs stay: with
    ``protected`` all False, the pairs that would go without protection.
    """
    out: dict[str, Bools] = {}
    for shape in shapes:
        if shape.method != "dropping" or shape.concept is None:
            continue
        chosen, rejected = (evaluation.values[t] for t in side_terms(shape.concept))
        delta = np.where(flipped, rejected - chosen, chosen - rejected) * shape.sign
        inside = np.nonzero(evaluation.truths[shape.condition] & alive)[0]
        n = round((shape.amount or 0.0) / 100 * len(inside))
        rank = evaluation.ranks[0]
        ordered = inside[np.lexsort((rank[inside], -delta[inside]))][:n]
        gone = np.zeros(len(alive), bool)
        gone[ordered[delta[ordered] > 0]] = True
        out[shape.name] = gone & ~protected
    return out
