"""Rule files as people write them: list, read, save, and what a text would do before it is saved.

The compiler is imported with the first preview, not when a project is opened.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ProsectError, RuleError, StoreError
from engine.live.edit_history import read_steps, write_steps
from engine.manifest import hash_bytes, write_atomic
from engine.paths import ProjectPaths
from engine.records import Verdict
from engine.settings import RulesSettings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views.rules import (
    FAILS,
    NO_STEPS,
    ConceptShift,
    HeldShift,
    LeftOut,
    LengthShift,
    PairFate,
    PlanPreview,
    RuleEffect,
    RuleFinding,
    RuleText,
    Shift,
    Steps,
    spoken_name,
)
from engine.views.tables import VerdictView

if TYPE_CHECKING:
    from engine.compiler.leave_out import LeaveOuts
    from engine.compiler.records import Plan, VerdictNote
    from engine.rules.diagnostics import Diagnostic

FIRST_LINE = "prosect rules 1\n"
_BY_EVIDENCE = "SELECT concept FROM hypotheses WHERE context = 0 ORDER BY hypothesis"
_NAME = re.compile(r"[\w][\w .-]{0,79}\Z")


class RuleDrafts:
    """The rule files of one project. Methods may be called from any thread."""

    def __init__(self, paths: ProjectPaths, settings: RulesSettings | None = None) -> None:
        self._paths = paths
        self._settings = settings or RulesSettings()
        self._lock = threading.Lock()
        self._store: tuple[str, Store] | None = None
        self._last: tuple[object, Plan] | None = None
        self._left_out: tuple[Plan, LeaveOuts] | None = None
        """Plans of that text without one statement each, while they are asked for."""

    def names(self) -> tuple[str, ...]:
        """Names of the rule files, sorted; what editors hide beside them is none."""
        folder = self._paths.rules_dir
        found = folder.glob("*.rules") if folder.is_dir() else ()
        return tuple(sorted(p.stem for p in found if not p.name.startswith(".")))

    def read(self, name: str) -> RuleText:
        """A rule file; one that does not exist yet holds the first line only.

        Raises:
            RuleError: a name that is no file name, or a file that is no text.
        """
        path = self._path(name)
        try:
            data = path.read_bytes()
            stamp = hash_bytes(data)
            # bytes that are no text are kept, and shown as an error where they stand
            text = data.decode("utf-8", "surrogateescape")
            return RuleText(name, text, stamp, read_steps(self._paths, name, stamp))
        except FileNotFoundError:
            return RuleText(name, FIRST_LINE, "")
        except OSError as error:
            raise RuleError(f"{path} cannot be read: {error}") from error

    def save(self, name: str, text: str, stamp: str, steps: Steps | None = None) -> RuleText:
        """Write a rule file, and beside it the edits that led to it.

        Args:
            name: which.
            text: the whole text.
            stamp: of the text that was read; a file that somebody else changed since is not overwritten.
            steps: what undo and redo bring back from this text.

        Raises:
            RuleError: the file changed on disk meanwhile.
            StoreError: it cannot be written.
        """
        with self._lock:
            if self.read(name).stamp != stamp:
                raise RuleError(
                    f"{name}.rules was changed elsewhere", hint="R reads it again; yours was not saved"
                )
            write_atomic(self._path(name), _bytes_of(text))
            kept, saved, remark = steps or NO_STEPS, stamp_of(text), ""
            try:
                write_steps(self._paths, name, saved, kept)
            except StoreError as error:  # the rules are on disk: that is what a save is asked for
                remark = f"undo will not outlast this session: {error.message}"
            return RuleText(name, text, saved, kept, remark)

    def path(self, name: str) -> Path:
        """Where a rule file lies."""
        return self._path(name)

    def _path(self, name: str) -> Path:
        if not _NAME.match(name) and name not in self.names():
            raise RuleError(
                f"{name!r} is no name for a new rule file",
                hint="letters, digits, space, dot, dash and underscore, 80 at most",
            )
        return self._paths.rules_dir / f"{name}.rules"

    def missing(
        self,
        text: str,
        verdicts: Sequence[VerdictView],
        names: Mapping[str, str],
    ) -> tuple[str, ...]:
        """Statements for suppress and amplify verdicts that a text does not carry out yet.

        They are those of ``rules from-verdicts``: concepts by id, which survives a new index, with a readable
        name. A verdict counts as carried out when some statement is about its concept there, also one that
        is switched off; names that the text has are not used again.
        """
        from engine.compiler.from_verdicts import rules_from_verdicts
        from engine.compiler.plan import catalogue_of
        from engine.compiler.standing import standing

        with self._lock:
            catalogue = catalogue_of(self._open(), names)
        beside = standing(text, catalogue)
        open_ones = [
            v
            for v in verdicts
            if v.verdict in (Verdict.SUPPRESS, Verdict.AMPLIFY)
            and not v.is_orphaned
            and not beside.carries_out(v.target.concept_id, v.target.context_id, v.verdict)
        ]
        if not open_ones:
            return ()
        return tuple(rules_from_verdicts(notes_of(open_ones), catalogue, beside=beside).splitlines()[2:])

    def preview(
        self, text: str, verdicts: Sequence[VerdictView], names: Mapping[str, str], file: str = ""
    ) -> PlanPreview:
        """What a text would do, errors included as findings; label patterns as in the lock of ``file``."""
        from engine.rules.diagnostics import RuleFileError

        start = time.perf_counter()
        try:
            plan = self._plan(text, verdicts, names, file)
        except RuleFileError as error:
            return _failed([_finding(d, text) for d in error.diagnostics], None, text, start)
        except ProsectError as error:
            return _failed([], str(error), text, start)
        return _preview(plan, text, start)

    def completer(self, names: Mapping[str, str]) -> Callable[[str, int], tuple[tuple[int, str], ...]]:
        """What could stand at a cursor: from a text and an offset to (where what is typed begins, a word)."""
        from engine.compiler.plan import catalogue_of
        from engine.rules.complete import complete

        with self._lock:
            store = self._open()
            catalogue = catalogue_of(store, names)
            strongest = [number for (number,) in store.rows(_BY_EVIDENCE)]
        place = {number: at for at, number in enumerate(strongest)}
        # first what people named: they will say it again
        order = sorted(catalogue.concepts, key=lambda c: (c.name is None, place.get(c.number, len(place))))
        ordered = replace(catalogue, concepts=tuple(order))
        return lambda text, cursor: tuple((c.start, c.text) for c in complete(text, cursor, ordered))

    def fate(
        self, text: str, verdicts: Sequence[VerdictView], names: Mapping[str, str], pair: int, file: str = ""
    ) -> PairFate | None:
        """What a text does to one pair; None while the text has errors or cannot be planned."""
        from engine.compiler.population import BASE_FATES

        try:
            plan = self._plan(text, verdicts, names, file)
        except ProsectError:
            return None  # the rules view shows why; a pair has no fate without a plan
        fates, called = plan.fates, _called(plan)
        return PairFate(
            fate=str(BASE_FATES[int(fates.fate[pair])]),
            weight=float(fates.weight[pair]),
            offset=float(fates.offset[pair]),
            is_flipped=bool(fates.flipped[pair]),
            touched_by=tuple(called.get(name, name) for name, at in fates.touched.items() if at[pair]),
            dropped_by=tuple(called.get(name, name) for name, at in fates.reason.items() if at[pair]),
            tags=tuple(name for name, at in fates.tags.items() if at[pair]),
        )

    def left_out(
        self,
        text: str,
        verdicts: Sequence[VerdictView],
        names: Mapping[str, str],
        number: int,
        file: str = "",
    ) -> LeftOut | None:
        """What a text would do without one of its statements: takes about as long as a plan.

        Args:
            text: a text that has a plan.
            verdicts: as for the plan.
            names: as for the plan.
            number: of the statement, from 0, among those that can move a concept.
            file: as for the plan.

        Returns:
            None beyond the last one.

        Raises:
            ProsectError: the text has no plan.
        """
        from engine.compiler.leave_out import LeaveOuts

        with self._lock:
            store, plan = self._made(text, verdicts, names, file)
            if self._left_out is None or self._left_out[0] is not plan:
                self._left_out = (plan, LeaveOuts(store, plan, notes_of(verdicts), self._settings))
            steps = self._left_out[1]
            if number >= len(steps.names):
                return None
            found = steps.left_out(number)
            if number == len(steps.names) - 1:
                self._left_out = None  # what was evaluated for them is large
            return replace(found, name=spoken_name(found.name, found.line))

    def _plan(
        self, text: str, verdicts: Sequence[VerdictView], names: Mapping[str, str], file: str
    ) -> "Plan":
        """The plan of a text; the last one is kept, since pairs ask for it one after another."""
        with self._lock:
            return self._made(text, verdicts, names, file)[1]

    def _made(
        self, text: str, verdicts: Sequence[VerdictView], names: Mapping[str, str], file: str
    ) -> "tuple[Store, Plan]":
        """The open index and the plan on it; the caller holds the lock."""
        from engine.compiler.lock import lock_path_of, read_lock
        from engine.compiler.plan import make_plan

        store = self._open()
        lock = read_lock(lock_path_of(self._path(file))) if file else None
        patterns = (lock or {}).get("label_patterns", {})
        key = (text, tuple(verdicts), tuple(sorted(names.items())), store.path, repr(patterns))
        if self._last is None or self._last[0] != key:
            plan = make_plan(
                store,
                text,
                verdicts=notes_of(verdicts),
                settings=self._settings,
                names=dict(names),
                lock=lock,
            )
            self._last, self._left_out = (key, plan), None
        return store, self._last[1]

    def _open(self) -> Store:
        index = current_index(self._paths).index_hash
        if self._store is None or self._store[0] != index:
            if self._store is not None:
                self._store[1].close()
            self._store = (index, Store(self._paths.index(index)))
        return self._store[1]

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            if self._store is not None:
                self._store[1].close()
                self._store = self._left_out = None


def stamp_of(text: str) -> str:
    """The stamp that a file with this text has."""
    return hash_bytes(_bytes_of(text))


def _bytes_of(text: str) -> bytes:
    """A text as it lies in its file, bytes that are no text as they were read."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def notes_of(
    verdicts: Sequence[VerdictView], entries: Mapping[str, str] | None = None
) -> "list[VerdictNote]":
    """Verdicts as plans need them; those of vanished concepts are left out.

    Args:
        verdicts: what holds.
        entries: target key to the id of its journal entry, for locks.
    """
    from engine.compiler.records import VerdictNote

    known = entries or {}
    return [
        VerdictNote(
            concept_id=v.target.concept_id, verdict=v.verdict, name=v.name, context_id=v.target.context_id,
            reason=v.reason or "", author=v.author, entry=known.get(v.target.key, ""),
        )
        for v in verdicts
        if not v.is_orphaned
    ]  # fmt: skip


def _finding(found: "Diagnostic", text: str) -> RuleFinding:
    from engine.rules.diagnostics import Severity, line_and_column

    is_about_all = found.place.end <= found.place.start
    line, column = (0, 1) if is_about_all else line_and_column(text, min(found.place.start, len(text)))
    width = max(found.place.end - found.place.start, 1)
    is_error = found.severity is Severity.ERROR
    return RuleFinding(is_error, found.code, found.message, found.help, line, column, width)


def _failing(plan: "Plan", text: str) -> Iterator[RuleFinding]:
    """Expectations that do not hold, as something to be said at their lines."""
    lines = text.split("\n")
    for failing in plan.expectations:
        if not failing.holds:
            width = max(len(lines[failing.line - 1].rstrip()), 1)
            yield RuleFinding(False, FAILS, failing.found, None, failing.line, 1, width)


def _failed(findings: list[RuleFinding], problem: str | None, text: str, start: float) -> PlanPreview:
    elapsed = time.perf_counter() - start
    return PlanPreview(tuple(findings), problem, (), (), (), (), (), None, None, (), elapsed, stamp_of(text))


def _called(plan: "Plan") -> dict[str, str]:
    """Statements as screens call them."""
    return {rule.name: spoken_name(rule.name, rule.line) for rule in plan.rules}


def _preview(plan: "Plan", text: str, start: float) -> PlanPreview:
    called = _called(plan)
    return PlanPreview(
        findings=(*(_finding(w, text) for w in plan.warnings), *_failing(plan, text)),
        problem=None,
        counts=tuple(plan.counts.items()),
        effects=tuple(
            RuleEffect(called[r.name], r.kind, r.line, r.n_matched, r.n_unique, r.n_effect)
            for r in plan.rules
        ),
        overlaps=tuple(
            (called.get(o.first, o.first), called.get(o.second, o.second), o.n_pairs) for o in plan.overlaps
        ),
        drift=tuple(Shift(d.category, d.value, d.share_before, d.share_after) for d in plan.drift),
        shifts=tuple(
            ConceptShift(
                c.concept_id, c.label, c.mean_before, c.mean_after, c.rate_before, c.rate_after, c.n_active,
                c.is_target, c.is_held, c.is_beyond,
            )
            for c in plan.collateral
        ),
        effective_share=plan.effective_share,
        largest_weight=plan.largest_weight,
        expectations=tuple((e.holds, e.text, e.found) for e in plan.expectations),
        elapsed_s=time.perf_counter() - start,
        stamp=stamp_of(text),
        lengths=LengthShift(*astuple(plan.lengths)) if plan.lengths is not None else None,
        held_inside=tuple(
            HeldShift(
                h.concept_id, h.label, h.context_id, h.context, h.mean_before, h.mean_after, h.is_beyond
            )
            for h in plan.held_inside
        ),
        n_conflicts=plan.conflicts,
    )  # fmt: skip
