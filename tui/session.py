"""What the workstation needs of a project, and the threads that ask it.

Nothing here touches a widget. Every question has a purpose; a newer question of one purpose makes the
answer to the older one worthless, which is dropped by its generation. Writes go through one thread in the
order of the keys.
"""

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.errors import Cancelled, ProsectError
from engine.records import Verdict
from engine.views.tables import (
    Coverage,
    FacetCount,
    GridRow,
    JournalChange,
    ProjectSummary,
    SortKey,
    TableSpec,
    Target,
    VerdictView,
)

if TYPE_CHECKING:
    from engine.views.details import ConceptDetail, ContextDetail, PairDetail


class CursorLike(Protocol):
    """Rows of a table under one filter and sort."""

    spec: TableSpec
    n_rows: int
    n_total: int

    def rows(self, first: int, n: int) -> tuple[GridRow, ...]:
        """Rows from ``first`` on."""

    def position(self, ident: str, key: int | None = None) -> int | None:
        """Row of a record; its key, where it has not changed since, makes this quick."""

    def next_undecided(self, after: int, *, backwards: bool = False) -> int | None:
        """Nearest row without a verdict."""

    def facet(self, column: str, limit: int = 200) -> tuple[FacetCount, ...]:
        """Counts of a column's values, or of bins of many numbers."""

    def term(self, column: str, value: str | None) -> str:
        """Filter term that selects rows with a value; empty where there is none."""

    def remark(self) -> str | None:
        """What to know of the filter: a value that no row has, with the nearest one."""

    def interrupt(self) -> None:
        """Cancel what runs."""

    def close(self) -> None:
        """Free the ordering."""


class ProjectLike(Protocol):
    """The façade as the workstation sees it. Methods are called from worker threads."""

    @property
    def author(self) -> str:
        """Who decides here."""

    @property
    def advances(self) -> bool:
        """After a verdict the cursor goes on to the next row without one."""

    @property
    def names_version(self) -> int:
        """Raised whenever concepts are called otherwise than before, whoever named them."""

    def summary(self) -> ProjectSummary:
        """Counts of the open index."""

    def tables(self) -> tuple[TableSpec, ...]:
        """What ``open_table`` opens."""

    def open_table(
        self, name: str, filter_text: str = "", sort: Sequence[SortKey] = (), *, context_id: str | None = None
    ) -> CursorLike:
        """Rows of a table."""

    def filter_values(self, name: str, column: str, part: str = "", limit: int = 200) -> tuple[str, ...]:
        """Values of a column that hold a part, as a filter writes them."""

    def concept(
        self, concept_id: str, context_id: str | None = None, *, is_brief: bool = False
    ) -> "ConceptDetail":
        """A concept (inside a context); brief: without what is slow, and without cancelling a whole one."""

    def context(self, context_id: str, *, is_brief: bool = False) -> "ContextDetail":
        """A context."""

    def pair(self, pair: int, concept_id: str | None = None, *, is_brief: bool = False) -> "PairDetail":
        """A pair."""

    def verdicts(self, keys: Iterable[str] | None = None) -> Mapping[str, VerdictView]:
        """Verdicts that hold, by target key, of all targets or some."""

    def names(self) -> Mapping[str, str]:
        """Names given by people, by concept id."""

    def set_verdict(
        self, targets: Sequence[Target], verdict: Verdict, reason: str | None = None,
        *, seen: Mapping[str, str] | None = None,
    ) -> JournalChange:  # fmt: skip
        """Decide, leaving alone what others decided that was not seen; durable on return."""

    def clear_verdict(
        self, targets: Sequence[Target], reason: str | None = None, *, seen: Mapping[str, str] | None = None
    ) -> JournalChange:
        """Take verdicts away, likewise."""

    def name_to_give(self, concept_id: str, *, untested: bool = False) -> str:
        """The proposed name of a concept that nobody has named; empty: there is none. Does not wait."""

    def set_name(self, concept_id: str, name: str) -> JournalChange:
        """Name a concept."""

    def undo(self) -> JournalChange:
        """Take back the author's last step."""

    def redo(self) -> JournalChange:
        """Restore it."""

    def restore_journal(self) -> JournalChange:
        """Write what the journal's file has no more again."""

    def coverage(self) -> Coverage:
        """How far the review is."""

    def stale(self) -> str | None:
        """What to know when the mix or the settings have changed since the audit."""

    def refresh_journal(self) -> bool:
        """Take over other processes' entries."""

    def reopen_if_changed(self) -> bool:
        """Follow the pointer to a newer index."""

    def interrupt(self) -> None:
        """Stop every question that runs."""

    def close(self) -> None:
        """Let go of the index."""


MAX_TRIES = 5
_log = logging.getLogger(__name__)


def defect(error: Exception) -> ProsectError:
    """Keep the traceback of an error that nobody expected in a file; what to say of it."""
    import tempfile

    path = Path(tempfile.gettempdir()) / f"prosect-{os.getpid()}.log"
    if not _log.handlers:
        _log.addHandler(logging.FileHandler(path, encoding="utf-8"))
        _log.propagate = False  # the screen is no place for tracebacks
    _log.error("a defect", exc_info=error)
    return ProsectError(
        f"this should not happen: {type(error).__name__}: {error}", hint=f"please report it with {path}"
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question. Exactly one of value and error counts."""

    purpose: str
    generation: int
    value: Any
    error: ProsectError | None
    keys: tuple[str, ...] = ()
    """Writes: the targets they were about."""


class Session:
    """Asks the project from worker threads and hands answers to one callback.

    Args:
        project: the façade.
        deliver: called from a worker thread with every answer; must be thread-safe and quick.
        warm: the first rows of the hypotheses, asked for while the screen was still being made.
    """

    def __init__(
        self, project: ProjectLike, deliver: Callable[[Answer], None], *, warm: "Future[Any] | None" = None
    ) -> None:
        self.project = project
        self.warm = warm
        self._deliver = deliver
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="prosect-read")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="prosect-plan")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="prosect-write")
        self._numbers = itertools.count(1)
        self._latest: dict[str, int] = {}
        self._is_closed = False
        self.n_begun = self._n_done = 0
        """Questions and writes so far; answered ones."""
        self._count = threading.Lock()

    def ask(self, purpose: str, question: Callable[[], Any], *, is_slow: bool = False) -> int:
        """Answer a question in the background; older questions of this purpose no longer matter.

        A slow one cannot be interrupted and gets a thread of its own, so that it keeps nobody waiting.
        """
        generation = next(self._numbers)
        if self._is_closed:
            return generation
        self._latest[purpose] = generation
        self.n_begun += 1
        (self._slow if is_slow else self._readers).submit(self._run, purpose, generation, question)
        return generation

    def write(self, purpose: str, command: Callable[[], Any], keys: tuple[str, ...]) -> None:
        """Run a write after all writes before it; every one of them is answered."""
        if not self._is_closed:
            self.n_begun += 1
            self._writer.submit(self._run, purpose, 0, command, keys)

    @property
    def n_waiting(self) -> int:
        """Questions and writes that were not answered yet."""
        return self.n_begun - self._n_done

    def is_current(self, answer: Answer) -> bool:
        """False for an answer that a newer question has overtaken."""
        return answer.generation in (0, self._latest.get(answer.purpose))

    def is_latest(self, purpose: str, generation: int) -> bool:
        """Nothing overtook that question and nobody cancelled it."""
        return self._latest.get(purpose) == generation

    def forget(self, purpose: str) -> None:
        """Whatever is still asked under this purpose no longer matters."""
        self._latest.pop(purpose, None)

    def cancel(self) -> None:
        """Stop every question; writes go on."""
        self._latest.clear()
        self.project.interrupt()

    def _run(
        self, purpose: str, generation: int, question: Callable[[], Any], keys: tuple[str, ...] = ()
    ) -> None:
        answer = None
        for _ in range(MAX_TRIES):
            if generation and self._latest.get(purpose) != generation:
                break
            answer = self._answer(purpose, generation, question, keys)
            if answer is not None:
                break  # else interrupted for another purpose's sake: ask again while somebody waits for it
        with self._count:
            self._n_done += 1
        if answer is not None:
            self._deliver(answer)

    def _answer(
        self, purpose: str, generation: int, question: Callable[[], Any], keys: tuple[str, ...]
    ) -> Answer | None:
        """The answer; None where a question was cancelled. Writes are always answered."""
        try:
            return Answer(purpose, generation, question(), None, keys)
        except Cancelled as error:
            return None if generation else Answer(purpose, generation, None, error, keys)
        except ProsectError as error:
            return Answer(purpose, generation, None, error, keys)
        except Exception as error:  # noqa: BLE001 - see below
            # Where a worker meets the engine: a defect in one answer must not take the review down.
            return Answer(purpose, generation, None, defect(error), keys)

    def close(self) -> None:
        """Finish the writes, drop the questions, let go of the project."""
        if self._is_closed:
            return
        self._is_closed = True
        self._writer.shutdown(wait=True)
        self._latest.clear()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)
        self.project.interrupt()
        self._readers.shutdown(wait=True)
        self._slow.shutdown(wait=True)
        self.project.close()
