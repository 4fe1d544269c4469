"""Names proposed by a language model: what would be asked, asking it, and keeping every answer as it comes.

Nothing is sent before ``propose`` is called. Each answer is on disk before the next question is asked, so
that a run that was stopped goes on where it was, and no question is asked twice.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from engine.errors import NamingError
from engine.naming.choose import Nameable, choose
from engine.naming.endpoint import Answer, Endpoint
from engine.naming.proposals import Proposals
from engine.naming.questions import (
    ANSWER_TOKENS,
    Question,
    Unreadable,
    naming_question,
    no_answers,
    read_name,
    read_picks,
    recognition_question,
    wording,
)
from engine.naming.recognition import Trial, can_be_recognised, judge
from engine.paths import ProjectPaths
from engine.pipeline.naming_material import Material, NamingSource
from engine.progress import Progress
from engine.settings import NamingSettings
from engine.views.names import NameControl, NameProposal, Recognition

PATIENCE = 5
"""Answers in a row that cannot be read before the run ends."""
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


class Failure(NamedTuple):
    """An answer that was of no use."""

    label: str
    why: str


@dataclass(frozen=True, slots=True)
class NamingReport:
    """What came of a run."""

    proposals: tuple[NameProposal, ...]
    failures: tuple[Failure, ...]
    n_requests: int
    n_read: int
    """Tokens of the questions, as the server counted them."""
    n_written: int
    """Tokens of the answers."""
    controls: tuple[NameControl, ...] = ()
    """Recognised names on the excerpts of other concepts."""

    @property
    def n_recognised(self) -> int:
        """Names that say where their concept fires."""
        return sum(p.is_recognised for p in self.proposals)


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


def key_from(settings: NamingSettings) -> str:
    """The key in the environment variable that the settings name; empty where they name none.

    Raises:
        NamingError: there is no such variable.
    """
    if not settings.key_env:
        return ""
    key = os.environ.get(settings.key_env, "").strip()
    if not key:
        raise NamingError(
            f"the environment variable {settings.key_env} is not set or empty",
            hint="put the server's key there; it is read when it is needed and kept nowhere",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise NamingError(
            f"what {settings.key_env} holds is no key: it has characters that cannot be sent as one",
            hint="set it again, without blanks, line ends and signs around the key",
        )
    return key


def propose(
    paths: ProjectPaths, settings: NamingSettings, plan: NamingPlan, progress: Progress
) -> NamingReport:
    """Ask, concept by concept; every answer is kept before the next question is sent.

    Raises:
        NamingError: the server cannot be asked, or does not answer as asked again and again.
        Cancelled: somebody asked to stop; what was answered is kept.
    """
    endpoint = Endpoint(settings, key_from(settings))
    try:
        return _Run(Proposals(paths.proposals), endpoint, settings, plan, progress).run()
    finally:
        endpoint.close()


class _Run:
    """One run over a plan."""

    def __init__(
        self, kept: Proposals, endpoint: Endpoint, settings: NamingSettings, plan: NamingPlan,
        progress: Progress,
    ) -> None:  # fmt: skip
        self._kept, self._endpoint, self._settings = kept, endpoint, settings
        self._plan, self._progress = plan, progress
        self._done: list[str] = []
        self._failures: list[Failure] = []
        self._n_unreadable = 0
        self._n_requests = self._n_read = self._n_written = 0

    def run(self) -> NamingReport:
        self._progress.start("ask for names", self._plan.n_requests, "questions")
        for task in self._plan.tasks:
            proposal = task.proposal or self._name(task)
            if task.is_label and proposal is not None and not self._kept.has(proposal.ident):
                self._kept.add(proposal)
            if proposal is not None:
                self._done.append(proposal.ident)
                if task.material.trial is not None:
                    self._recognise(task, task.material.trial, proposal)
            elif task.material.trial is not None:
                self._progress.advance()  # a question that is not asked after all
        by_ident = {p.ident: p for p in self._kept.every}
        controls = self._control(by_ident)
        self._progress.finish()
        return NamingReport(
            tuple(by_ident[ident] for ident in self._done), tuple(self._failures), self._n_requests,
            self._n_read, self._n_written, tuple(controls),
        )  # fmt: skip

    def _control(self, by_ident: Mapping[str, NameProposal]) -> list[NameControl]:
        """Test recognised names of this run on the excerpts of other concepts of it."""
        tested = [t for t in self._plan.tasks if t.material.trial is not None]
        named = [p for p in map(by_ident.__getitem__, self._done) if p.is_recognised]
        found: list[NameControl] = []
        for proposal in named[: self._plan.n_controls]:
            at = next(i for i, t in enumerate(tested) if t.concept.concept_id == proposal.concept_id)
            other = tested[(at + max(len(tested) // 2, 1)) % len(tested)]
            if other.material.trial is None:
                continue
            recognition = self._test(other.material.trial, proposal, other, self._settings.level)
            if recognition is not None:
                found.append(NameControl(proposal.ident, other.concept.concept_id, recognition))
                self._kept.add_control(found[-1])
                self._progress.advance()
        return found

    def _ask(self, question: Question) -> Answer:
        answer = self._endpoint.ask(question)
        self._n_requests += 1
        self._n_read += answer.n_read
        self._n_written += answer.n_written
        return answer

    def _name(self, task: Task) -> NameProposal | None:
        answer = self._ask(naming_question(task.material.shown))
        try:
            named = read_name(answer.text)
        except Unreadable as error:
            self._unreadable(task, f"no name: {error}", answer.text)
            return None
        self._n_unreadable = 0
        proposal = NameProposal(
            ident=os.urandom(8).hex(), concept_id=task.concept.concept_id, name=named.name,
            description=named.description, model=self._settings.model, endpoint=self._settings.endpoint,
            time=datetime.now(UTC).isoformat(timespec="seconds"), prompts=self._plan.prompts,
            index=self._plan.index, n_shown=len(task.material.shown),
        )  # fmt: skip
        self._kept.add(proposal)
        self._progress.advance()
        return proposal

    def _recognise(self, task: Task, trial: Trial, proposal: NameProposal) -> None:
        found = self._test(trial, proposal, task, self._settings.level / (1 + self._n_tested(proposal)))
        if found is not None:
            self._kept.settle(proposal.ident, found)
            self._progress.advance()

    def _n_tested(self, proposal: NameProposal) -> int:
        """Names for the same concept that were tested before: whoever asks often enough is right once."""
        mine = (p for p in self._kept.every if p.concept_id == proposal.concept_id)
        return sum(p.recognition is not None for p in mine)

    def _test(self, trial: Trial, proposal: NameProposal, task: Task, level: float) -> Recognition | None:
        """Ask which excerpts a name fits; None where the answer cannot be read."""
        answer = self._ask(recognition_question(proposal.name, trial.texts))
        try:
            picked = read_picks(answer.text, len(trial.texts))
        except Unreadable as error:
            self._unreadable(task, f"`{proposal.name}` was not tested: {error}", answer.text)
            return None
        self._n_unreadable = 0
        return judge(trial, picked, level)

    def _unreadable(self, task: Task, why: str, answer: str) -> None:
        """Count an answer that was of no use; too many of them end the run."""
        self._failures.append(Failure(task.concept.label, why))
        self._n_unreadable += 1
        if self._n_unreadable >= PATIENCE:
            raise no_answers(self._n_unreadable, answer)
        self._progress.advance()
