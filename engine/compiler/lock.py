"""The lock of a plan: what every name and statistic of a rule file resolved to, and with which limits.

Written beside the rule file and into every shaped dataset. Formatting, comments and the order of row rules do
not change it; a changed index, concept, label match or statistic does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.compiler.evaluation import Evaluation
from engine.compiler.records import VerdictNote
from engine.manifest import hash_bytes
from engine.records import Verdict
from engine.rules.checked import CheckedFile
from engine.rules.evaluate import FrozenStatistic
from engine.rules.syntax import LANGUAGE_VERSION
from engine.rules.terms import Concept, Inside, Reading, Term, walk
from engine.settings import RulesSettings

LOCK_VERSION = 1


def make_lock(
    checked: CheckedFile,
    evaluation: Evaluation,
    index_hash: str,
    verdicts: Sequence[VerdictNote],
    settings: RulesSettings,
    *,
    control: bool,
) -> dict[str, Any]:
    """Everything that determines the plan, as plain JSON."""
    return {
        "lock_version": LOCK_VERSION,
        "language": LANGUAGE_VERSION,
        "meaning": checked.meaning,
        "index": index_hash,
        "n_input": len(evaluation.pair),
        "concepts": {name: _concept(c) for name, c in sorted(_concepts(checked).items())},
        "contexts": sorted(
            {t.context_id for term in _terms(checked) for t in walk(term) if isinstance(t, Inside)}
        ),
        "label_patterns": {pattern: list(ids) for pattern, ids in checked.matched_labels},
        "statistics": {k: _statistic(evaluation.statistics[k]) for k in sorted(evaluation.statistics)},
        "seeds": sorted({s.seed for s in checked.sets if s.kind != "cap"}),
        "settings": asdict(settings),
        "held": sorted({v.concept_id for v in verdicts if v.verdict is Verdict.KEEP}),
        "journal": sorted({v.entry for v in verdicts if v.entry}),
        "training": [_training_line(checked, t.place.start, t.place.end) for t in checked.training],
        "control": control,
    }


def _training_line(checked: CheckedFile, start: int, end: int) -> str:
    return " ".join(checked.text[start:end].split())


def _terms(checked: CheckedFile) -> list[Term]:
    terms: list[Term] = [d.value for d in checked.definitions]
    for rule in checked.rules:
        terms += [rule.condition, *(a.value for a in rule.actions if a.value is not None)]
    for statement in checked.sets:
        terms += [t for t in (statement.key, statement.order) if t is not None]
    for shape in checked.shapes:
        terms += [shape.condition, *([shape.within] if shape.within is not None else [])]
    for item in checked.training:
        terms += [item.condition, *([item.tokens] if item.tokens is not None else [])]
    return terms


def _concepts(checked: CheckedFile) -> dict[str, Concept]:
    found = dict(checked.concepts)
    for term in _terms(checked):
        for part in walk(term):
            if isinstance(part, Reading):
                found.setdefault(part.concept.name, part.concept)
    for concept in (*(s.concept for s in checked.shapes), *(t.concept for t in checked.training)):
        if concept is not None:
            found.setdefault(concept.name, concept)
    return found


def _concept(concept: Concept) -> dict[str, Any]:
    return {"kind": concept.kind, "id": concept.concept_id, "members": list(concept.members)}


def _statistic(frozen: FrozenStatistic) -> dict[str, Any]:
    found: dict[str, Any] = {
        k: v for k, v in (("value", frozen.value), ("mean", frozen.mean), ("sd", frozen.sd)) if v is not None
    }
    if len(frozen.ordered):
        values = np.asarray(frozen.ordered, "<f8")
        found |= {"n": len(values), "values": hash_bytes(values.tobytes())}
    return found


def drift_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two locks, one line each; empty when they agree."""
    out = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names = sorted(k for k in set(before) | set(after) if before.get(k) != after.get(k))
            out.append(f"{key}: {', '.join(map(str, names[:6]))}" + (" …" if len(names) > 6 else ""))
        else:
            out.append(f"{key}: {_short(before)} → {_short(after)}")
    return out


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "…"
