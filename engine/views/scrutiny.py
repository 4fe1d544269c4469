"""View models of what is known of concepts beyond their estimates: poolings, side effects, parts of the mix.

Rates and means that are undefined are None. Signs are chosen minus rejected.
"""

from dataclasses import dataclass

from engine.views.tables import Interval


@dataclass(frozen=True, slots=True)
class PoolingEffect:
    """A concept's two effects under another way of pooling a latent over a response."""

    pooling: str
    agrees: bool | None
    """Makes the same calls as presence, with the same signs; None: it tests neither question."""
    taught: Interval
    taught_z: float | None
    is_taught_call: bool | None
    equal: Interval
    equal_z: float | None
    is_equal_call: bool | None


@dataclass(frozen=True, slots=True)
class SideEffect:
    """Another concept that moves when this one's mean u is halved."""

    concept_id: str
    name: str
    before: float
    """Mean u of the other concept."""
    after: float
    change_low: float
    """95% interval of the change, simultaneous over all tested concepts."""
    change_high: float


@dataclass(frozen=True, slots=True)
class LevelEffect:
    """A concept inside one source, model or annotator, and without it."""

    facet: str
    level: str
    n_pairs: int
    n_discordant: int
    push: float | None
    """What the level adds to the concept's mean u."""
    win: Interval
    is_call: bool | None
    without: Interval
    is_call_without: bool | None
    equal_without: Interval
    is_equal_call_without: bool | None


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the levels of a facet agree."""

    facet: str
    n_levels: int
    mean: Interval
    """Random-effects mean win rate."""
    tau: float | None
    i2: float | None
    """0–1."""


def _left_out_text(facet: str, n: int) -> str:
    """What is said of levels that are not shown."""
    levels = facet if n == 1 else f"{facet}s"
    return f"{n:,} {levels} not compared: too few prompt groups, or beyond the largest 24"


@dataclass(frozen=True, slots=True)
class ConceptScrutiny:
    """All of it about one concept."""

    unique_win_rate: float | None
    unique_selected: float | None
    """Share of random halves that select it beside all other concepts."""
    poolings: tuple[PoolingEffect, ...]
    dropped: float
    """Weight of the pairs whose absence halves its mean u; 0 where nothing was called."""
    side_effects: tuple[SideEffect, ...]
    """Clearest first."""
    levels: tuple[LevelEffect, ...]
    """By facet, largest level first."""
    spreads: tuple[Spread, ...]
    left_out: tuple[tuple[str, int], ...]
    """Facets with levels that are too small to test or beyond the largest 24, and how many these are."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of levels that are left out."""
        return tuple(_left_out_text(facet, n) for facet, n in self.left_out)

    @property
    def n_agree(self) -> int:
        """Poolings that make the same calls."""
        return sum(p.agrees is True for p in self.poolings)

    @property
    def n_compared(self) -> int:
        """Poolings that test anything here."""
        return sum(p.agrees is not None for p in self.poolings)


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """One source, model or annotator of a mix, over all concepts."""

    level: str
    n_pairs: int
    n_groups: int
    n_called: int
    """Concepts called inside it."""
    n_lost: int
    """Concepts called, taught or at equal length, that are not without it."""
    n_gained: int
    """Concepts that are called only without it."""


@dataclass(frozen=True, slots=True)
class MixConcept:
    """One concept across the levels of a facet."""

    concept_id: str
    name: str
    taught: Interval
    is_taught_call: bool | None
    is_equal_call: bool | None
    spread: Spread
    levels: tuple[LevelEffect, ...]
    """Largest level first."""

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Levels without which a call of the concept is lost."""
        return tuple(
            e.level
            for e in self.levels
            if (self.is_taught_call and not e.is_call_without)
            or (self.is_equal_call and not e.is_equal_call_without)
        )

    @property
    def appears_without(self) -> tuple[str, ...]:
        """Levels without which a call appears."""
        return tuple(
            e.level
            for e in self.levels
            if (e.is_call_without and not self.is_taught_call)
            or (e.is_equal_call_without and not self.is_equal_call)
        )


@dataclass(frozen=True, slots=True)
class Mix:
    """A facet as people edit it: its levels, and the concepts they teach."""

    facet: str
    levels: tuple[LevelSummary, ...]
    concepts: tuple[MixConcept, ...]
    """Strongest evidence first."""
    n_left_out: int
    """Levels with too few prompt groups, or beyond the largest 24."""

    @property
    def note(self) -> str:
        """What is said of levels that are left out; empty: none is."""
        return _left_out_text(self.facet, self.n_left_out) if self.n_left_out else ""


@dataclass(frozen=True, slots=True)
class LabelEvidence:
    """What a working label rests on."""

    fires: tuple[str, ...]
    """Places where the concept is strongest, the word in «»."""
    silent: tuple[str, ...]
    """Places where the label's first word stands and the concept is silent."""
    inside: float | None
    """Share of sampled responses that carry the concept in which a word of the label stands."""
    outside: float | None
    """The same among responses that do not carry it."""
