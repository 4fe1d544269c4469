"""Plan records: what a rule file would do, as frozen JSON-able values for front ends, locks and cards."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.compiler.population import Floats
from engine.errors import CompileError
from engine.records import Verdict
from engine.rules.checked import CheckedFile
from engine.rules.diagnostics import Diagnostic, RuleFileError, Severity
from engine.safe_text import one_line
from engine.wording import counted


class PlanFileError(RuleFileError, CompileError):
    """A file without mistakes that cannot be carried out on these pairs, drawn like a mistake."""


@dataclass(frozen=True, slots=True)
class VerdictNote:
    """A person's verdict, as far as plans need it."""

    concept_id: str
    verdict: Verdict
    name: str = ""
    context_id: str | None = None
    """None: everywhere."""
    reason: str = ""
    author: str = ""
    entry: str = ""
    """Id of the journal entry."""


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one statement does."""

    name: str
    kind: str
    """drop, weight, flip … or quota, limit, sample, cap, suppress, amplify, soften, steer, ablate, mask"""
    line: int
    text: str
    reason: str | None
    n_matched: int
    """Input pairs for which its condition holds."""
    n_unique: int
    """Of these, pairs that no other statement touches."""
    n_effect: int
    """Pairs whose fate, weight, offset or sides it changes (or that it protects from a drop)."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two statements that touch the same pairs."""

    first: str
    second: str
    n_pairs: int


@dataclass(frozen=True, slots=True)
class Drift:
    """Share of one value before (all input pairs) and after (weights of kept pairs)."""

    category: str
    value: str
    n_before: int
    n_after: int
    share_before: float
    share_after: float


@dataclass(frozen=True, slots=True)
class Lengths:
    """Mean tokens of a side: over the input pairs by weight in the mix, and over the kept ones by their own.

    Sides are as flipped. The ratio of two means is that of all tokens, not the mean of the pairs' ratios.
    """

    chosen_before: float
    chosen_after: float
    rejected_before: float
    rejected_after: float


@dataclass(frozen=True, slots=True)
class Collateral:
    """One concept under the plan. Signs are chosen minus rejected."""

    concept: int
    concept_id: str
    label: str
    mean_before: float
    """Mean disparity u over the input pairs."""
    mean_after: float
    """Σ w·2σ(−m)·u / Σ w over the kept pairs, sides as flipped."""
    rate_before: float | None
    """Share of pairs with u ≠ 0 whose chosen side carries more; None without such pairs."""
    rate_after: float | None
    n_active: int
    """Input pairs with u ≠ 0."""
    is_target: bool
    is_held: bool
    limit: float | None
    """How far a held concept may move."""
    is_beyond: bool

    @property
    def change(self) -> float:
        """mean_after − mean_before"""
        return self.mean_after - self.mean_before


@dataclass(frozen=True, slots=True)
class HeldInside:
    """A concept with the verdict keep inside a context. Signs are chosen minus rejected."""

    concept_id: str
    label: str
    context_id: str
    context: str
    """Its name."""
    mean_before: float
    """Mean disparity u over the context's input pairs."""
    mean_after: float
    """Σ w·2σ(−m)·u / Σ w over those that are kept, sides as flipped."""
    limit: float
    """How far it may move."""
    is_beyond: bool

    @property
    def change(self) -> float:
        """mean_after − mean_before"""
        return self.mean_after - self.mean_before


@dataclass(frozen=True, slots=True)
class Expectation:
    """One ``expect`` line."""

    text: str
    line: int
    holds: bool
    found: str
    """What was found, for the message."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Result of matching for one target."""

    statement: str
    concept: str
    statistic: str
    stratum: str
    target: float
    before: float
    after: float
    """In standard deviations of the statistic over the pairs it was matched on."""


@dataclass(frozen=True, slots=True)
class Fates:
    """Per-pair outcome of a plan; P pairs in order of their number."""

    fate: NDArray[np.int8]  # (P,) code into population.BASE_FATES
    raw_weight: Floats  # (P,) before normalisation, 0 unless kept
    weight: Floats  # (P,) mean 1 over the kept pairs, 0 unless kept
    offset: Floats  # (P,)
    flipped: NDArray[np.bool_]  # (P,)
    touched: Mapping[str, NDArray[np.bool_]]  # statement to (P,)
    tags: Mapping[str, NDArray[np.bool_]]  # tag to (P,)
    reason: Mapping[str, NDArray[np.bool_]]  # statement (or `weight`) to the pairs it dropped (P,)


@dataclass(frozen=True, slots=True)
class Plan:
    """A rule file resolved against an index."""

    checked: CheckedFile
    fates: Fates
    index_hash: str
    counts: dict[str, int]
    """total, input, kept, dropped, flipped, offset, held_out, unlabelled, refused"""
    rules: tuple[RuleCount, ...]
    overlaps: tuple[Overlap, ...]
    drift: tuple[Drift, ...]
    lengths: Lengths | None
    """None where nothing is kept."""
    collateral: tuple[Collateral, ...]
    """Collateral first: held concepts beyond their limit, then by |change|; targets last."""
    held_inside: tuple[HeldInside, ...]
    """Those beyond their limit first, then by |change|."""
    matched: tuple[Matched, ...]
    spared: Mapping[str, NDArray[np.bool_]]
    """Statement to the protected pairs that it would have dropped, (N,)."""
    effective_pairs: float
    """(Σw)² / Σw² over the kept pairs"""
    effective_share: float
    """effective_pairs / kept"""
    effective_active: dict[str, float]
    """The same share over the pairs that carry a target, by concept."""
    largest_weight: float
    conflicts: int
    warnings: tuple[Diagnostic, ...]
    expectations: tuple[Expectation, ...]
    lock: dict[str, Any]
    is_control: bool = False
    """True for a random plan of equal size."""

    def __repr__(self) -> str:
        """Short: a notebook shows what stands last in a cell, and this holds numbers of every pair."""
        counts = self.counts
        name = one_line(self.checked.file_name, 80)
        found = counted(len(self.warnings), "finding")
        return (
            f"<plan of {name}: {counts['kept']:,} of {counts['input']:,} pairs kept,"
            f" {counts['dropped']:,} dropped, {found}: .counts, .rules, .collateral, …>"
        )

    @property
    def is_passing(self) -> bool:
        """True when every expectation holds."""
        return all(e.holds for e in self.expectations)

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Findings with which the plan is never written: conflicting weights, no pair left."""
        return tuple(w for w in self.warnings if w.severity is Severity.ERROR)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON value without the per-pair arrays."""
        return {
            "file": self.checked.file_name,
            "meaning": self.checked.meaning,
            "index": self.index_hash,
            "is_control": self.is_control,
            "counts": self.counts,
            "rules": [asdict(r) for r in self.rules],
            "overlaps": [asdict(o) for o in self.overlaps],
            "drift": [asdict(d) for d in self.drift],
            "lengths": asdict(self.lengths) if self.lengths is not None else None,
            "collateral": [asdict(c) | {"change": c.change} for c in self.collateral],
            "held_inside": [asdict(h) | {"change": h.change} for h in self.held_inside],
            "matched": [asdict(m) for m in self.matched],
            "effective_pairs": self.effective_pairs,
            "effective_share": self.effective_share,
            "effective_active": self.effective_active,
            "largest_weight": self.largest_weight,
            "conflicts": self.conflicts,
            "warnings": [
                {
                    "code": w.code,
                    "severity": w.severity.value,
                    "message": w.message,
                    "help": w.help,
                    "n_pairs": w.n_pairs,
                    "rules": list(w.rules),
                }
                for w in self.warnings
            ],
            "expectations": [asdict(e) for e in self.expectations],
            "training": [t.name for t in self.checked.training],
        }
