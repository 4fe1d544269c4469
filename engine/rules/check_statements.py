"""Checked forms of the statements, one function per family."""

from functools import partial

from engine.rules.catalogue import LONG_TEXTS, Type
from engine.rules.check import Checker
from engine.rules.check_help import log_scale_help, no_key, refuse_percent
from engine.rules.checked import (
    CheckedAction,
    CheckedRule,
    CheckedSet,
    CheckedShape,
    CheckedTraining,
)
from engine.rules.diagnostics import Diagnostic, Place, Severity
from engine.rules.naming import Unresolved, all_of, both
from engine.rules.shaping_statements import STATISTICS
from engine.rules.syntax import (
    AblateStatement,
    Action,
    CapStatement,
    Expression,
    LimitStatement,
    MaskStatement,
    QuotaStatement,
    RuleStatement,
    SampleStatement,
    ShapeStatement,
    SoftenStatement,
    SteerStatement,
    Text,
    Use,
)
from engine.rules.terms import Column, Concept, Constant, Reading, Reference, Statistic, Term, walk

EVERY_PAIR = Constant(True, Type.TRUTH)


def check_use(checker: Checker, statement: Use) -> None:
    """A pin must fit the index. Raises ``Unresolved``."""
    found = checker.catalogue.hashes.get(statement.what)
    if found is None or not found.startswith(statement.value):
        message = f"this file is made for {statement.what} {statement.value}, the index has {found or 'none'}"
        raise Unresolved("R211", message, statement.place, "update or remove the `use` line")


def _condition(checker: Checker, node: Expression | None) -> Term:
    return EVERY_PAIR if node is None else checker.typed(node, Type.TRUTH)


def check_rule(checker: Checker, statement: RuleStatement, name: str) -> CheckedRule:
    """A row rule. Raises ``Unresolved``."""
    actions, condition = both(
        lambda: all_of(*(partial(_action, checker, a) for a in statement.actions)),
        lambda: _condition(checker, statement.condition),
    )
    if statement.priority is not None and all(a.verb != "weight =" for a in actions):
        _warn(checker, "R514", "`priority` has no effect without `weight =`", statement.place)
    _warn_beside_drop(checker, statement)
    return CheckedRule(
        name=name,
        is_named=statement.name is not None,
        actions=actions,
        condition=condition,
        reason=statement.reason,
        priority=statement.priority or 0,
        place=statement.place,
        if_nothing=log_scale_help(condition, checker.catalogue, checker.definitions),
    )


def _warn_beside_drop(checker: Checker, statement: RuleStatement) -> None:
    """What else a rule does to pairs that it drops is seen in the ledger at most."""
    verbs = [a.verb for a in statement.actions]
    others = [a for a in statement.actions if a.verb != "drop"]
    if "drop" not in verbs or not others:
        return
    idle = dict.fromkeys(f"`{a.verb}`" for a in others if a.verb != "tag")
    place = others[0].place.to(others[-1].place)
    if idle:
        message = f"{' and '.join(idle)} beside `drop` acts only on pairs that another rule protects"
        _warn(checker, "R517", message, place, "keep one of them, or write two rules")
    else:
        message = "a `tag` beside `drop` is seen in the ledger only"
        _warn(checker, "R517", message, place, 'the reason belongs behind the rule: `because "…"`')


def _action(checker: Checker, action: Action) -> CheckedAction:
    if isinstance(action.value, Text) and action.verb in ("tag", "inoculate"):
        if action.verb == "inoculate" and not action.value.value.strip():
            raise Unresolved("R404", "the instruction is empty", action.place)
        return CheckedAction(action.verb, None, action.value.value)
    if action.value is None:
        return CheckedAction(action.verb, None)
    if action.verb == "offset +=":
        refuse_percent(action.value)
    value = checker.typed(action.value, Type.NUMBER)
    if isinstance(value, Constant) and isinstance(value.value, float):
        if action.verb.startswith("weight") and value.value < 0:
            raise Unresolved("R404", "a weight is ≥ 0", action.value.place, "write `drop` or `flip`")
        if action.verb == "offset +=" and value.value < 0:
            message = "a negative offset amplifies what the chosen side carries"
            _warn(checker, "R505", message, action.place, "`amplify @x by offset 0.5` says which concept")
    return CheckedAction(action.verb, value)


def _warn(checker: Checker, code: str, message: str, place: Place, help_line: str | None = None) -> None:
    checker.names.warnings.append(Diagnostic(code, message, place, help_line, Severity.WARNING))


def check_set(
    checker: Checker, statement: CapStatement | QuotaStatement | LimitStatement | SampleStatement, name: str
) -> CheckedSet:
    """A set statement. Raises ``Unresolved``."""
    place = statement.place
    match statement:
        case CapStatement():
            return CheckedSet(name, "cap", place, low=statement.low, high=statement.high)
        case QuotaStatement():
            key = _key(checker, statement.key)
            return CheckedSet(name, "quota", place, key, amount=statement.maximum, seed=statement.seed)
        case LimitStatement():
            by = statement.order
            key, order = both(
                lambda: _key(checker, statement.key),
                lambda: None if by is None else checker.typed(by, Type.NUMBER),
            )
            return CheckedSet(
                name, "limit", place, key, order, statement.is_descending,
                statement.maximum, seed=statement.seed,
            )  # fmt: skip
        case SampleStatement():
            key_or_none = None if statement.key is None else _key(checker, statement.key)
            _warn_of_whole_sample(checker, statement)
            return CheckedSet(
                name, "sample", place, key_or_none, amount=statement.amount, is_share=statement.is_share,
                seed=statement.seed,
            )  # fmt: skip


def _warn_of_whole_sample(checker: Checker, statement: SampleStatement) -> None:
    """A sample that no drop can make smaller than what there is."""
    n_pairs = next((c.n_pairs for c in checker.catalogue.contexts if c.number == 0), None)
    if statement.is_share:
        if statement.amount < 100:
            return
        message = "a sample of 100% keeps every pair"
    elif n_pairs is None or statement.amount <= n_pairs:
        return
    else:
        message = f"a sample of {statement.amount:.0f} keeps every pair: the index has {n_pairs}"
    _warn(checker, "R518", message, statement.place, "ask for fewer, or take the line out")


def _key(checker: Checker, node: Expression) -> Term:
    """What pairs are grouped by: any value but a whole text."""
    wrong = no_key(node)
    if wrong is not None:
        raise wrong
    term = checker.term(node)
    if isinstance(term, Column) and term.name in LONG_TEXTS:
        raise Unresolved("R305", "pairs cannot be grouped by a whole text", node.place, "group by a column")
    return term


def check_shape(checker: Checker, statement: ShapeStatement, name: str) -> CheckedShape:
    """Suppress or amplify. Raises ``Unresolved``."""
    by = statement.within
    concept, (within, condition) = both(
        lambda: checker.names.concept(statement.concept.name, statement.concept.place),
        lambda: both(
            lambda: None if by is None else _key(checker, by),
            lambda: _condition(checker, statement.condition),
        ),
    )
    stored = ("delta",) if concept.kind == "built-in" else ("delta", "u")
    allowed = STATISTICS if concept.kind == "latents" else stored
    missing = [word for word in statement.statistics if word not in allowed]
    if missing:
        message = f"`@{concept.name}` has no {', '.join(missing)}"
        raise Unresolved("R302", message, statement.concept.place, "write `on " + ", ".join(allowed) + "`")
    return CheckedShape(
        name=name,
        verb=statement.verb,
        method=statement.method,
        concept=concept,
        amount=statement.amount,
        condition=condition,
        within=within,
        control=statement.control,
        statistics=statement.statistics,
        is_constant=statement.is_constant,
        maximum=statement.maximum,
        place=statement.place,
    )


def check_soften(checker: Checker, statement: SoftenStatement, name: str) -> CheckedShape:
    """A constant offset on a context. Raises ``Unresolved``."""
    condition = checker.typed(statement.context, Type.TRUTH)
    if statement.amount < 0:
        raise Unresolved("R404", "softening needs an offset ≥ 0", statement.place, "write `by 0.5`")
    return CheckedShape(
        name, "soften", "constant", None, statement.amount, condition, None,
        control="total", statistics=(), is_constant=True, maximum=None, place=statement.place,
    )  # fmt: skip


def check_training(
    checker: Checker, statement: SteerStatement | AblateStatement | MaskStatement, name: str, text: str
) -> CheckedTraining:
    """Something for the trainer. Raises ``Unresolved``."""
    match statement:
        case SteerStatement():
            concept, condition = both(
                lambda: _direction(checker, statement), lambda: _condition(checker, statement.condition)
            )
            return CheckedTraining(
                name,
                "steer",
                concept,
                statement.amount,
                statement.layer,
                condition,
                None,
                None,
                statement.place,
            )
        case AblateStatement():
            concept = _direction(checker, statement)
            return CheckedTraining(
                name, "ablate", concept, 0.0, statement.layer, EVERY_PAIR, None, None, statement.place
            )
        case MaskStatement():
            within = _condition(checker, statement.within)
            checker.mode = "tokens"
            tokens = checker.typed(statement.condition, Type.TRUTH)
            _only_tokens(tokens, statement.condition.place)
            return CheckedTraining(name, "mask", None, 0.0, 0, within, tokens, text, statement.place)


def _direction(checker: Checker, statement: SteerStatement | AblateStatement) -> Concept:
    concept = checker.names.concept(statement.concept.name, statement.concept.place)
    if not concept.members:
        message = f"`@{concept.name}` has no direction"
        raise Unresolved("R207", message, statement.concept.place, "use a concept made of latents")
    return concept


def _only_tokens(term: Term, place: Place) -> None:
    for part in walk(term):
        if isinstance(part, Reading) and part.concept.kind != "latents":
            message = f"`@{part.concept.name}` has no activation at a token"
            raise Unresolved("R309", message, place, "use a concept made of latents")
        if isinstance(part, Reference | Statistic):
            raise Unresolved("R309", "only activations exist at a token", place)
