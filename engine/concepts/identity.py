"""Concept and context ids by content, and which old concept a new one continues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.manifest import hash_json
from engine.records import ConceptKind

CARRY_AT = 0.5
"""A verdict moves to the best match when their members overlap by at least this Jaccard index."""


def concept_id(reader_hash: str, kind: ConceptKind, members: Sequence[int] | Sequence[str]) -> str:
    """Hash of reader, kind and sorted members; a column's member is its name and it has no reader."""
    reader = "" if kind is ConceptKind.COLUMN else reader_hash
    return hash_json([reader, kind.value, sorted(members)])


@dataclass(frozen=True, slots=True)
class Carried:
    """Where the verdicts of an earlier audit go."""

    moved: Mapping[str, tuple[str, float]]
    """Old concept id to new concept id and Jaccard index: "carried, confirm". Same ids are not listed."""
    orphans: tuple[str, ...]
    """Old concept ids without a match: listed for the person, never dropped."""


def carry(old: Mapping[str, frozenset[int]], new: Mapping[str, frozenset[int]]) -> Carried:
    """Match concepts of an earlier audit to those of a new one by their latents.

    Args:
        old: concept id to member latents, for the concepts that carry a verdict.
        new: concept id to member latents of the new index.
    """
    holders: dict[int, list[str]] = {}
    for identity, latents in sorted(new.items()):
        for latent in latents:
            holders.setdefault(latent, []).append(identity)
    moved: dict[str, tuple[str, float]] = {}
    orphans: list[str] = []
    for identity, latents in sorted(old.items()):
        if identity in new:
            continue
        shared: dict[str, int] = {}
        for latent in latents:
            for candidate in holders.get(latent, ()):
                shared[candidate] = shared.get(candidate, 0) + 1
        scored = [(n / len(latents | new[c]), c) for c, n in shared.items()]
        best = max(scored, default=(0.0, ""))
        if best[0] >= CARRY_AT:
            moved[identity] = (best[1], best[0])
        else:
            orphans.append(identity)
    return Carried(moved, tuple(orphans))
