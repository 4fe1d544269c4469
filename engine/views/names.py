"""Frozen view models of names that a language model proposed, for lists and pages of concepts."""

from dataclasses import dataclass
from typing import NamedTuple

MARK = "? "
"""Stands before a proposed name wherever it is shown: nobody has given it yet."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """Whether a model that saw only a name could tell where the concept fires: excerpts that the name was
    not made from, as many with the concept as without, in mixed order.
    """

    n_fires: int
    """Excerpts where the concept fires."""
    n_others: int
    """Excerpts where it does not."""
    n_picked: int
    """Excerpts that the model said the name fits."""
    n_hits: int
    """Of those, excerpts where the concept fires."""
    p: float
    """Chance that so many hits or more come of picking ``n_picked`` blindly (hypergeometric)."""
    level: float
    """p at most for which this name counts as recognised: as set, divided by the tests for its concept."""
    low: float
    """Exact 95% interval (Clopper–Pearson) of the share that was told right, its lower end."""
    high: float
    are_silent: bool
    """The others are of responses without the concept; False: of those with least of it, because it is
    nearly everywhere."""

    @property
    def n_right(self) -> int:
        """Excerpts that were told right: picked where it fires, left where it does not."""
        return self.n_hits + self.n_others - (self.n_picked - self.n_hits)

    @property
    def n(self) -> int:
        """Excerpts in all."""
        return self.n_fires + self.n_others

    @property
    def is_recognised(self) -> bool:
        """Better than chance at the stated level."""
        return self.p <= self.level


@dataclass(frozen=True, slots=True)
class NameControl:
    """A recognised name tested on the excerpts of another concept, where it should fail."""

    of: str
    """Ident of the proposal."""
    concept_id: str
    """Concept whose excerpts they were."""
    recognition: Recognition


@dataclass(frozen=True, slots=True)
class NameProposal:
    """A name that a language model proposed for a concept. Its text is trusted as little as a pair's."""

    ident: str
    concept_id: str
    name: str
    description: str
    model: str
    endpoint: str
    """Base URL of the server that answered."""
    time: str
    """ISO 8601, UTC."""
    prompts: str
    """Hash of the questions' wording and of how much they show: answers to other questions differ."""
    index: str
    """Index that the excerpts are from."""
    n_shown: int
    """Excerpts that the name was made from."""
    recognition: Recognition | None = None
    """None: not asked yet, or too few excerpts were left."""
    tested_by: str = ""
    """Model that tested an imported label, ``model`` being the label's source; empty: ``model`` named and
    tested."""

    @property
    def is_recognised(self) -> bool:
        """A name that says where the concept fires: lists show it."""
        return self.recognition is not None and self.recognition.is_recognised


class LatentLabel(NamedTuple):
    """What somebody else's file calls a latent. Nothing here tested it; its text is trusted as little as a
    pair's.
    """

    latent: int
    text: str
    model: str
    """That wrote it, as the file says; empty: it does not."""
    file: str
    """Name of the file."""


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What became of the rows of a file of labels."""

    file: str
    n_rows: int
    n_kept: int
    """Labels; a row can hold several."""
    n_latents: int
    """Latents that have one."""
    n_unreadable: int
    n_empty: int
    n_no_index: int
    n_out_of_range: int
    n_doubled: int
    n_other: int
    """Rows that say that they are of another SAE."""
    says_whose: bool
    """The file names a model or an SAE."""
    is_new: bool = True
    """False: the same labels were there already."""
