"""Write a plan as a shaped dataset: an immutable folder named by its content.

    shaped/<hash>/
      train.parquet  train.jsonl   kept pairs, sides as flipped
      ledger.parquet               the fate of every pair
      lock.json                    what the rules resolved to
      plan.json                    counts, drift, collateral
      README.md                    dataset card
      manifest.json                provenance and the hashes of the files above
      build.json                   times and the rule text; outside the hash

The same lock on the same pairs gives the same bytes.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.compiler.card import card_text
from engine.compiler.ledger import fates_digest, ledger_table, name_lists
from engine.compiler.lock import drift_of
from engine.compiler.population import Population, population
from engine.compiler.records import Plan, PlanFileError
from engine.compiler.training_lock import refuse_impossible
from engine.errors import CompileError, StoreError
from engine.manifest import (
    Manifest,
    changed_files,
    hash_file,
    hash_json,
    package_versions,
    read_manifest,
    sync_folder,
    write_atomic,
    write_json,
    write_manifest,
)
from engine.progress import NullProgress, Progress
from engine.records import message_type
from engine.store.connection import Store
from engine.wording import counted

Bools = NDArray[np.bool_]
STAGE_VERSION = 1
_BATCH_ROWS = 8192
_NEEDED = ("pair_id", "prompt", "chosen", "rejected", "source", "group_id", "fold", "tools")


@dataclass(frozen=True, slots=True)
class CompiledDataset:
    """A finished shaped dataset."""

    folder: Path
    content_hash: str
    counts: dict[str, int]
    was_there: bool
    """True when the same content had been written before."""


def compile_plan(
    store: Store,
    plan: Plan,
    pairs_path: Path,
    out_root: Path,
    *,
    locked: Mapping[str, Any] | None = None,
    allow_failing: bool = False,
    n_blocks: int | None = None,
    progress: Progress | None = None,
) -> CompiledDataset:
    """Write a plan.

    Args:
        store: the index that the plan was made on.
        plan: from ``make_plan``.
        pairs_path: pairs/pairs.parquet of the project.
        out_root: the project's shaped folder.
        locked: an earlier lock; any difference is an error and nothing is written.
        allow_failing: write although an ``expect`` line fails.
        n_blocks: of the reader's checkpoint, where it is known.
        progress: told per batch of pairs.

    Raises:
        CompileError: conflicting weights, nothing left, a failing expectation, steering or ablation that no
            run could do, a lock that has drifted, or
            pairs that are not those of the index.
    """
    _refuse(plan, locked, allow_failing=allow_failing)
    refuse_impossible(plan.checked, plan.fates.touched, plan.fates.weight > 0, n_blocks)
    started = time.time()
    everyone = population(store)
    digest = fates_digest(plan, everyone.pair_ids)
    content_hash = hash_json([STAGE_VERSION, plan.lock, digest])
    folder = out_root / content_hash
    manifest = read_manifest(folder) if folder.exists() else None
    if manifest is not None and manifest.fingerprint == content_hash and not changed_data(folder, manifest):
        return CompiledDataset(folder, content_hash, plan.counts, was_there=True)
    temporary = out_root / f".{content_hash}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        _write(temporary, plan, everyone, pairs_path, content_hash, progress or NullProgress())
        write_json(temporary / "build.json", _build_facts(plan, started))
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished or changed one
        temporary.rename(folder)
        sync_folder(out_root)
    except (OSError, StoreError) as error:
        cause = error.__cause__ if isinstance(error, StoreError) else error
        if not isinstance(cause, OSError):
            raise
        raise CompileError(
            f"cannot write {folder}: {cause.strerror or cause}", hint="check free space and permissions"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return CompiledDataset(folder, content_hash, plan.counts, was_there=False)


def changed_data(folder: Path, manifest: Manifest) -> list[str]:
    """Files of a shaped dataset that are not as they were compiled; its card may be edited."""
    return [name for name in changed_files(folder, manifest) if name != "README.md"]


def _refuse(plan: Plan, locked: Mapping[str, Any] | None, *, allow_failing: bool) -> None:
    if locked is not None:
        changes = drift_of(locked, plan.lock)
        if changes:
            raise CompileError(
                "R604: the lock has drifted:\n  " + "\n  ".join(changes),
                hint="review the change, then compile without --locked to accept it",
            )
    if plan.conflicts:
        conflicts = tuple(w for w in plan.warnings if w.code == "R601")
        raise PlanFileError(conflicts, plan.checked.text, plan.checked.file_name)
    if plan.counts["kept"] == 0:
        raise CompileError("R605: no pair is left to train on", hint="check the rules that drop")
    failing = [e for e in plan.expectations if not e.holds]
    if failing and not allow_failing:
        lines = "\n  ".join(f"line {e.line}: expect {e.text}   ({e.found})" for e in failing)
        raise CompileError(
            f"R603: {len(failing)} of {len(plan.expectations)} expectations fail:\n  {lines}",
            hint="look at `prosect plan`",
        )


def _build_facts(plan: Plan, started: float) -> dict[str, Any]:
    return {
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
        "rule_file": plan.checked.file_name,
        "rule_text": plan.checked.text,
    }


def _write(
    folder: Path, plan: Plan, everyone: Population, pairs_path: Path, content_hash: str, progress: Progress
) -> None:
    group_ids = _same_pairs(everyone, pairs_path)
    _write_train(folder, plan, pairs_path, progress)
    pq.write_table(ledger_table(plan, everyone, group_ids), folder / "ledger.parquet", compression="zstd")
    write_json(folder / "lock.json", plan.lock)
    write_json(folder / "plan.json", plan_facts(plan))
    write_atomic(folder / "README.md", card_text(plan, content_hash).encode("utf-8", "replace"))
    names = ("train.parquet", "train.jsonl", "ledger.parquet", "lock.json", "plan.json", "README.md")
    write_manifest(
        folder,
        Manifest(
            stage="compile",
            stage_version=STAGE_VERSION,
            fingerprint=content_hash,
            inputs={"index": plan.index_hash, "lock": hash_json(plan.lock)},
            settings=dict(plan.lock["settings"]),
            facts={"counts": plan.counts, "files": {n: hash_file(folder / n) for n in names}},
            packages=package_versions("prosect", "pyarrow", "duckdb", "polars", "numpy"),
        ),
    )


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The plan without what formatting changes (file name, line numbers), so that it can be hashed."""
    facts = plan.as_dict()
    del facts["file"], facts["lengths"]  # lengths follow from the ledger, and datasets made before have none
    facts["rules"] = sorted(
        ({k: v for k, v in r.items() if k not in ("line", "text")} for r in facts["rules"]),
        key=lambda r: r["name"],
    )
    facts["expectations"] = sorted(
        ({k: v for k, v in e.items() if k != "line"} for e in facts["expectations"]), key=lambda e: e["text"]
    )
    # no error is ever written, and datasets made before name no severity
    warnings = ({k: v for k, v in w.items() if k != "severity"} for w in facts["warnings"])
    facts["warnings"] = sorted(warnings, key=lambda w: (w["code"], w["message"]))
    result: dict[str, Any] = json.loads(json.dumps(facts))
    return result


def _same_pairs(everyone: Population, pairs_path: Path) -> pa.ChunkedArray:
    """The group ids of the file, after making sure that its pairs are those of the index."""
    try:
        table = pq.read_table(pairs_path, columns=["pair_id", "group_id"])
    except (OSError, pa.ArrowInvalid) as error:
        raise CompileError(f"{pairs_path} cannot be read: {error}", hint="ingest the data again") from error
    found = np.array(table.column("pair_id").to_pylist(), object)
    if len(found) != everyone.n_pairs or (found != everyone.pair_ids).any():
        raise CompileError(
            f"{pairs_path.name} has {len(found)} pairs, the index {everyone.n_pairs} others",
            hint="run `prosect audit` until every pair is read",
        )
    return table.column("group_id")


def _write_train(folder: Path, plan: Plan, pairs_path: Path, progress: Progress) -> None:
    import polars as pl

    progress.start("write the shaped dataset", plan.counts["total"], "pairs")
    tools = _has_tools(pairs_path)
    instructions = _instructions(plan)
    schema = train_schema(with_tools=tools, with_instructions=bool(instructions))
    n_bare = 0
    with (
        pq.ParquetWriter(folder / "train.parquet", schema, compression="zstd") as parquet,
        (folder / "train.jsonl").open("wb") as lines,
    ):
        for table, n_read in _kept_batches(plan, pairs_path, schema, instructions):
            if table.num_rows:
                n_bare += int(pc.sum(pc.equal(pc.list_value_length(table.column("prompt")), 0)).as_py())
                parquet.write_table(table)
                frame = pl.from_arrow(table)
                if isinstance(frame, pl.DataFrame):
                    frame.write_ndjson(lines)
            progress.advance(n_read)
    progress.finish()
    if n_bare:
        kept = counted(n_bare, "kept pair has", "kept pairs have")
        progress.note(f"{kept} no prompt, and no trainer renders that: `drop where prompt.turns == 0`")


def _has_tools(pairs_path: Path) -> bool:
    column = pq.read_table(pairs_path, columns=["tools"]).column("tools")
    return bool(column.null_count < len(column))


def _instructions(plan: Plan) -> list[tuple[str, Bools]]:
    """Instructions that the policy alone sees while training, with their pairs, in order of rule name."""
    found = []
    for rule in plan.checked.rules:
        action = rule.action("inoculate")
        hit = plan.fates.touched.get(rule.name)
        if action is not None and action.text and hit is not None:
            found.append((action.text, hit))
    return found


def _instruction_column(instructions: list[tuple[str, Bools]], rows: NDArray[np.int64]) -> pa.Array:
    """Per row its instructions joined by a newline, null where there is none."""
    parts: list[list[str]] = [[] for _ in rows]
    for text, hit in instructions:
        for i in np.nonzero(hit[rows])[0]:
            parts[int(i)].append(text)
    return pa.array(["\n".join(p) if p else None for p in parts], pa.string())


def train_schema(*, with_tools: bool, with_instructions: bool) -> pa.Schema:
    """Columns of train.parquet; ``tools`` and ``inoculation`` only where some pair has one."""
    names = pa.list_(pa.string())
    fields = [
        ("pair_id", pa.string()),
        ("prompt", message_type()),
        ("chosen", message_type()),
        ("rejected", message_type()),
        ("weight", pa.float64()),
        ("offset", pa.float64()),
        ("flipped", pa.bool_()),
        ("rules", names),
        ("tags", names),
        ("source", pa.string()),
        ("group_id", pa.string()),
        ("fold", pa.int8()),
    ]
    fields += [("tools", pa.string())] if with_tools else []
    fields += [("inoculation", pa.string())] if with_instructions else []
    return pa.schema(fields)


def _kept_batches(
    plan: Plan, pairs_path: Path, schema: pa.Schema, instructions: list[tuple[str, Bools]]
) -> Iterator[tuple[pa.Table, int]]:
    fates = plan.fates
    columns = [c for c in _NEEDED if c in schema.names]
    start = 0
    with pq.ParquetFile(pairs_path) as file:
        for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
            rows = np.arange(start, start + batch.num_rows)
            kept = rows[fates.weight[rows] > 0]
            start += batch.num_rows
            taken = batch.take(pa.array(kept - rows[0]))
            flipped = fates.flipped[kept]
            chosen, rejected = _sides(taken, flipped)
            made = {
                "chosen": chosen,
                "rejected": rejected,
                "weight": pa.array(fates.weight[kept]),
                "offset": pa.array(fates.offset[kept]),
                "flipped": pa.array(flipped),
                "rules": name_lists(fates.touched, kept),
                "tags": name_lists(fates.tags, kept),
            }
            if instructions:
                made["inoculation"] = _instruction_column(instructions, kept)
            arrays = [(made[f.name] if f.name in made else taken.column(f.name)).cast(f.type) for f in schema]
            yield pa.Table.from_arrays(arrays, schema=schema), batch.num_rows


def _sides(batch: pa.RecordBatch, flipped: Bools) -> tuple[pa.Array, pa.Array]:
    """Chosen and rejected after flips."""
    n = batch.num_rows
    both = pa.concat_arrays([batch.column("chosen"), batch.column("rejected")])
    place = np.arange(n)
    chosen = both.take(pa.array(np.where(flipped, place + n, place)))
    rejected = both.take(pa.array(np.where(flipped, place, place + n)))
    return chosen, rejected
