"""From a rule file to a plan and to a shaped dataset."""

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import CompileError
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.settings import RulesSettings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views import VerdictView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.compiler.emit import CompiledDataset
    from engine.compiler.records import Plan, VerdictNote


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule file as text with the name that messages use."""

    text: str
    file_name: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """What people decided, as plans need it."""

    verdicts: tuple[VerdictView, ...]
    names: Mapping[str, str]
    """Concept id to the name a person gave it."""


def read_rules(path: Path) -> RuleText:
    """A rule file from disk.

    Raises:
        CompileError: it is not there or no text.
    """
    try:
        return RuleText(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise CompileError(
            f"there is no rule file {path}", hint="write one; see engine/docs/rules.md"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CompileError(f"{path} cannot be read: {error}", hint="a rule file is UTF-8 text") from error


def plan_rules(
    store: Store, rules: RuleText, decisions: Decisions, settings: RulesSettings, *, control: bool = False
) -> "Plan":
    """Resolve a rule file against an open index."""
    from engine.compiler.plan import make_plan

    return make_plan(
        store,
        rules.text,
        file_name=rules.file_name,
        verdicts=_notes(decisions.verdicts),
        settings=settings,
        names=decisions.names,
        control=control,
    )


def compile_rules(
    paths: ProjectPaths,
    rules: RuleText,
    decisions: Decisions,
    settings: RulesSettings,
    progress: Progress,
    *,
    control: bool = False,
    locked: Path | None = None,
    allow_failing: bool = False,
) -> "CompiledDataset":
    """Write the shaped dataset of a rule file into the project's shaped folder."""
    from engine.compiler.emit import compile_plan

    lock = _read_lock(locked) if locked is not None else None
    with open_index(paths) as store:
        plan = plan_rules(store, rules, decisions, settings, control=control)
        return compile_plan(
            store,
            plan,
            paths.pairs,
            paths.shaped_dir,
            locked=lock,
            allow_failing=allow_failing,
            progress=progress,
        )


@contextmanager
def open_index(paths: ProjectPaths) -> "Iterator[Store]":
    """The published index of the default reader."""
    with Store(paths.index(current_index(paths).index_hash)) as store:
        yield store


def _notes(verdicts: Sequence[VerdictView]) -> "list[VerdictNote]":
    from engine.compiler.records import VerdictNote

    return [
        VerdictNote(
            concept_id=v.target.concept_id,
            verdict=v.verdict,
            name=v.name,
            context_id=v.target.context_id,
            reason=v.reason or "",
            author=v.author,
        )
        for v in verdicts
        if not v.is_orphaned
    ]


def _read_lock(path: Path) -> dict[str, Any]:
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompileError(
            f"{path} is no lock: {error}", hint="a compiled folder's lock.json is one"
        ) from error
    if not isinstance(lock, dict):
        raise CompileError(f"{path} is no lock", hint="a compiled folder's lock.json is one")
    return lock
