"""A shaped dataset in the shape that another trainer reads; whatever it cannot say is an error, never lost.

| target | files | weight | offset |
|---|---|---|---|
| prosect | train.parquet, train.jsonl | `weight` | `offset` |
| trl | the same without them | replicate | refused |
| trl-reward | with `margin` = −offset | replicate | `margin` |
| axolotl | train.jsonl, axolotl.yaml | replicate | refused |
| llama-factory | train.json, dataset_info.json | replicate | refused |
| open-instruct | train.jsonl, or one file per weight and mixer.txt | replicate, bucket | refused |

Replication draws ⌊w·k⌋ copies of a pair and one more with probability w·k − ⌊w·k⌋ by md5(seed:pair_id): each
pair's expected share of the copies is its share of the weight. Buckets: see ``engine.compiler.buckets``.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from engine.compiler.buckets import Bucket, buckets
from engine.compiler.emit import changed_data
from engine.compiler.export_rows import ROW_WRITERS, Row, changes_of
from engine.errors import CompileError
from engine.manifest import Manifest, hash_file, read_manifest, write_atomic, write_json
from engine.rules.diagnostics import did_you_mean
from engine.wording import counted

TARGETS = ("prosect", "trl", "trl-reward", "axolotl", "llama-factory", "open-instruct")
_NEITHER = frozenset({"trl", "axolotl", "llama-factory", "open-instruct"})
_WEIGHT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export and how."""

    shaped: Path
    """Folder of a shaped dataset."""
    out_dir: Path
    target: str
    """One of TARGETS."""
    replicate: int | None = None
    """k: copies of a pair of weight 1; None: weights that the target cannot take are an error."""
    seed: int = 0
    """Of the draw for fractions of a copy, and of the order inside a bucket."""
    bucket: bool = False
    """One file per level of weight; open-instruct only, which mixes files in proportions."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written."""

    target: str
    n_pairs: int
    """Pairs of the shaped dataset."""
    n_rows: int
    """Rows written."""
    n_absent: int
    """Pairs of which replication drew no copy."""
    files: tuple[str, ...]
    changed: Mapping[str, int] = field(default_factory=dict)
    """What the target's own reading changes in the texts, and in how many rows."""


def export(request: ExportRequest) -> ExportReport:
    """Write a shaped dataset for another trainer.

    Raises:
        CompileError: an unknown target, an unfinished or changed dataset, a folder that holds another
            artefact, or what the target cannot hold (weights
            without ``replicate``, offsets, what only our trainer does, tools, several messages a response).
    """
    if request.target not in TARGETS:
        known = did_you_mean(request.target, TARGETS, "known: " + ", ".join(TARGETS))
        raise CompileError(f"there is no target {request.target}", hint=known)
    if request.replicate is not None and not 1 <= request.replicate <= 100:
        raise CompileError("replicate takes 1 to 100 copies", hint="2 to 8 are usual")
    if request.bucket and request.target != "open-instruct":
        raise CompileError(
            f"{request.target} does not mix files in proportions", hint="use --weights replicate instead"
        )
    manifest = read_manifest(request.shaped)
    train = request.shaped / "train.parquet"
    if manifest is None or not train.exists():
        raise CompileError(f"{request.shaped} is no finished dataset", hint="run `prosect compile` first")
    _refuse_place(request)
    _refuse_changed(request.shaped, manifest)
    table = pq.read_table(train)
    lock = json.loads((request.shaped / "lock.json").read_text(encoding="utf-8"))
    _refuse_loss(request, table, lock)
    rows = _rows(table)
    leftovers = _earlier_files(request.out_dir)
    if request.bucket:
        files, n_rows, n_absent = _write_buckets(request, buckets(rows, request.seed)), len(rows), 0
    else:
        copies = [_copies(row, request) for row in rows]
        written = [row for row, n in zip(rows, copies, strict=True) for _ in range(n)]
        files, n_rows, n_absent = _write(request, written), len(written), sum(n == 0 for n in copies)
    changed = changes_of(request.target, rows)
    report = ExportReport(request.target, len(rows), n_rows, n_absent, tuple(sorted(files)), changed)
    facts = asdict(report) | {
        "source": manifest.fingerprint,
        "replicate": request.replicate,
        "bucket": request.bucket,
        "seed": request.seed,
        "hashes": {name: hash_file(request.out_dir / name) for name in files},
    }
    for name, path in leftovers.items():
        if name not in files:  # of other buckets: a folder's rows are those of its last export
            path.unlink()
    write_json(request.out_dir / "export.json", facts)
    return report


def _refuse_place(request: ExportRequest) -> None:
    """Refuse to write over what something else depends on: a shaped dataset, or any finished stage."""
    if read_manifest(request.out_dir) is not None:
        raise CompileError(
            f"{request.out_dir} holds what prosect has made; an export would overwrite it",
            hint=f"give the export a folder of its own, for example -o {request.out_dir}-{request.target}",
        )


def _refuse_changed(shaped: Path, manifest: Manifest) -> None:
    changed = changed_data(shaped, manifest)
    if changed:
        raise CompileError(
            f"{shaped} is not as it was compiled: {', '.join(changed)} changed or missing",
            hint="run `prosect compile` again: it writes the dataset anew",
        )


def _earlier_files(out_dir: Path) -> dict[str, Path]:
    """Files that an earlier export left in a folder as it wrote them, by name."""
    try:
        hashes = json.loads((out_dir / "export.json").read_text(encoding="utf-8"))["hashes"]
        found = {str(name): (out_dir / Path(name).name, digest) for name, digest in hashes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        name: path for name, (path, digest) in found.items() if path.is_file() and hash_file(path) == digest
    }


def _refuse_loss(request: ExportRequest, table: Any, lock: Mapping[str, Any]) -> None:
    """Refuse what the target has no place for; all reasons at once."""
    target = request.target
    if target == "prosect":
        if request.replicate is not None:
            raise CompileError("prosect's own trainer reads weights", hint="leave replicate out")
        return
    lost = []
    weights = table.column("weight").to_pylist()
    if (
        request.replicate is None
        and not request.bucket
        and any(abs(w - 1) > _WEIGHT_TOLERANCE for w in weights)
    ):
        lost.append("weights (replicate pairs instead: --weights replicate)")
    n_offset = sum(m != 0 for m in table.column("offset").to_pylist())
    if target in _NEITHER and n_offset:
        lost.append(f"offsets of {counted(n_offset, 'pair')}")
    lost += [f"`{entry['line']}`" for entry in lock["training"]]
    if target in ("axolotl", "llama-factory", "open-instruct") and "tools" in table.column_names:
        n_tools = len(table) - table.column("tools").null_count
        if n_tools:
            lost.append(f"tools of {counted(n_tools, 'pair')}")
    if lost:
        raise CompileError(
            f"{target} has no place for: " + "; ".join(lost), hint="train with prosect, or change the rules"
        )


def _rows(table: Any) -> list[Row]:
    return [Row(**{k: row.get(k) for k in Row.__slots__}) for row in table.to_pylist()]


def _copies(row: Row, request: ExportRequest) -> int:
    if request.replicate is None:
        return 1
    expected = row.weight * request.replicate
    whole = int(expected)
    digest = hashlib.md5(f"{request.seed}:{row.pair_id}".encode(), usedforsecurity=False).digest()
    draw = int.from_bytes(digest[8:], "little") / 2**64
    return whole + (draw < expected - whole)


def _write(request: ExportRequest, rows: list[Row]) -> list[str]:
    """Write the target's files; their names."""
    made = _made(request.target, rows)
    out = request.out_dir
    out.mkdir(parents=True, exist_ok=True)
    if request.target == "llama-factory":
        text = json.dumps(made, ensure_ascii=False, indent=1) + "\n"
        write_atomic(out / "train.json", text.encode())
        write_json(out / "dataset_info.json", {"shaped": LLAMA_FACTORY})
        return ["train.json", "dataset_info.json"]
    write_atomic(out / "train.jsonl", b"".join(_lines(made)))
    if request.target == "axolotl":
        write_atomic(out / "axolotl.yaml", AXOLOTL.encode())
        return ["train.jsonl", "axolotl.yaml"]
    if request.target in ("prosect", "trl", "trl-reward"):
        _write_parquet(out / "train.parquet", made)
        return ["train.jsonl", "train.parquet"]
    return ["train.jsonl"]


_NAMED = 20
"""Refused pairs whose ids are written out."""


def _made(target: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as the target reads them; all that it cannot hold is named at once."""
    problems: dict[str, list[str]] = {}
    made: list[dict[str, Any]] = []
    for row in rows:
        try:
            made.append(ROW_WRITERS[target](row))
        except ValueError as error:
            problems.setdefault(str(error), []).append(row.pair_id)
    if problems:
        shown = "; ".join(f"{text} ({counted(len(ids), 'row')})" for text, ids in sorted(problems.items()))
        refused = sorted({pair_id for ids in problems.values() for pair_id in ids})
        named = ", ".join(f'"{pair_id}"' for pair_id in refused[:_NAMED])
        rule = f"`drop where id in [{named}]`" + (", …" if len(refused) > _NAMED else "")
        raise CompileError(f"{target} cannot hold: {shown}", hint=f"drop these pairs by a rule: {rule}")
    return _same_keys(made)


def _write_buckets(request: ExportRequest, parts: Sequence[Bucket]) -> list[str]:
    """One file per bucket, and the argument that mixes them; their names."""
    made = [_made(request.target, part.rows) for part in parts]
    request.out_dir.mkdir(parents=True, exist_ok=True)
    mixer, names = [], []
    for number, (rows, part) in enumerate(zip(made, parts, strict=True)):
        name = f"train-{number:03d}.jsonl"
        write_atomic(request.out_dir / name, b"".join(_lines(rows)))
        mixer.append(f"{name} {part.proportion:.8f}")
        names.append(name)
    text = "--dataset_mixer_list \\\n  " + " \\\n  ".join(mixer) + "\n"
    write_atomic(request.out_dir / "mixer.txt", text.encode())
    return [*names, "mixer.txt"]


def _same_keys(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with one set of keys, null where a row had none: loaders take the first row's keys for all."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: row.get(key) for key in keys} for row in rows]


def _lines(rows: list[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), path, compression="zstd")


AXOLOTL = """rl: dpo
datasets:
  - path: train.jsonl
    ds_type: json
    split: train
    type: chat_template.default
    field_messages: messages
    field_chosen: chosen
    field_rejected: rejected
"""
LLAMA_FACTORY = {
    "file_name": "train.json",
    "formatting": "sharegpt",
    "ranking": True,
    "columns": {
        "messages": "conversations",
        "system": "system",
        "chosen": "chosen",
        "rejected": "rejected",
    },
}
