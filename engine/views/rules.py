"""Frozen view models of rule files and of what they would do. Signs are chosen minus rejected."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

OFF = "#off "
"""What stands before each line of a statement that is switched off; a comment to the language."""


FAILS = "fails"
"""Instead of a code: an expectation that does not hold."""


_MADE_NAME = re.compile(r"([a-z]+(?:-[a-z]+)*)-[0-9a-f]{6}")
"""What a statement without a name is called: verb and hash."""


class Steps(NamedTuple):
    """Texts of a rule file that undo and redo bring back."""

    past: tuple[str, ...] = ()
    """Oldest first."""
    future: tuple[str, ...] = ()
    """Next first."""


NO_STEPS = Steps()


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule file as it lies on disk."""

    name: str
    """File name without folder and ending."""
    text: str
    stamp: str
    """Hash of the bytes: a save names the stamp that it replaces. Empty: there is no such file."""
    steps: Steps = NO_STEPS
    """Edits that led here, where this text is the last that was saved with them."""
    remark: str = ""
    """Of a save: what did not work beside it."""


@dataclass(frozen=True, slots=True)
class RuleFinding:
    """An error or warning about a rule text."""

    is_error: bool
    code: str
    message: str
    help: str | None
    line: int
    """From 1; 0 where it is about the whole file."""
    column: int
    """From 1."""
    width: int
    """Characters under the caret."""


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """What one statement does."""

    name: str
    kind: str
    line: int
    """From 1."""
    n_matched: int
    n_unique: int
    """Matched pairs that no other statement touches."""
    n_effect: int
    """Pairs that it changes."""


@dataclass(frozen=True, slots=True)
class ConceptShift:
    """A concept before and after a plan."""

    concept_id: str
    name: str
    mean_before: float
    """Mean disparity over the input pairs."""
    mean_after: float
    rate_before: float | None
    """Win rate among discordant pairs."""
    rate_after: float | None
    n_active: int
    is_target: bool
    is_held: bool
    is_beyond: bool
    """Held, and moved beyond its limit."""

    @property
    def change(self) -> float:
        """mean_after − mean_before"""
        return self.mean_after - self.mean_before


class LengthShift(NamedTuple):
    """Mean tokens of both sides before and after, weights considered and sides as flipped."""

    chosen_before: float
    chosen_after: float
    rejected_before: float
    rejected_after: float


class Shift(NamedTuple):
    """Share of one value before and after."""

    category: str
    value: str
    before: float
    after: float


class HeldShift(NamedTuple):
    """A concept with the verdict keep inside a context, under a plan."""

    concept_id: str
    name: str
    context_id: str
    context: str
    """Its name."""
    mean_before: float
    mean_after: float
    """Of the disparity, over the context's pairs."""
    is_beyond: bool

    @property
    def change(self) -> float:
        """mean_after − mean_before"""
        return self.mean_after - self.mean_before


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """What a rule text would do; only findings when it has errors."""

    findings: tuple[RuleFinding, ...]
    problem: str | None
    """Why there is no plan although the text is right; None otherwise."""
    counts: tuple[tuple[str, int], ...]
    """total, input, kept, dropped, flipped, offset, held_out, unlabelled, refused"""
    effects: tuple[RuleEffect, ...]
    overlaps: tuple[tuple[str, str, int], ...]
    """(statement, statement, pairs that both touch)"""
    drift: tuple[Shift, ...]
    shifts: tuple[ConceptShift, ...]
    """Held concepts beyond their limit first, then by |change|, targets last."""
    effective_share: float | None
    """(Σw)²/Σw² over the kept pairs, as a share of them."""
    largest_weight: float | None
    expectations: tuple[tuple[bool, str, str], ...]
    """(holds, text, what was found)"""
    elapsed_s: float
    stamp: str
    """Hash of the text, as ``RuleText`` has it of a file: a compilation names the text that was looked at."""
    lengths: LengthShift | None = None
    """None where nothing is kept."""
    held_inside: tuple[HeldShift, ...] = ()
    """Keeps inside contexts, those beyond their limit first."""
    n_conflicts: int = 0
    """Pairs that statements give different weights: nothing is compiled while there are any."""

    @property
    def has_plan(self) -> bool:
        """False when the text has errors or cannot be planned."""
        return self.problem is None and not any(f.is_error for f in self.findings)


class WithAndWithout(NamedTuple):
    """Mean disparity of a concept under a plan, and under the plan without one statement."""

    with_it: float
    without: float

    @property
    def effect(self) -> float:
        """with_it − without: what the statement does to the concept, as the others stand."""
        return self.with_it - self.without


def spoken_name(name: str, line: int) -> str:
    """A statement as screens call it: the name that a person gave it, else its line and verb.

    A plan tells statements without a name apart by a hash, which nobody finds again in a file.
    """
    made = _MADE_NAME.fullmatch(name)
    return f"line {line:,} {made[1]}" if made else name


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A plan without one of its statements."""

    name: str
    kind: str
    line: int
    """From 1."""
    means: Mapping[str, WithAndWithout] | None
    """By concept id; None: there is no plan without the statement."""
    problem: str = ""
    """Why there is none."""
    n_statements: int = 1
    """Statements that can move a concept, this one included."""


def effects_on(concept_id: str, found: Iterable[LeftOut]) -> list[tuple[LeftOut, WithAndWithout]]:
    """What statements do to one concept, furthest first; not of those without which there is no plan."""
    known = [(s, s.means[concept_id]) for s in found if s.means is not None and concept_id in s.means]
    return sorted(known, key=lambda k: (-abs(k[1].effect), k[0].line))


def only_together(concept_id: str, change: float, found: Sequence[LeftOut]) -> float | None:
    """What of a concept's change several statements do only together: the change less every effect.

    None while a statement's effect is not known.
    """
    known = effects_on(concept_id, found)
    is_whole = bool(found) and len(known) == found[0].n_statements
    return change - sum(means.effect for _, means in known) if is_whole else None


@dataclass(frozen=True, slots=True)
class StatementMove:
    """What one statement does to one concept."""

    name: str
    line: int
    kind: str
    effect: float | None
    """Mean disparity with the statement − without it; None: there is no plan without it."""
    without: float | None
    problem: str
    """Why there is none; else empty."""


@dataclass(frozen=True, slots=True)
class ConceptMoves:
    """What every statement of a rule file does to one concept."""

    concept_id: str
    name: str
    before: float
    after: float
    statements: tuple[StatementMove, ...]
    """Furthest first."""
    together: float | None
    """What of the change several statements do only together."""


@dataclass(frozen=True, slots=True)
class PairFate:
    """What a plan does to one pair."""

    fate: str
    """kept, dropped, held_out, unlabelled or refused"""
    weight: float
    """Mean 1 over the kept pairs; 0 unless kept."""
    offset: float
    is_flipped: bool
    touched_by: tuple[str, ...]
    """Statements."""
    dropped_by: tuple[str, ...]
    tags: tuple[str, ...]
