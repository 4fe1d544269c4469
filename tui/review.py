"""Deciding: verdicts show at once as pending, are confirmed when on disk, and go when they are not."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.records import Verdict
from engine.views.tables import GridRow, JournalChange, TableSpec, Target, VerdictView
from tui.session import Session


class Written(NamedTuple):
    """What a write to the journal left behind."""

    change: JournalChange
    held: dict[str, VerdictView]
    """Of the changed targets, those that have a verdict now."""


class Reviewer:
    """Verdicts as they are shown."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.held: dict[str, VerdictView] = {}
        self._pending: dict[str, list[str]] = {}
        self.last: tuple[Verdict, str | None] | None = None
        self.last_targets: Sequence[Target] = ()
        """What the last verdict was given to."""

    def shown(self, key: str) -> str | None:
        """Verdict of a target; ``keep…`` while it is not on disk yet, ``keep~`` when it was
        carried over from an older index, None when undecided.
        """
        if key in self._pending:
            return self._pending[key][-1] or None
        view = self.held.get(key)
        if view is None:
            return None
        return f"{view.verdict.value}~" if view.carried_from is not None else view.verdict.value

    def is_open(self, key: str) -> bool:
        """Nothing was decided here, or only carried over from an older index."""
        shown = self.shown(key)
        return shown is None or shown.endswith("~")

    def verdict(self, key: str) -> Verdict | None:
        """Verdict of a target, on disk or on its way there."""
        shown = self.shown(key)
        return Verdict(shown.rstrip("…~")) if shown else None

    def decide(self, targets: Sequence[Target], verdict: Verdict | None, reason: str | None = None) -> None:
        """Write a verdict (None: clear) for some targets."""
        if verdict is not None:
            self.last, self.last_targets = (verdict, reason), tuple(targets)
        for target in targets:
            self._pending.setdefault(target.key, []).append(f"{verdict.value}…" if verdict else "")
        keys = tuple(t.key for t in targets)
        project = self._session.project

        def command() -> Written:
            if verdict is None:
                change = project.clear_verdict(targets, reason)
            else:
                change = project.set_verdict(targets, verdict, reason)
            return Written(change, dict(project.verdicts(change.changed)))

        self._session.write(f"verdict {' '.join(keys[:1])}", command, keys)

    def undo(self, *, is_redo: bool = False) -> None:
        """Take back, or restore."""
        project = self._session.project

        def command() -> Written:
            change = project.redo() if is_redo else project.undo()
            return Written(change, dict(project.verdicts(change.changed)))

        self._session.write("redo" if is_redo else "undo", command, ())

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


def target_of(row: GridRow, spec: TableSpec) -> Target:
    """What a verdict on a row of the hypotheses is about."""
    kind, _, ident = str(row.values[spec.index("target")]).partition(":")
    concept_id = str(row.values[spec.index("concept_id")])
    context_id = None if kind == "concept" else str(row.values[spec.index("context_id")])
    return Target(kind, ident, concept_id, context_id)
