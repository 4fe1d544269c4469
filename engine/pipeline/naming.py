"""Names proposed by a language model: which concepts would be asked about, and what would be asked.

Nothing is sent here (``engine.pipeline.naming_run`` does). What is asked about whom depends on the index, the
settings and what was answered before, never on chance or on the order in which answers came.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.errors import NamingError
from engine.naming.choose import Nameable, choose
from engine.naming.proposals import Proposals
from engine.naming.questions import (
    ANSWER_TOKENS,
    Question,
    naming_question,
    recognition_question,
    wording,
)
from engine.naming.recognition import can_be_recognised
from engine.paths import ProjectPaths
from engine.pipeline.naming_material import Material, NamingSource
from engine.progress import Progress
from engine.settings import NamingSettings
from engine.views.names import NameProposal

SOME_NAME = "a name of some words"
"""Stands for a name that nobody has proposed yet, where a question is only measured or printed."""


@dataclass(frozen=True, slots=True)
class Task:
    """One concept to ask about."""

    concept: Nameable
    material: Material
    proposal: NameProposal | None
    """A name that was proposed before the last run was stopped, or a label: only the test is missing."""
    is_label: bool = False
    """The name is an imported label, which becomes a proposal when it is tested."""

    def questions(self) -> list[Question]:
        """What would be sent; the second question has a stand-in where the first was not answered yet."""
        first = [] if self.proposal else [naming_question(self.material.shown)]
        if self.material.trial is None:
            return first
        name = self.proposal.name if self.proposal else SOME_NAME
        return [*first, recognition_question(name, self.material.trial.texts)]


@dataclass(frozen=True, slots=True)
class NamingPlan:
    """What a run would do. Nothing was sent."""

    tasks: tuple[Task, ...]
    n_answered: int
    """Concepts that the same model answered the same questions about before."""
    skipped: tuple[tuple[str, str], ...]
    """Working label and reason of concepts that cannot be asked about."""
    prompts: str
    """Hash of how the questions are put."""
    index: str

    n_controls: int
    """Further questions at most: recognised names on the excerpts of other concepts."""

    @property
    def n_requests(self) -> int:
        """Questions at most."""
        return sum(len(task.questions()) for task in self.tasks) + self.n_controls

    @property
    def n_tokens(self) -> int:
        """About how many tokens the questions and their answers have."""
        own = [[q.n_tokens + ANSWER_TOKENS for q in task.questions()] for task in self.tasks]
        tests = [tokens[-1] for tokens, task in zip(own, self.tasks, strict=True) if task.material.trial]
        return sum(map(sum, own)) + sum(tests[: self.n_controls])


def plan_names(
    paths: ProjectPaths,
    settings: NamingSettings,
    given: Collection[str],
    progress: Progress,
    *,
    wanted: Sequence[str] | None = None,
    again: bool = False,
) -> NamingPlan:
    """Choose concepts and put together what would be shown of them.

    Args:
        paths: the project.
        settings: how many concepts and places.
        given: ids of concepts that people have named: they are left out unless wanted.
        progress: counts concepts.
        wanted: ids of concepts; None: the first without a name.
        again: ask also what was answered before.

    Raises:
        NamingError: so few places at so strict a level that no name could ever be recognised.
        StoreError, ModelError: the index, the texts or the tokenizer cannot be opened.
    """
    check_level(settings)
    prompts = wording(settings.excerpts, settings.held_out, settings.excerpt_chars)
    held = {} if again else Proposals(paths.proposals).held(model=settings.model, prompts=prompts)
    source = NamingSource(paths, settings)
    try:
        choice = choose(source.concepts(), given, settings.concepts, held, wanted)
        todo = [*choice.to_check, *((c, None) for c in choice.to_name)]
        tasks: list[Task] = []
        skipped: list[tuple[str, str]] = []
        n_untested = 0
        progress.start("look up excerpts", len(todo), "concepts")
        for concept, proposal in todo:
            material = source.material(concept) if concept.n_latents else None
            if material is None:
                few = "too few prompts carry it" if concept.n_latents else "a column says itself what it is"
                skipped.append((concept.label, few))
            elif proposal is not None and material.trial is None:
                n_untested += 1  # nothing is left to ask
            else:
                tasks.append(Task(concept, material, proposal))
            progress.advance()
        progress.finish()
        n_tested = sum(task.material.trial is not None for task in tasks)
        return NamingPlan(
            tuple(tasks), choice.n_answered + n_untested, tuple(skipped), prompts, source.index_hash,
            min(settings.controls, n_tested) if n_tested > 1 else 0,
        )  # fmt: skip
    finally:
        source.close()


def check_level(settings: NamingSettings) -> None:
    """Raises ``NamingError`` where not even an answer without a mistake would do."""
    n = settings.held_out
    if not can_be_recognised(n, n, settings.level):
        raise NamingError(
            f"no name could be recognised at level {settings.level:g} on {n} and {n} excerpts",
            hint="raise naming.held_out or naming.level",
        )
