"""The syntax tree of a rule file. Places are carried by every node and left out of equality.

Expressions first, then statements in the order of the reference (engine/docs/rules.md).
"""

from dataclasses import dataclass, field

from engine.rules.diagnostics import NOWHERE, Place

LANGUAGE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Number:
    """``2``, ``0.5``, ``80%``"""

    value: float
    is_percent: bool = False
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """``"quoted"``"""

    value: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pattern:
    """``/regular expression/i``"""

    source: str
    """Between the slashes, ``\\/`` still escaped."""
    flags: str = ""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Truth:
    """``true``, ``false``"""

    value: bool
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Items:
    """``[a, b, c]``"""

    items: tuple["Expression", ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Name:
    """``source``, ``chosen.tokens``, ``meta."odd key"``: dotted parts."""

    parts: tuple[str, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def dotted(self) -> str:
        """As written, for messages."""
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class ConceptName:
    """``@name`` or ``@"working label"``"""

    name: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LatentNumber:
    """``#812``"""

    number: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """``( … )``, kept so that nothing a person wrote is lost."""

    inner: "Expression"
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """``not x``, ``-x``"""

    sign: str
    operand: "Expression"
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """``a + b``, ``a == b``, ``a and b`` …"""

    sign: str
    left: "Expression"
    right: "Expression"
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Between:
    """``value between low and high``, both ends included."""

    value: "Expression"
    low: "Expression"
    high: "Expression"
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``function(argument, …)``, with ``.part`` behind it for ``pair("…").dropped``."""

    function: str
    arguments: tuple["Expression", ...]
    part: str | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


Expression = (
    Number
    | Text
    | Pattern
    | Truth
    | Items
    | Name
    | ConceptName
    | LatentNumber
    | Group
    | Unary
    | Binary
    | Between
    | Call
)


@dataclass(frozen=True, slots=True)
class Header:
    """``prosect rules 1``"""

    version: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Use:
    """``use index "…"``: pins the file to an index, reader or data hash."""

    what: str
    value: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Member:
    """One term of a concept definition."""

    joined_by: str
    """or, except; the first member says or"""
    kind: str
    """latent, concept, id, label"""
    value: str
    """Number, name, id prefix or pattern source."""
    flags: str = ""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ConceptStatement:
    """``concept style = #812 or @"bold · lists" except #9``"""

    name: str
    members: tuple[Member, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)
    name_place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ContextStatement:
    """``context tea = prompt.text ~ /tea/``"""

    name: str
    condition: Expression
    place: Place = field(default=NOWHERE, compare=False, repr=False)
    name_place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LetStatement:
    """``let longer = chosen.tokens > rejected.tokens``"""

    name: str
    value: Expression
    place: Place = field(default=NOWHERE, compare=False, repr=False)
    name_place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule does to a pair."""

    verb: str
    """drop, protect, keep only, flip, weight *=, weight =, offset +=, tag, inoculate"""
    value: Expression | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RuleStatement:
    """``name: action, action where condition because "reason" priority 1``"""

    name: str | None
    actions: tuple[Action, ...]
    condition: Expression | None = None
    reason: str | None = None
    priority: int | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CapStatement:
    """``cap weight 0.1 .. 4``"""

    name: str | None
    low: float
    high: float
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class QuotaStatement:
    """``quota by source max 2000 seed 7``: at most so many pairs per value, drawn by seed."""

    name: str | None
    key: Expression
    maximum: int
    seed: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LimitStatement:
    """``limit 3 per group order delta(@x) desc seed 7``: the first so many per value."""

    name: str | None
    maximum: int
    key: Expression
    order: Expression | None
    is_descending: bool
    seed: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SampleStatement:
    """``sample 50000 seed 7``, ``sample 10% by source seed 7``"""

    name: str | None
    amount: float
    is_share: bool
    key: Expression | None
    seed: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ShapeStatement:
    """``suppress @x by matching to 0 within source max 4 where …``"""

    name: str | None
    verb: str
    """suppress, amplify"""
    concept: ConceptName
    method: str
    """matching, offset, dropping"""
    amount: float | None = None
    """λ of offset, percent of dropping, target of matching in standard deviations"""
    control: str = "total"
    """matching: total, unique (beyond all other concepts and length) or length (at equal length)"""
    statistics: tuple[str, ...] = ()
    """matching: delta, u, sum, n, rate; none: delta and u when suppressing, delta when amplifying"""
    is_constant: bool = False
    """offset: the sign of the delta only"""
    within: Expression | None = None
    maximum: float | None = None
    condition: Expression | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SoftenStatement:
    """``soften tea by 0.5``: a constant offset on all pairs of a context."""

    name: str | None
    context: Expression
    amount: float
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SteerStatement:
    """``steer @x by 0.3 at layer 12 where …``; recorded for training."""

    name: str | None
    concept: ConceptName
    amount: float
    layer: int
    condition: Expression | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AblateStatement:
    """``ablate @x at layer 12``; recorded for training."""

    name: str | None
    concept: ConceptName
    layer: int
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class MaskStatement:
    """``mask tokens where @x > 0.3 within tea``; recorded for training."""

    name: str | None
    condition: Expression
    within: Expression | None = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ExpectStatement:
    """``expect kept >= 80%``"""

    condition: Expression
    place: Place = field(default=NOWHERE, compare=False, repr=False)


Statement = (
    Use
    | ConceptStatement
    | ContextStatement
    | LetStatement
    | RuleStatement
    | CapStatement
    | QuotaStatement
    | LimitStatement
    | SampleStatement
    | ShapeStatement
    | SoftenStatement
    | SteerStatement
    | AblateStatement
    | MaskStatement
    | ExpectStatement
)


@dataclass(frozen=True, slots=True)
class RuleFile:
    """A parsed file: what could be understood, and every diagnostic."""

    header: Header | None
    statements: tuple[Statement, ...]
