"""The pairs behind a number of a plan: what a statement touches, what two share, what a condition selects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Request, evaluate
from engine.compiler.plan import catalogue_of
from engine.compiler.population import BASE_FATES
from engine.compiler.records import Plan
from engine.errors import RuleError
from engine.rules.catalogue import Catalogue, Type
from engine.rules.check import Checker
from engine.rules.diagnostics import Diagnostic, RuleFileError, did_you_mean
from engine.rules.naming import Names, Unresolved
from engine.rules.statements import parse_condition
from engine.rules.terms import Term
from engine.store.connection import Store


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair, and what a plan does to it."""

    pair: int
    pair_id: str
    source: str
    prompt: str
    chosen: str
    rejected: str
    fate: str | None = None
    """None without a plan."""
    weight: float | None = None
    """Mean 1 over the kept pairs."""
    offset: float | None = None
    is_flipped: bool | None = None
    rules: tuple[str, ...] = ()
    """Every statement that touches it."""


@dataclass(frozen=True, slots=True)
class PairRows:
    """Some of the pairs behind a number."""

    n_pairs: int
    """All of them."""
    rows: tuple[PairRow, ...]
    """The first ones, in order of pair number."""
    warnings: tuple[Diagnostic, ...] = ()
    """What is doubtful about the condition."""


def touched_rows(store: Store, plan: Plan, statements: Sequence[str], limit: int) -> PairRows:
    """Pairs that all of these statements touch: behind a count, an overlap or a conflict.

    Raises:
        RuleError: the plan has no such statement.
    """
    fates = plan.fates
    for name in statements:
        if name not in fates.touched:
            known = sorted(fates.touched)
            help_line = did_you_mean(name, known, "it has " + ", ".join(known))
            raise RuleError(f"the plan has no statement `{name}`", hint=help_line)
    hit: NDArray[np.bool_] = np.logical_and.reduce([fates.touched[s] for s in statements])
    found = np.nonzero(hit)[0]
    rows = []
    for row in _texts(store, found[:limit]):
        i = row.pair
        rows.append(
            PairRow(
                i, row.pair_id, row.source, row.prompt, row.chosen, row.rejected,
                fate=BASE_FATES[int(fates.fate[i])].value,
                weight=float(fates.weight[i]),
                offset=float(fates.offset[i]),
                is_flipped=bool(fates.flipped[i]),
                rules=tuple(name for name, touched in fates.touched.items() if touched[i]),
            )
        )  # fmt: skip
    return PairRows(len(found), tuple(rows))


def condition_rows(store: Store, text: str, names: Mapping[str, str] | None, limit: int) -> PairRows:
    """Input pairs for which a condition in the language of rules holds.

    Raises:
        RuleFileError: the condition has errors.
    """
    term, problems = check_condition(text, catalogue_of(store, names))
    if term is None:
        raise RuleFileError(problems, text, "condition")
    evaluation = evaluate(store, (), Request(truths=(term,)))
    found = evaluation.pair[evaluation.truths[term]]
    return PairRows(len(found), tuple(_texts(store, found[:limit])), problems)


def check_condition(text: str, catalogue: Catalogue) -> tuple[Term | None, tuple[Diagnostic, ...]]:
    """A condition on its own, checked; the term is None when there are errors."""
    node, problems = parse_condition(text)
    if node is None or problems:
        return None, problems
    names = Names(catalogue)
    try:
        return Checker(catalogue, names).typed(node, Type.TRUTH), tuple(names.warnings)
    except Unresolved as error:
        return None, (error.diagnostic,)


def _texts(store: Store, pairs: NDArray[np.int64]) -> list[PairRow]:
    found = store.rows(
        "SELECT pair, pair_id, coalesce(source, ''), prompt_text, chosen_text, rejected_text FROM pairs"
        " WHERE pair IN (SELECT unnest($pairs)) ORDER BY pair",
        {"pairs": [int(p) for p in pairs]},
    )
    return [PairRow(*row) for row in found]
