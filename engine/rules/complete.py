"""What could stand at the cursor of a rule text. For editors and filter prompts; never raises."""

from collections.abc import Iterable
from dataclasses import dataclass

from engine.rules.catalogue import COLUMNS, Catalogue
from engine.rules.check import FUNCTIONS
from engine.rules.lexer import Kind, Token, concept_literal, lex
from engine.rules.naming import BUILT_IN
from engine.rules.statements import ACTIONS, VERBS, parse
from engine.rules.syntax import ConceptStatement, ContextStatement, LetStatement

MAX_OFFERED = 50


@dataclass(frozen=True, slots=True)
class Completion:
    """One offer: put ``text`` in place of ``start:cursor``."""

    start: int
    text: str
    kind: str
    """verb, concept, context, column, function or name"""


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
    before = lex(text[:cursor])
    tokens = [t for t in before.tokens if t.kind is not Kind.EOF]
    last = tokens[-1] if tokens and tokens[-1].place.end == cursor else None
    earlier = tokens[:-1] if last is not None else tokens
    if text[:cursor].endswith("@") or (last is not None and last.kind is Kind.CONCEPT):
        return _concepts(text, cursor, last, catalogue)
    if _inside_string(earlier if last is not None and last.kind is Kind.STRING else tokens, text, cursor):
        return ()
    dotted = _dotted(tokens, cursor)
    if dotted is not None:
        return _offers(_columns(catalogue), dotted[0], dotted[1], "column")
    if not is_condition and _at_statement(earlier, last, text, cursor):
        start = last.place.start if last is not None else cursor
        return _offers(VERBS, start, last.text if last is not None else "", "verb")
    start, typed = (
        (last.place.start, last.text) if last is not None and last.kind is Kind.WORD else (cursor, "")
    )
    if earlier and earlier[-1].text in (",", ":") and _in_actions(earlier):
        return _offers(ACTIONS, start, typed, "verb")
    found = [
        *_offers(_names(text), start, typed, "name"),
        *_offers((f"{f}(" for f in FUNCTIONS), start, typed, "function"),
        *_offers((*COLUMNS, *_columns(catalogue)), start, typed, "column"),
        *_offers(
            (f'context("{c.name}")' for c in catalogue.contexts if '"' not in c.name), start, typed, "context"
        ),
    ]
    return tuple(dict.fromkeys(found))[:MAX_OFFERED]


def _offers(words: Iterable[str], start: int, typed: str, kind: str) -> tuple[Completion, ...]:
    low = typed.lower()
    found = [w for w in dict.fromkeys(words) if w.lower().startswith(low) and w != typed]
    return tuple(Completion(start, w, kind) for w in found[:MAX_OFFERED])


def _concepts(text: str, cursor: int, last: Token | None, catalogue: Catalogue) -> tuple[Completion, ...]:
    start = last.place.start if last is not None and last.kind is Kind.CONCEPT else cursor - 1
    typed = text[start + 1 : cursor].strip('"').lower()
    own = [s.name for s in parse(text).file.statements if isinstance(s, ConceptStatement)]
    known = [e.name or e.label.removeprefix("@").replace('"', "") for e in catalogue.concepts]
    words = dict.fromkeys([*own, *known, *BUILT_IN])
    ahead = [w for w in words if w.lower().startswith(typed)]
    inside = [w for w in words if typed in w.lower() and w not in ahead]
    return tuple(Completion(start, concept_literal(w), "concept") for w in (*ahead, *inside)[:MAX_OFFERED])


def _inside_string(earlier: list[Token], text: str, cursor: int) -> bool:
    """Inside an open string: nothing is offered there."""
    line = text[text.rfind("\n", 0, cursor) + 1 : cursor]
    return bool(earlier) and line.replace('\\"', "").count('"') % 2 == 1


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


def _columns(catalogue: Catalogue) -> list[str]:
    plain = [p for p in catalogue.meta if all(part.isidentifier() for part in p)]
    return [*(c for c in COLUMNS if "." in c), *("meta." + ".".join(p) for p in plain)]


def _at_statement(earlier: list[Token], last: Token | None, text: str, cursor: int) -> bool:
    if last is not None:
        return last.starts_statement and last.kind is Kind.WORD
    return cursor == 0 or text[cursor - 1] == "\n" or (not earlier and not text[:cursor].strip())


def _in_actions(earlier: list[Token]) -> bool:
    """Between the name of a rule and its `where`."""
    for token in reversed(earlier):
        if token.text in ("where", "(", "["):
            return False
        if token.starts_statement:
            return True
    return False


def _names(text: str) -> list[str]:
    statements = parse(text).file.statements
    return [s.name for s in statements if isinstance(s, LetStatement | ContextStatement)]
