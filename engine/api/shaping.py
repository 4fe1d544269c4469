"""From rules to a shaped dataset, a run and its outcome."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.api.base import Base
from engine.progress import NullProgress, Progress

if TYPE_CHECKING:
    from engine.compiler.compare import PlanDifference
    from engine.compiler.records import Plan
    from engine.compiler.rows import PairRows
    from engine.compiler.verbs import CompileResult
    from engine.pipeline.outcome import NamedOutcome
    from engine.pipeline.shape import CompileOptions
    from engine.pipeline.train import Started
    from engine.pipeline.training_needs import TrainingNeeds
    from engine.rules.diagnostics import Diagnostic
    from engine.views.rules import ConceptMoves


class Shaping(Base):
    """Stages that decide what a model may learn."""

    def plan(self, rules: Path | str, *, control: bool = False, update_lock: bool = False) -> "Plan":
        """What a rule file would do. Raises ``RuleError`` with every mistake found, ``CompileError``.

        Args:
            rules: the file; its label patterns mean what the lock beside it says.
            control: a random plan of equal size instead.
            update_lock: resolve label patterns anew, as ``compile`` does when told to.
        """
        from engine.pipeline.shape import plan_file

        settings = self.settings.rules
        return plan_file(
            self.paths,
            self.rule_file(rules),
            self.decisions(),
            settings,
            control=control,
            update_lock=update_lock,
        )

    def moves(self, rules: Path | str, concept: str) -> "ConceptMoves":
        """What each statement of a rule file does to a concept: the plan with it beside that without it.

        Args:
            rules: the file.
            concept: of the index, by name, id or start of an id.
        """
        from engine.pipeline.shape import concept_moves

        target = self.concept_target(concept)
        return concept_moves(
            self.paths, self.rule_file(rules), self.decisions(), self.settings.rules, target.concept_id
        )

    def rows_touched(self, rules: Path | str, statements: Sequence[str], limit: int = 20) -> "PairRows":
        """Pairs that all of these statements of a rule file touch, and what becomes of them."""
        from engine.pipeline.shape import rows_touched

        return rows_touched(
            self.paths,
            self.rule_file(rules),
            self.decisions(),
            self.settings.rules,
            statements=statements,
            limit=limit,
        )

    def rows_matching(self, condition: str, limit: int = 20) -> "PairRows":
        """Input pairs for which a condition in the language of rules holds."""
        from engine.pipeline.shape import rows_matching

        return rows_matching(self.paths, condition, self.decisions(), limit=limit)

    def compile(
        self,
        rules: Path | str,
        options: "CompileOptions | None" = None,
        *,
        locked: bool = False,
        progress: Progress | None = None,
    ) -> "CompileResult":
        """Write the shaped dataset of a rule file; the same rules and index give the same folder.

        Args:
            rules: the file, by path or by its name in the project.
            options: how; None: as usual.
            locked: write nothing where the lock beside the file says something else.
            progress: told about the files that are written.

        Raises:
            RuleError: mistakes in the file.
            CompileError: a failed expectation, conflicts, nothing left, or a drift from the lock.
        """
        from engine.pipeline.shape import CompileOptions, compile_rules

        chosen = options or CompileOptions()
        chosen = replace(chosen, locked=chosen.locked or locked)
        reporter = progress or NullProgress()
        return compile_rules(
            self.paths, self.rule_file(rules), self.decisions(), self.settings.rules, chosen, reporter
        )

    def draft_rules(self, *, method: str = "matching", strength: float = 0.5) -> str:
        """The text of a rule file made from the verdicts in force."""
        from engine.pipeline.shape import draft_rules

        return draft_rules(self.paths, self.decisions(), method=method, strength=strength)

    def diagnose(self, rules: Path | str) -> "tuple[str, tuple[Diagnostic, ...]]":
        """A rule file's text and every error and warning in it, names included."""
        from engine.pipeline.shape import diagnose

        return diagnose(self.paths, self.rule_file(rules), self.decisions())

    def compare(self, first: Path | str, second: Path | str) -> "PlanDifference":
        """What changes from one rule file to another, pair by pair and concept by concept."""
        from engine.pipeline.shape import compare

        return compare(
            self.paths, self.rule_file(first), self.rule_file(second), self.decisions(), self.settings.rules
        )

    def train(
        self, shaped_dir: Path | str, *, run_dir: Path | str | None = None, progress: Progress | None = None
    ) -> "Started":
        """Write the forecast, then train on a shaped dataset of this project, or go on with its run."""
        from engine.pipeline.train import start_run

        reporter, settings = progress or NullProgress(), self.settings
        threshold, run = settings.concepts.fire_rate_threshold, None if run_dir is None else Path(run_dir)
        return start_run(
            self.paths, Path(shaped_dir), settings.training, reporter, run, settings.reading, threshold
        )

    def training_needs(self, shaped_dir: Path | str) -> "TrainingNeeds":
        """Pairs, steps, hours and memory of a run with these settings; nothing is loaded or written."""
        from engine.pipeline.training_needs import training_needs

        return training_needs(self.paths, Path(shaped_dir), self.settings)

    def outcome(
        self, run_dir: Path | str, *, against: Path | str | None = None, progress: Progress | None = None
    ) -> "NamedOutcome":
        """Sample held-out prompts before and after a run and compare with what was forecast.

        ``against`` takes another run in the place of what was before: the difference of two runs.
        """
        from engine.pipeline.outcome import measure_outcome

        other, reporter = None if against is None else Path(against), progress or NullProgress()
        return measure_outcome(self.paths, Path(run_dir), self.settings, reporter, other)
