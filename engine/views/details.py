"""Frozen view models of one concept, context or pair. Whoever only lists them does not load this module.

Signs are chosen minus rejected, as in ``engine.views.tables``; strings come from datasets unchanged.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from engine.safe_text import one_line
from engine.views.tables import FacetCount, Interval

if TYPE_CHECKING:
    from engine.views.names import LatentLabel, NameProposal
    from engine.views.scrutiny import ConceptScrutiny, LabelEvidence


@dataclass(frozen=True, slots=True)
class Evidence:
    """Estimates of one hypothesis, as the glossary and the statistics page define them."""

    hypothesis_id: str
    context: int
    context_id: str
    context_name: str
    n_pairs: int
    n_carry: int | None
    n_discordant: int | None
    n_discordant_groups: int | None
    """Discordant prompt groups."""
    prevalence: float | None
    taught: Interval
    taught_q: float | None
    is_taught_call: bool | None
    equal: Interval
    equal_q: float | None
    is_equal_call: bool | None
    badge: str | None
    skip_reason: str | None
    is_stable: bool | None
    half_a: float | None
    half_b: float | None
    min_effect: float | None
    differs_z: float | None = None
    differs_q: float | None = None
    is_differs_call: bool | None = None


class DoseBin(NamedTuple):
    """Labelled pairs' responses whose score lies in [low, high)."""

    low: float
    high: float
    n_chosen: int
    n_rejected: int


class Neighbour(NamedTuple):
    """Another concept that moves with this one."""

    concept_id: str
    name: str
    n_shared: int
    """Pairs with non-zero disparity in both."""
    cosine: float
    """Of the two disparity vectors over all pairs, −1 to 1."""
    is_redundant: bool


Mark = tuple[int, int]
"""First character, and the one behind the last."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of a response around the place where a concept peaks."""

    text: str
    n_before: int
    """Characters of the response before the piece."""
    n_after: int
    peak_token: int | None
    """Token position of the peak; None where the concept is silent."""
    n_tokens: int
    marks: "tuple[Mark, ...]" = ()
    """Characters of the piece that hold what a column counts."""


@dataclass(frozen=True, slots=True)
class TopPair:
    """A pair in which a concept differs most."""

    pair: int
    pair_id: str
    source: str
    chosen_score: float
    rejected_score: float
    chosen: Snippet
    rejected: Snippet


@dataclass(frozen=True, slots=True)
class ConceptDetail:
    """All there is to see about a concept."""

    concept: int
    concept_id: str
    name: str
    kind: str
    name_source: str
    tokens: tuple[str, ...]
    latents: tuple[int, ...]
    """Most central first, at most 64."""
    n_latents: int
    n_chosen: int
    n_rejected: int
    n_prompt: int
    everywhere: Evidence | None
    dose: tuple[DoseBin, ...]
    differs: tuple[Evidence, ...]
    """Contexts, most different first."""
    neighbours: tuple[Neighbour, ...]
    top_pairs: tuple[TopPair, ...]
    scrutiny: "ConceptScrutiny | None" = None
    """Poolings, unique contribution, side effects, parts of the mix; None in brief."""
    label: "LabelEvidence | None" = None
    """None where the working label is not made from tokens."""
    definition: str = ""
    """What a column counts, in words or as a pattern; empty for latents."""
    proposal: "NameProposal | None" = None
    """The last name that a language model proposed for it."""
    labels: "tuple[LatentLabel, ...]" = ()
    """Imported labels of its most central latents, one of each; untested."""
    n_contexts: int = 0
    """Contexts that it was tested in, those beyond ``differs`` included."""
    inside: Evidence | None = None
    """Of the context that dose and top pairs are of; None: everywhere, or nothing was estimated there."""
    working_label: str = ""
    """What the index calls it, whatever people do: `name` where nobody named it."""

    def __repr__(self) -> str:
        """Short: a notebook shows what stands last in a cell."""
        taught = self.everywhere.taught.estimate if self.everywhere is not None else None
        said = "" if taught is None else f", taught {taught:.3f}"
        return f"<concept {one_line(self.name, 80)} ({self.kind}){said}: .everywhere, .top_pairs, …>"


class LatentHome(NamedTuple):
    """A concept that a latent is in."""

    concept_id: str
    name: str
    kind: str
    n_latents: int
    place: int
    """From 1 for the most central latent."""


@dataclass(frozen=True, slots=True)
class LatentDetail:
    """One latent that fired, by its number in the SAE."""

    latent: int
    n_prompt: int
    """Prompts that it fires on."""
    everywhere: Evidence | None
    """Its own estimates; its id and context are empty, since it is no hypothesis."""
    concepts: tuple[LatentHome, ...]
    """Empty for a latent that is too rare to be in any; the cluster or single latent first, then deltas."""
    top_pairs: tuple[TopPair, ...]
    """Labelled pairs with the largest |chosen − rejected| activation; scores are the activations."""
    labels: "tuple[LatentLabel, ...]" = ()
    """Imported labels of it; untested."""


@dataclass(frozen=True, slots=True)
class ContextConcept:
    """A concept inside a context beside everywhere."""

    concept_id: str
    name: str
    here: Evidence
    everywhere: Interval


@dataclass(frozen=True, slots=True)
class ContextDetail:
    """All there is to see about a context."""

    context: int
    context_id: str
    name: str
    kind: str
    definition: str
    n_pairs: int
    n_groups: int
    sources: tuple[FacetCount, ...]
    concepts: tuple[ContextConcept, ...]
    """Strongest evidence first."""
    examples: tuple[tuple[int, str], ...]
    """Pair number and prompt."""
    n_concepts: int = 0
    """Concepts that were tested inside, those beyond ``concepts`` included."""
    n_sources: int = 0
    """Likewise sources."""


class Peak(NamedTuple):
    """Where one latent peaks in one response."""

    side: str
    latent: int
    act_max: float
    n_fired: int
    token: int
    """Position in the response's own tokens, from 0."""


class PairConcept(NamedTuple):
    """A concept's scores on a pair."""

    concept_id: str
    name: str
    chosen: float
    rejected: float
    u: float


@dataclass(frozen=True, slots=True)
class PairDetail:
    """One pair as ingested and read."""

    pair: int
    pair_id: str
    source: str
    source_file: str
    source_row: int
    label: str
    fold: int
    n_group: int
    """Pairs of its prompt group."""
    is_evaluation: bool
    prompt: str
    chosen: str
    rejected: str
    prompt_tokens: int
    chosen_tokens: int
    rejected_tokens: int
    truncated: tuple[str, ...]
    """Spans that were cut for reading."""
    facts: tuple[tuple[str, str], ...]
    """Models, scores, annotator, language and other columns of the file, where known."""
    concepts: tuple[PairConcept, ...]
    """The one asked about first, then by |u| and |chosen − rejected|."""
    contexts: tuple[tuple[str, str], ...]
    """(context_id, name)"""
    peaks: tuple[Peak, ...] = field(default=())
    """Of the concept asked about."""
    concept_id: str | None = None
    """The concept asked about."""
    concept_tokens: tuple[str, ...] = ()
    """Its telling words."""
    marks: tuple[tuple[str, tuple[Mark, ...]], ...] = ()
    """Side and where its text holds what the column asked about counts."""
    n_concepts: int = 0
    """Concepts that it carries, those beyond ``concepts`` included."""
    n_contexts: int = 0
    """Likewise contexts."""

    def __repr__(self) -> str:
        """Short: a notebook shows what stands last in a cell."""
        return (
            f"<pair {self.pair} of {one_line(self.source, 80)}, {self.label}: .prompt, .chosen, .rejected, …>"
        )
