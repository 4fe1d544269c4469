"""Expressions to checked terms: names resolved, types agreed, every mistake reported with its place."""

import re
from collections.abc import Callable, Mapping
from functools import partial

from engine.rules.catalogue import AGGREGATES, COLUMNS, LONG_TEXTS, Catalogue, Type
from engine.rules.check_help import (
    column_name,
    concept_meant,
    items_of,
    mistaken_type,
    no_column,
    no_list,
    refuse_bare_text,
    refuse_bare_word,
    refuse_wrong_scale,
    unknown_text,
    written,
)
from engine.rules.diagnostics import Diagnostic, Place, Severity, did_you_mean, suggest
from engine.rules.lexer import concept_literal, quote
from engine.rules.naming import Names, Unresolved, all_of, compile_pattern
from engine.rules.outcomes import NAMES, is_count, outcome_call, outcome_name
from engine.rules.syntax import (
    Between,
    Binary,
    Call,
    ConceptName,
    Expression,
    Group,
    Items,
    LatentNumber,
    Name,
    Number,
    Pattern,
    Text,
    Truth,
    Unary,
)
from engine.rules.terms import (
    TEXT_FUNCTIONS,
    Apply,
    Column,
    Concept,
    Constant,
    Inside,
    Matches,
    Meta,
    Outcome,
    Reading,
    Reference,
    Statistic,
    Term,
    negate,
    walk,
)

_SPANS = ("chosen", "rejected", "prompt")
_PERCENTILE = re.compile(r"p([1-9][0-9]?)$")
FUNCTIONS = (
    *_SPANS, "delta", "z", "pct", "p90", "mean", "sd", "abs", "min", "max", "log", "length", "number",
    "context",
)  # fmt: skip


class Checker:
    """Turns the expressions of one file into terms."""

    def __init__(self, catalogue: Catalogue, names: Names, *, rule_names: tuple[str, ...] = ()) -> None:
        self.catalogue = catalogue
        self.names = names
        self.rule_names = rule_names
        self.defined: dict[str, Type] = {}
        """Types of the `let` and `context` names."""
        self.diagnostics: list[Diagnostic] = []
        self.mode = "pair"
        """pair, tokens or expect: which words exist"""
        self.definitions: Mapping[str, Term] = {}
        """Terms of the `let` and `context` names checked so far."""
        self.look_up: Callable[[str], Type | None] = lambda _name: None
        """Checks a name that is defined further down; None if there is none."""
        self._statistic_depth = 0

    def fail(self, code: str, message: str, place: Place, help_line: str | None = None) -> Unresolved:
        """The exception to raise for an error."""
        return Unresolved(code, message, place, help_line)

    def typed(self, node: Expression, wanted: Type) -> Term:
        """Check an expression that must have this type."""
        term = self.term(node)
        if term.type is not wanted:
            raise self.fail(
                "R304", f"expected a {wanted}, found a {term.type}", node.place, mistaken_type(wanted, term)
            )
        return term

    def term(self, node: Expression) -> Term:
        """Check any expression. Raises ``Unresolved``."""
        match node:
            case Group():
                return self.term(node.inner)
            case Number():
                return Constant(node.value / 100 if node.is_percent else node.value, Type.NUMBER)
            case Text():
                return Constant(node.value, Type.TEXT)
            case Truth():
                return Constant(node.value, Type.TRUTH)
            case Name():
                return self._name(node)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Between():
                (value, low), (_, high) = all_of(
                    partial(self._numbers, node.value, node.low),
                    partial(self._numbers, node.value, node.high),
                )
                ends = (Apply("<=", (low, value), Type.TRUTH), Apply("<=", (value, high), Type.TRUTH))
                return Apply("and", ends, Type.TRUTH)
            case Call():
                return self._call(node)
            case ConceptName():
                return self._bare_concept(node)
            case LatentNumber():
                message = f"`#{node.number}` is a latent, not a number"
                help_line = f"define `concept name = #{node.number}` and measure delta(@name)"
                raise self.fail("R301", message, node.place, help_line)
            case Pattern():
                raise self.fail("R304", "a regular expression stands behind `~`", node.place)
            case Items():
                raise self.fail("R304", "a list stands behind `in`", node.place)

    def _bare_concept(self, node: ConceptName) -> Term:
        if self.mode == "tokens":
            return Reading(self._concept(node), "token", "max")
        self._concept(node)
        at = concept_literal(node.name)
        help_line = f"say where to measure it: chosen({at}), rejected({at}), delta({at}) or prompt({at})"
        raise self.fail("R301", f"`{at}` is a concept, not a number", node.place, help_line)

    def _concept(self, node: ConceptName) -> Concept:
        return self.names.concept(node.name, node.place)

    def _name(self, node: Name) -> Term:
        dotted = node.dotted
        if self.mode == "expect":
            found = outcome_name(node)
            if found is None:
                raise self._unknown_outcome(dotted, node.place)
            return found
        if len(node.parts) == 1:
            kind = self.defined.get(dotted) or self.look_up(dotted)
            if kind is not None:
                return Reference(dotted, kind)
        if self.mode == "tokens":
            raise self.fail(
                "R309", f"`{dotted}` does not belong to a token", node.place, "use concepts: @x > 0.3"
            )
        if node.parts[0] == "meta" and len(node.parts) > 1:
            return self._meta(node)
        if dotted in COLUMNS:
            return Column(dotted, COLUMNS[dotted])
        raise no_column(node, self.defined, self.catalogue)

    def _kind_of(self, node: Name) -> Type | None:
        """Type of a name, None where there is no such name."""
        if len(node.parts) == 1:
            return self.defined.get(node.dotted) or self.look_up(node.dotted) or COLUMNS.get(node.dotted)
        if node.parts[0] == "meta" and node.parts[1:] in self.catalogue.meta:
            return self.catalogue.meta[node.parts[1:]] or Type.TEXT
        return COLUMNS.get(node.dotted)

    def _unknown_outcome(self, dotted: str, place: Place) -> Unresolved:
        if dotted in COLUMNS or dotted in self.defined or dotted.startswith("meta."):
            message = f"`{dotted}` belongs to one pair; `expect` speaks of the plan"
            return self.fail("R307", message, place, "use kept, dropped, matched(rule), effect(@x) …")
        help_line = did_you_mean(dotted, NAMES, "known: " + ", ".join(NAMES))
        return self.fail("R202", f"a plan has no `{dotted}`", place, help_line)

    def _meta(self, node: Name) -> Term:
        path = node.parts[1:]
        if path not in self.catalogue.meta:
            known = {".".join(p): column_name(("meta", *p)) for p in self.catalogue.meta}
            shown = ", ".join(list(known.values())[:8])
            otherwise = f"this data set has {shown}" if known else "this data set has no metadata"
            # compared without `meta.`, which would make every key look alike
            close = suggest(".".join(path), known)
            help_line = f"did you mean `{known[close[0]]}`?" if close else otherwise
            raise self.fail("R202", f"there is no column `{node.dotted}`", node.place, help_line)
        kind = self.catalogue.meta[path]
        if kind is None:
            kind = Type.TEXT
            message = f"`{node.dotted}` holds values of several types; only texts are used"
            self.names.warnings.append(Diagnostic("R513", message, node.place, None, Severity.WARNING))
        return Meta(path, kind)

    def _unary(self, node: Unary) -> Term:
        if node.sign == "not":
            return negate(self.typed(node.operand, Type.TRUTH))
        inner = self.typed(node.operand, Type.NUMBER)
        if isinstance(inner, Constant) and isinstance(inner.value, float):
            return Constant(-inner.value, Type.NUMBER)
        return Apply("neg", (inner,), Type.NUMBER)

    def _binary(self, node: Binary) -> Term:
        sign = node.sign
        if sign in ("and", "or"):
            refuse_bare_text(node)
            return Apply(sign, self._both(node.left, node.right, Type.TRUTH), Type.TRUTH)
        if sign in "+-*/":
            return Apply(sign, self._both(node.left, node.right, Type.NUMBER), Type.NUMBER)
        if sign in ("~", "!~"):
            return self._matches(node)
        if sign == "in":
            return self._in(node)
        if sign in ("==", "!="):
            return self._equal(node)
        ordered = self._numbers(node.left, node.right)
        if sign in (">", ">="):
            ordered = (ordered[1], ordered[0])
        return Apply({"<": "<", "<=": "<=", ">": "<", ">=": "<="}[sign], ordered, Type.TRUTH)

    def _equal(self, node: Binary) -> Term:
        """``==`` and ``!=``: values of one type; a percentage beside a count is a share here, too."""
        if self.mode == "pair":
            for word, beside in ((node.right, node.left), (node.left, node.right)):
                refuse_bare_word(word, beside, self.catalogue, self._kind_of, node.sign)
        left, right = all_of(partial(self.term, node.left), partial(self.term, node.right))
        if left.type is not right.type:
            message = f"a {left.type} and a {right.type} cannot be compared"
            raise self.fail("R304", message, node.place)
        self._refuse_two_texts(node, left, right)
        self._warn_of_unknown(left, right, node.right.place)
        self._warn_of_unknown(right, left, node.left.place)
        equal = Apply("==", self._scaled((left, right), (node.left, node.right)), Type.TRUTH)
        return negate(equal) if node.sign == "!=" else equal

    def _both(self, left: Expression, right: Expression, wanted: Type) -> tuple[Term, Term]:
        """Both sides of an operator; mistakes of both are reported."""
        one, two = all_of(partial(self.typed, left, wanted), partial(self.typed, right, wanted))
        return one, two

    def _numbers(self, left: Expression, right: Expression) -> tuple[Term, Term]:
        """Two numbers to compare."""
        return self._scaled(self._both(left, right, Type.NUMBER), (left, right))

    def _scaled(self, terms: tuple[Term, Term], nodes: tuple[Expression, Expression]) -> tuple[Term, Term]:
        """Both sides of a comparison; a percentage beside a count of pairs is a share of the input."""
        refuse_wrong_scale(terms, nodes, self.definitions)
        for side, other in ((0, 1), (1, 0)):
            node = nodes[side]
            if isinstance(node, Number) and node.is_percent and is_count(terms[other]):
                scaled = Apply("*", (terms[side], Outcome("input", None, None, Type.NUMBER)), Type.NUMBER)
                return (scaled, terms[1]) if side == 0 else (terms[0], scaled)
        return terms

    def _refuse_two_texts(self, node: Binary, left: Term, right: Term) -> None:
        long = [t for t in (left, right) if isinstance(t, Column) and t.name in LONG_TEXTS]
        plain = [t for t in (left, right) if isinstance(t, Constant | Column)]
        if long and len(plain) < 2:
            raise self.fail("R305", "compare a whole text with a literal or another column", node.place)

    def _warn_of_unknown(self, column: Term, text: Term, place: Place) -> None:
        found = unknown_text(column, text, place, self.catalogue)
        if found is not None:
            self.names.warnings.append(found)

    def _matches(self, node: Binary) -> Term:
        text = self.typed(node.left, Type.TEXT)
        if not isinstance(node.right, Pattern):
            raise self.fail("R304", "expected a regular expression", node.right.place)
        pattern = compile_pattern(node.right.source, node.right.flags, node.right.place)
        found = Matches(text, pattern)
        return negate(found) if node.sign == "!~" else found

    def _in(self, node: Binary) -> Term:
        value = self.term(node.left)
        listed = items_of(node.right)
        if listed is None:
            raise no_list(node)
        if value.type is Type.TRUTH:
            raise self.fail("R304", "a truth value is not looked up in a list", node.place)
        items: list[Term] = []
        for item in listed.items:
            if self.mode == "pair":
                refuse_bare_word(item, node.left, self.catalogue, self._kind_of, "==")
            term = self.typed(item, value.type)
            if not isinstance(term, Constant):
                raise self.fail("R304", "a list holds literals", item.place)
            refuse_wrong_scale((value, term), (node.left, item), self.definitions)
            self._warn_of_unknown(value, term, item.place)
            items.append(term)
        return Apply("in", (value, *items), Type.TRUTH)

    def _call(self, node: Call) -> Term:
        name = node.function
        if self.mode == "expect":
            return outcome_call(node, self.rule_names, self._concept)
        if node.part is not None:
            raise self.fail("R108", f"`.{node.part}` does not belong here", node.place)
        if self.mode == "tokens":
            raise self.fail(
                "R309", f"`{name}` does not belong to a token", node.place, "use concepts: @x > 0.3"
            )
        if name in _SPANS or name == "delta":
            return self._quantity(node)
        if name == "context":
            return self._context(node)
        if name in ("z", "pct", "mean", "sd") or _PERCENTILE.match(name):
            return self._statistic(node)
        if name in ("abs", "log", "min", "max"):
            return self._arithmetic(node)
        if name in TEXT_FUNCTIONS:
            self._arity(node, 1, 1, f"{name}(chosen.text)")
            return Apply(name, (self.typed(node.arguments[0], Type.TEXT),), Type.NUMBER)
        help_line = did_you_mean(name, FUNCTIONS, "known: " + ", ".join(FUNCTIONS))
        raise self.fail("R209", f"there is no function `{name}`", node.place, help_line)

    def _arity(self, node: Call, least: int, most: int, example: str) -> None:
        if not least <= len(node.arguments) <= most:
            raise self.fail(
                "R308", f"`{node.function}` takes other arguments", node.place, f"write `{example}`"
            )

    def _arithmetic(self, node: Call) -> Term:
        if node.function in ("min", "max"):
            self._arity(node, 2, 20, f"{node.function}(a, b)")
        else:
            self._arity(node, 1, 1, f"{node.function}(x)")
        terms = all_of(*(partial(self.typed, a, Type.NUMBER) for a in node.arguments))
        return Apply(node.function, terms, Type.NUMBER)

    def _context(self, node: Call) -> Term:
        self._arity(node, 1, 1, 'context("label or id")')
        argument = node.arguments[0]
        if not isinstance(argument, Text):
            name = written(argument)
            help_line = f"write `context({quote(name)})`" if name else 'write `context("label or id")`'
            if isinstance(argument, Name) and self._kind_of(argument) is Type.TRUTH:
                help_line = f"`{name}` is true inside already: write it alone"
            raise self.fail("R308", "a context is named by a quoted text", argument.place, help_line)
        entry = self.names.context(argument.value, argument.place)
        if entry.number == 0:
            return Constant(True, Type.TRUTH)
        return Inside(entry.number, entry.context_id)

    def _quantity(self, node: Call) -> Term:
        self._arity(node, 1, 2, f"{node.function}(@concept, max)")
        argument = node.arguments[0]
        if not isinstance(argument, ConceptName):
            message = f"`{node.function}` measures a concept"
            help_line = f"write `{node.function}({concept_meant(argument)})`"
            raise self.fail("R308", message, argument.place, help_line)
        concept = self._concept(argument)
        aggregate = "max"
        if len(node.arguments) == 2:
            word = node.arguments[1]
            aggregate = word.dotted if isinstance(word, Name) else "?"
            allowed = AGGREGATES if concept.kind == "latents" else ("max",)
            if aggregate not in allowed:
                shown = f"`{aggregate}`" if isinstance(word, Name) else "such"
                help_line = "stored: " + ", ".join(allowed)
                raise self.fail("R302", f"there is no {shown} aggregate", word.place, help_line)
        if node.function == "delta":
            sides = (Reading(concept, "chosen", aggregate), Reading(concept, "rejected", aggregate))
            return Apply("-", sides, Type.NUMBER)
        return Reading(concept, node.function, aggregate)

    def _statistic(self, node: Call) -> Term:
        percentile = _PERCENTILE.match(node.function)
        self._arity(node, 1, 2 if percentile else 1, f"{node.function}(delta(@concept))")
        if self._statistic_depth:
            raise self.fail("R306", "a statistic of a statistic", node.place)
        self._statistic_depth = 1
        try:
            argument = self.typed(node.arguments[0], Type.NUMBER)
        finally:
            self._statistic_depth = 0
        if any(isinstance(t, Statistic) or self._hides_statistic(t) for t in walk(argument)):
            raise self.fail("R306", "a statistic of a statistic", node.place)
        active = len(node.arguments) == 2
        if active:
            word = node.arguments[1]
            if not (isinstance(word, Name) and word.dotted == "active"):
                raise self.fail("R308", "the second word is `active`", word.place, "p90(delta(@x), active)")
        if percentile:
            return Statistic("p", argument, float(percentile.group(1)), active)
        return Statistic(node.function, argument)

    def _hides_statistic(self, term: Term) -> bool:
        """A name that was defined through a statistic, directly or through other names."""
        pending = [term]
        seen: set[str] = set()
        while pending:
            found = pending.pop()
            if isinstance(found, Statistic):
                return True
            if isinstance(found, Reference) and found.name not in seen:
                seen.add(found.name)
                definition = self.definitions.get(found.name)
                if definition is not None:
                    pending.extend(walk(definition))
        return False
