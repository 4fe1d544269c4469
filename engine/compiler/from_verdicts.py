"""A rule file from people's verdicts: a start to edit, with a link back to each decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engine.compiler.records import VerdictNote
from engine.compiler.standing import Standing
from engine.errors import RuleError
from engine.records import Verdict
from engine.rules.catalogue import Catalogue
from engine.rules.lexer import concept_literal
from engine.rules.parser import RESERVED
from engine.rules.syntax import LANGUAGE_VERSION
from engine.safe_text import one_line

METHODS = ("matching", "offset", "dropping")


def rules_from_verdicts(
    verdicts: Sequence[VerdictNote],
    catalogue: Catalogue,
    *,
    method: str = "matching",
    strength: float = 0.5,
    amplify_to: float = 0.2,
    share: float = 5.0,
    beside: Standing = Standing(),  # noqa: B008 - frozen
) -> str:
    """The text of a rule file; statements have names, so that ledgers say what they are.

    Args:
        verdicts: the verdicts in force; ``ignore`` is passed over, ``keep`` becomes a comment,
            since holding follows from the verdict itself.
        catalogue: of the index.
        method: matching, offset or dropping.
        strength: λ of offsets.
        amplify_to: target of amplifying by matching, in standard deviations.
        share: percent that dropping drops.
        beside: the file that the lines after the first two will be added to: its names are not used again.

    Raises:
        RuleError: a strength that the language does not take.
    """
    if method == "offset" and not 0 <= strength < float("inf"):
        raise RuleError(
            f"the strength λ of offsets must be a number from 0 on, not {strength:g}",
            hint="the verb carries the sign: `amplify` is the opposite of `suppress`",
        )
    written = _Draft(catalogue, _Shape(method, strength, amplify_to, share), beside)
    targets = [v for v in verdicts if v.verdict in (Verdict.SUPPRESS, Verdict.AMPLIFY)]
    for note in sorted(targets, key=lambda v: (v.concept_id, v.context_id or "")):
        written.shape(note)
    for note in verdicts:
        if note.verdict is Verdict.KEEP:
            written.hold(note)
    head = (f"prosect rules {LANGUAGE_VERSION}", "# Made from verdicts; edit freely.")
    return "\n".join((*head, *written.lines())) + "\n"


@dataclass(frozen=True, slots=True)
class _Shape:
    """How verdicts are carried out."""

    method: str
    strength: float
    amplify_to: float
    share: float

    def words(self, verdict: Verdict) -> str:
        if self.method == "offset":
            return f"offset {self.strength:g}"
        if self.method == "dropping":
            return f"dropping {self.share:g}%"
        return "matching" if verdict is Verdict.SUPPRESS else f"matching to {self.amplify_to:g}"


class _Draft:
    """A file as it grows: definitions, statements, then what is held."""

    def __init__(self, catalogue: Catalogue, shape: _Shape, beside: Standing) -> None:
        self.known = {c.concept_id: c for c in catalogue.concepts}
        self.contexts = {c.context_id: c for c in catalogue.contexts}
        self.how = shape
        self.beside = beside
        self.definitions: dict[str, str] = {}
        self.statements: list[str] = []
        self.rule_names: set[str] = set(beside.taken)
        self.held: list[str] = []

    def shape(self, note: VerdictNote) -> None:
        """A statement for a verdict; a comment where this index lacks what it is about."""
        entry, context = self.known.get(note.concept_id), self.contexts.get(note.context_id or "")
        if entry is None:
            self._leave_out(note, note.concept_id)
            return
        if note.context_id and context is None:  # everywhere would be more than was decided
            label = entry.name or note.name or entry.label
            self._leave_out(note, f"{one_line(label)} in context {note.context_id}")
            return
        name = self._name(note.concept_id, entry.name or note.name or entry.label)
        is_inside = context is not None and context.number != 0
        inside = f"in context {context.name}" if context is not None and is_inside else ""
        about = _about(inside, note.reason, note.author, _journal(note))
        if about:
            self.statements.append(f"# {about}")
        where = f' where context("{(note.context_id or "")[:12]}")' if is_inside else ""
        rule = _free(f"{note.verdict}_{name}", self.rule_names)
        self.rule_names.add(rule)
        how = self.how.words(note.verdict)
        self.statements.append(f"{rule}: {note.verdict} {concept_literal(name)} by {how}{where}")

    def _name(self, ident: str, label: str) -> str:
        """What a concept is called in the file; defined where it is not yet."""
        if ident in self.beside.definitions:
            return self.beside.definitions[ident]
        if ident not in self.definitions:
            taken = {*self.definitions.values(), *self.beside.taken}
            self.definitions[ident] = _free(_as_word(label, ident), taken)
        return self.definitions[ident]

    def _leave_out(self, note: VerdictNote, what: str) -> None:
        self.statements.append("# " + _about(f"{note.verdict} {what}: not in this index", _journal(note)))

    def hold(self, note: VerdictNote) -> None:
        """A comment for what is held: that follows from the verdict itself."""
        entry = self.known.get(note.concept_id)
        label = note.name or note.concept_id
        if entry is not None:
            label = entry.name or note.name or entry.label
        context = self.contexts.get(note.context_id or "")
        inside = f"in context {context.name if context is not None else note.context_id}"
        label = f"{label} {inside}" if note.context_id else label
        self.held.append("# held: " + _about(label, note.reason, note.author, _journal(note)))

    def lines(self) -> list[str]:
        """Everything but the head."""
        defined = []
        for ident, name in self.definitions.items():
            label = self.known[ident].label
            comment = "" if name == label else f"  # {one_line(label)}"
            defined.append(f'concept {name} = id "{_prefix(ident, list(self.known))}"{comment}')
        return [*defined, *self.statements, *self.held]


def _about(*words: str) -> str:
    """What a comment says."""
    return " · ".join(one_line(word) for word in words if word)


def _journal(note: VerdictNote) -> str:
    """Which journal entry a statement comes from."""
    return f"journal {note.entry}" if note.entry else ""


def _as_word(label: str, ident: str) -> str:
    """A label as a name of the rule language."""
    word = "".join(c if c.isalnum() else "_" for c in label.lower()).strip("_")
    while "__" in word:
        word = word.replace("__", "_")
    if not word or not word[0].isalpha():
        word = f"c_{word}" if word else f"c_{ident[:8]}"
    return word


def _free(word: str, taken: Collection[str]) -> str:
    """The word, shortened and numbered where it is taken."""
    candidate = word[:40].rstrip("_")
    number = 2
    while candidate in taken or candidate in RESERVED:
        candidate = f"{word[:36]}_{number}"
        number += 1
    return candidate


def _prefix(ident: str, everything: Sequence[str]) -> str:
    """The shortest prefix of at least 12 digits that names one concept."""
    for length in range(12, len(ident)):
        if sum(other.startswith(ident[:length]) for other in everything) == 1:
            return ident[:length]
    return ident
