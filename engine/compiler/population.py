"""What a plan needs to know of every pair and concept of an index, read once and kept beside it.

Numeric work on plans (fates, weights, drift, forecast) runs on these arrays; SQL decides which pairs a rule
matches.
"""

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from engine.records import HELD_OUT_FOLD, FateKind, Label
from engine.store.connection import Store

Floats = NDArray[np.float64]
BASE_FATES = (FateKind.KEPT, FateKind.DROPPED, FateKind.HELD_OUT, FateKind.UNLABELLED, FateKind.REFUSED)
"""Codes 0–4 of a fate."""


@dataclass(frozen=True, slots=True)
class Category:
    """A partition of the pairs, for drift."""

    name: str
    values: tuple[str, ...]
    code: NDArray[np.int32]  # (P,) index into values


@dataclass(frozen=True, slots=True)
class ConceptColumns:
    """Concepts of the index, C of them, with u as a sparse matrix."""

    numbers: tuple[int, ...]
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    u: sparse.csr_matrix  # (C, P) disparity
    plus: sparse.csr_matrix  # (C, P) 1 where u > 0
    minus: sparse.csr_matrix  # (C, P) 1 where u < 0

    def row(self, number: int) -> int:
        """Row of a concept number."""
        return self.numbers.index(number)


@dataclass(frozen=True, slots=True)
class Population:
    """Every pair of an index. P pairs in order of their number."""

    pair_ids: NDArray[np.object_]  # (P,)
    group: NDArray[np.int64]  # (P,)
    fold: NDArray[np.int64]  # (P,)
    base_fate: NDArray[np.int8]  # (P,) code into BASE_FATES; 0 for input pairs
    source: Category
    language: Category
    length: Category
    """Which side is longer, by how much."""
    chosen_tokens: Floats  # (P,)
    rejected_tokens: Floats  # (P,)
    base_weight: Floats  # (P,) weight in the mix, where rules start from
    context_ids: tuple[str, ...]
    context_names: tuple[str, ...]
    contexts: sparse.csr_matrix  # (K, P) 1 inside
    concepts: ConceptColumns
    input_pairs: NDArray[np.int64]  # (N,) pair numbers that could be trained on

    @property
    def n_pairs(self) -> int:
        """P"""
        return len(self.base_fate)

    def called(self, names: Mapping[str, str]) -> "Population":
        """The same pairs, with the names that people gave to concepts in the place of working labels."""
        columns = self.concepts
        labels = tuple(names.get(i) or label for i, label in zip(columns.ids, columns.labels, strict=True))
        return replace(self, concepts=replace(columns, labels=labels))


_KEPT: "weakref.WeakKeyDictionary[Store, Population]" = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def population(store: Store) -> Population:
    """The population of an index, read on first use."""
    with _LOCK:
        found = _KEPT.get(store)
        if found is None:
            found = _KEPT[store] = _read(store)
        return found


def _read(store: Store) -> Population:
    table = store.arrow(
        "SELECT pair, pair_id, group_index, fold, label, coalesce(is_evaluation, FALSE) AS is_evaluation,"
        " source, language, chosen_tokens, rejected_tokens FROM pairs ORDER BY pair"
    )
    weight = _base_weight(store, table.num_rows)
    column = {name: table.column(name) for name in table.column_names}
    fold = numbers(column["fold"]).astype(np.int64)
    fate = np.zeros(table.num_rows, np.int8)
    fate[fold == HELD_OUT_FOLD] = BASE_FATES.index(FateKind.HELD_OUT)
    labelled = np.array(column["label"].to_pylist(), object) == Label.CHOSEN.value
    fate[~labelled] = BASE_FATES.index(FateKind.UNLABELLED)
    fate[numbers(column["is_evaluation"]) > 0] = BASE_FATES.index(FateKind.REFUSED)
    chosen, rejected = numbers(column["chosen_tokens"]), numbers(column["rejected_tokens"])
    n_pairs = table.num_rows
    context_ids, names, contexts = _contexts(store, n_pairs)
    return Population(
        pair_ids=np.array(column["pair_id"].to_pylist(), object),
        group=numbers(column["group_index"]).astype(np.int64),
        fold=fold,
        base_fate=fate,
        source=category("source", column["source"]),
        language=category("language", column["language"]),
        length=_length(chosen, rejected),
        chosen_tokens=chosen,
        rejected_tokens=rejected,
        base_weight=weight,
        context_ids=context_ids,
        context_names=names,
        contexts=contexts,
        concepts=_concepts(store, n_pairs),
        input_pairs=np.nonzero(fate == 0)[0],
    )


def _base_weight(store: Store, n_pairs: int) -> Floats:
    """(P,) weights of the mix; 1 in an index that was made before mixes had weights."""
    known = store.value(
        "SELECT count(*) FROM duckdb_columns() WHERE table_name = 'pairs' AND column_name = 'base_weight'"
    )
    if not known:
        return np.ones(n_pairs)
    found = store.columns("SELECT coalesce(base_weight, 1) AS weight FROM pairs ORDER BY pair")
    return np.asarray(found["weight"], np.float64)


def numbers(column: Any) -> Floats:
    """An Arrow column of numbers or truth values as float64, NaN where missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def category(name: str, column: Any) -> Category:
    """An Arrow column as codes; missing is a value of its own, ``–``."""
    encoded = column.combine_chunks().dictionary_encode() if column.num_chunks != 1 else column.chunk(0)
    encoded = encoded if hasattr(encoded, "indices") else encoded.dictionary_encode()
    values = [str(v) for v in encoded.dictionary.to_pylist()]
    raw = encoded.indices.to_numpy(zero_copy_only=False)
    code = np.where(np.isnan(raw.astype(np.float64)), len(values), raw.astype(np.float64)).astype(np.int32)
    if (code == len(values)).any():
        values.append("–")
    order = sorted(range(len(values)), key=lambda i: values[i])
    place = np.empty(len(values), np.int32)
    place[order] = np.arange(len(values), dtype=np.int32)
    return Category(name, tuple(values[i] for i in order), place[code] if len(values) else code)


_LENGTH_NAMES = (
    "rejected longer by > 200", "rejected longer by 51–200", "rejected longer by 1–50", "equal",
    "chosen longer by 1–50", "chosen longer by 51–200", "chosen longer by > 200",
)  # fmt: skip


def _length(chosen: Floats, rejected: Floats) -> Category:
    difference = np.nan_to_num(chosen - rejected)
    edges = np.array([-200.5, -50.5, -0.5, 0.5, 50.5, 200.5])
    return Category("length (tokens)", _LENGTH_NAMES, np.digitize(difference, edges).astype(np.int32))


def _contexts(store: Store, n_pairs: int) -> tuple[tuple[str, ...], tuple[str, ...], sparse.csr_matrix]:
    """Ids, names and members of the contexts."""
    known = store.rows("SELECT context, context_id, name FROM contexts WHERE context <> 0 ORDER BY context")
    members = store.columns("SELECT context, pair FROM context_pairs ORDER BY context, pair")
    row = {number: i for i, (number, *_) in enumerate(known)}
    rows = np.array([row.get(int(c), -1) for c in np.unique(members["context"])], np.int64)
    codes = np.searchsorted(np.unique(members["context"]), members["context"])
    at = rows[codes] if len(rows) else np.zeros(0, np.int64)
    data = np.ones(len(at), np.float64)
    matrix = sparse.csr_matrix((data, (at, members["pair"].astype(np.int64))), (len(known), n_pairs))
    return tuple(i for _, i, _ in known), tuple(name for *_, name in known), matrix


def _concepts(store: Store, n_pairs: int) -> ConceptColumns:
    known = store.rows("SELECT concept, concept_id, name FROM concepts ORDER BY concept")
    scores = store.columns(
        "SELECT concept, pair, u FROM concept_scores WHERE u IS NOT NULL AND u <> 0 ORDER BY concept, pair"
    )
    known_numbers = np.array([row[0] for row in known], np.int64)
    at = np.searchsorted(known_numbers, scores["concept"].astype(np.int64))
    indptr = np.searchsorted(at, np.arange(len(known) + 1)).astype(np.int64)
    value = np.asarray(scores["u"], np.float64)
    pair = scores["pair"].astype(np.int32)
    shape = (len(known), n_pairs)

    def matrix(data: Floats) -> sparse.csr_matrix:
        return sparse.csr_matrix((data, pair, indptr), shape)

    return ConceptColumns(
        tuple(int(n) for n in known_numbers),
        tuple(row[1] for row in known),
        tuple(row[2] for row in known),
        matrix(value),
        matrix((value > 0).astype(np.float64)),
        matrix((value < 0).astype(np.float64)),
    )


@dataclass
class Memo:
    """Values kept beside an open index between plans."""

    values: dict[str, Any] = field(default_factory=dict)


_MEMOS: "weakref.WeakKeyDictionary[Store, Memo]" = weakref.WeakKeyDictionary()


def memo(store: Store) -> Memo:
    """The memo of an open index."""
    return _MEMOS.setdefault(store, Memo())
