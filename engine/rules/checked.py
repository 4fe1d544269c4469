"""A checked rule file: what the compiler plans and the reference interpreter evaluates."""

from dataclasses import dataclass

from engine.rules.diagnostics import Diagnostic, Place
from engine.rules.terms import Concept, Term


@dataclass(frozen=True, slots=True)
class CheckedAction:
    """What a rule does to a pair."""

    verb: str
    """drop, protect, keep only, flip, weight *=, weight =, offset +=, tag, inoculate"""
    value: Term | None
    """Number of weight and offset."""
    text: str | None = None
    """Of tag and inoculate."""


@dataclass(frozen=True, slots=True)
class CheckedRule:
    """A row rule: it sees the input pair and no other rule's effect."""

    name: str
    is_named: bool
    actions: tuple[CheckedAction, ...]
    condition: Term
    reason: str | None
    priority: int
    place: Place
    if_nothing: str | None = None
    """Help line for the case that no pair matches."""

    def action(self, verb: str) -> CheckedAction | None:
        """Its action with this verb."""
        return next((a for a in self.actions if a.verb == verb), None)


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """A set statement: cap, quota, limit, sample."""

    name: str
    kind: str
    place: Place
    key: Term | None = None
    order: Term | None = None
    is_descending: bool = False
    amount: float = 0.0
    """Pairs per value, pairs in all, or the percentage of a sample."""
    is_share: bool = False
    seed: int = 0
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckedShape:
    """suppress, amplify or soften."""

    name: str
    verb: str
    method: str
    """matching, offset, dropping, constant"""
    concept: Concept | None
    """None for soften."""
    amount: float | None
    condition: Term
    within: Term | None
    control: str
    """matching: total, unique, length"""
    statistics: tuple[str, ...]
    is_constant: bool
    maximum: float | None
    place: Place

    @property
    def sign(self) -> int:
        """+1 suppress and soften, −1 amplify: the sign of the offset where chosen carries the concept."""
        return -1 if self.verb == "amplify" else 1


@dataclass(frozen=True, slots=True)
class CheckedTraining:
    """Something the trainer does: steer, ablate, mask tokens."""

    name: str
    kind: str
    concept: Concept | None
    amount: float
    layer: int
    condition: Term
    """Which pairs."""
    tokens: Term | None
    """mask: which tokens."""
    tokens_text: str | None
    """The condition as written."""
    place: Place


@dataclass(frozen=True, slots=True)
class CheckedExpect:
    """An expectation about the plan."""

    condition: Term
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class Definition:
    """A ``let`` or ``context`` with its checked value."""

    name: str
    value: Term


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file without errors, resolved against one catalogue."""

    text: str
    file_name: str
    concepts: tuple[tuple[str, Concept], ...]
    """In order of name."""
    matched_labels: tuple[tuple[str, tuple[str, ...]], ...]
    """Label pattern to ids of the concepts it stands for."""
    definitions: tuple[Definition, ...]
    """Each after those that it refers to."""
    rules: tuple[CheckedRule, ...]
    """In order of name: the order in which effects are combined."""
    sets: tuple[CheckedSet, ...]
    """In file order."""
    shapes: tuple[CheckedShape, ...]
    """In order of name."""
    training: tuple[CheckedTraining, ...]
    expects: tuple[CheckedExpect, ...]
    meaning: str
    """Hash of the syntax tree: formatting, comments and the order of rules do not change it."""
    warnings: tuple[Diagnostic, ...]
