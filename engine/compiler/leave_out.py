"""What each statement of a rule file does to every concept: the plan as it is, beside the plan without it.

A statement is left out and everything after names and statistics is done again: row rules, set statements,
drops, offsets, and matching solved anew. What it does is the mean with it minus the mean without it. These
effects need not add up to the change: of two statements that drop the same pairs neither moves anything, and
what is left over is what several do only together.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from engine.compiler.forecast import mean_after
from engine.compiler.plan import draft_of, evaluated, fates_of
from engine.compiler.population import Floats, population
from engine.compiler.records import Plan, VerdictNote
from engine.compiler.row_effects import row_effects
from engine.errors import CompileError
from engine.rules.checked import CheckedFile
from engine.settings import RulesSettings
from engine.store.connection import Store
from engine.views.rules import ConceptMoves, LeftOut, StatementMove, WithAndWithout, effects_on, only_together

_NO_FORCE = frozenset({"tag", "inoculate"})
"""Actions that change neither weight, offset nor sides: the forecast knows nothing of them."""


def moving_statements(checked: CheckedFile) -> tuple[str, ...]:
    """Names of the statements that can change the forecast of a concept, in file order."""
    rules = [r for r in checked.rules if any(a.verb not in _NO_FORCE for a in r.actions)]
    placed = [(r.place, r.name) for r in rules]
    placed += [(s.place, s.name) for s in checked.sets] + [(s.place, s.name) for s in checked.shapes]
    return tuple(name for _, name in sorted(placed))


class LeaveOuts:
    """Plans of one file without one statement each; what they share is evaluated once.

    Args:
        store: the open index that the plan was made on.
        plan: the whole file.
        verdicts: as the plan had them.
        settings: as the plan had them.
    """

    def __init__(
        self, store: Store, plan: Plan, verdicts: Sequence[VerdictNote], settings: RulesSettings
    ) -> None:
        self.names = moving_statements(plan.checked)
        self._store, self._plan = store, plan
        self._verdicts, self._settings = tuple(verdicts), settings
        self._everyone = population(store)
        after = {c.concept_id: c.mean_after for c in plan.collateral}
        self._after = [after[ident] for ident in self.concept_ids]
        self._evaluation = evaluated(store, plan.checked)

    @property
    def concept_ids(self) -> tuple[str, ...]:
        """Ids of the C concepts, in the order of the means."""
        return self._everyone.concepts.ids

    def left_out(self, number: int) -> LeftOut:
        """The plan without one statement, beside the whole plan; ``number`` is its place in ``names``."""
        name, means, problem = self.names[number], None, ""
        count = next(r for r in self._plan.rules if r.name == name)
        try:
            without = self.without(name).tolist()
            means = dict(zip(self.concept_ids, map(WithAndWithout, self._after, without), strict=True))
        except CompileError as error:
            problem = error.message
        return LeftOut(name, count.kind, count.line, means, problem, len(self.names))

    def without(self, name: str) -> Floats:
        """Mean disparity of every concept under the plan without a statement, (C,).

        Raises:
            CompileError: without it the other statements' targets cannot be met.
        """
        hit = self._plan.fates.touched.get(name)
        if hit is not None and not np.any(hit):  # it touches nothing, so nothing is different without it
            return mean_after(self._everyone, self._plan.fates)
        everyone, rest = self._everyone, _rest(self._plan.checked, name)
        base = everyone.base_weight[everyone.input_pairs]
        effects = row_effects(rest.rules, self._evaluation, base)
        draft = draft_of(
            self._store, rest, everyone, self._evaluation, effects, self._verdicts, self._settings
        )
        return mean_after(everyone, fates_of(everyone, draft))


def concept_moves(plan: Plan, steps: LeaveOuts, concept_id: str) -> ConceptMoves:
    """What every statement does to one concept of the index."""
    found = [steps.left_out(number) for number in range(len(steps.names))]
    shift = next(c for c in plan.collateral if c.concept_id == concept_id)
    moves = [
        StatementMove(s.name, s.line, s.kind, means.effect, means.without, "")
        for s, means in effects_on(concept_id, found)
    ]
    moves += [StatementMove(s.name, s.line, s.kind, None, None, s.problem) for s in found if s.means is None]
    together = only_together(concept_id, shift.change, found)
    return ConceptMoves(concept_id, shift.label, shift.mean_before, shift.mean_after, tuple(moves), together)


def _rest(checked: CheckedFile, name: str) -> CheckedFile:
    return replace(
        checked,
        rules=tuple(r for r in checked.rules if r.name != name),
        sets=tuple(s for s in checked.sets if s.name != name),
        shapes=tuple(s for s in checked.shapes if s.name != name),
    )
