"""What differs between two plans on the same index."""

from dataclasses import dataclass

import numpy as np

from engine.compiler.population import BASE_FATES
from engine.compiler.records import Plan
from engine.errors import CompileError


@dataclass(frozen=True, slots=True)
class Moved:
    """Pairs whose fate differs."""

    before: str
    after: str
    n_pairs: int


@dataclass(frozen=True, slots=True)
class ConceptShift:
    """A concept whose forecast differs."""

    concept_id: str
    label: str
    mean_first: float
    mean_second: float


@dataclass(frozen=True, slots=True)
class PlanDifference:
    """From a first plan to a second."""

    fates: tuple[Moved, ...]
    n_weight: int
    """Pairs kept by both whose weight differs by more than 1e-9."""
    n_offset: int
    n_flipped: int
    counts: dict[str, tuple[int, int]]
    effective_share: tuple[float, float]
    only_first: tuple[str, ...]
    """Statements of the first plan only."""
    only_second: tuple[str, ...]
    concepts: tuple[ConceptShift, ...]
    """Every concept whose mean differs, largest difference first."""
    n_pairs: int
    """Pairs whose fate, weight, offset or sides differ."""
    example_pairs: tuple[int, ...]
    """The first 100 of their numbers."""

    @property
    def is_empty(self) -> bool:
        """True when every pair gets the same from both."""
        return not self.example_pairs


def compare_plans(first: Plan, second: Plan) -> PlanDifference:
    """Compare two plans pair by pair.

    Raises:
        CompileError: they were made on different indexes.
    """
    if first.index_hash != second.index_hash:
        raise CompileError(
            f"the plans belong to different indexes ({first.index_hash}, {second.index_hash})",
            hint="plan both files on one index",
        )
    a, b = first.fates, second.fates
    kinds = [k.value for k in BASE_FATES]
    moved = [
        Moved(kinds[i], kinds[j], int(((a.fate == i) & (b.fate == j)).sum()))
        for i in range(len(kinds))
        for j in range(len(kinds))
        if i != j
    ]
    both = (a.weight > 0) & (b.weight > 0)
    weight = both & (np.abs(a.weight - b.weight) > 1e-9)
    offset = a.offset != b.offset
    flipped = a.flipped != b.flipped
    differs = (a.fate != b.fate) | weight | offset | flipped
    before = {c.concept_id: c for c in first.collateral}
    shifts = [
        ConceptShift(c.concept_id, c.label, before[c.concept_id].mean_after, c.mean_after)
        for c in second.collateral
        if c.mean_after != before[c.concept_id].mean_after
    ]
    shifts.sort(key=lambda s: -abs(s.mean_second - s.mean_first))
    names = [{r.name for r in plan.rules} for plan in (first, second)]
    return PlanDifference(
        fates=tuple(m for m in moved if m.n_pairs),
        n_weight=int(weight.sum()),
        n_offset=int(offset.sum()),
        n_flipped=int(flipped.sum()),
        counts={k: (first.counts[k], second.counts[k]) for k in first.counts},
        effective_share=(first.effective_share, second.effective_share),
        only_first=tuple(sorted(names[0] - names[1])),
        only_second=tuple(sorted(names[1] - names[0])),
        concepts=tuple(shifts),
        n_pairs=int(differs.sum()),
        example_pairs=tuple(int(i) for i in np.nonzero(differs)[0][:100]),
    )
