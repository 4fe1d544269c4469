"""Deciding: verdicts show at once as pending, are confirmed when on disk, and go when they are not."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from engine.errors import ProsectError
from engine.records import Verdict
from engine.safe_text import one_line
from engine.views.tables import GridRow, JournalChange, JournalLoss, TableSpec, Target, VerdictView
from tui.session import Session

N_SAID = 5
"""Steps that are named after several were taken back."""
OTHERS = "'"
"""Behind a verdict: somebody else's."""


class Written(NamedTuple):
    """What a write to the journal left behind."""

    change: JournalChange
    held: dict[str, VerdictView]
    """Of the changed targets, those that have a verdict now."""
    names_version: int
    """Of the names as they are after it."""


class Reviewer:
    """Verdicts as they are shown."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.held: dict[str, VerdictView] = {}
        self._pending: dict[str, list[str]] = {}
        self.author = ""
        """Who decides here; empty until the verdicts are here."""
        self.is_news_wanted = False
        """What others did is said when verdicts come next."""
        self.last: tuple[Verdict, str | None] | None = None
        self.last_targets: Sequence[Target] = ()
        """What the last verdict was given to."""

    def shown(self, key: str) -> str | None:
        """Verdict of a target; ``keep…`` while it is not on disk yet, ``keep~`` when it was carried over
        from an older index, ``keep'`` when somebody else's, None when undecided.
        """
        if key in self._pending:
            return self._pending[key][-1] or None
        view = self.held.get(key)
        if view is None:
            return None
        if view.carried_from is not None:
            return f"{view.verdict.value}~"
        return f"{view.verdict.value}{OTHERS if self.is_of_others(view) else ''}"

    def is_of_others(self, view: VerdictView) -> bool:
        """Somebody else's word holds."""
        return bool(self.author) and view.author != self.author

    def renew(self, author: str, held: Mapping[str, VerdictView]) -> str:
        """Take over all verdicts that hold; what others did since the last time, where that is wanted."""
        is_wanted, self.is_news_wanted = self.is_news_wanted and bool(self.author), False
        before, self.held, self.author = self.held, dict(held), author
        if not is_wanted:
            return ""
        new = [v for k, v in held.items() if self.is_of_others(v) and v != before.get(k)]
        gone = [v for k, v in before.items() if k not in held]
        said = []
        if new:
            who = sorted({one_line(v.author, 30) for v in new})
            names = ", ".join(who[:3]) + (f" and {len(who) - 3} others" if len(who) > 3 else "")
            said.append(f"decided meanwhile by {names}: {_what(new)}")
        if gone:
            said.append(f"{len(gone):,} verdict{'s were' if len(gone) != 1 else ' was'} taken back meanwhile")
        return "; ".join(said)

    def is_open(self, key: str) -> bool:
        """Nothing was decided here, or only carried over from an older index."""
        shown = self.shown(key)
        return shown is None or shown.endswith("~")

    def verdict(self, key: str) -> Verdict | None:
        """Verdict of a target, on disk or on its way there."""
        shown = self.shown(key)
        return verdict_of(shown) if shown else None

    def decide(
        self, targets: Sequence[Target], verdict: Verdict | None, reason: str | None = None, *,
        is_reason: bool = False,
    ) -> None:  # fmt: skip
        """Write a verdict (None: clear) for some targets; once more, where it is the reason that is new."""
        if verdict is not None:
            self.last, self.last_targets = (verdict, reason), tuple(targets)
        for target in targets:
            self._pending.setdefault(target.key, []).append(f"{verdict.value}…" if verdict else "")
        keys = tuple(t.key for t in targets)
        project = self._session.project
        seen = None
        if len(targets) > 1:  # of many rows nobody knows each: what others decide meanwhile is left alone
            seen = {t.key: view.time for t in targets if (view := self.held.get(t.key)) is not None}

        def command() -> JournalChange:
            if verdict is None:
                return project.clear_verdict(targets, reason, seen=seen)
            return project.set_verdict(targets, verdict, reason, seen=seen)

        self.write(f"{'reason' if is_reason else 'verdict'} {' '.join(keys[:1])}", command, keys)

    def undo(self, n: int = 1, *, is_redo: bool = False) -> None:
        """Take some steps back, or restore them."""
        project = self._session.project
        kind, step = ("redo", project.redo) if is_redo else ("undo", project.undo)
        self.write(kind, step if n == 1 else lambda: steps(kind, step, n))

    def write(self, purpose: str, command: Callable[[], JournalChange], keys: tuple[str, ...] = ()) -> None:
        """Change the journal after all writes before; what it then says comes with the answer."""
        project = self._session.project

        def written() -> Written:
            change = command()
            return Written(change, dict(project.verdicts(change.changed)), project.names_version)

        self._session.write(purpose, written, keys)

    def settle(self, keys: Iterable[str]) -> None:
        """A write about these targets was answered, one way or the other."""
        for key in keys:
            waiting = self._pending.get(key)
            if waiting:
                del waiting[0]
                if not waiting:
                    del self._pending[key]

    def take(self, written: Written) -> None:
        """A write is on disk."""
        for key in written.change.changed:
            if key in written.held:
                self.held[key] = written.held[key]
            else:
                self.held.pop(key, None)


def _what(new: Sequence[VerdictView]) -> str:
    """Verdicts in few words: one with what it is about and why, several by their counts."""
    if len(new) == 1:
        view = new[0]
        where = " inside a context" if view.target.kind == "hypothesis" else ""
        reason = f": {one_line(view.reason, 60)}" if view.reason else ""
        return f"{view.verdict.value} {one_line(view.name, 40)}{where}{reason}"
    counts = Counter(v.verdict.value for v in new).most_common()
    return ", ".join(f"{n:,} {verdict}" for verdict, n in counts)


def target_of(row: GridRow, spec: TableSpec) -> Target:
    """What a verdict on a row of the hypotheses is about."""
    kind, _, ident = str(row.values[spec.index("target")]).partition(":")
    concept_id = str(row.values[spec.index("concept_id")])
    context_id = None if kind == "concept" else str(row.values[spec.index("context_id")])
    return Target(kind, ident, concept_id, context_id)


def steps(kind: str, step: Callable[[], JournalChange], n: int) -> JournalChange:
    """Undo or redo several times, as far as there is anything; what all of it changed, in one.

    Raises:
        ProsectError: not even the first could be written.
    """
    done: list[JournalChange] = []
    why = ""
    while len(done) < n:
        try:
            change = step()
        except ProsectError as error:
            if not done:
                raise
            why = f"then {error.message}"
            break
        if not change.changed and not change.names_changed:
            if not done:
                return change
            why = f"there was no more to {kind}"
            break
        done.append(change)
    said = [change.label.removeprefix(f"{kind}: ") for change in done]
    more = [f"and {len(said) - N_SAID:,} more"] if len(said) > N_SAID else []
    label = (
        f"{kind} of {len(said):,} step{'s' if len(said) != 1 else ''}: {'; '.join([*said[:N_SAID], *more])}"
    )
    keys = dict.fromkeys(key for change in done for key in change.changed)
    has_names = any(change.names_changed for change in done)
    return JournalChange(f"{label} ({why})" if why else label, tuple(keys), names_changed=has_names)


def verdict_of(shown: str) -> Verdict:
    """The verdict of what ``Reviewer.shown`` says."""
    return Verdict(shown.rstrip(f"…~{OTHERS}"))


def loss_text(loss: JournalLoss) -> str:
    """What became of the journal's file, and what to do."""
    n = f"{loss.n_entries:,} entr{'ies' if loss.n_entries != 1 else 'y'}"
    where = f"kept in {loss.kept_in}" if loss.kept_in else "only here, in memory, until you quit"
    what = f"journal.jsonl was {loss.how}: it lacks {n} it had"
    return f"{what}, {where}; W writes them back beside what it has now"
