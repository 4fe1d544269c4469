"""Checked expressions: every name resolved, every node typed. Interpreter and SQL lowering read these.

A term says what it means without the file it came from, so equal terms are computed once.
"""

from dataclasses import dataclass, field

from engine.manifest import hash_bytes
from engine.rules.catalogue import Type


@dataclass(frozen=True, slots=True)
class Concept:
    """A resolved concept: a set of latents, a scored concept of the index, or a built-in measure."""

    name: str
    """As the file calls it."""
    kind: str
    """latents, scored, built-in"""
    members: tuple[int, ...] = ()
    """Latents, ascending; kind latents only."""
    number: int | None = None
    """Number in the index when it is exactly one of the index's concepts."""
    concept_id: str | None = None

    @property
    def key(self) -> str:
        """Identity of what is measured: the same for two names of one set."""
        if self.kind == "latents":
            return "latents:" + hash_bytes(",".join(map(str, self.members)).encode())
        return f"{self.kind}:{self.concept_id or self.name}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal."""

    value: float | str | bool
    type: Type


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the pair."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Meta:
    """A key of the pair's metadata."""

    path: tuple[str, ...]
    type: Type


@dataclass(frozen=True, slots=True)
class Reading:
    """A concept on one span. For a scored concept the aggregate is max."""

    concept: Concept
    span: str
    """prompt, chosen, rejected"""
    aggregate: str
    """max, sum, n, rate, or u on span ``delta``: the disparity"""
    type: Type = Type.NUMBER


@dataclass(frozen=True, slots=True)
class Inside:
    """Membership in a context of the index."""

    number: int
    context_id: str
    type: Type = Type.TRUTH


@dataclass(frozen=True, slots=True)
class Reference:
    """A ``let`` or ``context`` of the file."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Matches:
    """RE2 search in a text; missing matches nothing."""

    text: "Term"
    pattern: str
    """With its flags in front, as both engines read it."""
    type: Type = Type.TRUTH


@dataclass(frozen=True, slots=True)
class Apply:
    """An operator or function: + - * / neg, == < <= and or not in, abs min max log length number."""

    operator: str
    arguments: tuple["Term", ...]
    type: Type


TEXT_FUNCTIONS = ("length", "number")
"""Numbers that are made of one text."""
NUMBER_IN_TEXT = r"^[ \t\r\n]*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[ \t\r\n]*$"
"""A text that is one number with a point, and nothing else, as both engines read it."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """Something computed once over the input pairs: z and pct per pair; p, mean, sd one number."""

    kind: str
    argument: "Term"
    level: float = 0.0
    """Percentile of kind p."""
    only_active: bool = False
    """Over the pairs where the argument is not 0."""
    type: Type = Type.NUMBER

    @property
    def key(self) -> str:
        """Name of its frozen values in the lock."""
        return hash_bytes(repr((self.kind, self.argument, self.level, self.only_active)).encode())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Something about the finished plan, for ``expect``: kept, matched(rule), effect(@x) …"""

    kind: str
    argument: str | None
    part: str | None
    type: Type
    written: str | None = field(default=None, compare=False, repr=False)
    """The argument as the file has it, where that is not what identifies it."""


Term = Constant | Column | Meta | Reading | Inside | Reference | Matches | Apply | Statistic | Outcome

COMPARISONS = frozenset({"==", "<", "<=", "in"})


def children(term: Term) -> tuple[Term, ...]:
    """The terms directly inside a term."""
    if isinstance(term, Apply):
        return term.arguments
    if isinstance(term, Statistic):
        return (term.argument,)
    if isinstance(term, Matches):
        return (term.text,)
    return ()


def walk(term: Term) -> list[Term]:
    """A term and everything inside it, parents first."""
    out: list[Term] = []
    pending = [term]
    while pending:
        found = pending.pop()
        out.append(found)
        pending.extend(children(found))
    return out


def negate(term: Term) -> Term:
    """``not term``"""
    return Apply("not", (term,), Type.TRUTH)


def both(terms: list[Term]) -> Term:
    """All of them; true for none."""
    if not terms:
        return Constant(True, Type.TRUTH)
    return terms[0] if len(terms) == 1 else Apply("and", tuple(terms), Type.TRUTH)
