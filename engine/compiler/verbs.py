"""What a command line or workstation calls for rule files; each is one plain function.

``format_text``, ``explain``, ``make_plan``, ``compile_plan``, ``compare_plans``, ``rules_from_verdicts`` and
``export`` are used as they are; here are the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.compiler.emit import CompiledDataset, compile_plan
from engine.compiler.evaluation import Request, evaluate
from engine.compiler.lock import drift_of, read_lock, write_lock
from engine.compiler.plan import catalogue_of, make_plan
from engine.compiler.records import Expectation, Plan, VerdictNote
from engine.errors import RuleError
from engine.progress import Progress
from engine.rules.catalogue import Catalogue, Type
from engine.rules.check import Checker
from engine.rules.check_file import diagnose
from engine.rules.diagnostics import Diagnostic, RuleFileError
from engine.rules.format import format_text
from engine.rules.lexer import Kind, lex
from engine.rules.naming import Names, Unresolved
from engine.rules.statements import ACTIONS, VERBS, parse, parse_condition
from engine.rules.terms import Term
from engine.settings import RulesSettings
from engine.store.connection import Store


def read_rules(path: Path) -> str:
    """The text of a rule file.

    Raises:
        RuleError: it cannot be read or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"{path} cannot be read: {error}", hint="rule files are UTF-8 text") from error


def format_file(path: Path, *, check_only: bool = False) -> bool:
    """Bring a file into canonical layout; True when it was (or, with ``check_only``, would be) changed.

    Raises:
        RuleFileError: syntax errors.
        RuleError: the file cannot be read or written.
    """
    text = read_rules(path)
    laid_out = format_text(text, path.name)
    if laid_out == text:
        return False
    if not check_only:
        try:
            path.write_text(laid_out, encoding="utf-8")
        except OSError as error:
            raise RuleError(f"{path} cannot be written: {error}", hint="check permissions") from error
    return True


def check_text(
    text: str, store: Store | None, names: Mapping[str, str] | None = None
) -> tuple[Diagnostic, ...]:
    """Every error and warning that needs no data: syntax without a store, names and types too with one."""
    if store is None:
        return parse(text).diagnostics
    return diagnose(text, catalogue_of(store, names))


@dataclass(frozen=True, slots=True)
class FileTest:
    """Result of the ``expect`` lines of one file."""

    file_name: str
    expectations: tuple[Expectation, ...]
    layout_is_canonical: bool

    @property
    def is_passing(self) -> bool:
        """True when every expectation holds."""
        return all(e.holds for e in self.expectations)


def run_expectations(
    store: Store,
    path: Path,
    *,
    verdicts: Sequence[VerdictNote] = (),
    settings: RulesSettings | None = None,
    names: Mapping[str, str] | None = None,
) -> FileTest:
    """Plan a file and report its ``expect`` lines; writes nothing.

    Raises:
        RuleError, CompileError: the file has errors or cannot be planned.
    """
    text = read_rules(path)
    plan = make_plan(store, text, file_name=path.name, verdicts=verdicts, settings=settings, names=names)
    return FileTest(path.name, plan.expectations, format_text(text, path.name) == text)


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What ``compile_file`` needs beside the store."""

    rules: Path
    pairs: Path
    """pairs/pairs.parquet of the project."""
    out_root: Path
    """The project's shaped folder."""
    verdicts: tuple[VerdictNote, ...] = ()
    settings: RulesSettings = field(default_factory=RulesSettings)
    names: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    """Fail on any drift from the lock beside the rule file, and leave the lock alone."""
    update_lock: bool = False
    """Resolve label patterns anew instead of as the lock has them."""
    control: bool = False
    control_seed: int = 0
    allow_failing: bool = False


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What ``compile_file`` did."""

    plan: Plan
    dataset: CompiledDataset
    lock_path: Path
    drift: tuple[str, ...]
    """How the new lock differs from the one that was there; empty without one."""


def lock_path_of(rules: Path) -> Path:
    """``a.rules`` has its lock in ``a.lock``."""
    return rules.with_suffix(".lock")


def compile_file(store: Store, request: CompileRequest, progress: Progress | None = None) -> CompileResult:
    """Plan a rule file, write the shaped dataset and, unless ``locked``, the lock beside the rule file.

    Raises:
        RuleError: the file has errors.
        CompileError: see ``make_plan`` and ``compile_plan``; with ``locked`` also a missing lock.
    """
    lock_path = lock_path_of(request.rules)
    old = read_lock(lock_path, required=request.locked)
    plan = make_plan(
        store,
        read_rules(request.rules),
        file_name=request.rules.name,
        verdicts=request.verdicts,
        settings=request.settings,
        names=request.names,
        lock=None if request.update_lock else old,
        control=request.control,
        control_seed=request.control_seed,
    )
    dataset = compile_plan(
        store,
        plan,
        request.pairs,
        request.out_root,
        locked=old if request.locked else None,
        allow_failing=request.allow_failing,
        progress=progress,
    )
    drift = tuple(drift_of(old, plan.lock)) if old is not None else ()
    if not request.locked and not request.control and old != plan.lock:
        write_lock(lock_path, plan.lock)
    return CompileResult(plan, dataset, lock_path, drift)


def check_condition(text: str, catalogue: Catalogue) -> tuple[Term | None, tuple[Diagnostic, ...]]:
    """A filter prompt's expression, checked; the term is None when there are errors."""
    node, problems = parse_condition(text)
    if node is None or problems:
        return None, problems
    names = Names(catalogue)
    try:
        return Checker(catalogue, names).typed(node, Type.TRUTH), tuple(names.warnings)
    except Unresolved as error:
        return None, (error.diagnostic,)


def matching_pairs(store: Store, text: str, names: Mapping[str, str] | None = None) -> NDArray[np.int64]:
    """Numbers of the input pairs for which a condition holds: the filter prompt, in the language of rules.

    Raises:
        RuleFileError: the condition has errors.
    """
    term, problems = check_condition(text, catalogue_of(store, names))
    if term is None:
        raise RuleFileError(problems, text, "filter")
    evaluation = evaluate(store, (), Request(truths=(term,)))
    return evaluation.pair[evaluation.truths[term]]


def pairs_touched(plan: Plan, *statements: str) -> NDArray[np.int64]:
    """Numbers of the pairs that all of these statements touch: the rows behind a count, overlap or finding.

    Raises:
        RuleError: the plan has no such statement.
    """
    unknown = [s for s in statements if s not in plan.fates.touched]
    if unknown or not statements:
        known = ", ".join(sorted(plan.fates.touched))
        raise RuleError(f"the plan has no statement {', '.join(unknown)}", hint=f"it has {known}")
    return np.nonzero(np.logical_and.reduce([plan.fates.touched[s] for s in statements]))[0]


@dataclass(frozen=True, slots=True)
class Styled:
    """A piece of text for an editor to colour."""

    start: int
    end: int
    style: str
    """verb, word, number, string, regex, concept, latent, comment or sign"""


def highlight(text: str) -> tuple[Styled, ...]:
    """Pieces of a rule text in order; shares the parser's lexer, never raises."""
    lexed = lex(text)
    out = [Styled(c.place.start, c.place.end, "comment") for c in lexed.comments]
    for token in lexed.tokens:
        if token.kind is not Kind.EOF:
            is_verb = token.kind is Kind.WORD and token.text in _VERB_WORDS
            out.append(Styled(token.place.start, token.place.end, "verb" if is_verb else token.kind.value))
    return tuple(sorted(out, key=lambda s: s.start))


_VERB_WORDS = frozenset({*VERBS, *ACTIONS, "prosect", "rules", "where", "because", "by", "priority", "only"})
