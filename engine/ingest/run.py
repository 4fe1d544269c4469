"""The ingest stage: sources → pairs.parquet, report, frozen folds, manifest."""

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import IngestError
from engine.ingest import grouping
from engine.ingest.collect import Collected, Collector, preview_drafts, refuse_nothing
from engine.ingest.drafts import Draft, Kind, Reason, Turns
from engine.ingest.folds import read_folds, write_folds
from engine.ingest.keys import as_words
from engine.ingest.report import Entries, FileCounts, IngestReport, SourceCounts, read_report, write_report
from engine.ingest.reuse import earlier
from engine.ingest.source import OpenSource, SourceSpec, open_source
from engine.ingest.spool import Late, Spool, write_sorted
from engine.manifest import Manifest, fingerprint, is_current, package_versions, sync_folder, write_manifest
from engine.progress import Progress
from engine.records import N_FOLDS, Label, Message
from engine.settings import IngestSettings

STAGE = "ingest"
STAGE_VERSION = 1

__all__ = ["IngestReport", "SourcePreview", "SourceSpec", "ingest", "preview"]


def ingest(
    sources: Sequence[SourceSpec], out_dir: Path, settings: IngestSettings, progress: Progress
) -> IngestReport:
    """Read all sources into ``out_dir``; does nothing when that is what the folder holds already.

    Writes pairs.parquet (``records.pair_schema()``, sorted by group and pair id), report.parquet (one entry
    per row that was dropped, repaired or is worth a note), report.json (counts that add up), folds.parquet
    (the fold of every prompt ever seen here) and, last, manifest.json.

    Raises:
        IngestError: a source that cannot be read as pairs; nothing is written then.
        Cancelled: the user stopped it; nothing is written then.
    """
    if not sources:
        raise IngestError("nothing to ingest", hint="give at least one file, folder or hub name")
    progress.start("look at sources", len(sources), "sources")
    opened = []
    for spec in sources:
        opened.append(open_source(spec, settings.max_text_bytes))
        progress.advance()
    progress.finish()
    _refuse_repeats(opened)
    expected, inputs = _identity(opened, settings)
    if is_current(out_dir, expected):
        return read_report(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    with _scratch(out_dir) as scratch:
        collected, counts = _collect(opened, out_dir, scratch, settings, progress)
        report = _finish(collected, counts, out_dir, scratch, settings, progress)
    write_manifest(
        out_dir,
        Manifest(
            STAGE,
            STAGE_VERSION,
            expected,
            inputs,
            asdict(settings),
            {"pairs": report.pairs, "groups": report.groups, "labels": report.labels},
            package_versions("prosect", "pyarrow", "numpy", "scipy"),
        ),
    )
    return report


def _refuse_repeats(opened: Sequence[OpenSource]) -> None:
    seen = Counter(f.shown for source in opened for f in source.files)
    twice = [name for name, n in seen.items() if n > 1]
    if twice:
        raise IngestError(f"{', '.join(twice[:5])}: given more than once", hint="name every file once")


def _identity(opened: Sequence[OpenSource], settings: IngestSettings) -> tuple[str, dict[str, str]]:
    inputs = {f.shown: h for source in opened for f, h in zip(source.files, source.hashes, strict=True)}
    described = sorted([s.fingerprint, s.spec.weight] for s in opened)
    return fingerprint(STAGE, STAGE_VERSION, inputs, asdict(settings) | {"sources": described}), inputs


@contextlib.contextmanager
def _scratch(out_dir: Path) -> Iterator[Path]:
    """A temporary folder beside the result; what an interrupted run left is removed."""
    for left in out_dir.glob(".scratch-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = out_dir / f".scratch-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _collect(
    opened: Sequence[OpenSource], out_dir: Path, scratch: Path, settings: IngestSettings, progress: Progress
) -> tuple[Collected, list[SourceCounts]]:
    before = earlier(out_dir, STAGE_VERSION)
    collected = Collected(
        Spool(scratch),
        Entries(),
        settings.max_text_bytes,
        with_overlaps=any(s.format.is_evaluation for s in opened),
    )
    counts = []
    for source in sorted(opened, key=lambda s: s.spec.path):
        is_known = source.fingerprint in before.sources
        progress.start(f"{'keep' if is_known else 'ingest'} {source.spec.path}", None, "rows")
        known = before.take(source.fingerprint, collected, progress)
        if known is None:
            tallies = Collector(source, collected, progress).run()
            refuse_nothing(source, tallies, collected.entries)
            counts.append(_counts(source, tuple(t.frozen(name) for name, t in sorted(tallies.items()))))
        else:
            counts.append(_counts(source, known.files))
        progress.finish()
    collected.spool.close()
    return collected, counts


def _counts(source: OpenSource, files: tuple[FileCounts, ...]) -> SourceCounts:
    spec, form = source.spec, source.format
    return SourceCounts(
        spec.path,
        spec.name,
        spec.weight,
        form.name,
        form.title,
        dict(spec.mapping),
        form.is_evaluation,
        source.fingerprint,
        files,
        source.remarks,
    )


def _finish(
    collected: Collected,
    counts: list[SourceCounts],
    out_dir: Path,
    scratch: Path,
    settings: IngestSettings,
    progress: Progress,
) -> IngestReport:
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
        collected.spool.path, scratch / "pairs.parquet", order, np.asarray(keys.size), late, progress
    )
    seconds = None
    if settings.near_duplicates:
        seconds = _note_near_duplicates(scratch / "pairs.parquet", order, late, collected, progress)
    report = _report(collected, counts, late, groups, seconds)
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


@dataclass(frozen=True, slots=True)
class PreviewPair:
    """A pair as a format understood it, before ids and folds."""

    source: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    label: Label
    chosen_was: str | None


@dataclass(frozen=True, slots=True)
class SourcePreview:
    """What a source looks like before it is ingested."""

    path: str
    files: tuple[str, ...]
    format: str
    """What --format would say; ``map`` for a mapping by hand."""
    format_title: str
    format_shape: str
    is_evaluation: bool
    from_description: bool
    """The format was rebuilt from descriptions: look twice at the pairs."""
    columns: tuple[tuple[str, str], ...]
    """Column and the kinds of values in its first rows."""
    pairs: tuple[PreviewPair, ...]
    remarks: tuple[str, ...]


def preview(source: SourceSpec, n: int = 10) -> SourcePreview:
    """Guess the format of a source and show its first pairs; writes nothing.

    Raises:
        IngestError: nothing to read, unknown or ambiguous columns.
    """
    opened = open_source(source, IngestSettings().max_text_bytes, with_hashes=False)
    form = opened.format
    return SourcePreview(
        source.path,
        tuple(f.shown for f in opened.files),
        form.name,
        form.title,
        form.shape,
        form.is_evaluation,
        form.from_description,
        tuple((c, " or ".join(sorted(kinds)) or "null") for c, kinds in opened.shape.kinds.items()),
        tuple(
            _shown(d, source.name or d.source or opened.files[0].source) for d in preview_drafts(opened, n)
        ),
        opened.remarks,
    )


def _shown(draft: Draft, source: str) -> PreviewPair:
    def messages(turns: Turns) -> tuple[Message, ...]:
        return tuple(Message(role, content) for role, content in turns)

    return PreviewPair(
        source,
        messages(draft.prompt),
        messages(draft.chosen),
        messages(draft.rejected),
        draft.label,
        draft.chosen_was,
    )
