"""The ingest stage: sources → pairs.parquet, report, frozen folds, manifest."""

import contextlib
import difflib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from engine.errors import IngestError
from engine.ingest.assemble import Around, assemble
from engine.ingest.collect import Collected, Collector, refuse_nothing
from engine.ingest.evaluation import counts_of
from engine.ingest.files import place
from engine.ingest.labels import unexplained_labels
from engine.ingest.parallel import collect_in_parallel, n_workers
from engine.ingest.preview import PreviewPair, SourcePreview, preview
from engine.ingest.report import Entries, FileCounts, IngestReport, SourceCounts, read_report
from engine.ingest.reuse import Earlier, earlier
from engine.ingest.source import Identity, Mix, OpenSource, SourceSpec, identify, open_source
from engine.ingest.spool import Spool
from engine.manifest import Manifest, fingerprint, is_current, package_versions, write_manifest
from engine.progress import Progress
from engine.settings import IngestSettings

STAGE = "ingest"
STAGE_VERSION = 5

__all__ = ["IngestReport", "Mix", "PreviewPair", "SourcePreview", "SourceSpec", "ingest", "preview"]


class _Input(NamedTuple):
    """One input: opened, or kept from the last ingest without looking at its files."""

    path: str
    source: OpenSource | None
    identity: "Future[Identity] | None"
    known: SourceCounts | None

    @property
    def fingerprint(self) -> str:
        """Of everything that decides its pairs; waits for the hashes of its files."""
        if self.known is not None:
            return self.known.fingerprint
        return self.identity.result().fingerprint if self.identity is not None else ""


def ingest(
    sources: Sequence[SourceSpec],
    out_dir: Path,
    settings: IngestSettings,
    progress: Progress,
    mix: Mix | None = None,
) -> IngestReport:
    """Read all sources into ``out_dir``; does nothing when that is what the folder holds already.

    Writes pairs.parquet (``records.pair_schema()``, sorted by group and pair id), report.parquet (one entry
    per row that was dropped, repaired or is worth a note), report.json (counts that add up), folds.parquet
    (the fold of every prompt ever seen here), evaluation.parquet (prompts that were compared with) and, last,
    manifest.json.

    Raises:
        IngestError: a source that cannot be read as pairs, or a weight of no source; nothing is written then.
        Cancelled: the user stopped it; nothing is written then.
    """
    mix = mix or Mix()
    if not sources and not mix.kept:
        raise IngestError("nothing to ingest", hint="give at least one file, folder or hub name")
    _check(settings, mix)
    before = earlier(out_dir, STAGE_VERSION)
    again = [spec for path in sorted(mix.kept) if (spec := before.again(path))]
    if again:
        progress.note("another version of prosect read these files: they are read again")
    kept = [before.named(path) for path in sorted(mix.kept) if path not in before.older]
    opened = [open_source(spec, settings.max_text_bytes) for spec in (*sources, *again)]
    _refuse_repeats(opened, kept)
    remarks = _shared_names(opened)
    for remark in (*(r for s in opened for r in s.remarks), *remarks):
        progress.note(remark)
    aside = ThreadPoolExecutor(1)
    try:
        # Files are hashed while they are read, unless the hash may show that they need no reading.
        inputs = [
            _Input(s.spec.path, s, aside.submit(identify, s, settings.max_text_bytes), None) for s in opened
        ]
        inputs += [_Input(counts.path, None, None, counts) for counts in kept]
        inputs.sort(key=lambda i: i.path)
        return _written(inputs, out_dir, before, mix, remarks, settings, progress)
    except OSError as error:
        raise IngestError(
            f"cannot write to {out_dir}: {error.strerror or error}",
            hint="check free space (twice the size of the input is needed) and permissions",
        ) from error
    finally:
        aside.shutdown(cancel_futures=True)


def _written(
    inputs: Sequence[_Input],
    out_dir: Path,
    before: Earlier,
    mix: Mix,
    remarks: tuple[str, ...],
    settings: IngestSettings,
    progress: Progress,
) -> IngestReport:
    """Read and write what is not there yet."""
    gone = {s.path for s in before.sources.values()} - {i.path for i in inputs}
    if gone:
        progress.note(f"no longer in the mix: {', '.join(sorted(gone))}")
    wanted = before.weights | dict(mix.weights)
    stamps = _stamps(inputs)
    evaluations = before.evaluations_after(mix)
    if before.is_finished:
        progress.start("look for changes", len(inputs), "sources")
        _wait(inputs, progress)
        progress.advance(len(inputs))
        expected, hashes = _identity(inputs, before, wanted, evaluations, settings)
        progress.finish()
        if is_current(out_dir, expected):
            report = read_report(out_dir)
            _weights(wanted, mix.weights, report.weights)  # a wrong name with weight 1 changes no identity
            return report
    out_dir.mkdir(parents=True, exist_ok=True)
    with _scratch(out_dir) as scratch:
        prompts = before.prompts(evaluations, settings, progress)
        collected, counts = _collect(inputs, before, scratch, settings, progress)
        weights = _weights(wanted, mix.weights, collected.sources)
        _wait(inputs, progress)
        _refuse_changed(inputs, stamps)
        expected, hashes = _identity(inputs, before, weights, evaluations, settings)
        around = Around(counts, weights, prompts, counts_of(prompts, evaluations), remarks)
        report = assemble(collected, around, out_dir, scratch, settings, progress)
    facts = {"pairs": report.pairs, "groups": report.groups, "labels": report.labels}
    packages = package_versions("prosect", "pyarrow", "numpy", "scipy")
    manifest = Manifest(STAGE, STAGE_VERSION, expected, hashes, asdict(settings), facts, packages)
    write_manifest(out_dir, manifest)
    return report


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ``IngestError`` for a weight that is no positive number."""
    for name, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise IngestError(
                f"weight {weight:g} of {name} is not a positive number",
                hint="to leave a source out, take it out of the mix: `prosect mix remove DIR NAME`",
            )


def _check(settings: IngestSettings, mix: Mix) -> None:
    check_weights(mix.weights)
    if not 3 <= settings.overlap_words <= 100 or not 0 <= settings.overlap_share <= 1:
        raise IngestError(
            "[ingest] overlap_words must be 3 to 100 and overlap_share 0 to 1",
            hint="13 and 0.5 are the defaults",
        )


def check_names(weights: Mapping[str, float], names: Iterable[str]) -> None:
    """Raise ``IngestError`` for a weight of a source that is not there."""
    known = sorted(names)
    for name in weights:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise IngestError(
                f"there is no source `{name}`" + (f"; did you mean `{close[0]}`?" if close else ""),
                hint="sources: " + ", ".join(known[:40]),
            )


def _weights(
    wanted: Mapping[str, float], given: Mapping[str, float], names: Iterable[str]
) -> dict[str, float]:
    """Weights other than 1 of the sources there are. Raises ``IngestError`` for one that is not there."""
    known = set(names)
    check_names(given, known)
    return {name: float(w) for name, w in sorted(wanted.items()) if name in known and w != 1}


def _refuse_repeats(opened: Sequence[OpenSource], kept: Sequence[SourceCounts]) -> None:
    spellings: dict[str, list[str]] = {}
    for source in opened:
        for file in source.files:
            spellings.setdefault(place(str(file.path)), []).append(file.shown)
    for counts in kept:
        for known in counts.files:
            spellings.setdefault(place(known.file), []).append(known.file)
    twice = [" and ".join(dict.fromkeys(names)) for names in spellings.values() if len(names) > 1]
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


def _stamps(inputs: Sequence[_Input]) -> dict[str, tuple[int, int]]:
    """Size and time of every file that is read."""
    files = [f for i in inputs if i.source is not None for f in i.source.files]
    return {f.shown: ((s := f.path.stat()).st_size, s.st_mtime_ns) for f in files}


def _refuse_changed(inputs: Sequence[_Input], before: Mapping[str, tuple[int, int]]) -> None:
    """Raise ``IngestError`` where a file is not what it was when reading began."""
    changed = [name for name, stamp in _stamps(inputs).items() if before[name] != stamp]
    if changed:
        raise IngestError(
            f"{', '.join(changed[:5])} changed while it was read",
            hint="wait until it is complete, then again",
        )


def _wait(inputs: Sequence[_Input], progress: Progress) -> None:
    """Until all files are hashed, hearing a cancel meanwhile."""
    for _, _, identity, _ in inputs:
        while identity is not None and not identity.done():
            wait([identity], timeout=0.2)
            progress.advance(0)


def _identity(
    inputs: Sequence[_Input],
    before: Earlier,
    weights: Mapping[str, float],
    evaluations: Mapping[str, str],
    settings: IngestSettings,
) -> tuple[str, dict[str, str]]:
    """Fingerprint of the whole ingest, and the hash of every file."""
    hashes: dict[str, str] = {}
    for _, source, identity, known in inputs:
        if source is not None and identity is not None:
            found = identity.result().hashes
            hashes |= {f.shown: h for f, h in zip(source.files, found, strict=True)}
        elif known is not None:
            hashes |= {f.file: before.hashes[f.file] for f in known.files if f.file in before.hashes}
    described = {
        "sources": sorted(i.fingerprint for i in inputs),
        "weights": {name: w for name, w in sorted(weights.items()) if w != 1},
        "evaluations": dict(sorted(evaluations.items())),
    }
    return fingerprint(STAGE, STAGE_VERSION, hashes, asdict(settings) | described), hashes


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
    inputs: Sequence[_Input], before: Earlier, scratch: Path, settings: IngestSettings, progress: Progress
) -> tuple[Collected, list[SourceCounts]]:
    collected = Collected(Spool(scratch), Entries(), settings.max_text_bytes)
    counts = []
    for given in inputs:
        known = given.known
        if known is None and before.is_finished:
            known = before.sources.get(given.fingerprint)
        progress.start(f"{'ingest' if known is None else 'keep'} {given.path}", None, "rows")
        start = len(collected.keys)
        remarks: tuple[str, ...] = ()
        if known is not None:
            before.take(known, collected, progress)
            files = known.files
            remarks = tuple(r for r in known.remarks if given.source and r not in given.source.remarks)
        else:
            files, remarks = _read(given, collected, scratch, progress)
        names = _names(collected, start)
        counts.append(
            replace(known, path=given.path, names=names)
            if given.source is None and known is not None
            else _counts(given, files, names, remarks)
        )
        progress.finish()
    collected.spool.close()
    return collected, counts


def _read(
    given: _Input, into: Collected, scratch: Path, progress: Progress
) -> tuple[tuple[FileCounts, ...], tuple[str, ...]]:
    """Read an input's files; counts by file, and remarks."""
    source = given.source
    if source is None:
        return (), ()
    n = n_workers(source)
    if n > 1:
        tallies = collect_in_parallel(source, into, scratch, n, progress)
    else:
        tallies = Collector(source, into, progress).run()
    remark = unexplained_labels(source, into.entries)
    refuse_nothing(source, tallies, into.entries, remark)
    if remark is not None:
        progress.note(remark)
    return tuple(t.frozen(name) for name, t in sorted(tallies.items())), (remark,) if remark else ()


def _names(collected: Collected, start: int) -> dict[str, int]:
    """Pairs by source name since a place in the spool."""
    every = list(collected.sources)
    counted = Counter(collected.keys.source[start:])
    return dict(sorted((every[k], n) for k, n in counted.items()))


def _counts(
    given: _Input, files: tuple[FileCounts, ...], names: dict[str, int], remarks: tuple[str, ...]
) -> SourceCounts:
    if given.source is None:
        raise ValueError(f"{given.path} was not opened")
    spec, form = given.source.spec, given.source.format
    return SourceCounts(
        spec.path,
        spec.name,
        form.name,
        form.title,
        dict(spec.mapping),
        form.is_evaluation,
        given.fingerprint,
        files,
        names,
        given.source.remarks + remarks,
    )
