"""What ``expect`` lines can ask of a finished plan."""

from collections.abc import Callable

from engine.rules.catalogue import Type
from engine.rules.diagnostics import did_you_mean
from engine.rules.lexer import concept_literal
from engine.rules.naming import Unresolved
from engine.rules.syntax import Call, ConceptName, Expression, Name, Text
from engine.rules.terms import Concept, Outcome, Term

COUNTS = ("input", "kept", "dropped", "flipped", "offset", "held_out", "unlabelled", "refused")
"""Numbers of pairs; compared with a percentage they are shares of ``input``."""
NUMBERS = ("ess", "largest_weight", "warnings", "conflicts", "beyond")
"""ess: effective share of the kept pairs, 0 to 1; beyond: held concepts that move beyond their limit."""
NAMES = COUNTS + NUMBERS
ABOUT_RULES = ("matched", "unique")
ABOUT_CONCEPTS = ("effect", "change", "win_rate")
"""After the plan: weighted mean u, its change, the weighted win rate."""
ABOUT_PAIRS: dict[str, Type] = {
    "kept": Type.TRUTH,
    "dropped": Type.TRUTH,
    "flipped": Type.TRUTH,
    "weight": Type.NUMBER,
    "offset": Type.NUMBER,
    "fate": Type.TEXT,
}
FUNCTIONS = (*ABOUT_RULES, *ABOUT_CONCEPTS, "pair")


def is_count(term: Term) -> bool:
    """True for a number of pairs."""
    return isinstance(term, Outcome) and (
        (term.kind in COUNTS and term.argument is None) or term.kind in ABOUT_RULES
    )


def outcome_name(node: Name) -> Outcome | None:
    """``kept`` and the like; None for another word."""
    return Outcome(node.dotted, None, None, Type.NUMBER) if node.dotted in NAMES else None


def outcome_call(
    node: Call, rule_names: tuple[str, ...], concept: Callable[[ConceptName], Concept]
) -> Outcome:
    """``matched(rule)``, ``effect(@x)``, ``pair("…").dropped``. Raises ``Unresolved``."""
    name = node.function
    argument = node.arguments[0] if len(node.arguments) == 1 else None
    if name in ABOUT_RULES and isinstance(argument, Name):
        if argument.dotted not in rule_names:
            known = [n for n in rule_names if "-" not in n]
            otherwise = "named rules: " + ", ".join(known) if known else "name it: `links: drop where …`"
            help_line = did_you_mean(argument.dotted, known, otherwise)
            raise Unresolved("R210", f"there is no rule `{argument.dotted}`", argument.place, help_line)
        return Outcome(name, argument.dotted, None, Type.NUMBER)
    if name in ABOUT_CONCEPTS and isinstance(argument, ConceptName):
        found = concept(argument)
        if found.number is None:
            message = f"`@{argument.name}` is not a concept of the index, so nothing is forecast for it"
            raise Unresolved("R201", message, argument.place, "forecasts cover the index's concepts")
        return Outcome(name, str(found.number), None, Type.NUMBER, concept_literal(argument.name))
    if name == "pair" and isinstance(argument, Text):
        if node.part not in ABOUT_PAIRS:
            help_line = 'write `pair("…").` and one of ' + ", ".join(ABOUT_PAIRS)
            raise Unresolved("R308", "what about this pair?", node.place, help_line)
        return Outcome(name, argument.value, node.part, ABOUT_PAIRS[node.part])
    if name not in FUNCTIONS:
        help_line = did_you_mean(name, FUNCTIONS, "known: " + ", ".join(FUNCTIONS))
        raise Unresolved("R307", f"`expect` has no function `{name}`", node.place, help_line)
    raise Unresolved("R308", f"`{name}` takes other arguments", node.place, _arguments_help(name, argument))


def _arguments_help(function: str, argument: Expression | None) -> str:
    """How a function is called, with what was written where that can be told."""
    word = argument.dotted if isinstance(argument, Name) else None
    text = argument.value if isinstance(argument, Text) else None
    if function == "pair":
        return f'write `pair("{word or "id"}").kept`'
    if function in ABOUT_RULES:
        return f"write `{function}({text if text and text.isidentifier() else 'rule'})` with a rule's name"
    meant = text if word is None else word
    return f"write `{function}({'@concept' if meant is None else concept_literal(meant)})`"
