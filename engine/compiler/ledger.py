"""The ledger: what happened to every pair, and by which rules."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.compiler.population import BASE_FATES, Population
from engine.compiler.records import Plan
from engine.errors import CompileError
from engine.manifest import hash_bytes
from engine.records import FateKind

if TYPE_CHECKING:
    from engine.rules.checked import CheckedFile

_REASONS = {
    FateKind.HELD_OUT: "fold 19 is kept for the forecast and the outcome",
    FateKind.UNLABELLED: "a tie, both bad, or without a label",
    FateKind.REFUSED: "belongs to an evaluation set",
}


def name_lists(touched: Mapping[str, NDArray[np.bool_]], rows: NDArray[np.int64]) -> pa.Array:
    """For each row the sorted names whose mask is set there, as list<string>."""
    names = sorted(touched)
    if not names:
        return pa.array([[]] * len(rows), pa.list_(pa.string()))
    masks = np.stack([touched[n][rows] for n in names], axis=1)
    _, which = np.nonzero(masks)
    offsets = np.concatenate([[0], np.cumsum(masks.sum(axis=1))]).astype(np.int32)
    values = pa.DictionaryArray.from_arrays(pa.array(which.astype(np.int32)), pa.array(names))
    return pa.ListArray.from_arrays(pa.array(offsets), values.cast(pa.string()))


def ledger_table(plan: Plan, everyone: Population, group_ids: pa.ChunkedArray) -> pa.Table:
    """One row per pair, in order of pair number.

    Raises:
        CompileError: the fates do not add up to the counts of the plan.
    """
    fates = plan.fates
    rows = np.arange(everyone.n_pairs)
    kinds = np.array([k.value for k in BASE_FATES], object)
    table = pa.table(
        {
            "pair": pa.array(rows.astype(np.uint32)),
            "pair_id": pa.array(everyone.pair_ids, pa.string()),
            "source": pa.DictionaryArray.from_arrays(
                pa.array(everyone.source.code), pa.array(list(everyone.source.values))
            ).cast(pa.string()),
            "group_id": group_ids,
            "fold": pa.array(everyone.fold.astype(np.int8)),
            "fate": pa.array(kinds[fates.fate], pa.string()),
            "base_weight": pa.array(everyone.base_weight),
            "weight": pa.array(fates.weight),
            "offset": pa.array(fates.offset),
            "flipped": pa.array(fates.flipped),
            "tags": name_lists(fates.tags, rows),
            "rules": name_lists(fates.touched, rows),
            "reason": pa.array(_reasons(plan), pa.string()),
        }
    )
    _audit(table, plan)
    return table


def _reasons(plan: Plan) -> NDArray[np.object_]:
    fates = plan.fates
    out = np.full(len(fates.fate), None, object)
    for kind, text in _REASONS.items():
        out[fates.fate == BASE_FATES.index(kind)] = text
    names = sorted(fates.reason)
    if not names:
        return out
    because = _because(plan.checked)
    code = np.zeros(len(out), np.int64)
    known: dict[int, tuple[str, ...]] = {0: ()}
    for name in names:
        hit = fates.reason[name]
        for old in np.unique(code[hit]):
            new = len(known)
            known[new] = (*known[int(old)], name)
            code[hit & (code == old)] = new
    for number, parts in known.items():
        if parts:
            out[code == number] = "; ".join(because.get(p, p) for p in parts)
    return out


def _because(checked: "CheckedFile") -> dict[str, str]:
    return {r.name: f"{r.name}: {r.reason}" for r in checked.rules if r.reason} | {"weight": "weight 0"}


def _audit(table: pa.Table, plan: Plan) -> None:
    """Count again from the finished table: what is written must be what was planned."""
    found = {row["values"]: row["counts"] for row in table.column("fate").value_counts().to_pylist()}
    expected = {k.value: plan.counts[k.value] for k in BASE_FATES}
    fate = np.array(table.column("fate").to_pylist(), object)
    unexplained = int(
        ((fate == FateKind.DROPPED.value) & ~table.column("reason").is_valid().to_numpy()).sum()
    )
    if {k: found.get(k, 0) for k in expected} != expected or sum(found.values()) != plan.counts["total"]:
        raise CompileError(
            f"the ledger counts {found}, the plan {expected}", hint="this is a defect: report it"
        )
    if unexplained:
        raise CompileError(f"{unexplained} dropped pairs have no reason", hint="this is a defect: report it")


def fates_digest(plan: Plan, pair_ids: Sequence[str] | NDArray[np.object_]) -> str:
    """Hash of every pair's id and fate: equal digests, equal shaped data."""
    fates = plan.fates
    parts = [
        "\n".join(pair_ids).encode(),
        fates.fate.astype("<i1").tobytes(),
        fates.weight.astype("<f8").tobytes(),
        fates.offset.astype("<f8").tobytes(),
        np.packbits(fates.flipped).tobytes(),
    ]
    for group in (fates.touched, fates.tags):
        for name in sorted(group):
            parts += [name.encode("utf-8", "replace"), np.packbits(group[name]).tobytes()]
    return hash_bytes(*parts)
