"""From `suppress … by matching` to linear targets, and from weights to what was reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from engine.compiler.evaluation import Evaluation
from engine.compiler.matching import balance, reachable
from engine.compiler.population import Floats
from engine.compiler.records import Matched
from engine.compiler.residual import unexplained
from engine.compiler.row_effects import rounded
from engine.compiler.shapes import side_terms
from engine.errors import CompileError
from engine.rules.checked import CheckedShape
from engine.rules.terms import Concept
from engine.safe_text import one_line
from engine.wording import counted

Bools = NDArray[np.bool_]


class UnmetTarget(CompileError):
    """A statement whose target no weights meet; ``make_plan`` shows its place in the file."""

    def __init__(self, statement: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.statement = statement


LEFT_OVER = 0.03
"""Share of a standard deviation (a thousandth of the variance) below which what controls leave is no finding:
their slopes are shrunk a little, which alone leaves that much."""
MAX_STRATA = 64
"""Values of one ``within``: each is a target of its own, and small strata cannot be matched anyway."""


@dataclass(frozen=True, slots=True)
class Controls:
    """What residual targets are measured beyond; N input pairs, before flips."""

    length: sparse.csr_matrix  # (2, N)
    concepts: sparse.csr_matrix  # (C, N) disparities of the index's concepts
    numbers: tuple[int, ...]
    redundancy: Mapping[int, int]
    """Concept number to its redundancy group, where it has one."""

    def of(self, shape: CheckedShape, flipped: Bools) -> sparse.csr_matrix | None:
        """Controls of a statement, turned for flipped pairs; None for `total`."""
        if shape.control == "total" or shape.concept is None:
            return None
        chosen = [self.length]
        if shape.control == "unique":
            own = shape.concept.number
            group = self.redundancy.get(own) if own is not None else None
            others = [
                row
                for row, number in enumerate(self.numbers)
                if number != own and (group is None or self.redundancy.get(number) != group)
            ]
            chosen.append(self.concepts[others])
        turn = np.where(flipped, -1.0, 1.0)
        return sparse.csr_matrix(sparse.vstack(chosen) @ sparse.diags_array(turn))


@dataclass(frozen=True, slots=True)
class Held:
    """A concept whose weighted mean must not move."""

    name: str
    value: Floats  # (N,) u after flips


class Solved(NamedTuple):
    """What matching made of the weights."""

    weight: Floats
    """(N,)"""
    touched: dict[str, Bools]
    """Statement to the pairs that it reweighted, (N,)."""
    reached: tuple[Matched, ...]
    n_cut: int
    """Weights above the bound before."""


@dataclass(frozen=True, slots=True)
class TargetRow:
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
    controls: Controls,
    flipped: Bools,
    alive: Bools,
    weight: Floats,
    held: Sequence[Held],
    bound: tuple[float, str],
) -> Solved:
    """Weights that meet every matching statement of a file.

    Args:
        shapes: all shape statements; others than matching are passed over.
        evaluation: scores and conditions over N input pairs.
        disparity: concept key to u before flips, (N,).
        controls: what `unique` and `at equal length` take out.
        flipped: pairs whose sides are exchanged, (N,).
        alive: survivors so far, (N,).
        weight: weights so far, (N,); those above the bound are cut, others of their stratum make up for it.
        held: what must not move over the matched pairs.
        bound: largest weight that settings and caps allow, and what to raise; statements may ask for less.

    Raises:
        CompileError: no weights within the bound meet the targets; names the concept.
    """
    matching = [s for s in shapes if s.method == "matching"]
    if not matching:
        return Solved(weight, {}, (), 0)
    rows = [
        r for s in matching for r in target_rows(s, evaluation, (disparity, controls), flipped, alive, weight)
    ]
    touched = np.logical_or.reduce([r.inside for r in rows]) if rows else np.zeros(len(alive), bool)
    upper, raised = min([bound, *((s.maximum, "`max`") for s in matching if s.maximum is not None)])
    if not touched.any():
        return Solved(weight, {s.name: touched for s in matching}, (), 0)
    base = weight[touched]
    _refuse_unreachable(rows, touched, base, (upper, raised))
    features, goal = linear_system(rows, held, touched, base)
    result = balance(features, goal, base, upper)
    if not result.converged:
        worst = int(np.argmax(np.abs(result.residual[: len(rows)])))
        names = ", ".join(sorted({f"`@{r.concept}`" for r in rows}))
        raise UnmetTarget(
            rows[worst].statement,
            f"no weights up to {upper:g} meet all targets at once; furthest is `@{rows[worst].concept}`"
            + (f" in {rows[worst].stratum}" if rows[worst].stratum else ""),
            hint=f"raise {raised}, soften a target of {names}, or hold fewer concepts",
        )
    new = weight.copy()
    new[touched] = rounded(result.weight)
    reached = tuple(_matched(r, weight, new) for r in rows)
    return Solved(new, {s.name: _inside(s, rows) for s in matching}, reached, int((base > upper).sum()))


def _inside(shape: CheckedShape, rows: Sequence[TargetRow]) -> Bools:
    inside: Bools = np.logical_or.reduce([r.inside for r in rows if r.statement == shape.name])
    return inside


def target_rows(
    shape: CheckedShape,
    evaluation: Evaluation,
    known: tuple[Mapping[str, Floats], Controls],
    flipped: Bools,
    alive: Bools,
    weight: Floats,
) -> list[TargetRow]:
    """The linear targets of one statement, one per stratum and statistic.

    Raises:
        CompileError: the concept does not vary on the selection.
    """
    concept = shape.concept
    if concept is None:
        return []
    inside = evaluation.truths[shape.condition] & alive
    disparity, controls = known
    values = _statistics(shape, concept, evaluation, disparity, flipped)
    taken_out = controls.of(shape, flipped)
    out = []
    is_explained = False
    for stratum, part in _strata(shape, evaluation, inside):
        if not part.any():
            continue
        if taken_out is not None:
            _refuse_saturated(shape, taken_out, part, stratum)
        for statistic, raw in values:
            value = raw if taken_out is None else unexplained(raw, taken_out, weight, part)
            sd = _sd(value[part], weight[part])
            if sd > LEFT_OVER * _sd(raw[part], weight[part]):
                target = shape.amount or 0.0
                out.append(TargetRow(shape.name, concept.name, statistic, stratum, part, value / sd, target))
            else:
                is_explained |= taken_out is not None
    if not out:
        raise _nothing_to_match(shape, concept, is_explained=is_explained)
    return out


def _sd(value: Floats, weight: Floats) -> float:
    mean = float(np.average(value, weights=weight))
    return float(np.sqrt(np.average((value - mean) ** 2, weights=weight)))


def _refuse_saturated(shape: CheckedShape, taken_out: sparse.csr_matrix, part: Bools, stratum: str) -> None:
    """As many controls as pairs explain anything: what they leave is no finding, and nothing to match."""
    n_controls = int((np.diff(taken_out[:, np.nonzero(part)[0]].tocsr().indptr) > 0).sum())
    n = int(part.sum())
    if n_controls >= n:
        where = f" in {stratum}" if stratum else ""
        raise UnmetTarget(
            shape.name,
            f"`{shape.name}` takes out {counted(n_controls, 'other thing')} on {counted(n, 'pair')}{where}:"
            " nothing would be left",
            hint="widen the selection, or match `at equal length` or in `total`",
        )


def _nothing_to_match(shape: CheckedShape, concept: Concept, *, is_explained: bool) -> UnmetTarget:
    if is_explained:
        what = "length says" if shape.control == "length" else "length and the other concepts say"
        return UnmetTarget(
            shape.name,
            f"{what} all there is to `@{concept.name}` on the pairs of `{shape.name}`: nothing is left",
            hint="match it in `total`, or remove the statement",
        )
    return UnmetTarget(
        shape.name,
        f"`@{concept.name}` does not vary on the pairs of `{shape.name}`",
        hint="there is nothing to match: widen the selection or remove the statement",
    )


def _statistics(
    shape: CheckedShape,
    concept: Concept,
    evaluation: Evaluation,
    disparity: Mapping[str, Floats],
    flipped: Bools,
) -> list[tuple[str, Floats]]:
    """What is balanced: by default strength and frequency when suppressing to zero, else strength.

    The u of a column is its delta in another unit, so delta alone says it all.
    """
    wanted = shape.statistics or ("delta",)
    if not shape.statistics and shape.amount in (None, 0.0) and concept.kind == "latents":
        wanted = ("delta", "u")
    turn = np.where(flipped, -1.0, 1.0)
    found = []
    for statistic in wanted:
        if statistic == "u":
            value = disparity[concept.key]
        else:
            sides = side_terms(concept, "max" if statistic == "delta" else statistic)
            chosen, rejected = (np.nan_to_num(evaluation.values[t]) for t in sides)
            value = chosen - rejected
        found.append((statistic, value * turn))
    return found


def _strata(shape: CheckedShape, evaluation: Evaluation, inside: Bools) -> list[tuple[str, Bools]]:
    if shape.within is None:
        return [("", inside)]
    codes, names = evaluation.keys[shape.within], evaluation.key_names[shape.within]
    if set(names) <= {"True", "False"} and "True" in names:
        return [("", inside & (codes == names.index("True")))]
    present = np.unique(codes[inside])
    if len(present) > MAX_STRATA:
        raise UnmetTarget(
            shape.name,
            f"`within` of `{shape.name}` has {len(present)} values, at most {MAX_STRATA} can be matched",
            hint="match within something coarser",
        )
    return [(one_line(names[int(c)], 40), inside & (codes == c)) for c in present]


def _refuse_unreachable(
    rows: Sequence[TargetRow], touched: Bools, base: Floats, bound: tuple[float, str]
) -> None:
    upper, raised = bound
    full = np.zeros(len(touched))
    full[touched] = base
    for row in rows:
        n, mass = int(row.inside.sum()), float(full[row.inside].sum())
        if mass > upper * n * (1 + 1e-9):
            where = f" in {row.stratum}" if row.stratum else ""
            raise UnmetTarget(
                row.statement,
                f"the {counted(n, 'pair')} that `{row.statement}` matches{where}: {mass:.6g} of weight,"
                f" more than weights up to {upper:g} come to",
                hint=f"raise {raised}, or lower the weights that rules set there",
            )
        low, high = reachable(row.value[row.inside], full[row.inside], upper)
        if not low - 1e-9 <= row.target <= high + 1e-9:
            where = f" in {row.stratum}" if row.stratum else ""
            raise UnmetTarget(
                row.statement,
                f"`@{row.concept}`{where} cannot reach {row.target:g} sd with weights up to {upper:g}:"
                f" the range is {low:.3g} to {high:.3g}",
                hint=f"raise {raised}, choose a nearer target or widen the selection",
            )


def linear_system(
    rows: Sequence[TargetRow], held: Sequence[Held], touched: Bools, base: Floats
) -> tuple[Floats, Floats]:
    """A and b. Targets first, then the mass of every stratum, then the held means."""
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


def _matched(row: TargetRow, before: Floats, after: Floats) -> Matched:
    value = row.value[row.inside]
    return Matched(
        row.statement, row.concept, row.statistic, row.stratum, row.target,
        float(np.average(value, weights=before[row.inside])),
        float(np.average(value, weights=after[row.inside])),
    )  # fmt: skip
