"""Self-tests, stricter rules, held-out AUC, coverage: how far the numbers can be trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.api.base import Base
from engine.progress import NullProgress, Progress

if TYPE_CHECKING:
    from engine.compiler.transferred import TransferReport
    from engine.pipeline.coverage import CoverageMeter
    from engine.pipeline.strict import StrictRow
    from engine.pipeline.transfer import TransferOptions
    from engine.stats.auc import ArmResult
    from engine.stats.selftest import ContextsResult, NullResult, PlantResult


class Trust(Base):
    """Checks on a project's own data."""

    def selftest_null(
        self, *, draws: int = 400, seed: int = 0, progress: Progress | None = None
    ) -> "list[NullResult]":
        """How often anything is called when nothing is taught, on this project's own readings."""
        from engine.pipeline.checks import selftest_null

        return selftest_null(self.paths, self.settings, progress or NullProgress(), draws=draws, seed=seed)

    def selftest_contexts(self, *, n_contexts: int = 8, seed: int = 0) -> "ContextsResult":
        """Is the context × concept test calibrated on randomly dealt contexts?"""
        from engine.pipeline.checks import selftest_contexts

        return selftest_contexts(self.paths, self.settings, n_contexts=n_contexts, seed=seed)

    def selftest_plant(
        self,
        concept: str,
        odds: Sequence[float],
        *,
        draws: int = 50,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "list[PlantResult]":
        """Power to find one concept, by the odds with which labels follow it."""
        from engine.pipeline.checks import selftest_plant

        ident = self.concept_target(concept).concept_id
        reporter = progress or NullProgress()
        return selftest_plant(
            self.paths, self.settings, reporter, concept_id=ident, odds=odds, draws=draws, seed=seed
        )

    def selftest_transfer(
        self, rules: Path | str, options: "TransferOptions", *, progress: Progress | None = None
    ) -> "TransferReport":
        """Does the matching of a rule file hold on prompt groups that it was not solved on?"""
        from engine.pipeline.transfer import check_transfer

        held, limits = self.decisions(), self.settings.rules
        file, reporter = self.rule_file(rules), progress or NullProgress()
        return check_transfer(self.paths, file, held, limits, options, reporter)

    def strict(
        self, *, draws: int = 999, seed: int = 0, progress: Progress | None = None
    ) -> "list[StrictRow]":
        """How many calls stand under stricter rules than Benjamini–Hochberg."""
        from engine.pipeline.strict import strict

        return strict(self.paths, self.settings, progress or NullProgress(), draws=draws, seed=seed)

    def auc(self, *, progress: Progress | None = None) -> "list[ArmResult]":
        """How well each arm predicts held-out labels, baselines first."""
        from engine.pipeline.checks import auc

        return auc(self.paths, self.settings, progress or NullProgress())

    def coverage(self, *, progress: Progress | None = None) -> "CoverageMeter":
        """Share of held-out log-loss that the concepts judged so far account for."""
        from engine.pipeline.coverage import measure_coverage

        held = tuple(self.browser.verdicts().values())
        return measure_coverage(self.paths, self.settings, held, progress or NullProgress())
