"""Frozen view models: what front ends see of a project's tables and of its review. Details: ``details``.

Signs are chosen minus rejected. An undefined number is None and shown as ``–``. Strings come from datasets
unchanged; whoever shows them passes them through ``engine.safe_text``.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from engine.records import Verdict

OF_CONCEPTS = "family:concepts"
"""Filter of the hypotheses that are about a concept itself, everywhere."""


class ColumnKind(StrEnum):
    """How a column's value reads; formatting belongs to the front end."""

    TEXT = "text"
    COUNT = "count"
    """Whole number."""
    NUMBER = "number"
    """Any real number."""
    SIGNED = "signed"
    """Real number whose sign matters."""
    SHARE = "share"
    """0–1, shown as percent."""
    INTERVAL = "interval"
    """(low, estimate, high) of a win rate, each 0–1 or None."""
    Q = "q"
    """False discovery rate."""
    FLAG = "flag"
    """True, False or None."""
    VERDICT = "verdict"
    """A ``Verdict`` value or None."""


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column of a table that a person can look at, filter and sort."""

    name: str
    """What filters and sorts call it."""
    title: str
    kind: ColumnKind
    width: int
    """Cells it needs; 0 takes what is left."""
    rank: int
    """1 is shown first; columns with high ranks go first when the terminal is narrow. 0 is never shown."""
    help: str
    is_searched: bool = False
    """Words of a filter that name no column are looked for here."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table of the project: its columns and how it is sorted at first."""

    name: str
    title: str
    columns: tuple[ColumnSpec, ...]
    default_sort: tuple["SortKey", ...]

    def index(self, column: str) -> int:
        """Position of a column in every row's values. Raises ``KeyError``."""
        for i, spec in enumerate(self.columns):
            if spec.name == column:
                return i
        raise KeyError(column)


class SortKey(NamedTuple):
    """One key of an ordering; undefined values come last either way."""

    column: str
    descending: bool = False


class GridRow(NamedTuple):
    """One row of a table."""

    key: int
    """Number of the record in this index."""
    ident: str
    """Identity that survives a new index."""
    values: tuple[Any, ...]
    """One per column of the table's spec."""


class FacetCount(NamedTuple):
    """How many rows of the current selection have a value, or lie in a bin of a number."""

    value: str | None
    """Text of the value or bin; None: undefined."""
    n: int
    term: str = ""
    """Filter terms that select exactly these rows; empty where none can."""


@dataclass(frozen=True, slots=True)
class ProjectSummary:
    """The index that is open."""

    root: str
    reader_hash: str
    index_hash: str
    share_read: float
    """Share of the pairs that the index covers, 0–1."""
    n_pairs: int
    n_signed: int
    n_concepts: int
    n_contexts: int
    """Without everywhere."""
    n_hypotheses: int
    n_called: int
    """Hypotheses everywhere that were called, taught or at equal length."""
    sources: tuple[FacetCount, ...]
    folder: str = ""
    """Where the project lies, for commands."""
    reader: str = ""
    """Model, layer and SAE that read the pairs."""
    warning: str | None = None
    """What to know before any row is read: whether authorship or length alone explain the labels."""
    stale: str | None = None
    """What to know when the mix or the settings have changed since the audit; None while they have not."""
    length_explains: float | None = None
    """Share of the labels' log-loss that length and origin save, 0–1."""
    models_explain: float | None = None
    """Share that knowing who wrote the responses saves; None where models are unknown."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a verdict is about: a concept, or a hypothesis (a concept inside a context)."""

    kind: str
    """``concept`` or ``hypothesis``"""
    ident: str
    concept_id: str
    context_id: str | None = None
    """None for a concept."""

    @property
    def key(self) -> str:
        """``concept:<id>`` or ``hypothesis:<id>``"""
        return f"{self.kind}:{self.ident}"


@dataclass(frozen=True, slots=True)
class VerdictView:
    """The verdict that holds for one target."""

    target: Target
    verdict: Verdict
    author: str
    time: str
    """ISO 8601, UTC."""
    reason: str | None
    name: str
    """The concept's name as it stood."""
    disputed_by: str | None = None
    """Another author whose last verdict on the target differs."""
    is_orphaned: bool = False
    """The target is not in the open index, and nothing in it continues the target."""
    carried_from: str | None = None
    """Key of the target in an older index that this verdict was about: to be confirmed by deciding again."""
    match: float | None = None
    """Carried: Jaccard index of the two concepts' latents."""


@dataclass(frozen=True, slots=True)
class NameView:
    """A concept's name given by a person."""

    concept_id: str
    """The concept that has the name here; an orphan's own."""
    name: str
    author: str
    time: str
    """ISO 8601, UTC."""
    is_orphaned: bool = False
    """The concept is not in the open index, and no unnamed one there continues it."""
    carried_from: str | None = None
    """Concept of an older index that was named: to be confirmed by naming again."""
    match: float | None = None
    """Carried: Jaccard index of the two concepts' latents."""


@dataclass(frozen=True, slots=True)
class JournalChange:
    """What one write to the journal changed."""

    label: str
    """For the message line: ``undo: 312 suppress``."""
    changed: tuple[str, ...]
    """Keys of the targets whose verdict may differ now."""
    names_changed: bool = False
    differs_from: tuple[str, ...] = ()
    """Others whose verdicts were gone over, or left alone because nobody here had seen them."""


@dataclass(frozen=True, slots=True)
class JournalLoss:
    """Entries that were read or written here and that the journal's file has no more."""

    how: str
    """What became of the file: deleted, emptied, cut short, replaced or changed."""
    n_entries: int
    kept_in: str | None
    """Name of the file beside the journal that holds them; None: there was no room for one."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far the review is."""

    n_concepts: int
    n_decided: int
    """Concepts of the open index with a verdict, ignore included."""
    n_called: int
    n_called_decided: int
    by_verdict: tuple[tuple[Verdict, int], ...]
    n_orphaned: int
    """Verdicts whose target is not in the open index and which nothing there continues."""
    n_damaged_lines: int
    """Journal lines that could not be read, a torn last line included."""
    undo_depth: int
    """Steps that this author can undo."""
    n_carried: int = 0
    """Verdicts that moved to what continues their target here: to be confirmed."""
    n_names_carried: int = 0
    n_names_orphaned: int = 0
    lost: JournalLoss | None = None
    """What the journal's file has no more; None: it has all that was read of it."""
    n_inside: int = 0
    """Verdicts inside contexts; the others are about concepts everywhere."""
    n_others: int = 0
    """Verdicts that hold and are somebody else's."""


class Interval(NamedTuple):
    """A win rate with its 95% interval."""

    low: float | None
    estimate: float | None
    high: float | None
