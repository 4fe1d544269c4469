"""Coverage and overlap of the statements of a plan."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engine.compiler.evaluation import Evaluation
from engine.compiler.population import Population
from engine.compiler.records import Fates, Overlap, RuleCount
from engine.compiler.row_effects import RowEffects
from engine.rules.checked import CheckedFile, CheckedRule
from engine.rules.diagnostics import Place, line_and_column
from engine.rules.terms import Term

_MAX_OVERLAPS = 200


def count_rules(
    checked: CheckedFile,
    everyone: Population,
    evaluation: Evaluation,
    effects: RowEffects,
    fates: Fates,
    spared: Mapping[str, NDArray[np.bool_]],
) -> tuple[RuleCount, ...]:
    """One record per statement, in file order; ``spared``: protected pairs that shapes would have dropped."""
    at = everyone.input_pairs
    touched = {name: hit[at] for name, hit in fates.touched.items()}
    depth = np.zeros(len(at), np.int32)
    for hit in touched.values():
        depth += hit
    entries: list[tuple[str, str, Place, str | None, NDArray[np.bool_]]] = []
    nothing = np.zeros(len(at), bool)

    def add(name: str, kind: str, place: Place, reason: str | None, condition: Term | None) -> None:
        matched = touched.get(name, nothing) if condition is None else evaluation.truths[condition]
        entries.append((name, kind, place, reason, matched))

    for rule in checked.rules:
        add(rule.name, ", ".join(a.verb for a in rule.actions), rule.place, rule.reason, rule.condition)
    for statement in checked.sets:
        add(statement.name, statement.kind, statement.place, None, None)
    for shape in checked.shapes:
        add(shape.name, f"{shape.verb} by {shape.method}", shape.place, None, shape.condition)
    for item in checked.training:
        add(item.name, item.kind, item.place, None, item.condition)
    by_name = {r.name: r for r in checked.rules}
    out = []
    for name, kind, place, reason, matched in sorted(entries, key=lambda e: e[2]):
        hit = touched.get(name, nothing)
        owner = by_name.get(name)
        effect = hit if owner is None else _effect(owner, effects, fates, at, spared)
        line, _ = line_and_column(checked.text, place.start)
        text = " ".join(checked.text[place.start : place.end].split())
        unique = int((hit & (depth == 1)).sum())
        out.append(RuleCount(name, kind, line, text, reason, int(matched.sum()), unique, int(effect.sum())))
    return tuple(out)


def _effect(
    rule: CheckedRule,
    effects: RowEffects,
    fates: Fates,
    at: NDArray[np.int64],
    spared: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Pairs on which the rule's actions show in the result."""
    hit = effects.matched[rule.name]
    kept = fates.raw_weight[at] > 0
    by_weight = fates.reason["weight"][at] if "weight" in fates.reason else ~kept & False
    out = np.zeros(len(hit), bool)
    for action in rule.actions:
        match action.verb:
            case "drop" | "keep only":
                out |= effects.dropped_by[rule.name] & ~effects.protected
            case "protect":
                others = [d for n, d in effects.dropped_by.items() if n != rule.name] + [*spared.values()]
                out |= hit & np.logical_or.reduce([np.zeros(len(hit), bool), *others])
            case "weight *=" | "weight =":
                out |= effects.changed[rule.name] & (kept | by_weight)
            case "offset +=":
                out |= effects.changed[rule.name] & kept
            case _:
                out |= hit & kept
    return out


def overlaps_of(fates: Fates) -> tuple[Overlap, ...]:
    """Pairs of statements that touch common pairs, largest first."""
    names = sorted(fates.touched)
    if len(names) < 2:
        return ()
    bits = np.stack([fates.touched[n] for n in names]).astype(np.float32)
    common = bits @ bits.T
    found = [
        Overlap(names[i], names[j], int(common[i, j]))
        for i in range(len(names))
        for j in range(i + 1, len(names))
        if common[i, j] > 0
    ]
    found.sort(key=lambda o: (-o.n_pairs, o.first, o.second))
    return tuple(found[:_MAX_OVERLAPS])
