"""Asking a language model for names, several concepts at a time, and keeping every answer as it comes.

An answer is on disk before the question that follows from it is sent, so that a run that was stopped, in
whatever way, goes on where it was, and no question is asked twice. What comes of a run does not depend on
the order of the answers: concepts are independent, and what looks at all of them (controls, the report)
goes by the plan.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from engine.errors import NamingError, ProsectError
from engine.naming.asking import Answer, Ask, Asking
from engine.naming.endpoint import Endpoint
from engine.naming.pace import Pace, Refused, Strain, TryAgain
from engine.naming.proposals import Proposals
from engine.naming.questions import (
    Unreadable,
    naming_question,
    no_answers,
    read_name,
    read_picks,
    recognition_question,
)
from engine.naming.recognition import Trial, judge
from engine.paths import ProjectPaths
from engine.pipeline.naming import NamingPlan, Task
from engine.progress import Progress
from engine.settings import NamingSettings
from engine.views.names import NameControl, NameProposal, Recognition

PATIENCE = 5
"""Questions in a row without an answer that can be used, before the run ends …"""
_NO_START = 2
"""… where the server has answered nothing yet …"""
_REFUSALS = 20
"""… and where it refuses the single question, as filters of providers do: texts of many concepts in a row may
be of the kind that they mind."""


class Failure(NamedTuple):
    """A question that came to nothing."""

    label: str
    why: str


@dataclass(frozen=True, slots=True)
class NamingReport:
    """What came of a run."""

    proposals: tuple[NameProposal, ...]
    failures: tuple[Failure, ...]
    n_requests: int
    """Questions that were answered, usefully or not."""
    n_again: int
    """Times that a question was sent again."""
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
    """Ask about every concept of a plan; every answer is kept before what follows from it is sent.

    Raises:
        NamingError: the server cannot be asked, or does not answer as asked again and again.
        Cancelled: somebody asked to stop; what was answered is kept.
    """
    endpoint = Endpoint(settings, key_from(settings))
    try:
        endpoint.open()  # before several threads do
        return _Run(Proposals(paths.proposals), endpoint, settings, plan, progress).run()
    finally:
        endpoint.close()


class _Step(NamedTuple):
    """What a question is for."""

    at: int
    """Place of the concept in the plan."""
    proposal: NameProposal | None
    """Whose name is tested; None: a name is asked for."""
    control: int | None = None
    """Place of the concept on whose excerpts the name is tested, where that is another."""


class _Run:
    """One run over a plan."""

    def __init__(
        self, kept: Proposals, endpoint: Endpoint, settings: NamingSettings, plan: NamingPlan,
        progress: Progress,
    ) -> None:  # fmt: skip
        self._kept, self._settings = kept, settings
        self._plan, self._progress = plan, progress
        pace = Pace(settings.parallel, settings.retries)
        self._asking: Asking[_Step] = Asking(endpoint, pace, settings.timeout_s, progress)
        self._idents: dict[int, str] = {}
        self._controls: dict[int, NameControl] = {}
        self._failures: list[tuple[int, Failure]] = []
        self._n_useless = 0
        """Questions in a row that came to nothing."""
        self._n_requests = self._n_read = self._n_written = 0

    def run(self) -> NamingReport:
        self._progress.start("ask for names", self._plan.n_requests, "questions")
        try:
            self._asking.run([self._first(at) for at in range(len(self._plan.tasks))], self._take)
            by_ident = {p.ident: p for p in self._kept.every}
            proposals = tuple(by_ident[self._idents[at]] for at in sorted(self._idents))
            self._asking.run(self._control(by_ident), self._take)
        except ProsectError:
            if self._n_requests:
                self._progress.note(f"so far {self._spent()}")
            raise
        self._progress.finish()
        return NamingReport(
            proposals, tuple(f for _, f in sorted(self._failures)), self._n_requests, self._asking.n_again,
            self._n_read, self._n_written, tuple(self._controls[at] for at in sorted(self._controls)),
        )  # fmt: skip

    def _spent(self) -> str:
        return (
            f"{self._n_requests:,} questions were answered: {self._n_read:,} tokens read,"
            f" {self._n_written:,} written"
        )

    def _first(self, at: int) -> Ask[_Step]:
        task = self._plan.tasks[at]
        if task.proposal is None:
            return Ask(_Step(at, None), naming_question(task.material.shown))
        return self._test(at, task.proposal)

    def _test(self, at: int, proposal: NameProposal, control: int | None = None) -> Ask[_Step]:
        step = _Step(at, proposal, control)
        return Ask(step, recognition_question(proposal.name, self._trial(step).texts))

    def _trial(self, step: _Step) -> Trial:
        """What a name is tested on."""
        trial = self._plan.tasks[step.at if step.control is None else step.control].material.trial
        if trial is None:
            raise ValueError("a name is tested where nothing can be told")
        return trial

    def _control(self, by_ident: Mapping[str, NameProposal]) -> list[Ask[_Step]]:
        """Tests of recognised names of this run on the excerpts of other concepts of it."""
        tested = [at for at, task in enumerate(self._plan.tasks) if task.material.trial is not None]
        named = [at for at in tested if at in self._idents and by_ident[self._idents[at]].is_recognised]
        asks = []
        for at in named[: self._plan.n_controls]:
            other = tested[(tested.index(at) + max(len(tested) // 2, 1)) % len(tested)]
            asks.append(self._test(at, by_ident[self._idents[at]], other))
        return asks

    def _take(self, step: _Step, result: Answer | NamingError) -> Ask[_Step] | None:
        """Keep what an answer says; the question that follows from it."""
        if isinstance(result, NamingError):
            self._give_up(step, result)
            return None
        self._n_requests += 1
        self._n_read += result.n_read
        self._n_written += result.n_written
        try:
            if step.proposal is None:
                return self._named(step.at, result)
            self._tested(step, step.proposal, result)
        except Unreadable as error:
            self._failed(step, str(error))
            if self._n_useless >= PATIENCE:
                raise no_answers(self._n_useless, result.text) from None
            self._progress.advance(self._n_left(step))
        return None

    def _named(self, at: int, answer: Answer) -> Ask[_Step] | None:
        named = read_name(answer.text)
        self._n_useless = 0
        task = self._plan.tasks[at]
        proposal = NameProposal(
            ident=os.urandom(8).hex(), concept_id=task.concept.concept_id, name=named.name,
            description=named.description, model=self._settings.model, endpoint=self._settings.endpoint,
            time=datetime.now(UTC).isoformat(timespec="seconds"), prompts=self._plan.prompts,
            index=self._plan.index, n_shown=len(task.material.shown),
        )  # fmt: skip
        self._kept.add(proposal)
        self._idents[at] = proposal.ident
        self._progress.advance()
        return None if task.material.trial is None else self._test(at, proposal)

    def _tested(self, step: _Step, proposal: NameProposal, answer: Answer) -> None:
        """Keep how far a name was recognised."""
        trial = self._trial(step)
        self._idents[step.at] = proposal.ident
        if not self._kept.has(proposal.ident):
            self._kept.add(proposal)  # an imported label
        picked = read_picks(answer.text, len(trial.texts))
        self._n_useless = 0
        if step.control is None:
            level = self._settings.level / (1 + self._n_tested(proposal))
            self._kept.settle(proposal.ident, judge(trial, picked, level))
        else:
            other = self._plan.tasks[step.control].concept.concept_id
            found: Recognition = judge(trial, picked, self._settings.level)
            self._controls[step.at] = NameControl(proposal.ident, other, found)
            self._kept.add_control(self._controls[step.at])
        self._progress.advance()

    def _n_tested(self, proposal: NameProposal) -> int:
        """Names for the same concept that were tested before: whoever asks often enough is right once."""
        mine = (p for p in self._kept.every if p.concept_id == proposal.concept_id)
        return sum(p.recognition is not None for p in mine)

    def _give_up(self, step: _Step, error: NamingError) -> None:
        """Go on without the answer to one question, unless the others will fare no better.

        Raises:
            NamingError: they will not.
        """
        is_of_it = isinstance(error, TryAgain) and error.strain in (Strain.SLOW, Strain.ILL)
        if not is_of_it and not isinstance(error, Refused):
            raise error
        self._failed(step, error.message)
        if self._n_useless >= self._patience(error):
            raise error
        self._progress.advance(self._n_left(step))

    def _patience(self, error: NamingError) -> int:
        """Questions in a row that may come to nothing; no more than there are, or nobody would be told."""
        most = PATIENCE if self._n_requests else _NO_START
        if isinstance(error, Refused):
            most = _REFUSALS
        return most if self._n_requests else min(most, len(self._plan.tasks))

    def _failed(self, step: _Step, why: str) -> None:
        """Write down a question that came to nothing."""
        said = f"`{step.proposal.name}` was not tested: {why}" if step.proposal else f"no name: {why}"
        self._failures.append((step.at, Failure(self._task(step).concept.label, said)))
        self._n_useless += 1

    def _task(self, step: _Step) -> Task:
        return self._plan.tasks[step.at if step.control is None else step.control]

    def _n_left(self, step: _Step) -> int:
        """Questions that are done with: this one, and the one that would have followed."""
        return 1 + (step.proposal is None and self._plan.tasks[step.at].material.trial is not None)
