"""Which verdicts a rule file carries out already and which names it has taken, for adding statements to it.

Statements that are switched off count, since that was decided, too; those with errors are passed over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engine.records import Verdict
from engine.rules.catalogue import Catalogue, Type
from engine.rules.check_file import understood
from engine.rules.checked import CheckedFile
from engine.rules.statements import parse
from engine.rules.terms import Apply, Column, Constant, Inside, Reading, Reference, Term, walk
from engine.views.rules import OFF

ACTING = frozenset({"drop", "keep only", "flip", "weight *=", "weight =", "offset +="})
"""Actions that change what is trained on; tags and protection do not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule file as whoever adds to it needs it."""

    definitions: Mapping[str, str] = field(default_factory=dict)
    """Concept id → the name that the file defines for just this concept."""
    taken: frozenset[str] = frozenset()
    """Names of statements and definitions."""
    shaped: frozenset[tuple[str, str | None, str]] = frozenset()
    """(concept id, context id, how) of what statements act on; None: not limited to a context; how: suppress,
    amplify, or ``either`` where the statement does not say."""

    def carries_out(self, concept_id: str, context_id: str | None, verdict: Verdict) -> bool:
        """Some statement acts on the concept there, and not in the opposite direction."""
        return any((concept_id, context_id, how) in self.shaped for how in (verdict.value, "either"))


def standing(text: str, catalogue: Catalogue) -> Standing:
    """What a text defines and shapes."""
    text = "\n".join(line.removeprefix(OFF) for line in text.split("\n"))
    checked = understood(text, catalogue)
    defined = {c.concept_id: name for name, c in reversed(checked.concepts) if c.concept_id is not None}
    names = {getattr(statement, "name", None) for statement in parse(text).file.statements} - {None}
    shaped = {
        (concept_id, where, how)
        for concept_id, how, condition in _acting(checked)
        for where in _places(condition, checked, catalogue)
    }
    return Standing(defined, frozenset(map(str, names)), frozenset(shaped))


def _acting(checked: CheckedFile) -> Iterator[tuple[str, str, Term]]:
    """(concept id, how, condition) of every statement that changes what a concept is taught by."""
    for shape in checked.shapes:
        if shape.concept is not None and shape.concept.concept_id is not None:
            both = [t for t in (shape.condition, shape.within) if t is not None and t.type is Type.TRUTH]
            yield shape.concept.concept_id, shape.verb, Apply("and", tuple(both), Type.TRUTH)
    for item in checked.training:
        if item.concept is not None and item.concept.concept_id is not None:
            yield item.concept.concept_id, "either", item.condition
    for rule in checked.rules:
        acting = [a for a in rule.actions if a.verb in ACTING]
        if acting:
            terms = [rule.condition, *(a.value for a in acting if a.value is not None)]
            for ident in {i for term in terms for i in _concepts(term, checked)}:
                yield ident, "either", rule.condition


def _concepts(term: Term, checked: CheckedFile) -> set[str]:
    known = {d.name: d.value for d in checked.definitions}
    found: set[str] = set()
    for part in walk(term):
        if isinstance(part, Reading) and part.concept.concept_id is not None:
            found.add(part.concept.concept_id)
        elif isinstance(part, Reference) and part.name in known:
            found |= _concepts(known[part.name], checked)
    return found


def _places(condition: Term, checked: CheckedFile, catalogue: Catalogue) -> set[str | None]:
    """Contexts that a selection is limited to; where it is limited to none: everywhere."""
    sources = {c.name: c.context_id for c in catalogue.contexts if c.kind == "source"}
    found: set[str | None] = set(_inside(condition, checked, sources, is_meant=True))
    return found or {None}


def _inside(term: Term, checked: CheckedFile, sources: Mapping[str, str], *, is_meant: bool) -> Iterator[str]:
    """Contexts that pairs must be in; those that they must not be in are left out."""
    known = {d.name: d.value for d in checked.definitions}
    if isinstance(term, Inside):
        if is_meant:
            yield term.context_id
    elif isinstance(term, Reference) and term.name in known:
        yield from _inside(known[term.name], checked, sources, is_meant=is_meant)
    elif isinstance(term, Apply) and term.operator in ("and", "or", "not"):
        turned = is_meant != (term.operator == "not")
        for part in term.arguments:
            yield from _inside(part, checked, sources, is_meant=turned)
    elif isinstance(term, Apply) and term.operator == "==" and is_meant:
        values = [a.value for a in term.arguments if isinstance(a, Constant)]
        if any(isinstance(a, Column) and a.name == "source" for a in term.arguments):
            yield from (sources[str(v)] for v in values if str(v) in sources)
