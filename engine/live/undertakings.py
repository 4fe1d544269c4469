"""What follows from decisions: rules, runs, long jobs. The half of ``Browser`` that needs no index.

Each module is read when something of it is first asked for: a review begins without waiting for any of them.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from engine.paths import ProjectPaths
from engine.settings import RulesSettings
from engine.views.tables import VerdictView

if TYPE_CHECKING:
    from engine.live.drafts import RuleDrafts
    from engine.live.job_watch import Work
    from engine.views.rules import LeftOut, PairFate, PlanPreview, RuleText, Steps
    from engine.views.runs import RunDetail, RunRow


class Undertakings(ABC):
    """Rules, runs and jobs of one project. Methods may be called from any thread."""

    def __init__(self, paths: ProjectPaths, rules: RulesSettings | None = None) -> None:
        self.paths = paths
        self._rules = rules
        self._drafts: RuleDrafts | None = None
        self._work: Work | None = None
        self._once = threading.Lock()

    @abstractmethod
    def verdicts(self) -> Mapping[str, VerdictView]:
        """Verdicts that hold, by target key."""

    @abstractmethod
    def names(self) -> Mapping[str, str]:
        """Concept id → name given by a person."""

    def put_away(self) -> None:
        """Let go of what was opened."""
        if self._drafts is not None:
            self._drafts.close()

    # -- rules ------------------------------------------------------------------------------------------

    @property
    def drafts(self) -> "RuleDrafts":
        """Rule files; nobody waits for their module who only looks."""
        with self._once:
            if self._drafts is None:
                from engine.live.drafts import RuleDrafts

                self._drafts = RuleDrafts(self.paths, self._rules)
            return self._drafts

    def rule_files(self) -> tuple[str, ...]:
        """Names of the rule files."""
        return self.drafts.names()

    def read_rules(self, name: str) -> "RuleText":
        """A rule file, or the beginnings of a new one."""
        return self.drafts.read(name)

    def save_rules(self, name: str, text: str, stamp: str, steps: "Steps | None" = None) -> "RuleText":
        """Save a rule file, with the edits that led to it, unless it changed elsewhere."""
        return self.drafts.save(name, text, stamp, steps)

    def rules_path(self, name: str) -> Path:
        """Where a rule file lies."""
        return self.drafts.path(name)

    def plan_preview(self, text: str, file: str = "") -> "PlanPreview":
        """What a rule text would do, with the verdicts and names as they stand.

        Label patterns mean what the lock of ``file`` says, as they will when that file is compiled.
        """
        return self.drafts.preview(text, tuple(self.verdicts().values()), self.names(), file)

    def left_out(self, text: str, number: int, file: str = "") -> "LeftOut | None":
        """What a rule text would do without one of its statements; None beyond the last."""
        return self.drafts.left_out(text, tuple(self.verdicts().values()), self.names(), number, file)

    def rule_completer(self) -> "Callable[[str, int], tuple[tuple[int, str], ...]]":
        """What could stand at a cursor of a rule text: concepts, columns, functions, names."""
        return self.drafts.completer(self.names())

    def pair_fate(self, text: str, pair: int, file: str = "") -> "PairFate | None":
        """What a rule text does to one pair; None while the text has errors."""
        return self.drafts.fate(text, tuple(self.verdicts().values()), self.names(), pair, file)

    def missing_rules(self, text: str) -> tuple[str, ...]:
        """Statements for suppress and amplify verdicts that a rule text does not carry out."""
        return self.drafts.missing(text, tuple(self.verdicts().values()), self.names())

    # -- runs -------------------------------------------------------------------------------------------

    def runs(self) -> "tuple[RunRow, ...]":
        """Training runs, the latest first."""
        from engine.live.run_watch import list_runs

        return list_runs(self.paths)

    def run(self, ident: str) -> "RunDetail":
        """One run with its curves, events and outcome."""
        from engine.live.run_watch import read_run

        return read_run(self.paths, ident).called(self.names())

    def stop_run(self, ident: str) -> None:
        """Ask a run to save and stop at its next step."""
        from engine.live.run_watch import ask_to_stop

        ask_to_stop(self.paths, ident)

    def resume_run(self, ident: str) -> str:
        """Go on with a run that ended early, in a process of its own; the job's id."""
        from engine.live.run_watch import resume_words

        words = resume_words(self.paths, ident)
        return self.work.start("train", f"train on {Path(words[1]).name[:12]}", words)

    def start_outcome(self, ident: str, against: str = "") -> str:
        """Measure what a finished run changed, in a process of its own; the job's id.

        Args:
            ident: the run.
            against: another run from the same start, to measure the difference from; empty: the start.
        """
        from engine.live.run_watch import run_folder
        from engine.views.jobs import outcome_title

        words = ["outcome", str(run_folder(self.paths, ident).resolve())]
        if against:
            words += ["--against", str(run_folder(self.paths, against).resolve())]
        return self.work.start("outcome", outcome_title(ident, against), words)

    @property
    def work(self) -> "Work":
        """Long jobs of the project: audits, compilations, training; starting and stopping them."""
        if self._work is None:
            from engine.live.job_watch import Work

            self._work = Work(self.paths)
        return self._work
