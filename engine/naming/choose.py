"""Which concepts a language model is asked about. Pure: nothing is read or sent here."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.views.names import NameProposal


@dataclass(frozen=True, slots=True)
class Nameable:
    """A concept of the index."""

    number: int
    concept_id: str
    label: str
    """Its working label."""
    n_latents: int
    """0: a column, which says itself what it is."""


class Choice(NamedTuple):
    """What becomes of the concepts that were looked at."""

    to_name: tuple[Nameable, ...]
    to_check: tuple[tuple[Nameable, NameProposal], ...]
    """A name was proposed, but not whether it is recognised: the work was stopped in between."""
    n_answered: int
    """Asked before: the same questions to the same model."""


def choose(
    concepts: Sequence[Nameable],
    given: Collection[str],
    n: int,
    held: Mapping[str, NameProposal],
    wanted: Collection[str] | None = None,
) -> Choice:
    """The concepts to ask about.

    The same command goes on where it was stopped: the first ``n`` concepts are the same each time, and those
    that were answered are left out of them.

    Args:
        concepts: in the order of their evidence.
        given: ids of concepts that people have named.
        n: concepts at most; those that were answered before count.
        held: answers to the very questions that would be asked, by concept id.
        wanted: ids of concepts that were asked for by name: these and no others, whatever they are called.
    """
    if wanted is not None:
        looked_at = [c for c in concepts if c.concept_id in wanted]
    else:
        looked_at = [c for c in concepts if c.n_latents and c.concept_id not in given][:n]
    half_done = [(c, held[c.concept_id]) for c in looked_at if c.concept_id in held]
    to_check = tuple((c, p) for c, p in half_done if p.recognition is None)
    to_name = tuple(c for c in looked_at if c.concept_id not in held)
    return Choice(to_name, to_check, len(looked_at) - len(to_name) - len(to_check))
