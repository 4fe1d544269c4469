"""From everything that was read to the finished files: groups, folds, ids, sorting, report."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from engine.ingest import grouping
from engine.ingest.collect import Collected
from engine.ingest.drafts import Kind, Reason
from engine.ingest.evaluation import FILE as EVALUATION_FILE
from engine.ingest.folds import read_folds, write_folds
from engine.ingest.keys import as_words
from engine.ingest.overlap import EvaluationIndex, Overlaps, evaluation_pairs, find_overlaps
from engine.ingest.report import EvaluationCounts, IngestReport, SourceCounts, write_report
from engine.ingest.spool import Late, write_near_copies, write_sorted
from engine.manifest import sync_folder
from engine.progress import Progress
from engine.records import N_FOLDS
from engine.settings import IngestSettings


@dataclass(frozen=True, slots=True)
class Around:
    """What is known of an ingest beside its pairs."""

    counts: list[SourceCounts]
    weights: Mapping[str, float]
    """Weight of each source name; 1 where a name is missing."""
    evaluation: pa.Table
    """Prompts of evaluation files, as ``overlap.PROMPTS_SCHEMA``."""
    evaluations: tuple[EvaluationCounts, ...]
    remarks: tuple[str, ...]


def assemble(
    collected: Collected,
    around: Around,
    out_dir: Path,
    scratch: Path,
    settings: IngestSettings,
    progress: Progress,
) -> IngestReport:
    """Give every collected pair its ids, group and fold, and move the finished files into place."""
    keys = collected.keys
    groups = grouping.find_groups(keys)
    frozen = read_folds(out_dir, settings.fold_salt)
    folds = grouping.assign_folds(groups, settings.fold_salt, frozen)
    names = list(collected.sources)
    source = np.asarray(keys.source, np.int64)
    copy = grouping.number_copies(keys)
    ids = as_words(grouping.pair_ids(names, source, bytes(keys.content), copy), 16)
    evaluation = np.frombuffer(bytes(keys.is_evaluation), np.bool_)
    overlaps = _overlaps(collected, evaluation, around.evaluation, settings, progress)
    refused = evaluation | overlaps.is_exact | ((overlaps.share > 0) & _is_large(overlaps, settings))
    of_source = np.array([around.weights.get(name, 1.0) for name in names])
    group_words = groups.prompts[groups.group_of_prompt[groups.prompt_of]]
    late = Late(
        np.array(grouping.hex_ids(ids), object),
        np.array(grouping.hex_ids(as_words(keys.content, 16)), object),
        copy,
        np.array(grouping.hex_ids(group_words), object),
        folds.fold_of_prompt[groups.prompt_of],
        np.asarray(keys.weight, np.float64) * (of_source[source] if len(source) else 1.0),
        refused,
    )
    order = np.lexsort((ids[:, 1], ids[:, 0], group_words[:, 1], group_words[:, 0]))
    met = partial(_met, overlaps)
    _note(collected, Reason.EXACT_DUPLICATE, copy > 0, lambda _i: "")
    _note(collected, Reason.EVALUATION_OVERLAP, refused & ~evaluation, met)
    _note(collected, Reason.EVALUATION_WORDS, (overlaps.share > 0) & ~refused, met)
    before = folds.previous[groups.prompt_of]
    moved = folds.moved[groups.prompt_of]
    _note(collected, Reason.FOLD_MOVED, moved, lambda i: f"{before[i]} → {late.fold[i]}")
    write_sorted(
        collected.spool.paths, scratch / "pairs.parquet", order, np.asarray(keys.size), late, progress
    )
    seconds = None
    if settings.near_duplicates:
        seconds = _note_near_duplicates(scratch / "pairs.parquet", order, late, collected, progress)
    report = _report(collected, around, late, groups, seconds)
    report = replace(report, remarks=around.remarks + _imbalance(report))
    pq.write_table(around.evaluation, scratch / EVALUATION_FILE, compression="zstd")
    collected.entries.write(scratch / "report.parquet")
    write_folds(scratch, settings.fold_salt, groups, folds, frozen)
    write_report(scratch, report)
    _move(scratch, out_dir)
    return report


def _note(collected: Collected, reason: Reason, at: NDArray[np.bool_], detail: Callable[[int], str]) -> None:
    """Write into the report, for every pair that something is true of, where it stood and what it is."""
    keys, names, files = collected.keys, list(collected.sources), list(collected.files)
    for i in np.flatnonzero(at).tolist():
        place = (names[keys.source[i]], files[keys.file[i]], keys.row[i])
        collected.entries.add(*place, Kind.NOTED, reason, detail(i))


def _move(scratch: Path, out_dir: Path) -> None:
    (out_dir / "manifest.json").unlink(missing_ok=True)
    for name in ("folds.parquet", "pairs.parquet", EVALUATION_FILE, "report.parquet", "report.json"):
        (scratch / name).replace(out_dir / name)
    sync_folder(out_dir)


def _overlaps(
    collected: Collected,
    evaluation: NDArray[np.bool_],
    prompts: pa.Table,
    settings: IngestSettings,
    progress: Progress,
) -> Overlaps:
    """Pairs whose prompt occurs in an evaluation set, of this project or named for comparison."""
    spool, n_words = collected.spool.paths, settings.overlap_words
    known = pa.concat_tables([prompts, *evaluation_pairs(spool, evaluation, n_words)])
    if not known.num_rows:
        return Overlaps(np.zeros(len(evaluation), np.bool_), np.zeros(len(evaluation)), {})
    return find_overlaps(spool, evaluation, EvaluationIndex(known), n_words, progress)


def _is_large(overlaps: Overlaps, settings: IngestSettings) -> NDArray[np.bool_]:
    return np.asarray(overlaps.share >= settings.overlap_share)


def _met(overlaps: Overlaps, pair: int) -> str:
    """How a pair's prompt meets an evaluation prompt, and which."""
    where = overlaps.where.get(pair, "")
    return f"same words as {where}" if overlaps.is_exact[pair] else f"{overlaps.share[pair]:.0%} of {where}"


def _note_near_duplicates(
    pairs: Path, order: NDArray[np.int64], late: Late, collected: Collected, progress: Progress
) -> float:
    """Number near-duplicates, and add an entry for each; seconds that the pass took."""
    from engine.ingest.near import find_near_duplicates  # compiling its kernels takes seconds

    started = time.perf_counter()
    near = find_near_duplicates(pairs, progress)
    keys, names, files = collected.keys, list(collected.sources), list(collected.files)
    for pair, partner, share in zip(near.pair, near.partner, near.similarity, strict=True):
        i = int(order[pair])
        place = (names[keys.source[i]], files[keys.file[i]], keys.row[i])
        detail = f"{share:.2f} {late.pair_id[order[partner]]}"
        collected.entries.add(*place, Kind.NOTED, Reason.NEAR_DUPLICATE, detail)
    write_near_copies(pairs, near.copy)
    return time.perf_counter() - started


def _imbalance(report: IngestReport) -> tuple[str, ...]:
    """A remark where one group is so large that folds say little."""
    if report.largest_group <= max(50, report.pairs // 10):
        return ()
    return (
        f"one group holds {report.largest_group:,} of {report.pairs:,} pairs: they share a prompt, or a "
        "conversation id that is none (map another column to conversation_id, or drop it)",
    )


def _report(
    collected: Collected,
    around: Around,
    late: Late,
    groups: grouping.Groups,
    near_duplicate_seconds: float | None,
) -> IngestReport:
    def total(field: str) -> int:
        return sum(getattr(f, field) for s in around.counts for f in s.files)

    kinds = collected.entries.counts
    names, source = list(collected.sources), np.asarray(collected.keys.source, np.int64)
    by_source = np.bincount(source, minlength=len(names))
    mass = np.bincount(source, late.base_weight, minlength=len(names))
    report = IngestReport(
        rows_read=total("rows_read"),
        expanded=total("expanded"),
        merged=total("merged"),
        pairs=len(collected.keys),
        groups=len(np.unique(groups.group_of_prompt)),
        largest_group=int(np.bincount(groups.group_of_prompt[groups.prompt_of]).max(initial=0)),
        labels=dict(sorted(collected.labels.items())),
        folds=tuple(np.bincount(late.fold.astype(np.int64), minlength=N_FOLDS).tolist()),
        pairs_by_source=dict(sorted(zip(names, by_source.tolist(), strict=True))),
        evaluation_pairs=int(late.is_evaluation.sum()),
        dropped=dict(sorted(kinds[Kind.DROPPED].items())),
        repaired=dict(sorted(kinds[Kind.REPAIRED].items())),
        noted=dict(sorted(kinds[Kind.NOTED].items())),
        sources=tuple(around.counts),
        weights={name: around.weights.get(name, 1.0) for name in sorted(names)},
        weight_by_source=dict(sorted(zip(names, mass.tolist(), strict=True))),
        evaluations=around.evaluations,
        near_duplicate_seconds=near_duplicate_seconds,
    )
    if not report.adds_up:
        raise RuntimeError(f"the ingest report does not add up: {report.as_dict()}")
    return report
