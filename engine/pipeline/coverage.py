"""How much of what the labels hold the concepts judged so far account for."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from engine.manifest import write_json
from engine.paths import ProjectPaths
from engine.pipeline.checks import Audited, open_audit
from engine.progress import Progress
from engine.settings import Settings
from engine.stats.arms import Arm, reading_arm, unit_arm
from engine.stats.auc import ArmResult, Coverage, HeldOut, coverage, held_out
from engine.views.tables import VerdictView

COVERAGE_VERSION = 2


@dataclass(frozen=True, slots=True)
class CoverageMeter:
    """Held-out log-loss in nats per pair; log 2 is a coin."""

    n_judged: int
    """Concepts of the index with a verdict, ignore included."""
    n_concepts: int
    judged_loss: float | None
    """With the judged concepts alone; None while there are none."""
    concepts_loss: float
    """With every concept."""
    reading_loss: float
    """With the full reading."""
    judged: Coverage
    """Share of the full reading's gain over a coin that the judged ones have; 0 while there are none."""
    concepts: Coverage
    """The same of all concepts: what judging every one of them could reach."""


def measure_coverage(
    paths: ProjectPaths, settings: Settings, verdicts: tuple[VerdictView, ...], progress: Progress
) -> CoverageMeter:
    """Fit judged concepts, all concepts and the full reading on the same folds.

    What does not depend on verdicts is kept in the cache of the index.

    Raises:
        StatsError: too few prompt groups for nested folds.
    """
    audited = open_audit(paths, settings)
    concepts, n_pairs = audited.concepts, audited.readings.n_pairs
    decided = {v.target.concept_id for v in verdicts if v.target.context_id is None and not v.is_orphaned}
    judged = [m for m, ident in enumerate(concepts.ids) if ident in decided]
    known = _limits(paths, audited, progress)
    group, signed = audited.readings.pairs.group, audited.weight
    by_group = np.bincount(group, signed).astype(np.float64)
    own, share = None, Coverage(0.0, None, None)
    if judged:
        part = concepts.disparity.take(judged)
        arms = [unit_arm("judged", part, n_pairs)]
        [own] = held_out(arms, audited.readings.pairs, signed, progress=progress)
        share = coverage(own, known["reading"], by_group)
    return CoverageMeter(
        n_judged=len(judged),
        n_concepts=len(concepts.ids),
        judged_loss=own.result.log_loss if own is not None else None,
        concepts_loss=known["concepts"].result.log_loss,
        reading_loss=known["reading"].result.log_loss,
        judged=share,
        concepts=coverage(known["concepts"], known["reading"], by_group),
    )


def _limits(paths: ProjectPaths, audited: Audited, progress: Progress) -> dict[str, HeldOut]:
    path = paths.cache_dir / f"coverage-{audited.index_hash}-{COVERAGE_VERSION}.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: HeldOut(ArmResult(**values["result"]), np.array(values["group_loss"], np.float64))
            for name, values in kept.items()
        }
    except (OSError, ValueError, TypeError, KeyError):
        pass
    readings = audited.readings
    arms: list[Arm] = [
        unit_arm("concepts", audited.concepts.disparity, readings.n_pairs),
        reading_arm(readings),
    ]
    results = held_out(arms, readings.pairs, audited.weight, progress=progress)
    found = dict(zip(("concepts", "reading"), results, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {n: {"result": asdict(r.result), "group_loss": r.group_loss.tolist()} for n, r in found.items()}
    write_json(path, kept)
    return found
