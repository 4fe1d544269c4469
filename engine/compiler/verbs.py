"""What a command line or workstation calls for rule files; each is one plain function.

``format_text``, ``explain``, ``make_plan``, ``compile_plan``, ``compare_plans``, ``rules_from_verdicts`` and
``export`` are used as they are; here are the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.compiler.emit import CompiledDataset, compile_plan
from engine.compiler.lock import drift_of, lock_path_of, read_lock, write_lock
from engine.compiler.plan import catalogue_of, make_plan
from engine.compiler.records import Plan, VerdictNote
from engine.errors import RuleError
from engine.manifest import hash_bytes
from engine.progress import Progress
from engine.rules.check_file import diagnose
from engine.rules.diagnostics import Diagnostic
from engine.rules.format import format_text
from engine.rules.lexer import Kind, lex
from engine.rules.statements import ACTIONS, VERBS, parse
from engine.settings import RulesSettings
from engine.store.connection import Store


def read_rules(path: Path, stamp: str = "") -> str:
    """The text of a rule file.

    Args:
        path: the file.
        stamp: hash that its bytes must have; empty: any.

    Raises:
        RuleError: it cannot be read, is not UTF-8, or has another stamp.
    """
    try:
        data = path.read_bytes()
        if stamp and hash_bytes(data) != stamp:
            raise RuleError(
                f"{path.name} is no longer the text that was looked at",
                hint="look at its plan again, then compile",
            )
        return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError as error:
        raise RuleError(
            f"there is no rule file {path}", hint="those of a project lie in its rules folder: DIR/rules"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise RuleError(f"{path} cannot be read: {why}", hint="rule files are UTF-8 text") from error


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
            why = error.strerror or error
            raise RuleError(f"{path} cannot be written: {why}", hint="check permissions") from error
    return True


def check_text(
    text: str, store: Store | None, names: Mapping[str, str] | None = None
) -> tuple[Diagnostic, ...]:
    """Every error and warning that needs no data: syntax without a store, names and types too with one."""
    if store is None:
        return parse(text).diagnostics
    return diagnose(text, catalogue_of(store, names))


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
    n_blocks: int | None = None
    """Of the reader's checkpoint, where it is known: layers that rules may name."""
    stamp: str = ""
    """Hash that the rule file must have; empty: any."""


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What ``compile_file`` did."""

    plan: Plan
    dataset: CompiledDataset
    lock_path: Path
    drift: tuple[str, ...]
    """How the new lock differs from the one that was there; empty without one."""


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
        read_rules(request.rules, request.stamp),
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
        n_blocks=request.n_blocks,
        progress=progress,
    )
    # a control is no later state of what the lock holds
    drift = tuple(drift_of(old, plan.lock)) if old is not None and not request.control else ()
    if not request.locked and not request.control and old != plan.lock:
        write_lock(lock_path, plan.lock)
    return CompileResult(plan, dataset, lock_path, drift)


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
