"""What became of targets, held and other concepts on pairs that matching was not solved on."""

from dataclasses import dataclass
from typing import Literal

LEFT = 0.2
"""What may be left of a matched effect on pairs that were not solved on."""

State = Literal["holds", "fails", "open"]


@dataclass(frozen=True, slots=True)
class Transferred:
    """One measure of a target on the other half."""

    concept: str
    measure: str
    """Matched: delta, u. Others: max, sum, n, rate (mean delta with that pooling), text."""
    is_matched: bool
    """The multipliers were solved for this very measure."""
    n_active: int
    """Measured pairs on which it is not 0."""
    before: float
    after: float
    """Mean in standard deviations of the measure, chosen − rejected, without and with the weights."""
    left: float | None
    """Distance from the target after, as a share of that before; signed. None where there was none."""
    low: float | None
    high: float | None
    """90% interval of ``left``."""
    needed: int | None
    """Pairs for which that interval would be ±0.2 wide, at the same evenness; None without an interval."""

    @property
    def state(self) -> State:
        """Whether what is left lies inside ±0.2, surely not, or is not resolved by so few pairs."""
        if self.low is None or self.high is None:
            return "open"
        if self.low >= -LEFT and self.high <= LEFT:
            return "holds"
        return "fails" if self.low > LEFT or self.high < -LEFT else "open"


@dataclass(frozen=True, slots=True)
class Moved:
    """A concept that was not a target, by its mean u on the other half."""

    concept: str
    before: float
    after: float
    low: float
    high: float
    """90% interval of the change after − before."""
    limit: float | None = None
    """Held concepts: how far it may move."""

    @property
    def change(self) -> float:
        """After − before"""
        return self.after - self.before

    @property
    def state(self) -> State | None:
        """Held concepts: whether the change lies inside its limit; None for others."""
        if self.limit is None:
            return None
        if -self.limit <= self.low and self.high <= self.limit:
            return "holds"
        return "fails" if self.low > self.limit or self.high < -self.limit else "open"


@dataclass(frozen=True, slots=True)
class TransferReport:
    """Result of ``transfer``."""

    n_solved: int
    n_measured: int
    n_groups: tuple[int, int]
    targets: tuple[Transferred, ...]
    held: tuple[Moved, ...]
    others: tuple[Moved, ...]
    """Every other concept of the index, largest change first."""
    effective_share: float
    """Of the weights on the measured half."""
    largest_weight: float
    n_draws: int
    n_failed: int
    """Draws whose targets could not be met; left out of the intervals."""

    @property
    def state(self) -> State:
        """``fails`` if any matched measure or held concept fails, ``holds`` if all hold."""
        states = [t.state for t in self.targets if t.is_matched] + [h.state for h in self.held]
        if "fails" in states:
            return "fails"
        return "open" if "open" in states else "holds"
