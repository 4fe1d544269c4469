"""From `suppress … by matching` to linear targets, and from weights to what was reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Evaluation
from engine.compiler.matching import balance, reachable
from engine.compiler.population import Floats
from engine.compiler.records import Matched
from engine.compiler.row_effects import rounded
from engine.compiler.shapes import side_terms
from engine.errors import CompileError
from engine.rules.checked import CheckedShape
from engine.rules.terms import Concept

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Held:
    """A concept whose weighted mean must not move."""

    name: str
    value: Floats  # (N,) u after flips


@dataclass(frozen=True, slots=True)
class _Row:
    """One linear target over the pairs of a stratum."""

    statement: str
    concept: str
    statistic: str
    stratum: str
    inside: Bools  # (N,)
    value: Floats  # (N,) in standard deviations
    target: float


def solve(
    shapes: Sequence[CheckedShape],
    evaluation: Evaluation,
    *,
    disparity: Mapping[str, Floats],
    flipped: Bools,
    alive: Bools,
    weight: Floats,
    held: Sequence[Held],
    max_weight: float,
) -> tuple[Floats, dict[str, Bools], tuple[Matched, ...]]:
    """Weights that meet every matching statement of a file.

    Args:
        shapes: all shape statements; others than matching are passed over.
        evaluation: scores and conditions over N input pairs.
        disparity: concept key to u before flips, (N,).
        flipped: pairs whose sides are exchanged, (N,).
        alive: survivors so far, (N,).
        weight: weights so far, (N,).
        held: concepts whose mean over the matched pairs stays what it is.
        max_weight: bound where a statement names none.

    Returns:
        new weights (N,), the pairs that each statement reweighted, and what was reached.

    Raises:
        CompileError: no weights within the bound meet the targets; names the concept.
    """
    matching = [s for s in shapes if s.method == "matching"]
    if not matching:
        return weight, {}, ()
    rows = [r for s in matching for r in _rows(s, evaluation, disparity, flipped, alive, weight)]
    touched = np.logical_or.reduce([r.inside for r in rows]) if rows else np.zeros(len(alive), bool)
    bounds = [s.maximum for s in matching if s.maximum is not None]
    upper = min(bounds) if bounds else max_weight
    if not touched.any():
        return weight, {s.name: touched for s in matching}, ()
    base = np.minimum(weight[touched], upper)
    _refuse_unreachable(rows, touched, base, upper)
    features, goal = _system(rows, held, touched, base)
    result = balance(features, goal, base, upper)
    if not result.converged:
        worst = int(np.argmax(np.abs(result.residual[: len(rows)])))
        names = ", ".join(sorted({f"`@{r.concept}`" for r in rows}))
        raise CompileError(
            f"no weights up to {upper:g} meet all targets at once; the furthest is `@{rows[worst].concept}`"
            + (f" in {rows[worst].stratum}" if rows[worst].stratum else ""),
            hint=f"raise `max`, soften a target of {names}, or hold fewer concepts",
        )
    new = weight.copy()
    new[touched] = rounded(result.weight)
    reached = tuple(_matched(r, weight, new) for r in rows)
    return new, {s.name: _inside(s, rows) for s in matching}, reached


def _inside(shape: CheckedShape, rows: Sequence[_Row]) -> Bools:
    inside: Bools = np.logical_or.reduce([r.inside for r in rows if r.statement == shape.name])
    return inside


def _rows(
    shape: CheckedShape,
    evaluation: Evaluation,
    disparity: Mapping[str, Floats],
    flipped: Bools,
    alive: Bools,
    weight: Floats,
) -> list[_Row]:
    concept = shape.concept
    if concept is None:
        return []
    inside = evaluation.truths[shape.condition] & alive
    values = _statistics(shape, concept, evaluation, disparity, flipped)
    out = []
    for stratum, part in _strata(shape, evaluation, inside):
        for statistic, value in values:
            mean = float(np.average(value[part], weights=weight[part])) if part.any() else 0.0
            sd = (
                float(np.sqrt(np.average((value[part] - mean) ** 2, weights=weight[part])))
                if part.any()
                else 0.0
            )
            if sd > 0:
                target = shape.amount or 0.0
                out.append(_Row(shape.name, concept.name, statistic, stratum, part, value / sd, target))
    if not out:
        raise CompileError(
            f"`@{concept.name}` does not vary on the pairs of `{shape.name}`",
            hint="there is nothing to match: widen the selection or remove the statement",
        )
    return out


def _statistics(
    shape: CheckedShape,
    concept: Concept,
    evaluation: Evaluation,
    disparity: Mapping[str, Floats],
    flipped: Bools,
) -> list[tuple[str, Floats]]:
    """Both statistics when suppressing to zero, so that strength and frequency are balanced; else delta."""
    chosen, rejected = (evaluation.values[t] for t in side_terms(concept))
    turn = np.where(flipped, -1.0, 1.0)
    found = []
    if shape.statistic in (None, "delta"):
        found.append(("delta", (chosen - rejected) * turn))
    wants_u = shape.statistic == "u" or (shape.statistic is None and shape.amount in (None, 0.0))
    if wants_u and concept.key in disparity:
        found.append(("u", disparity[concept.key] * turn))
    return found


def _strata(shape: CheckedShape, evaluation: Evaluation, inside: Bools) -> list[tuple[str, Bools]]:
    if shape.within is None:
        return [("", inside)]
    codes, names = evaluation.keys[shape.within], evaluation.key_names[shape.within]
    if set(names) <= {"True", "False"} and "True" in names:
        return [("", inside & (codes == names.index("True")))]
    present = np.unique(codes[inside])
    return [(names[int(c)], inside & (codes == c)) for c in present]


def _refuse_unreachable(rows: Sequence[_Row], touched: Bools, base: Floats, upper: float) -> None:
    full = np.zeros(len(touched))
    full[touched] = base
    for row in rows:
        low, high = reachable(row.value[row.inside], full[row.inside], upper)
        if not low - 1e-9 <= row.target <= high + 1e-9:
            where = f" in {row.stratum}" if row.stratum else ""
            raise CompileError(
                f"`@{row.concept}`{where} cannot reach {row.target:g} sd with weights up to {upper:g}:"
                f" the range is {low:.3g} to {high:.3g}",
                hint="raise `max`, choose a nearer target or widen the selection",
            )


def _system(
    rows: Sequence[_Row], held: Sequence[Held], touched: Bools, base: Floats
) -> tuple[Floats, Floats]:
    """Targets first, then the mass of every stratum, then the held means."""
    targets = [np.where(r.inside, r.value - r.target, 0.0)[touched] for r in rows]
    strata: dict[bytes, Floats] = {}
    for row in rows:
        part = row.inside[touched].astype(np.float64)
        strata.setdefault(part.tobytes(), part)
    kept = [h.value[touched] for h in held]
    kept = [k for k in kept if np.any(k)]
    features = np.stack([*targets, *strata.values(), *kept])
    goal = np.concatenate(
        [np.zeros(len(targets)), [float(p @ base) for p in strata.values()], [float(k @ base) for k in kept]]
    )
    return features, goal


def _matched(row: _Row, before: Floats, after: Floats) -> Matched:
    value = row.value[row.inside]
    return Matched(
        row.statement, row.concept, row.statistic, row.stratum, row.target,
        float(np.average(value, weights=before[row.inside])),
        float(np.average(value, weights=after[row.inside])),
    )  # fmt: skip
