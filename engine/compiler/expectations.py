"""``expect`` lines against a finished plan."""

from collections.abc import Mapping

import numpy as np

from engine.compiler.population import BASE_FATES, Population
from engine.compiler.records import Expectation, Plan, PlanFileError
from engine.errors import CompileError
from engine.rules.checked import CheckedExpect
from engine.rules.diagnostics import Diagnostic, line_and_column
from engine.rules.evaluate import Interpreter, PairFacts, Value
from engine.rules.terms import Outcome, Term, walk
from engine.wording import counted


def check_expectations(plan: Plan, everyone: Population) -> tuple[Expectation, ...]:
    """Evaluate every ``expect`` line.

    Raises:
        CompileError: ``pair("…")`` names no pair, or several.
    """
    return tuple(_check(expect, plan, everyone) for expect in plan.checked.expects)


def _check(expect: CheckedExpect, plan: Plan, everyone: Population) -> Expectation:
    outcomes = [t for t in walk(expect.condition) if isinstance(t, Outcome)]
    try:
        values: dict[Term, Value] = {o: _value(o, plan, everyone) for o in outcomes}
    except CompileError as error:
        found = Diagnostic("R606", error.message, expect.place, error.hint)
        raise PlanFileError([found], plan.checked.text, plan.checked.file_name) from error
    holds = _Known(values).truth(expect.condition, PairFacts({}), {})
    shown = ", ".join(f"{_show(o)} = {_number(values[o])}" for o in dict.fromkeys(outcomes))
    line, _ = line_and_column(plan.checked.text, expect.place.start)
    return Expectation(expect.text, line, holds, shown)


class _Known(Interpreter):
    """An interpreter that knows the outcomes of a plan."""

    def __init__(self, values: Mapping[Term, Value]) -> None:
        super().__init__()
        self._values = values

    def value(self, term: Term, facts: PairFacts, names: Mapping[str, Value]) -> Value:
        """Outcomes from the plan, everything else as usual."""
        if isinstance(term, Outcome):
            return self._values[term]
        return super().value(term, facts, names)


def _value(outcome: Outcome, plan: Plan, everyone: Population) -> Value:
    if outcome.argument is None:
        if outcome.kind in plan.counts:
            return float(plan.counts[outcome.kind])
        return {
            "ess": plan.effective_share,
            "largest_weight": plan.largest_weight,
            "warnings": float(len(plan.warnings)),
            "conflicts": float(plan.conflicts),
            "beyond": float(
                sum(c.is_beyond for c in plan.collateral) + sum(h.is_beyond for h in plan.held_inside)
            ),
        }[outcome.kind]
    if outcome.kind in ("matched", "unique"):
        rule = next(r for r in plan.rules if r.name == outcome.argument)
        return float(rule.n_matched if outcome.kind == "matched" else rule.n_unique)
    if outcome.kind == "pair":
        return _pair(outcome, plan, everyone)
    concept = next(c for c in plan.collateral if str(c.concept) == outcome.argument)
    return {"effect": concept.mean_after, "change": concept.change}.get(outcome.kind, concept.rate_after)


def _pair(outcome: Outcome, plan: Plan, everyone: Population) -> Value:
    prefix = outcome.argument or ""
    found = [i for i, ident in enumerate(everyone.pair_ids) if ident.startswith(prefix)] if prefix else []
    if len(found) != 1:
        count = "no pair has" if not found else counted(len(found), "pair has", "pairs have")
        raise CompileError(
            f"{count} an id that begins with {prefix!r}", hint="copy the id from the workstation"
        )
    at = found[0]
    fate = BASE_FATES[int(plan.fates.fate[at])].value
    values: dict[str, Value] = {
        "kept": fate == "kept",
        "dropped": fate == "dropped",
        "flipped": bool(plan.fates.flipped[at]),
        "weight": float(np.asarray(plan.fates.weight[at])),
        "offset": float(plan.fates.offset[at]),
        "fate": fate,
    }
    return values[outcome.part or "fate"]


def _show(outcome: Outcome) -> str:
    inside = "" if outcome.argument is None else f"({outcome.written or outcome.argument})"
    return f"{outcome.kind}{inside}" + (f".{outcome.part}" if outcome.part else "")


def _number(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
