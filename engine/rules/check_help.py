"""What the checker says about names and values that are nearly right, and numbers on the wrong scale."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from engine.rules.catalogue import COLUMNS, Catalogue, Type
from engine.rules.diagnostics import Diagnostic, Place, Severity, did_you_mean
from engine.rules.hints import MISSING_WORDS, in_quotes, missing_help, regex_literal
from engine.rules.lexer import concept_literal, quote
from engine.rules.naming import Unresolved
from engine.rules.outcomes import is_count
from engine.rules.syntax import Binary, ConceptName, Expression, Group, Items, Name, Number, Text
from engine.rules.terms import Apply, Column, Constant, Meta, Reading, Reference, Statistic, Term, walk

_SPANS = ("prompt", "chosen", "rejected")


def column_name(parts: Sequence[str]) -> str:
    """A dotted name as a file writes it: `meta."odd key"`."""
    return ".".join([parts[0], *(p if p.isidentifier() else quote(p) for p in parts[1:])])


def written(node: Expression) -> str | None:
    """A name as a file writes it; None for anything else."""
    return column_name(node.parts) if isinstance(node, Name) else None


def concept_meant(node: Expression) -> str:
    """The concept that a word or a text was to be, as it is written."""
    if isinstance(node, Name) and len(node.parts) == 1:
        return concept_literal(node.parts[0])
    if isinstance(node, Text):
        return concept_literal(node.value)
    return concept_literal(node.name) if isinstance(node, ConceptName) else "@concept"


def no_column(node: Name, defined: Iterable[str], catalogue: Catalogue) -> Unresolved:
    """The error of a name that is neither a column nor defined."""
    dotted = node.dotted
    message = f"there is no column `{dotted}`"
    known = [*defined, *COLUMNS, "meta"]
    help_line: str | None
    if dotted in ("cluster", "context"):
        help_line = 'write `context("label or id")`'
    elif dotted == "meta":
        message = "`meta` is no column; its keys are"
        keys = [f"`{column_name(('meta', *p))}`" for p in catalogue.meta]
        help_line = "write " + ", ".join(keys[:8]) if keys else "this data set has no metadata"
    elif dotted in _SPANS:
        message = f"`{dotted}` is no column; its parts are"
        help_line = f"write `{dotted}.text`, `{dotted}.tokens`, or `{dotted}(@concept)` for a score"
    elif dotted.lower() in ("true", "false"):
        help_line = f"write `{dotted.lower()}`: words of the language are lower case"
    else:
        help_line = did_you_mean(dotted, known, "columns: " + ", ".join(COLUMNS))
    return Unresolved("R202", message, node.place, help_line)


def no_key(node: Expression) -> Unresolved | None:
    """The error of a span where pairs are to be grouped; None for other keys."""
    if not isinstance(node, Name) or node.dotted not in _SPANS:
        return None
    message = f"pairs cannot be grouped by `{node.dotted}`"
    help_line = (
        "write `group`: pairs of one prompt have the same" if node.dotted == "prompt" else "name a column"
    )
    return Unresolved("R202", message, node.place, help_line)


def refuse_bare_word(
    word: Expression,
    beside: Expression,
    catalogue: Catalogue,
    kind_of: Callable[[Name], Type | None],
    sign: str,
) -> None:
    """Raise for a word without quotes, or a `null`, that a column is compared with."""
    if not isinstance(word, Name) or len(word.parts) > 1 or kind_of(word) is not None:
        return
    text = word.parts[0]
    column = written(beside)
    if text.lower() in MISSING_WORDS:
        message = f"nothing is `{text}`: a missing value equals nothing"
        raise Unresolved("R202", message, word.place, missing_help(column or "x", is_not=sign == "!="))
    if column is None or not isinstance(beside, Name) or kind_of(beside) is not Type.TEXT:
        return
    is_value = text in catalogue.values.get(column, ())
    if is_value or text in _SPANS or did_you_mean(text, [*COLUMNS, "meta"]) is None:
        raise Unresolved("R202", f"there is no column `{text}`", word.place, in_quotes(text))


def refuse_bare_text(node: Binary) -> None:
    """Raise for `x == "a" or "b"`: each side of `or` is a condition of its own."""
    sides = _sides(node, node.sign)
    texts = [s for s in sides if isinstance(s, Text)]
    if not texts:
        return
    sign = "==" if node.sign == "or" else "!="
    first = next(
        (s for s in sides if isinstance(s, Binary) and s.sign == sign and isinstance(s.right, Text)), None
    )
    name = None if first is None else written(first.left)
    if first is None or name is None or not isinstance(first.right, Text):
        return
    listed = ", ".join(dict.fromkeys(quote(t.value) for t in (first.right, *texts)))
    asked = f"{name} in [{listed}]"
    help_line = f"write `{asked}`" if sign == "==" else f"write `not {asked}`"
    raise Unresolved("R304", f"a text is no condition beside `{node.sign}`", texts[0].place, help_line)


def _sides(node: Expression, sign: str) -> list[Expression]:
    """Both sides of a chain of one operator, from left to right."""
    found: list[Expression] = []
    while isinstance(node, Binary) and node.sign == sign:
        found.insert(0, node.right)
        node = node.left
    return [node, *found]


def unknown_text(column: Term, text: Term, place: Place, catalogue: Catalogue) -> Diagnostic | None:
    """A warning of a text that a column with few different ones does not have."""
    if not (isinstance(column, Column) and isinstance(text, Constant) and isinstance(text.value, str)):
        return None
    known = catalogue.values.get(column.name)
    if known is None or text.value in known:
        return None
    first = sorted(known)
    otherwise = "values: " + ", ".join(first[:6]) + (", …" if len(first) > 6 else "") if first else None
    message = f"no pair has `{text.value}` in `{column.name}`"
    help_line = did_you_mean(text.value, first, otherwise)
    return Diagnostic("R515", message, place, help_line, Severity.WARNING)


def no_list(node: Binary) -> Unresolved:
    """The error of `in` without a list; `"a" in column` is a search."""
    column = written(node.right)
    help_line = 'write `in ["a", "b"]`'
    if isinstance(node.left, Text) and column is not None:
        help_line = f"write `{column} ~ {regex_literal(node.left.value)}`"
    return Unresolved("R304", "expected a list such as `[1, 2]`", node.right.place, help_line)


def mistaken_type(wanted: Type, term: Term) -> str | None:
    """Help for numbers in quotes, here or in the file, a context without its word, a number as condition."""
    if wanted is Type.TRUTH and term.type is Type.NUMBER:
        return "compare it, as in `… > 0`"
    if wanted is Type.NUMBER and isinstance(term, Meta):
        return f"numbers that the file has as texts: `number({'.'.join(('meta', *term.path))})`"
    if not isinstance(term, Constant) or not isinstance(term.value, str):
        return None
    if wanted is Type.TRUTH:
        return f"a context is written `context({quote(term.value)})`"
    try:
        float(term.value)
    except ValueError:
        return None
    return f"write {term.value} without quotes"


def refuse_percent(node: Expression) -> None:
    """Raise for a percentage where a share means nothing."""
    number = _opened(node)
    if isinstance(number, Number) and number.is_percent:
        message = "a percent sign means nothing here: this is the argument of the loss"
        raise Unresolved("R404", message, number.place, f"write `{number.value / 100:.12g}`")


def refuse_wrong_scale(
    sides: tuple[Term, Term], nodes: tuple[Expression, Expression], definitions: Mapping[str, Term]
) -> None:
    """Raise for a share beside `pct(…)`, which runs to 100, and for a fraction beside a count of pairs."""
    terms = (_followed(sides[0], definitions), _followed(sides[1], definitions))
    for this, other in ((0, 1), (1, 0)):
        value = terms[this]
        if not isinstance(value, Constant) or not isinstance(value.value, float):
            continue
        node = _opened(nodes[this])
        is_percent = isinstance(node, Number) and node.is_percent
        is_fraction = 0 < value.value < 1
        found = terms[other]
        if isinstance(found, Statistic) and found.kind == "pct" and (is_percent or is_fraction):
            help_line = f"write `{value.value * 100:.12g}`"
            raise Unresolved("R404", "`pct` runs from 0 to 100", node.place, help_line)
        if is_count(found) and is_fraction and not is_percent:
            help_line = f"write `{value.value * 100:.12g}%` for a share of the input pairs"
            raise Unresolved("R404", "a number of pairs is whole", node.place, help_line)


def log_scale_help(condition: Term, catalogue: Catalogue, definitions: Mapping[str, Term]) -> str | None:
    """Help for a threshold in pieces or tokens on a column concept, whose scores are logs."""
    columns = {e.number: e.label for e in catalogue.concepts if e.kind == "column"}
    pending = [condition]
    seen: set[str] = set()
    while pending:
        for term in walk(pending.pop()):
            if isinstance(term, Reference) and term.name not in seen and term.name in definitions:
                seen.add(term.name)
                pending.append(definitions[term.name])
            if not isinstance(term, Apply) or term.operator not in ("<", "<="):
                continue
            limit, value = (_followed(t, definitions) for t in term.arguments)
            if not isinstance(limit, Constant) or not isinstance(limit.value, float) or limit.value < 1:
                continue
            found = _on_log_scale(value, limit.value, columns, is_strict=term.operator == "<")
            if found is not None:
                return found
    return None


def _on_log_scale(value: Term, limit: float, columns: Mapping[int, str], *, is_strict: bool) -> str | None:
    """What to write for `value > limit` where the value is a score of a column."""
    is_delta = isinstance(value, Apply) and value.operator == "-"
    reading = value.arguments[0] if isinstance(value, Apply) and is_delta else value
    if not isinstance(reading, Reading) or reading.concept.kind == "latents":
        return None
    name = concept_literal(reading.concept.name)
    number = reading.concept.number
    label = f"@{reading.concept.name}" if number is None else columns.get(number)
    if label is None or label == "@non_latin":
        return None
    is_length = label == "@length"
    scale = "ln(tokens)" if is_length else "ln(1 + n)"
    if is_delta:
        return f"{name} is {scale}: `delta({name}) > log(2)` is more than twice as much"
    least = math.floor(limit) + 1 if is_strict else math.ceil(limit)
    threshold = least - 0.5 if is_length else least + 0.5
    unit = "tokens " if is_length else ""
    return f"{name} is {scale}: `{reading.span}({name}) > log({threshold:.12g})` is {least} {unit}or more"


def _followed(term: Term, definitions: Mapping[str, Term]) -> Term:
    """What a name stands for."""
    seen: set[str] = set()
    while isinstance(term, Reference) and term.name in definitions and term.name not in seen:
        seen.add(term.name)
        term = definitions[term.name]
    return term


def _opened(node: Expression) -> Expression:
    while isinstance(node, Group):
        node = node.inner
    return node


def items_of(node: Expression) -> Items | None:
    """A list, also in brackets; None for anything else."""
    opened = _opened(node)
    return opened if isinstance(opened, Items) else None
