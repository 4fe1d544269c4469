"""The lock of a plan: what every name and statistic of a rule file resolved to, and with which limits.

Written beside the rule file and into every shaped dataset. Formatting, comments and the order of row rules do
not change it; a changed index, concept, label match or statistic does.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.compiler.evaluation import Evaluation
from engine.compiler.records import VerdictNote
from engine.compiler.training_lock import concept_entry, training_entries
from engine.errors import CompileError
from engine.manifest import hash_bytes, write_json
from engine.records import Verdict
from engine.rules.checked import CheckedFile
from engine.rules.evaluate import FrozenStatistic
from engine.rules.syntax import LANGUAGE_VERSION
from engine.rules.terms import Column, Concept, Inside, Reading, Term, walk
from engine.settings import RulesSettings

LOCK_VERSION = 1


def make_lock(
    checked: CheckedFile,
    evaluation: Evaluation,
    index_hash: str,
    verdicts: Sequence[VerdictNote],
    settings: RulesSettings,
    *,
    control_seed: int | None,
    files: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Everything that determines the plan, as plain JSON.

    ``control_seed`` is None for the plan itself. ``files`` are those that the pairs came from, where
    rules read them (``reads_files``): the hash of an index does not say where they lay.
    """
    lock = {
        "lock_version": LOCK_VERSION,
        "language": LANGUAGE_VERSION,
        "meaning": checked.meaning,
        "index": index_hash,
        "n_input": len(evaluation.pair),
        "concepts": {name: concept_entry(c) for name, c in sorted(_concepts(checked).items())},
        "contexts": sorted(
            {t.context_id for term in _terms(checked) for t in walk(term) if isinstance(t, Inside)}
        ),
        "label_patterns": {pattern: list(ids) for pattern, ids in checked.matched_labels},
        "statistics": {k: _statistic(evaluation.statistics[k]) for k in sorted(evaluation.statistics)},
        "seeds": sorted({s.seed for s in checked.sets if s.kind != "cap"}),
        "settings": asdict(settings),
        "held": sorted({_held(v) for v in verdicts if v.verdict is Verdict.KEEP}),
        "journal": sorted({v.entry for v in verdicts if v.entry}),
        "training": [] if control_seed is not None else training_entries(checked),
        "control_seed": control_seed,
    }
    return lock if files is None else lock | {"files": sorted(files)}


def reads_files(checked: CheckedFile) -> bool:
    """A rule goes by the file that a pair came from."""
    parts = (part for term in _terms(checked) for part in walk(term))
    return any(isinstance(part, Column) and part.name == "source_file" for part in parts)


def _held(note: VerdictNote) -> str:
    return note.concept_id if note.context_id is None else f"{note.concept_id} in {note.context_id}"


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


def _statistic(frozen: FrozenStatistic) -> dict[str, Any]:
    found: dict[str, Any] = {
        k: v for k, v in (("value", frozen.value), ("mean", frozen.mean), ("sd", frozen.sd)) if v is not None
    }
    if len(frozen.ordered):
        values = np.asarray(frozen.ordered, "<f8")
        found |= {"n": len(values), "values": hash_bytes(values.tobytes())}
    return found


def lock_path_of(rules: Path) -> Path:
    """``a.rules`` has its lock in ``a.lock``."""
    return rules.with_suffix(".lock")


def read_lock(path: Path, *, required: bool = False) -> dict[str, Any] | None:
    """A lock file, None where there is none, or one of another version that is about to be written anew.

    Raises:
        CompileError: it is damaged, or missing or of another version although required.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = found["lock_version"]
    except FileNotFoundError as error:
        if required:
            raise CompileError(f"there is no lock at {path}", hint="compile once without --locked") from error
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompileError(f"{path} is damaged", hint="restore it, or remove it and compile again") from error
    if version != LOCK_VERSION:
        if not required:
            return None
        raise CompileError(
            f"{path} has lock version {version}, this prosect writes {LOCK_VERSION}",
            hint="compile without --locked to write it anew",
        )
    result: dict[str, Any] = found
    return result


def write_lock(path: Path, lock: Mapping[str, Any]) -> None:
    """Write a lock atomically."""
    write_json(path, dict(lock))


def drift_of(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two locks in words, one line each; empty when they agree."""
    keys = sorted(set(old) | set(new))
    return [_change(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


_ALONE = {
    "meaning": "meaning: the rules say something else (layout, comments and order do not count)",
    "index": "index: the pairs were audited anew since",
    "control_seed": "control: one of the two is a random plan of equal size",
    "training": "training: the trainer is asked for something else (steer, ablate, mask, inoculate)",
}
"""Keys whose values say nothing to a person."""
_COUNTED = {
    "journal": ("verdicts", "made since", "no longer in force"),
    "files": ("files that the pairs came from", "added since", "no longer there"),
    "held": ("held concepts", "held since", "no longer held"),
    "contexts": ("contexts", "named since", "no longer named"),
    "seeds": ("seeds", "added", "gone"),
}
"""Keys with lists of ids: what they are, what is said of those that came and of those that went."""


def _change(key: str, before: Any, after: Any) -> str:
    if key in _ALONE:
        return _ALONE[key]
    if key in _COUNTED:
        what, came, went = _COUNTED[key]
        old, new = set(before or ()), set(after or ())
        parts = ((len(new - old), came), (len(old - new), went))
        return f"{what}: " + ", ".join(f"{n:,} {said}" for n, said in parts if n)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return f"{key.replace('_', ' ')}: {_entries(key, before, after)}"
    return f"{_TITLES.get(key, key.replace('_', ' '))}: {before} → {after}"


_TITLES = {"n_input": "input pairs"}


def _entries(key: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Which entries of a table differ; statistics are known by hashes, so they are counted."""
    names = sorted(k for k in set(before) | set(after) if before.get(k) != after.get(k))
    if key == "statistics":
        return f"{len(names):,} of {len(set(before) | set(after)):,} have other values"
    if key == "settings":
        return ", ".join(f"{name} {before.get(name)} → {after.get(name)}" for name in names)
    return ", ".join(names[:6]) + (f" and {len(names) - 6:,} more" if len(names) > 6 else "")
