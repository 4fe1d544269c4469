"""A parsed file to a checked file: statements resolved in dependency order, names given, doubles refused."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from engine.manifest import hash_bytes, hash_json
from engine.rules.catalogue import COLUMNS, Catalogue, Type
from engine.rules.check import Checker
from engine.rules.check_statements import (
    check_rule,
    check_set,
    check_shape,
    check_soften,
    check_training,
    check_use,
)
from engine.rules.checked import (
    CheckedExpect,
    CheckedFile,
    CheckedRule,
    CheckedSet,
    CheckedShape,
    CheckedTraining,
    Definition,
)
from engine.rules.diagnostics import Diagnostic, Place, RuleFileError
from engine.rules.lexer import lex
from engine.rules.naming import Names, Unresolved
from engine.rules.parser import MAX_NESTING
from engine.rules.statements import Parsed, parse
from engine.rules.syntax import (
    AblateStatement,
    CapStatement,
    ConceptStatement,
    ContextStatement,
    ExpectStatement,
    LetStatement,
    LimitStatement,
    MaskStatement,
    QuotaStatement,
    RuleStatement,
    SampleStatement,
    ShapeStatement,
    SoftenStatement,
    Statement,
    SteerStatement,
    Use,
)

if TYPE_CHECKING:
    from engine.rules.terms import Term

T = TypeVar("T")


def check(
    text: str,
    catalogue: Catalogue,
    *,
    file_name: str = "rules",
    frozen_labels: Mapping[str, tuple[str, ...]] | None = None,
) -> CheckedFile:
    """Parse and check a rule file.

    Args:
        text: the file.
        catalogue: what it may speak of.
        file_name: for messages.
        frozen_labels: label patterns that a lock has resolved before.

    Raises:
        RuleFileError: with every error found, syntax errors first.
    """
    parsed = parse(text)
    checker = FileChecker(parsed, catalogue, file_name, frozen_labels)
    result = checker.run()
    diagnostics = [*parsed.diagnostics, *checker.diagnostics]
    if diagnostics:
        raise RuleFileError(sorted(diagnostics, key=lambda d: d.place), text, file_name)
    return result


def understood(text: str, catalogue: Catalogue) -> CheckedFile:
    """What could be made out of a text; what has errors is left out. Never raises on any text."""
    return FileChecker(parse(text), catalogue, "rules", None).run()


def diagnose(text: str, catalogue: Catalogue) -> tuple[Diagnostic, ...]:
    """Every error and warning of a text, in its order; for editors. Never raises on any text."""
    parsed = parse(text)
    checker = FileChecker(parsed, catalogue, "rules", None)
    checker.run()
    found = [*parsed.diagnostics, *checker.diagnostics, *checker.names.warnings]
    return tuple(sorted(found, key=lambda d: d.place))


class FileChecker:
    """The work of ``check``."""

    def __init__(
        self,
        parsed: Parsed,
        catalogue: Catalogue,
        file_name: str,
        frozen_labels: Mapping[str, tuple[str, ...]] | None,
    ) -> None:
        self.parsed = parsed
        self.file_name = file_name
        self.names = Names(catalogue, frozen_labels)
        self.catalogue = catalogue
        self.diagnostics: list[Diagnostic] = []
        self.definitions: dict[str, Term] = {}
        statements = parsed.file.statements
        self.pending: dict[str, LetStatement | ContextStatement] = {}
        self.under_way: list[str] = []
        rule_names = tuple(self._name_of(s) for s in statements if _is_nameable(s))
        self.checker = Checker(catalogue, self.names, rule_names=rule_names)
        self.checker.definitions = self.definitions
        self.checker.look_up = self._look_up

    def run(self) -> CheckedFile:
        """The checked file, without what could not be resolved."""
        statements = self.parsed.file.statements
        self._refuse_doubles(statements)
        for statement in statements:
            if isinstance(statement, Use):
                self._try(partial(check_use, self.checker, statement))
        self._concepts([s for s in statements if isinstance(s, ConceptStatement)])
        for statement in statements:
            if isinstance(statement, LetStatement | ContextStatement):
                self.pending.setdefault(statement.name, statement)
        for name in list(self.pending):
            self._try(partial(self._look_up, name))
        rules, sets, shapes, training, expects = self._verbs(statements)
        return CheckedFile(
            text=self.parsed.text,
            file_name=self.file_name,
            concepts=tuple(sorted(self.names.defined.items())),
            matched_labels=tuple(sorted(self.names.matched_labels.items())),
            definitions=tuple(Definition(n, t) for n, t in self.definitions.items()),
            rules=tuple(sorted(rules, key=lambda r: r.name)),
            sets=tuple(sets),
            shapes=tuple(sorted(shapes, key=lambda s: s.name)),
            training=tuple(sorted(training, key=lambda t: t.name)),
            expects=tuple(expects),
            meaning=meaning_of(statements, self.parsed.text),
            warnings=tuple(self.names.warnings),
        )

    def _try(self, work: Callable[[], T]) -> T | None:
        self.checker.mode = "pair"
        try:
            return work()
        except Unresolved as error:
            for found in (error.diagnostic, *error.further):
                if found not in self.diagnostics:
                    self.diagnostics.append(found)
            return None

    def _concepts(self, statements: list[ConceptStatement]) -> None:
        """Define concepts, each after those that it is made of; what is left is a circle or a mistake."""
        waiting = list(statements)
        names = {s.name for s in statements}
        while waiting:
            ready = [
                s for s in waiting
                if not {m.value for m in s.members if m.kind == "concept"} & (names - set(self.names.defined))
                - {s.name}
            ]  # fmt: skip
            for statement in ready:
                if self._try(partial(self.names.define, statement)) is None and self.diagnostics:
                    self.names.broken[statement.name] = self.diagnostics[-1]
                names.discard(statement.name)
            if not ready:
                for statement in waiting:
                    self._report("R205", f"`{statement.name}` is defined in a circle", statement.name_place)
                    self.names.broken[statement.name] = self.diagnostics[-1]
                return
            waiting = [s for s in waiting if s not in ready]

    def _look_up(self, name: str) -> Type | None:
        """Type of a `let` or `context`, checking it first if need be."""
        if name in self.checker.defined:
            return self.checker.defined[name]
        statement = self.pending.get(name)
        if statement is None:
            return None
        if name in self.under_way:
            raise Unresolved("R205", f"`{name}` is defined in a circle", statement.name_place)
        if len(self.under_way) >= MAX_NESTING // 2:
            raise Unresolved("R106", "names are defined through too many others", statement.name_place)
        self.under_way.append(name)
        mode = self.checker.mode
        self.checker.mode = "pair"
        try:
            if isinstance(statement, ContextStatement):
                term = self.checker.typed(statement.condition, Type.TRUTH)
            else:
                term = self.checker.term(statement.value)
                if term.type is Type.TEXT:
                    message = "a `let` holds a number or a truth value"
                    raise Unresolved(
                        "R305", message, statement.value.place, "use the text where it is needed"
                    )
        finally:
            self.under_way.pop()
            self.checker.mode = mode
        self.definitions[name] = term
        self.checker.defined[name] = term.type
        return term.type

    def _verbs(
        self, statements: tuple[Statement, ...]
    ) -> tuple[
        list[CheckedRule], list[CheckedSet], list[CheckedShape], list[CheckedTraining], list[CheckedExpect]
    ]:
        rules: list[CheckedRule] = []
        sets: list[CheckedSet] = []
        shapes: list[CheckedShape] = []
        training: list[CheckedTraining] = []
        expects: list[CheckedExpect] = []
        for statement in statements:
            name = self._name_of(statement) if _is_nameable(statement) else ""
            match statement:
                case RuleStatement():
                    _keep(rules, self._try(partial(check_rule, self.checker, statement, name)))
                case CapStatement() | QuotaStatement() | LimitStatement() | SampleStatement():
                    _keep(sets, self._try(partial(check_set, self.checker, statement, name)))
                case ShapeStatement():
                    _keep(shapes, self._try(partial(check_shape, self.checker, statement, name)))
                case SoftenStatement():
                    _keep(shapes, self._try(partial(check_soften, self.checker, statement, name)))
                case SteerStatement() | AblateStatement() | MaskStatement():
                    text = self._quote(statement.place)
                    _keep(training, self._try(partial(check_training, self.checker, statement, name, text)))
                case ExpectStatement():
                    _keep(expects, self._try(partial(self._expect, statement)))
                case _:
                    continue
        return rules, sets, shapes, training, expects

    def _expect(self, statement: ExpectStatement) -> CheckedExpect:
        self.checker.mode = "expect"
        term = self.checker.typed(statement.condition, Type.TRUTH)
        return CheckedExpect(term, self._quote(statement.condition.place), statement.place)

    def _name_of(self, statement: Statement) -> str:
        """The name a person gave, or a verb with a hash of the statement: stable under reordering."""
        given = getattr(statement, "name", None)
        if given:
            return str(given)
        if isinstance(statement, RuleStatement):
            verb = statement.actions[0].verb.replace(" ", "-").rstrip("*+=-")
        elif isinstance(statement, ShapeStatement):
            verb = statement.verb
        else:
            verb = type(statement).__name__.removesuffix("Statement").lower()
        return f"{verb}-{hash_bytes(canonical(self.parsed.text, statement.place).encode())[:6]}"

    def _quote(self, place: Place) -> str:
        return " ".join(self.parsed.text[place.start : place.end].split())

    def _report(self, code: str, message: str, place: Place, help_line: str | None = None) -> None:
        self.diagnostics.append(Diagnostic(code, message, place, help_line))

    def _refuse_doubles(self, statements: tuple[Statement, ...]) -> None:
        seen: set[tuple[str, str]] = set()
        for statement in statements:
            if isinstance(statement, ConceptStatement):
                key = ("concept", statement.name)
                place = statement.name_place
            elif isinstance(statement, LetStatement | ContextStatement):
                key = ("name", statement.name)
                place = statement.name_place
                if statement.name in COLUMNS or statement.name == "meta":
                    self._report("R204", f"`{statement.name}` is a column", place, "choose another name")
            elif _is_nameable(statement):
                key = ("rule", self._name_of(statement))
                place = statement.place
            else:
                continue
            if key in seen:
                what = f"`{key[1]}`" if "-" not in key[1] else "the same rule"
                self._report("R204", f"{what} stands here twice", place, "rename or remove one of the two")
            seen.add(key)


def _keep(found: list[T], item: T | None) -> None:
    if item is not None:
        found.append(item)


def _is_nameable(statement: Statement) -> bool:
    return hasattr(statement, "name") and not isinstance(
        statement, ConceptStatement | LetStatement | ContextStatement
    )


def canonical(text: str, place: Place) -> str:
    """The words and signs of a statement, without layout and comments."""
    tokens = lex(text[place.start : place.end]).tokens
    return " ".join(t.text for t in tokens).rstrip()


def meaning_of(statements: tuple[Statement, ...], text: str) -> str:
    """Hash of what a file says: row rules and definitions as a set, set statements in order."""
    ordered = [canonical(text, s.place) for s in statements if isinstance(s, _ORDERED)]
    others = sorted(canonical(text, s.place) for s in statements if not isinstance(s, _ORDERED))
    return hash_json([others, ordered])


_ORDERED = CapStatement | QuotaStatement | LimitStatement | SampleStatement
"""Statements whose order counts."""
