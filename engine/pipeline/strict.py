"""How many calls of an audit stand under stricter rules than Benjamini–Hochberg; see ``stats.strict``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.arrays import Disparity
from engine.paths import ProjectPaths
from engine.pipeline.checks import Audited, families, open_audit
from engine.progress import Progress
from engine.settings import Settings
from engine.stats.calls import q_values
from engine.stats.cells import Cells
from engine.stats.differs import Differs
from engine.stats.redraw import cell_differs, equal_calls, make_bench, make_cells, refit, taught_calls
from engine.stats.score import score_tests
from engine.stats.strict import by_q, max_t_equal, max_t_taught, mirror_calls, signed_ranks
from engine.stats.sums import half_of, unit_sums
from engine.stats.taught import taught, two_sided

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StrictRow:
    """One rule on one question of one family."""

    family: str
    question: str
    """taught, equal length, differs"""
    rule: str
    """BH and the floor; BY, max-T, Wilcoxon, mirror"""
    passing: int
    """Calls (BH and the floor) that pass this rule too."""
    share: float | None
    """Of all calls; None where there are none."""
    tested: int


def strict(
    paths: ProjectPaths, settings: Settings, progress: Progress, *, draws: int, seed: int
) -> list[StrictRow]:
    """Calls under every rule, family by family."""
    audited = open_audit(paths, settings)
    named = families(audited, settings)
    progress.start("stricter rules", len(named) + 1, "families")
    rows = []
    for name, disparity in named.items():
        rows += _family(name, disparity, audited, settings, draws, seed)
        progress.advance()
    rows += _cells(audited, settings)
    progress.advance()
    progress.finish()
    return rows


def _family(
    name: str, disparity: Disparity, audited: Audited, settings: Settings, draws: int, seed: int
) -> list[StrictRow]:
    pairs, weight, level = audited.readings.pairs, audited.weight, settings.stats.q
    bench = make_bench(disparity, pairs, audited.design, weight, settings.stats)
    ones = np.ones(pairs.n_pairs)
    p = taught(unit_sums(disparity, pairs, weight)).p
    ranked = taught(unit_sums(signed_ranks(disparity, weight), pairs, weight)).p
    called = taught_calls(bench, ones)
    largest = max_t_taught(disparity, pairs.group, weight, bench.tested, draws=draws, seed=seed)
    rows = _rows(
        (name, "taught"), called, bench.tested, {
            "BY": by_q(p, bench.tested) <= level,
            "max-T": largest <= level,
            "Wilcoxon": q_values(ranked, bench.tested) <= level,
        },
    )  # fmt: skip
    null = refit(bench, ones)
    scores = score_tests(disparity, null)
    tested = bench.tested & np.isfinite(scores.z)
    largest = max_t_equal(disparity, null, scores, tested, draws=draws, seed=seed)
    passes = {"BY": by_q(two_sided(scores.z), tested) <= level, "max-T": largest <= level}
    return rows + _rows((name, "equal length"), equal_calls(bench, ones, null).called, tested, passes)


def _cells(audited: Audited, settings: Settings) -> list[StrictRow]:
    pairs, level = audited.readings.pairs, settings.stats.q
    half, ones = half_of(pairs), np.ones(pairs.n_pairs)

    def tested_cells(weight: NDArray[np.float64]) -> tuple[Cells, Differs]:
        bench = make_bench(audited.concepts.disparity, pairs, audited.design, weight, settings.stats)
        null = refit(bench, ones)
        inside = make_cells(bench, audited.contexts, null)
        return inside.cells, cell_differs(inside, ones, null)

    cells, found = tested_cells(audited.weight)
    key = cells.concept.astype(np.int64) * audited.contexts.n_sets + cells.context
    z = []
    for own in (half, ~half):
        part, tests = tested_cells(audited.weight * own)
        held = dict(
            zip(part.concept.astype(np.int64) * audited.contexts.n_sets + part.context, tests.z, strict=True)
        )
        z.append(np.array([held.get(k, np.nan) for k in key]))
    tested = np.isfinite(found.q)
    passes = {"BY": by_q(found.p, tested) <= level, "mirror": mirror_calls(z[0], z[1], level)}
    return _rows(("cells", "differs"), found.call == 1, tested, passes)


def _rows(of: tuple[str, str], called: Flags, tested: Flags, passes: dict[str, Flags]) -> list[StrictRow]:
    n, n_tested = int(called.sum()), int(tested.sum())
    rows = [StrictRow(*of, "BH and the floor", n, 1.0 if n else None, n_tested)]
    for rule, flags in passes.items():
        kept = int((called & flags).sum())
        rows.append(StrictRow(*of, rule, kept, kept / n if n else None, n_tested))
    return rows
