"""What could stand at the cursor of a rule text. For editors and filter prompts; never raises."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from engine.rules.catalogue import COLUMNS, LONG_TEXTS, Catalogue
from engine.rules.lexer import Kind, Token, concept_literal, lex, quote
from engine.rules.naming import BUILT_IN
from engine.rules.statements import ACTIONS, VERBS, parse
from engine.rules.syntax import ConceptStatement, ContextStatement, LetStatement, Statement
from engine.rules.wanted import Wanted, wanted

MAX_OFFERED = 50
_UNNAMED = frozenset({"use", "concept", "context", "let", "expect"})
"""Verbs of statements that take no `name:`."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One offer: put ``text`` in place of ``start:cursor``."""

    start: int
    text: str
    kind: str
    """verb, action, word, concept, context, column, key, value, hash, rule, function or name"""


def complete(
    text: str, cursor: int, catalogue: Catalogue, *, is_condition: bool = False
) -> tuple[Completion, ...]:
    """Offers at a cursor, best first.

    Args:
        text: the rule file, or one condition.
        cursor: offset into it.
        catalogue: what exists.
        is_condition: the text is a filter prompt: no statements.
    """
    before = text[:cursor]
    lexed = lex(before)
    tokens = [t for t in lexed.tokens if t.kind is not Kind.EOF]
    if lexed.comments and lexed.comments[-1].place.start >= before.rfind("\n") + 1:
        return ()
    names = _Names(text, catalogue)
    unclosed = [d.place for d in lexed.diagnostics if d.code == "R105" and d.place.end == cursor]
    if unclosed:
        place = wanted(_statement(tokens, is_condition), is_condition=is_condition)
        return _quoted(before, unclosed[0].start, place, names)
    last = tokens[-1] if tokens and tokens[-1].place.end == cursor else None
    if before.endswith("@") or (last is not None and last.kind is Kind.CONCEPT):
        start = cursor - 1 if last is None or last.kind is not Kind.CONCEPT else last.place.start
        return _ranked(names.of("concept"), start, before[start:], "concept")
    dotted = _dotted(tokens, cursor)
    if dotted is not None:
        return _ranked(names.of("column"), dotted[0], dotted[1], "column")
    if last is not None and last.kind in (Kind.STRING, Kind.REGEX, Kind.NUMBER, Kind.LATENT):
        return ()
    typed = last.text if last is not None and last.kind is Kind.WORD else ""
    earlier = tokens[:-1] if typed else tokens
    start = cursor - len(typed)
    if not is_condition and (start == 0 or text[start - 1] == "\n" or not earlier):
        return _ranked(VERBS, start, typed, "verb")
    statement = _statement(earlier, is_condition)
    if not is_condition and not statement:
        return _ranked((v for v in VERBS if v not in _UNNAMED), start, typed, "verb")
    found = wanted(statement, is_condition=is_condition)
    return _all_of(found, start, typed, names)


def _all_of(found: Wanted, start: int, typed: str, names: "_Names") -> tuple[Completion, ...]:
    offers = list(_ranked([w for w in found.words if not w.endswith("(")], start, typed, "word"))
    for kind in found.kinds:
        if kind == "function":
            offers += _ranked([w for w in found.words if w.endswith("(")], start, typed, kind)
        elif kind == "concept":
            offers += _ranked(names.of(kind), start, "@" + typed, kind)
        else:
            offers += _ranked(names.of(kind, found.column), start, typed, kind)
    if "function" not in found.kinds:
        offers += _ranked([w for w in found.words if w.endswith("(")], start, typed, "function")
    return tuple(dict.fromkeys(offers))[:MAX_OFFERED]


def _quoted(before: str, start: int, place: Wanted, names: "_Names") -> tuple[Completion, ...]:
    """Offers inside a text that is not closed yet; nothing inside a regular expression."""
    typed = before[start:]
    if typed.startswith("@"):
        found = [w for w in names.of("concept") if w.startswith('@"')]
        return _ranked(found, start, typed, "concept")
    if not typed.startswith('"'):
        return ()
    kind = next((k for k in place.kinds if k in ("context text", "value", "hash")), None)
    return () if kind is None else _ranked(names.of(kind, place.column), start, typed, kind)


def _ranked(words: Iterable[str], start: int, typed: str, kind: str) -> tuple[Completion, ...]:
    """The words that fit what is typed: beginnings before the rest, same case first, plain before quoted.

    Where nothing is typed yet they stay as they come.
    """
    bare = typed.lstrip('@"').lower()
    found = []
    for word in dict.fromkeys(words):
        plain = word.lstrip('@"')
        if word == typed or bare not in plain.lower():
            continue
        is_ahead = plain.lower().startswith(bare)
        if not is_ahead and kind not in ("concept", "context text"):
            continue
        is_same = plain.startswith(typed.lstrip('@"'))
        found.append(((not is_ahead, not is_same, bool(bare) and '"' in word), word))
    found.sort(key=lambda item: item[0])
    return tuple(Completion(start, word, kind.removesuffix(" text")) for _, word in found[:MAX_OFFERED])


class _Names:
    """The names that a file and its index have, as they are written."""

    def __init__(self, text: str, catalogue: Catalogue) -> None:
        self._text = text
        self._catalogue = catalogue

    def of(self, kind: str, column: str = "") -> list[str]:
        """All of one kind."""
        catalogue = self._catalogue
        if kind == "concept":
            own = [s.name for s in self._statements if isinstance(s, ConceptStatement)]
            known = [e.name or e.label.removeprefix("@").replace('"', "") for e in catalogue.concepts]
            return [concept_literal(w) for w in dict.fromkeys([*own, *known, *BUILT_IN])]
        if kind == "name":
            return [s.name for s in self._statements if isinstance(s, LetStatement | ContextStatement)]
        if kind == "rule":
            own_names = [getattr(s, "name", None) for s in self._statements if not _defines(s)]
            return [n for n in own_names if isinstance(n, str)]
        if kind == "column":
            plain = [p for p in catalogue.meta if all(part.isidentifier() for part in p)]
            return [*COLUMNS, *("meta." + ".".join(p) for p in plain)]
        if kind == "key":
            return [c for c in self.of("column") if c not in LONG_TEXTS]
        if kind == "context":
            return [f"context({quote(c.name)})" for c in catalogue.contexts]
        if kind == "context text":
            return [quote(c.name) for c in catalogue.contexts]
        if kind == "value":
            return [quote(v) for v in sorted(catalogue.values.get(column, ()))]
        if kind == "hash":
            return [quote(h[:12]) for what, h in catalogue.hashes.items() if what == column]
        return list(ACTIONS) if kind == "action" else []

    @cached_property
    def _statements(self) -> tuple[Statement, ...]:
        return parse(self._text).file.statements


def _defines(statement: Statement) -> bool:
    return isinstance(statement, ConceptStatement | LetStatement | ContextStatement)


def _statement(tokens: Sequence[Token], is_condition: bool) -> Sequence[Token]:
    """The tokens of the last statement, without its name."""
    if is_condition:
        return tokens
    start = max((i for i, t in enumerate(tokens) if t.starts_statement), default=0)
    own = tokens[start:]
    return own[2:] if len(own) > 1 and own[1].text == ":" else own


def _dotted(tokens: list[Token], cursor: int) -> tuple[int, str] | None:
    """Start and text of a dotted name that ends at the cursor."""
    parts: list[Token] = []
    expected = cursor
    for token in reversed(tokens):
        if token.place.end != expected or not (token.kind is Kind.WORD or token.text == "."):
            break
        parts.insert(0, token)
        expected = token.place.start
    if not any(p.text == "." for p in parts) or parts[0].text == ".":
        return None
    return parts[0].place.start, "".join(p.text for p in parts)
