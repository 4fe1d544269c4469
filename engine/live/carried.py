"""What verdicts and names of an older index are about in this one, each looked up once for ``Browser``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.review.entries import Entry
from engine.review.replay import State
from engine.store.carry import Match, best_context, best_match, hypothesis_id, vocabulary
from engine.store.pages import QuerySlot
from engine.views.tables import NameView, Target

MARK = " ~"
"""Stands behind a carried name wherever it is shown, as behind a carried verdict."""


class Carrier:
    """Matches the concepts of older indexes with those of one open index."""

    def __init__(self, slot: QuerySlot, reader_hash: str) -> None:
        self._slot = slot
        self._reader_hash = reader_hash
        self._sae: str | None = None
        self._concepts: dict[str, Match | None] = {}
        self._targets: dict[str, tuple[Target, float] | None] = {}

    @property
    def sae(self) -> str:
        """The SAE of the index; empty where it does not say."""
        if self._sae is None:
            self._sae = vocabulary(self._slot) or ""
        return self._sae

    def target(self, key: str, entry: Entry) -> tuple[Target, float] | None:
        """What continues a verdict's target, and the weaker of the matches of its concept and context."""
        if key not in self._targets:
            evidence, match = entry.evidence or {}, self._concept(entry)
            self._targets[key] = (
                self._moved(entry.target, match, evidence) if match and entry.target else None
            )
        return self._targets[key]

    def _concept(self, entry: Entry) -> Match | None:
        """The concept that continues the one an entry is about, by the latents that were kept with it."""
        if entry.ident not in self._concepts:
            evidence = entry.evidence or {}
            latents = evidence.get("latents") or ()
            found = best_match(self._slot, latents) if self._has_latents_of(evidence) else None
            self._concepts[entry.ident] = found
        return self._concepts[entry.ident]

    def _has_latents_of(self, evidence: Mapping[str, Any]) -> bool:
        """Whether latents mean here what they meant where something was decided."""
        if evidence.get("reader") == self._reader_hash:
            return True
        return bool(evidence.get("sae")) and evidence["sae"] == self.sae

    def _moved(
        self, target: Target, match: Match, evidence: Mapping[str, Any]
    ) -> tuple[Target, float] | None:
        """The target on what continues concept and context, and the weaker of the two matches."""
        if target.context_id is None:
            return Target("concept", match.concept_id, match.concept_id), match.jaccard
        context = (target.context_id, 1.0)
        if not hypothesis_id(self._slot, match.concept_id, target.context_id):
            context = best_context(self._slot, evidence.get("context_pairs") or ()) or context
        ident = hypothesis_id(self._slot, match.concept_id, context[0])
        moved = Target("hypothesis", ident, match.concept_id, context[0]) if ident else None
        return (moved, min(match.jaccard, context[1])) if moved else None

    def names(self, state: State, known: Callable[[Sequence[str]], frozenset[str]]) -> tuple[NameView, ...]:
        """Every name given by a person, on the concept that has it here.

        A name of a concept that this index does not have moves to the concept that shares most latents with
        it, unless somebody named that one, or took its name away, themselves; of several names that meet on
        one concept the best match holds, then the latest. The others are orphaned. A name that was written
        down without latents is matched by those of the verdict on the same concept.

        Args:
            state: of the journal.
            known: which of some target keys this index has.
        """
        here = known([f"concept:{ident}" for ident in state.names])
        held = {k: e for k, e in state.names.items() if f"concept:{k}" in here}
        found = [_view(ident, entry) for ident, entry in held.items()]
        moved: dict[str, tuple[float, str, Entry]] = {}
        others = [(k, e) for k, e in state.names.items() if k not in held and e.name]
        for ident, entry in others:
            match = self._concept(_with_latents(entry, state.verdicts.get(f"concept:{ident}")))
            if match is not None and match.concept_id not in held:
                best = (match.jaccard, entry.time, entry)
                moved[match.concept_id] = max(moved.get(match.concept_id, best), best, key=lambda b: b[:2])
        winners = {entry.ident for _, _, entry in moved.values()}
        found += [
            _view(new, entry, carried_from=entry.target.concept_id if entry.target else None, match=jaccard)
            for new, (jaccard, _, entry) in moved.items()
        ]
        found += [_view(k, e, is_orphaned=True) for k, e in others if e.ident not in winners]
        return tuple(view for view in found if view.name)


def _with_latents(entry: Entry, verdict: Entry | None) -> Entry:
    return entry if verdict is None or (entry.evidence or {}).get("latents") else verdict


def _view(concept_id: str, entry: Entry, **how: Any) -> NameView:
    return NameView(concept_id, entry.name, entry.author, entry.time, **how)
