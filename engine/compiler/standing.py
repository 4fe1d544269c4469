"""Which concepts a rule file shapes already and which names it has taken, for adding statements to it.

Goes by the text, statements that are switched off included, so that a file with errors is understood as far
as it goes. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.rule_views import OFF
from engine.rules.catalogue import Catalogue, ContextEntry
from engine.rules.lexer import Kind, lex, unquote
from engine.rules.statements import parse
from engine.rules.syntax import ConceptStatement, ContextStatement, Member, Statement

_LIMITED = re.compile(r"\b(?:context|cluster)\b")


@dataclass(frozen=True, slots=True)
class Standing:
    """A rule file as whoever adds to it needs it."""

    definitions: Mapping[str, str] = field(default_factory=dict)
    """Concept id → the name that the file defines for just this concept."""
    taken: frozenset[str] = frozenset()
    """Names of statements and definitions."""
    shaped: frozenset[tuple[str, str | None]] = frozenset()
    """(concept id, context id) of what some statement is about; None: not limited to a context."""

    def carries_out(self, concept_id: str, context_id: str | None) -> bool:
        """Some statement is about the concept there."""
        return (concept_id, context_id) in self.shaped


def standing(text: str, catalogue: Catalogue) -> Standing:
    """What a text defines and shapes."""
    text = "\n".join(line.removeprefix(OFF) for line in text.split("\n"))
    statements = parse(text).file.statements
    meaning = _meaning(statements, catalogue)
    known = {s.name: text[s.place.start : s.place.end] for s in statements if isinstance(s, ContextStatement)}
    shaped: set[tuple[str, str | None]] = set()
    for statement in statements:
        if isinstance(statement, ConceptStatement | ContextStatement):
            continue
        said = text[statement.place.start : statement.place.end]
        concepts = {i for name in _concepts_in(said) for i in meaning.get(name, ())}
        shaped |= {(concept, where) for concept in concepts for where in _places(said, known, catalogue)}
    names = {getattr(statement, "name", None) for statement in statements} - {None}
    defined = [s.name for s in statements if isinstance(s, ConceptStatement)]
    return Standing(
        {meaning[n][0]: n for n in reversed(defined) if len(meaning[n]) == 1},
        frozenset(map(str, names)),
        frozenset(shaped),
    )


def _meaning(statements: tuple[Statement, ...], catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """Concept ids by every name that a text may call them."""
    meaning: dict[str, tuple[str, ...]] = {}
    for entry in catalogue.concepts:
        plain = (entry.label, entry.label.removeprefix("@"), entry.label.replace('"', ""), entry.name or "")
        for name in {*plain} - {""}:
            meaning[name] = (*meaning.get(name, ()), entry.concept_id)
    for statement in statements:
        if isinstance(statement, ConceptStatement):
            found = (i for m in statement.members for i in _ids_of(m, meaning, catalogue))
            meaning[statement.name] = tuple(dict.fromkeys(found))
    return meaning


def _ids_of(member: Member, meaning: Mapping[str, tuple[str, ...]], catalogue: Catalogue) -> tuple[str, ...]:
    if member.kind == "id":
        return tuple(c.concept_id for c in catalogue.concepts if c.concept_id.startswith(member.value))
    return meaning.get(member.value, ()) if member.kind == "concept" else ()


def _concepts_in(said: str) -> set[str]:
    """Names after ``@``."""
    found = (token.text[1:] for token in lex(said).tokens if token.kind is Kind.CONCEPT)
    return {unquote(name)[0] if name.startswith('"') else name for name in found}


def _places(said: str, known: Mapping[str, str], catalogue: Catalogue) -> set[str | None]:
    """Contexts that a statement is limited to; those of named ones by what these say."""
    said += "".join(text for name, text in known.items() if re.search(rf"\b{re.escape(name)}\b", said))
    found: set[str | None] = {c.context_id for c in catalogue.contexts if _names(said, c)}
    return found or (set() if _LIMITED.search(said) else {None})


def _names(said: str, context: ContextEntry) -> bool:
    return context.context_id[:12] in said or f'"{context.name}"' in said
