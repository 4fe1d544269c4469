"""From everything that was read to the finished files: groups, folds, ids, sorting, report."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.ingest import grouping
from engine.ingest.collect import Collected
from engine.ingest.drafts import Kind, Reason
from engine.ingest.folds import read_folds, write_folds
from engine.ingest.keys import as_words
from engine.ingest.report import IngestReport, SourceCounts, write_report
from engine.ingest.spool import Late, write_sorted
from engine.manifest import sync_folder
from engine.progress import Progress
from engine.records import N_FOLDS
from engine.settings import IngestSettings


def assemble(
    collected: Collected,
    counts: list[SourceCounts],
    remarks: tuple[str, ...],
    out_dir: Path,
    scratch: Path,
    settings: IngestSettings,
    progress: Progress,
) -> IngestReport:
    """Give every collected pair its ids, group and fold, and move the finished files into place."""
    keys, entries = collected.keys, collected.entries
    groups = grouping.find_groups(keys)
    frozen = read_folds(out_dir, settings.fold_salt)
    folds = grouping.assign_folds(groups, settings.fold_salt, frozen)
    names = list(collected.sources)
    source = np.asarray(keys.source, np.int64)
    copy = grouping.number_copies(keys)
    ids = as_words(grouping.pair_ids(names, source, bytes(keys.content), copy), 16)
    evaluation = np.frombuffer(bytes(keys.is_evaluation), np.bool_)
    refused = evaluation | _overlaps(as_words(keys.overlap, 8)[:, 0], evaluation)
    group_words = groups.prompts[groups.group_of_prompt[groups.prompt_of]]
    late = Late(
        np.array(grouping.hex_ids(ids), object),
        np.array(grouping.hex_ids(as_words(keys.content, 16)), object),
        copy,
        np.array(grouping.hex_ids(group_words), object),
        folds.fold_of_prompt[groups.prompt_of],
        refused,
    )
    order = np.lexsort((ids[:, 1], ids[:, 0], group_words[:, 1], group_words[:, 0]))
    moved = folds.moved[groups.prompt_of]
    before = folds.previous[groups.prompt_of]
    files = list(collected.files)
    for reason, at in (
        (Reason.EXACT_DUPLICATE, copy > 0),
        (Reason.EVALUATION_OVERLAP, refused & ~evaluation),
        (Reason.FOLD_MOVED, moved),
    ):
        for i in np.flatnonzero(at).tolist():
            detail = f"{before[i]} → {late.fold[i]}" if reason is Reason.FOLD_MOVED else ""
            place = (names[keys.source[i]], files[keys.file[i]], keys.row[i])
            entries.add(*place, Kind.NOTED, reason, detail)
    write_sorted(
        collected.spool.paths, scratch / "pairs.parquet", order, np.asarray(keys.size), late, progress
    )
    seconds = None
    if settings.near_duplicates:
        seconds = _note_near_duplicates(scratch / "pairs.parquet", order, late, collected, progress)
    report = _report(collected, counts, late, groups, seconds)
    report = replace(report, remarks=remarks + _imbalance(report))
    entries.write(scratch / "report.parquet")
    write_folds(scratch, settings.fold_salt, groups, folds, frozen)
    write_report(scratch, report)
    _move(scratch, out_dir)
    return report


def _move(scratch: Path, out_dir: Path) -> None:
    (out_dir / "manifest.json").unlink(missing_ok=True)
    for name in ("folds.parquet", "pairs.parquet", "report.parquet", "report.json"):
        (scratch / name).replace(out_dir / name)
    sync_folder(out_dir)


def _overlaps(keys: NDArray[np.uint64], evaluation: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pairs whose prompt occurs in an evaluation set, up to case and white space."""
    if not evaluation.any():
        return np.zeros(len(keys), np.bool_)
    return np.isin(keys, keys[evaluation & (keys != 0)])


def _note_near_duplicates(
    pairs: Path, order: NDArray[np.int64], late: Late, collected: Collected, progress: Progress
) -> float:
    """Add an entry for every pair with a near-duplicate; seconds that the pass took."""
    from engine.ingest.near import find_near_duplicates  # compiling its kernels takes seconds

    started = time.perf_counter()
    near = find_near_duplicates(pairs, progress)
    keys, names, files = collected.keys, list(collected.sources), list(collected.files)
    for pair, partner, share in zip(near.pair, near.partner, near.similarity, strict=True):
        i = int(order[pair])
        place = (names[keys.source[i]], files[keys.file[i]], keys.row[i])
        detail = f"{share:.2f} {late.pair_id[order[partner]]}"
        collected.entries.add(*place, Kind.NOTED, Reason.NEAR_DUPLICATE, detail)
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
    counts: list[SourceCounts],
    late: Late,
    groups: grouping.Groups,
    near_duplicate_seconds: float | None,
) -> IngestReport:
    def total(field: str) -> int:
        return sum(getattr(f, field) for s in counts for f in s.files)

    kinds = collected.entries.counts
    by_source = np.bincount(np.asarray(collected.keys.source, np.int64), minlength=len(collected.sources))
    report = IngestReport(
        rows_read=total("rows_read"),
        expanded=total("expanded"),
        merged=total("merged"),
        pairs=len(collected.keys),
        groups=len(np.unique(groups.group_of_prompt)),
        largest_group=int(np.bincount(groups.group_of_prompt[groups.prompt_of]).max(initial=0)),
        labels=dict(sorted(collected.labels.items())),
        folds=tuple(np.bincount(late.fold.astype(np.int64), minlength=N_FOLDS).tolist()),
        pairs_by_source=dict(sorted(zip(collected.sources, by_source.tolist(), strict=True))),
        evaluation_pairs=int(late.is_evaluation.sum()),
        dropped=dict(sorted(kinds[Kind.DROPPED].items())),
        repaired=dict(sorted(kinds[Kind.REPAIRED].items())),
        noted=dict(sorted(kinds[Kind.NOTED].items())),
        sources=tuple(counts),
        near_duplicate_seconds=near_duplicate_seconds,
    )
    if not report.adds_up:
        raise RuntimeError(f"the ingest report does not add up: {report.as_dict()}")
    return report
