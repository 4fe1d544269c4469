"""A project as people review it: what ``looking`` shows of its index, and the journal of verdicts.

Writes nothing but the journal. Methods may be called from any thread.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.errors import ReviewError, StoreError
from engine.live.carried import MARK
from engine.live.looking import Looking
from engine.live.proposed import Proposed
from engine.live.rescue import Rescue
from engine.naming.labels import ByLatent, Labels
from engine.paths import ProjectPaths
from engine.records import Verdict
from engine.review.author import resolve_author
from engine.review.entries import Entry
from engine.review.journal import Decision, Journal
from engine.review.replay import undo_depth
from engine.safe_text import one_line
from engine.settings import ReviewSettings, RulesSettings
from engine.store.build import current_index
from engine.store.lookup import (
    name_taken,
    shown_names,
)
from engine.store.mirror import mirror, update_mirror
from engine.store.snapshots import called_concepts, known_targets, snapshots
from engine.views.tables import (
    Coverage,
    JournalChange,
    JournalLoss,
    NameView,
    Target,
    VerdictView,
)

if TYPE_CHECKING:
    from engine.views.details import ConceptDetail, LatentDetail

N_LABELS = 3
"""Most central latents of a concept whose imported labels its page shows."""


class Browser(Looking):
    """A project as people review it."""

    def __init__(
        self, paths: ProjectPaths, settings: ReviewSettings | None = None, rules: RulesSettings | None = None
    ) -> None:
        super().__init__(paths, rules)
        chosen = settings or ReviewSettings()
        self.advances = chosen.advance
        """After a verdict the cursor goes on to the next row without one."""
        self.names_version = 0
        """Raised whenever concepts are called otherwise than before, whoever named them."""
        self._shown: tuple[object, ...] = ()
        self._rescue = Rescue(paths.root)
        self.proposed = Proposed(paths.proposals)
        """What a language model would call concepts."""
        self.labels = Labels(paths.labels)
        """What other people's files call latents."""
        self.journal = Journal(paths.journal, lambda: resolve_author(chosen, paths.root))
        self._open(current_index(paths))

    def _opened(self) -> None:
        self._is_known: dict[str, bool] = {}
        self._called: frozenset[str] | None = None
        self._n_concepts = 0
        self._mirror()

    def _mirror(self) -> None:
        state = self.journal.state
        held = [(key, e.verdict.value) for key, e in state.verdicts.items() if e.verdict is not None]
        named = self._carrier.names(state, self._known)
        shown = [
            (v.concept_id, v.name + (MARK if v.carried_from else ""), True)
            for v in named
            if not v.is_orphaned
        ]
        shown += self.proposed.shown(concept_id for concept_id, _, _ in shown)
        mirror(self._store, held, shown)
        self._labels_shown = self.labels.stamp
        pages = (self.proposed.by_concept, self.labels.stamp)  # they show also what was not recognised
        now = (sorted(shown), pages)
        if now != self._shown:
            self._shown = now
            self.names_version += 1

    @property
    def author(self) -> str:
        """Who the journal says decides here."""
        return self.journal.author

    def verdicts(self, keys: Iterable[str] | None = None) -> Mapping[str, VerdictView]:
        """Verdicts that hold, by target key, of all targets or some.

        A verdict on a concept that this index does not have moves to the concept that shares most latents
        with it, marked as carried, unless that one has a verdict of its own. What nothing continues is
        orphaned.
        """
        with self._lock:
            held = self.journal.state.verdicts
            wanted = held if keys is None else {k: held[k] for k in keys if k in held}
            known = self._known(wanted)
            found = {k: self._view(e) for k, e in wanted.items() if k in known}
            for key, entry in wanted.items():
                if key not in known:
                    view = self._carried(key, entry)
                    found.setdefault(view.target.key, view)
            return found

    def _view(self, entry: Entry, **changes: Any) -> VerdictView:
        if entry.target is None or entry.verdict is None:
            raise StoreError("a verdict without a target was replayed")
        disputed = self.journal.state.disputed_by.get(entry.target.key)
        view = VerdictView(
            entry.target, entry.verdict, entry.author, entry.time, entry.reason, entry.name, disputed
        )
        return replace(view, **changes)

    def _carried(self, key: str, entry: Entry) -> VerdictView:
        """The verdict on what continues its target in this index, or the verdict as an orphan."""
        found = self._carrier.target(key, entry)
        if found is None or found[0].key in self.journal.state.verdicts:
            return self._view(entry, is_orphaned=True)
        return self._view(entry, target=found[0], carried_from=key, match=found[1])

    def names(self) -> Mapping[str, str]:
        """Concept id → name given by a person, carried ones included, orphans left out."""
        return {v.concept_id: v.name for v in self.name_views() if not v.is_orphaned}

    def shown_names(self, concept_ids: Collection[str]) -> Mapping[str, str]:
        """What concepts are called now, given names before working labels; unknown concepts are left out."""
        return shown_names(self._slots["known"], concept_ids)

    def name_to_give(self, concept_id: str, *, untested: bool = False) -> str:
        """The proposed name of a concept that nobody has named; empty: there is none. Does not wait."""
        return self.proposed.to_give(concept_id, untested=untested)

    def concept(
        self, concept_id: str, context_id: str | None = None, *, is_brief: bool = False
    ) -> "ConceptDetail":
        """As of the index, with the name that was proposed for it."""
        detail = super().concept(concept_id, context_id, is_brief=is_brief)
        labels = {} if is_brief else self.latent_labels()
        central = [labels[n][0] for n in detail.latents[:N_LABELS] if n in labels]
        return replace(detail, proposal=self.proposed.by_concept.get(concept_id), labels=tuple(central))

    def latent(self, number: int) -> "LatentDetail":
        """As of the index, with the labels that were imported for it."""
        return replace(super().latent(number), labels=self.latent_labels().get(number, ()))

    @property
    def vocabulary(self) -> str:
        """What numbers of latents mean in this index: its SAE, else its reader."""
        with self._lock:
            return self._carrier.sae or self._published.reader_hash

    def single_latents(self) -> Mapping[str, int]:
        """Concept id → latent, of every concept that is one latent."""
        from engine.store.places import single_latents

        return single_latents(self._store)

    def latent_labels(self) -> ByLatent:
        """Latent → its imported labels, for the SAE of the open index."""
        with self._lock:
            self.labels.refresh()
            return self.labels.of(self.vocabulary)

    def name_views(self) -> tuple[NameView, ...]:
        """Every name given by a person, also those that were carried over or orphaned."""
        with self._lock:
            return self._carrier.names(self.journal.state, self._known)

    def set_verdict(
        self, targets: Sequence[Target], verdict: Verdict, reason: str | None = None,
        *, seen: Mapping[str, str] | None = None,
    ) -> JournalChange:  # fmt: skip
        """Decide on some targets as one step, with the evidence as it stands. Durable on return.

        Args:
            targets: what to decide on.
            verdict: of all of them.
            reason: why.
            seen: target key → time of the verdict that the person saw there; somebody else's that is not this
                one is left alone. None: decide whatever others have decided.
        """
        return self._write(targets, verdict, reason, seen)

    def clear_verdict(
        self, targets: Sequence[Target], reason: str | None = None, *, seen: Mapping[str, str] | None = None
    ) -> JournalChange:
        """Take the verdicts of some targets away as one step, carried ones where they were made.

        Where none has a verdict, nothing is written; ``seen`` as in ``set_verdict``.
        """
        with self._lock:
            self.refresh_journal()
            shown, held = self.verdicts(), self.journal.state.verdicts
            sources = {t.key: shown[t.key].carried_from or t.key for t in targets if t.key in shown}
            made = [entry.target for key in sources.values() if (entry := held[key]).target is not None]
            if made:
                as_made = None if seen is None else {key: seen.get(t, "") for t, key in sources.items()}
                change = self._write(made, None, reason, as_made)
                return replace(change, changed=tuple(dict.fromkeys([*change.changed, *sources])))
        who = self._decision(targets[0], snapshots(self._slots["snapshot"], targets)).name if targets else ""
        what = f"{who} has no verdict" if len(targets) == 1 else f"none of {len(targets):,} has a verdict"
        inside = " in this context" if len(targets) == 1 and targets[0].context_id is not None else ""
        return JournalChange(f"nothing to clear: {what}{inside}", ())

    def _write(
        self, targets: Sequence[Target], verdict: Verdict | None, reason: str | None,
        seen: Mapping[str, str] | None = None,
    ) -> JournalChange:  # fmt: skip
        evidence = snapshots(self._slots["snapshot"], targets)
        with self._lock:
            decisions = [self._decision(t, evidence) for t in targets]
            change = self.journal.set_verdicts(decisions, verdict, reason, seen=seen)
            return self._after(change)

    def _decision(self, target: Target, seen: Mapping[str, dict[str, Any]]) -> Decision:
        evidence = dict(seen.get(target.key, {}))
        held = self.journal.state.verdicts.get(target.key)  # also of what this index does not have
        working = str(evidence.pop("name", held.name if held is not None else ""))
        name = self.names().get(target.concept_id) or working
        return Decision(target, name, evidence | self._here())

    def _here(self) -> dict[str, str]:
        """What a decision is matched by when another index is open: whose latents it saw."""
        here = {"reader": self._published.reader_hash, "index": self._published.index_hash}
        return here | ({"sae": self._carrier.sae} if self._carrier.sae else {})

    def set_names(self, names: Mapping[str, str]) -> tuple[JournalChange, Mapping[str, str]]:
        """Name several concepts as one step.

        Args:
            names: by concept id, none empty.

        Returns:
            what was written, and by concept id why a name was not given: another concept goes by it.
        """
        refused: dict[str, str] = {}
        first: dict[str, str] = {}
        for ident, name in names.items():
            taken = name_taken(self._slots["snapshot"], ident, name) or first.get(name.strip().lower())
            if taken is not None:
                refused[ident] = _is_taken(name, taken)
            else:
                first[name.strip().lower()] = name
        wanted = [ident for ident in names if ident not in refused]
        seen = snapshots(self._slots["snapshot"], [Target("concept", ident, ident) for ident in wanted])
        with self._lock:
            entries = [(ident, names[ident], self._identity(ident, seen)) for ident in wanted]
            return self._after(self.journal.set_names(entries)), refused

    def _identity(self, concept_id: str, seen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """What a name is carried to another index by."""
        found = seen.get(f"concept:{concept_id}")
        return {"latents": found["latents"], **self._here()} if found else self._here()

    def set_name(self, concept_id: str, name: str) -> JournalChange:
        """Name a concept; an empty name brings the working label back, also instead of a carried name.

        Raises:
            ReviewError: another concept goes by that name: rule files could not tell them apart.
        """
        # asked where only writes ask: a question about the journal must not interrupt it
        taken = name_taken(self._slots["snapshot"], concept_id, name) if name.strip() else None
        if taken is not None:
            raise ReviewError(
                _is_taken(name, taken),
                hint="rule files know concepts by name: choose another one",
            )
        seen = snapshots(self._slots["snapshot"], [Target("concept", concept_id, concept_id)])
        with self._lock:
            evidence = self._identity(concept_id, seen)
            return self._after(self.journal.set_name(concept_id, name, evidence))

    def undo(self) -> JournalChange:
        """Take back this author's last step."""
        with self._lock:
            return self._after(self.journal.undo())

    def redo(self) -> JournalChange:
        """Restore this author's last undone step."""
        with self._lock:
            return self._after(self.journal.redo())

    def refresh_journal(self) -> bool:
        """Take over what other processes decided or had proposed; True when there was anything."""
        with self._lock:
            is_proposed = self.proposed.refresh()
            self.labels.refresh()
            is_labelled = self.labels.stamp != self._labels_shown
            if not (self.journal.refresh() or is_proposed or is_labelled):
                return False
            self._mirror()
            return True

    # -- a journal that somebody took away ---------------------------------------------------------------

    def journal_loss(self) -> JournalLoss | None:
        """Entries that the journal's file has no more, kept in a file beside it as soon as that is seen."""
        with self._lock:
            return self._rescue.keep(self.journal)

    def restore_journal(self) -> JournalChange:
        """Write the entries that the journal lost again; what was decided since stays, the later word holds.

        Raises:
            ReviewError: nothing was written.
        """
        with self._lock:
            change = self._rescue.restore(self.journal)
            self._mirror()
            return change

    def _after(self, change: JournalChange) -> JournalChange:
        if change.names_changed:
            self._mirror()
        elif change.changed:
            held = self.journal.state.verdicts
            now = ((k, held[k].verdict if k in held else None) for k in change.changed)
            update_mirror(self._store, [(k, v.value if v else None) for k, v in now])
        return change

    def coverage(self) -> Coverage:
        """How far the review is."""
        with self._lock:
            held = self.journal.state.verdicts
            known, called = self._known(held), self._called_concepts()
            decided = {k for k in held if k.startswith("concept:") and k in known}
            gone = self.verdicts([k for k in held if k not in known]).values()
            named = self.name_views()
            tally = {v: sum(1 for e in held.values() if e.verdict is v) for v in Verdict}
            return Coverage(
                n_concepts=self._n_concepts,
                n_decided=len(decided),
                n_called=len(called),
                n_called_decided=len(called & decided),
                by_verdict=tuple(tally.items()),
                n_orphaned=sum(v.is_orphaned for v in gone),
                n_carried=sum(v.carried_from is not None for v in gone),
                n_names_carried=sum(v.carried_from is not None for v in named),
                n_names_orphaned=sum(v.is_orphaned for v in named),
                n_damaged_lines=self.journal.n_damaged,
                undo_depth=undo_depth(self.journal.entries, self.author),
                lost=self.journal_loss(),
                n_inside=sum(not key.startswith("concept:") for key in held),
                n_others=sum(entry.author != self.author for entry in held.values()),
            )

    def _known(self, keys: Collection[str]) -> frozenset[str]:
        """Those of the keys that the open index has; every key is looked up once."""
        new = [k for k in keys if k not in self._is_known]
        if new:
            found = known_targets(self._slots["journal"], new)
            self._is_known.update((k, k in found) for k in new)
        return frozenset(k for k in keys if self._is_known[k])

    def _called_concepts(self) -> frozenset[str]:
        if self._called is None:
            self._called = called_concepts(self._slots["journal"])
            self._n_concepts = int(self._store.value("SELECT count(*) FROM concepts"))
        return self._called


def _is_taken(name: str, by: str) -> str:
    return f"`{one_line(name.strip(), 60)}` is what the concept {one_line(by, 60)} is called"
