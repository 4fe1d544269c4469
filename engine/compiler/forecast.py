"""What a plan does to every concept, and to the make-up of the data.

First order: a pair's pull on a concept is its weight times 2σ(−m), the size of the loss gradient at the start
of training relative to m = 0 (the log-ratio difference is 0 there). A flipped pair pulls the other way.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from engine.compiler.population import Category, Floats, Population
from engine.compiler.records import Collateral, Drift, Fates, Lengths


def pull(fates: Fates) -> Floats:
    """w·2σ(−m) per pair, (P,); 0 unless kept."""
    return np.asarray(fates.weight * 2.0 / (1.0 + np.exp(np.clip(fates.offset, -60, 60))), np.float64)


def mean_after(everyone: Population, fates: Fates) -> Floats:
    """Σ w·2σ(−m)·u / Σ w over the kept pairs, sides as flipped: per concept of the index, (C,)."""
    force = pull(fates)
    signed = np.where(fates.flipped, -force, force)
    return np.asarray(everyone.concepts.u @ signed / max(float(fates.weight.sum()), 1e-12), np.float64)


def collateral(
    everyone: Population,
    fates: Fates,
    *,
    targets: Collection[int],
    held: Collection[str],
    keep_limit: float,
) -> tuple[Collateral, ...]:
    """Every concept before and after, the ones to look at first.

    Args:
        everyone: the index.
        fates: the plan.
        targets: numbers of the concepts that the file names as targets.
        held: ids of concepts with the verdict keep.
        keep_limit: a held concept may move by this share of the largest target's change (of the largest
            change of all, when no target is named).
    """
    concepts = everyone.concepts
    before = np.zeros(everyone.n_pairs)
    before[everyone.input_pairs] = everyone.base_weight[everyone.input_pairs]
    force = pull(fates)
    straight, turned = np.where(fates.flipped, 0.0, force), np.where(fates.flipped, force, 0.0)
    mean_before = concepts.u @ before / max(before.sum(), 1e-12)
    is_input = (before > 0).astype(np.float64)
    n_active = concepts.plus @ is_input + concepts.minus @ is_input
    after = mean_after(everyone, fates)
    plus_before, minus_before = concepts.plus @ before, concepts.minus @ before
    plus_after = concepts.plus @ straight + concepts.minus @ turned
    minus_after = concepts.minus @ straight + concepts.plus @ turned
    change = np.abs(after - mean_before)
    is_target = np.array([n in targets for n in concepts.numbers], bool)
    reference = change[is_target].max(initial=0.0) if is_target.any() else change.max(initial=0.0)
    limit = float(keep_limit * reference)
    rows = []
    for i, number in enumerate(concepts.numbers):
        is_held = concepts.ids[i] in held
        rows.append(
            Collateral(
                concept=number,
                concept_id=concepts.ids[i],
                label=concepts.labels[i],
                mean_before=float(mean_before[i]),
                mean_after=float(after[i]),
                rate_before=_share(plus_before[i], minus_before[i]),
                rate_after=_share(plus_after[i], minus_after[i]),
                n_active=int(n_active[i]),
                is_target=bool(is_target[i]),
                is_held=is_held,
                limit=limit if is_held else None,
                is_beyond=is_held and bool(change[i] > limit + 1e-12),
            )
        )
    rows.sort(key=lambda c: (c.is_target, not c.is_beyond, -abs(c.change), c.concept))
    return tuple(rows)


def _share(plus: float, minus: float) -> float | None:
    total = plus + minus
    return float(plus / total) if total > 0 else None


def drift(everyone: Population, fates: Fates) -> tuple[Drift, ...]:
    """Make-up by source, language, length and context."""
    weight = fates.weight
    base = everyone.base_weight
    is_input = np.zeros(everyone.n_pairs, bool)
    is_input[everyone.input_pairs] = True
    is_kept = weight > 0
    out: list[Drift] = []
    for group in (everyone.source, everyone.language, everyone.length):
        out += _partition(group, is_input, is_kept, weight, base)
    total_before = max(float(base[is_input].sum()), 1e-12)
    total_after = max(float(weight.sum()), 1e-12)
    counted = _products(everyone.contexts, is_input, is_kept, base, weight)
    for name, (n_before, n_after, start, mass) in zip(everyone.context_names, counted, strict=True):
        shares = (float(start) / total_before, float(mass) / total_after)
        out.append(Drift("context", name, int(n_before), int(n_after), *shares))
    return tuple(out)


def lengths(everyone: Population, fates: Fates) -> Lengths | None:
    """Mean tokens of both sides before and after; None where no pair is kept."""
    known = np.isfinite(everyone.chosen_tokens) & np.isfinite(everyone.rejected_tokens)
    base = np.zeros(everyone.n_pairs)
    base[everyone.input_pairs] = everyone.base_weight[everyone.input_pairs]
    base, weight = np.where(known, base, 0.0), np.where(known, fates.weight, 0.0)
    if base.sum() <= 0 or weight.sum() <= 0:
        return None
    chosen, rejected = np.nan_to_num(everyone.chosen_tokens), np.nan_to_num(everyone.rejected_tokens)
    return Lengths(
        chosen_before=float(base @ chosen / base.sum()),
        chosen_after=float(weight @ np.where(fates.flipped, rejected, chosen) / weight.sum()),
        rejected_before=float(base @ rejected / base.sum()),
        rejected_after=float(weight @ np.where(fates.flipped, chosen, rejected) / weight.sum()),
    )


def _products(
    contexts: sparse.csr_matrix,
    is_input: NDArray[np.bool_],
    is_kept: NDArray[np.bool_],
    base: Floats,
    weight: Floats,
) -> Floats:
    flags = (is_input.astype(np.float64), is_kept.astype(np.float64))
    columns = np.stack([*flags, np.where(is_input, base, 0.0), weight], axis=1)
    return np.asarray(contexts @ columns)


def _partition(
    group: Category, is_input: NDArray[np.bool_], is_kept: NDArray[np.bool_], weight: Floats, base: Floats
) -> list[Drift]:
    size = len(group.values)
    before = np.bincount(group.code[is_input], minlength=size)
    after = np.bincount(group.code[is_kept], minlength=size)
    mass = np.bincount(group.code, weights=weight, minlength=size)
    start = np.bincount(group.code[is_input], weights=base[is_input], minlength=size)
    total_before, total_after = max(float(start.sum()), 1e-12), max(float(mass.sum()), 1e-12)
    return [
        Drift(
            group.name, value, int(before[i]), int(after[i]), float(start[i] / total_before),
            float(mass[i] / total_after),
        )
        for i, value in enumerate(group.values)
        if before[i] or after[i]
    ]  # fmt: skip


def effective_share(weight: Floats) -> float:
    """Kish's effective sample size over the number of weights: (Σw)² / (n Σw²), 0 for none."""
    positive = weight[weight > 0]
    if not len(positive):
        return 0.0
    return float(positive.sum() ** 2 / (np.square(positive).sum() * len(positive)))
