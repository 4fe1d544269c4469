"""From a rule file to a plan and to a shaped dataset."""

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import StoreError
from engine.live.drafts import notes_of
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.settings import RulesSettings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views.tables import VerdictView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.compiler.compare import PlanDifference
    from engine.compiler.records import Plan
    from engine.compiler.rows import PairRows
    from engine.compiler.verbs import CompileResult
    from engine.rules.diagnostics import Diagnostic
    from engine.views.rules import ConceptMoves


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people decided, as plans need it."""

    verdicts: tuple[VerdictView, ...]
    names: Mapping[str, str]
    """Concept id to the name a person gave it."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """Target key to the id of the journal entry that holds: locks name what they were made from."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile, as the command line gives it."""

    control: bool = False
    """A random plan of equal size instead."""
    locked: bool = False
    """Fail on any drift from the lock beside the rule file."""
    update_lock: bool = False
    """Resolve label patterns anew."""
    allow_failing: bool = False
    stamp: str = ""
    """Hash that the rule file must have, so that what is compiled is what was looked at; empty: any."""


def _plan(
    store: Store,
    rules: Path,
    decisions: Decisions,
    settings: RulesSettings,
    *,
    control: bool = False,
    update_lock: bool = False,
) -> "Plan":
    """Resolve a rule file against an open index, label patterns as the lock beside it has them."""
    from engine.compiler.lock import lock_path_of, read_lock
    from engine.compiler.plan import make_plan
    from engine.compiler.verbs import read_rules

    return make_plan(
        store,
        read_rules(rules),
        file_name=rules.name,
        verdicts=notes_of(decisions.verdicts, decisions.entries),
        settings=settings,
        names=decisions.names,
        lock=None if update_lock else read_lock(lock_path_of(rules)),
        control=control,
    )


def plan_file(
    paths: ProjectPaths,
    rules: Path,
    decisions: Decisions,
    settings: RulesSettings,
    *,
    control: bool = False,
    update_lock: bool = False,
) -> "Plan":
    """Resolve a rule file against the project's index: what ``compile_rules`` would write."""
    with open_index(paths) as store:
        return _plan(store, rules, decisions, settings, control=control, update_lock=update_lock)


def concept_moves(
    paths: ProjectPaths, rules: Path, decisions: Decisions, settings: RulesSettings, concept_id: str
) -> "ConceptMoves":
    """What each statement of a rule file does to a concept of the index."""
    from engine.compiler.leave_out import LeaveOuts
    from engine.compiler.leave_out import concept_moves as moves_of

    with open_index(paths) as store:
        plan = _plan(store, rules, decisions, settings)
        steps = LeaveOuts(store, plan, notes_of(decisions.verdicts, decisions.entries), settings)
        return moves_of(plan, steps, concept_id)


def rows_touched(
    paths: ProjectPaths,
    rules: Path,
    decisions: Decisions,
    settings: RulesSettings,
    *,
    statements: Sequence[str],
    limit: int,
) -> "PairRows":
    """Pairs that all of these statements of a rule file touch."""
    from engine.compiler.rows import touched_rows

    with open_index(paths) as store:
        return touched_rows(store, _plan(store, rules, decisions, settings), statements, limit)


def rows_matching(paths: ProjectPaths, condition: str, decisions: Decisions, *, limit: int) -> "PairRows":
    """Input pairs for which a condition in the language of rules holds."""
    from engine.compiler.rows import condition_rows

    with open_index(paths) as store:
        return condition_rows(store, condition, decisions.names, limit)


def compile_rules(
    paths: ProjectPaths,
    rules: Path,
    decisions: Decisions,
    settings: RulesSettings,
    options: CompileOptions,
    progress: Progress,
) -> "CompileResult":
    """Write the shaped dataset of a rule file into the project's shaped folder, and its lock beside it."""
    from engine.compiler.verbs import CompileRequest, compile_file

    with open_index(paths) as store:
        request = CompileRequest(
            rules=rules,
            pairs=paths.pairs,
            out_root=paths.shaped_dir,
            verdicts=tuple(notes_of(decisions.verdicts, decisions.entries)),
            settings=settings,
            names=decisions.names,
            n_blocks=_n_blocks(store),
            **asdict(options),
        )
        return compile_file(store, request, progress)


def _n_blocks(store: Store) -> int | None:
    """Blocks of the checkpoint that read the pairs; None where its configuration is not here."""
    try:
        reader = json.loads(store.value("SELECT value FROM meta WHERE key = 'reader'"))
        raw = json.loads((Path(reader["model"]).expanduser() / "config.json").read_text(encoding="utf-8"))
        config = raw | raw.get("text_config", {})
        return int(config.get("num_hidden_layers") or config["n_layer"])
    except (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def draft_rules(paths: ProjectPaths, decisions: Decisions, *, method: str, strength: float) -> str:
    """A rule file's text from the verdicts in force."""
    from engine.compiler.from_verdicts import rules_from_verdicts
    from engine.compiler.plan import catalogue_of

    with open_index(paths) as store:
        catalogue = catalogue_of(store, decisions.names)
        return rules_from_verdicts(
            notes_of(decisions.verdicts, decisions.entries), catalogue, method=method, strength=strength
        )


def diagnose(paths: ProjectPaths, rules: Path, decisions: Decisions) -> "tuple[str, tuple[Diagnostic, ...]]":
    """A rule file's text and every error and warning in it, names checked against the index."""
    from engine.compiler.verbs import check_text, read_rules

    text = read_rules(rules)
    with open_index(paths) as store:
        return text, check_text(text, store, decisions.names)


def compare(
    paths: ProjectPaths, first: Path, second: Path, decisions: Decisions, settings: RulesSettings
) -> "PlanDifference":
    """What changes between two rule files."""
    from engine.compiler.compare import compare_plans

    with open_index(paths) as store:
        plans = [_plan(store, path, decisions, settings) for path in (first, second)]
    return compare_plans(*plans)


@contextmanager
def open_index(paths: ProjectPaths) -> "Iterator[Store]":
    """The published index of the default reader."""
    with Store(paths.index(current_index(paths).index_hash)) as store:
        yield store
