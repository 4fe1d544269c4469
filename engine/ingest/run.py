"""The ingest stage: sources → pairs.parquet, report, frozen folds, manifest."""

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

from engine.errors import IngestError
from engine.ingest.assemble import assemble
from engine.ingest.collect import Collected, Collector, refuse_nothing
from engine.ingest.parallel import collect_in_parallel, n_workers
from engine.ingest.preview import PreviewPair, SourcePreview, preview
from engine.ingest.report import Entries, FileCounts, IngestReport, SourceCounts, read_report
from engine.ingest.reuse import Earlier, earlier
from engine.ingest.source import Identity, OpenSource, SourceSpec, identify, open_source
from engine.ingest.spool import Spool
from engine.manifest import Manifest, fingerprint, is_current, package_versions, write_manifest
from engine.progress import Progress
from engine.settings import IngestSettings

STAGE = "ingest"
STAGE_VERSION = 2

__all__ = ["IngestReport", "PreviewPair", "SourcePreview", "SourceSpec", "ingest", "preview"]


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
    opened = [open_source(spec, settings.max_text_bytes) for spec in sources]
    _refuse_repeats(opened)
    remarks = _shared_names(opened)
    for remark in (*(r for s in opened for r in s.remarks), *remarks):
        progress.note(remark)
    before = earlier(out_dir, STAGE_VERSION)
    aside = ThreadPoolExecutor(1)
    try:
        # Files are hashed while they are read, unless the hash may show that they need no reading.
        identities = [aside.submit(identify, source, settings.max_text_bytes) for source in opened]
        if before.is_finished:
            progress.start("look for changes", len(opened), "sources")
            expected, inputs = _identity(opened, identities, settings, progress)
            progress.finish()
            if is_current(out_dir, expected):
                return read_report(out_dir)
        out_dir.mkdir(parents=True, exist_ok=True)
        with _scratch(out_dir) as scratch:
            collected, counts = _collect(opened, identities, before, scratch, settings, progress)
            expected, inputs = _identity(opened, identities, settings, progress)
            report = assemble(collected, counts, remarks, out_dir, scratch, settings, progress)
    except OSError as error:
        raise IngestError(
            f"cannot write to {out_dir}: {error.strerror or error}",
            hint="check free space (twice the size of the input is needed) and permissions",
        ) from error
    finally:
        aside.shutdown(cancel_futures=True)
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


def _shared_names(opened: Sequence[OpenSource]) -> tuple[str, ...]:
    """Remarks on inputs whose pairs would carry one name by accident of their files' names."""
    paths: dict[str, list[str]] = {}
    for source in opened:
        for name in sorted({f.source for f in source.files} if source.spec.name is None else ()):
            paths.setdefault(name, []).append(source.spec.path)
    return tuple(
        f"source name `{name}` is shared by {' and '.join(given)}: give them names of their own"
        for name, given in sorted(paths.items())
        if len(given) > 1
    )


def _identity(
    opened: Sequence[OpenSource],
    identities: Sequence[Future[Identity]],
    settings: IngestSettings,
    progress: Progress,
) -> tuple[str, dict[str, str]]:
    """Fingerprint of the whole ingest, and the hash of every file."""
    inputs: dict[str, str] = {}
    described = []
    for source, identity in zip(opened, identities, strict=True):
        while not identity.done():  # so that a cancel is heard while gigabytes are hashed
            wait([identity], timeout=0.2)
            progress.advance(0)
        inputs |= {f.shown: h for f, h in zip(source.files, identity.result().hashes, strict=True)}
        described.append([identity.result().fingerprint, source.spec.weight])
    described.sort()
    return fingerprint(STAGE, STAGE_VERSION, inputs, asdict(settings) | {"sources": described}), inputs


@contextlib.contextmanager
def _scratch(out_dir: Path) -> Iterator[Path]:
    """A temporary folder beside the result; what an interrupted run left is removed."""
    for left in out_dir.glob(".scratch-*"):
        writer = left.name.rpartition("-")[2]
        if writer != str(os.getpid()) and Path(f"/proc/{writer}").exists():
            raise IngestError(
                f"another process ({writer}) is writing to {out_dir}",
                hint=f"wait for it; if it is something else by now, remove {left}",
            )
        shutil.rmtree(left, ignore_errors=True)
    folder = out_dir / f".scratch-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _collect(
    opened: Sequence[OpenSource],
    identities: Sequence[Future[Identity]],
    before: Earlier,
    scratch: Path,
    settings: IngestSettings,
    progress: Progress,
) -> tuple[Collected, list[SourceCounts]]:
    collected = Collected(
        Spool(scratch),
        Entries(),
        settings.max_text_bytes,
        with_overlaps=any(s.format.is_evaluation for s in opened),
    )
    counts = []
    for source, identity in sorted(zip(opened, identities, strict=True), key=lambda s: s[0].spec.path):
        known = before.sources.get(identity.result().fingerprint) if before.is_finished else None
        progress.start(f"{'ingest' if known is None else 'keep'} {source.spec.path}", None, "rows")
        if known is None:
            n = n_workers(source)
            if n > 1:
                tallies = collect_in_parallel(source, collected, scratch, n, progress)
            else:
                tallies = Collector(source, collected, progress).run()
            refuse_nothing(source, tallies, collected.entries)
            files = tuple(t.frozen(name) for name, t in sorted(tallies.items()))
        else:
            before.take(known, collected, progress)
            files = known.files
        counts.append(_counts(source, identity.result().fingerprint, files))
        progress.finish()
    collected.spool.close()
    return collected, counts


def _counts(source: OpenSource, fingerprint_: str, files: tuple[FileCounts, ...]) -> SourceCounts:
    spec, form = source.spec, source.format
    return SourceCounts(
        spec.path,
        spec.name,
        spec.weight,
        form.name,
        form.title,
        dict(spec.mapping),
        form.is_evaluation,
        fingerprint_,
        files,
        source.remarks,
    )
