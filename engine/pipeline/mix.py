"""The mix of sources that a project is made of: what is in it, adding, removing, weighing, going on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import IngestError
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.ingest.report import IngestReport, SourceCounts
    from engine.ingest.run import Mix
    from engine.ingest.source import SourceSpec


def source_specs(
    sources: Sequence[str],
    *,
    names: Sequence[str] = (),
    format_: str | None = None,
    mapping: Mapping[str, str] | None = None,
) -> "list[SourceSpec]":
    """Inputs as the command line gives them: ``FILE`` or ``NAME=FILE``; ``names`` go to sources in order."""
    from engine.ingest.run import SourceSpec

    padded = [*names, *[None] * len(sources)]
    specs = []
    for text, given in zip(sources, padded, strict=False):
        name, path = _named(text)
        specs.append(SourceSpec(path, given or name, format_, dict(mapping or {})))
    return specs


def _named(text: str) -> tuple[str | None, str]:
    """``NAME=FILE`` in its parts; a file that is called so stays whole."""
    name, separator, path = text.partition("=")
    if not separator or not path or "/" in name or Path(text).exists():
        return None, text
    return name, path


@dataclass(frozen=True, slots=True)
class MixChange:
    """What is done to a mix in one go."""

    add: "tuple[SourceSpec, ...]" = ()
    """Inputs to read; one whose path is in the mix already is read again where it has changed."""
    remove: tuple[str, ...] = ()
    """Source names, or inputs as they were given."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Source name to the weight of its pairs."""
    evaluation: tuple[str, ...] = ()
    """Inputs whose prompts must not be trained on."""


@dataclass(frozen=True, slots=True)
class MixRow:
    """One source name of one input; or, without a weight, an input that prompts are compared with."""

    source: str
    path: str
    format: str
    pairs: int
    weight: float | None
    share: float | None
    """Of the summed weight of all pairs that could be trained on or not."""
    dropped: int | None
    """Rows of the whole input that became no pair; None beside further names of the same input."""


def mix_rows(paths: ProjectPaths) -> tuple[MixRow, ...]:
    """What a project is made of. Raises ``StoreError`` before the first ingest."""
    report = _report(paths)
    total = sum(report.weight_by_source.values()) or 1.0
    rows = []
    for given in report.sources:
        dropped: int | None = sum(f.dropped for f in given.files)
        for name, n in given.names.items():
            part = n / report.pairs_by_source[name]
            share = report.weight_by_source[name] * part / total
            rows.append(MixRow(name, given.path, given.format, n, report.weights[name], share, dropped))
            dropped = None  # rows without a pair have no name of their own: counted once
    rows += [MixRow("(evaluation)", e.path, "prompts", e.prompts, None, None, 0) for e in report.evaluations]
    return tuple(rows)


def change_mix(
    paths: ProjectPaths, change: MixChange, settings: Settings, progress: Progress
) -> "IngestReport":
    """Ingest what is added and keep the rest as it is; pairs that stay keep their ids, groups and folds.

    Raises:
        IngestError: a source to remove that is not there or cannot be told apart; whatever ingest refuses.
    """
    from engine.ingest.run import ingest

    return ingest(change.add, paths.pairs_dir, settings.ingest, progress, mix_after(paths, change))


def mix_after(paths: ProjectPaths, change: MixChange) -> "Mix":
    """What a change leaves of a mix, as far as it can be said without looking at any file.

    Raises:
        StoreError: nothing has been ingested.
        IngestError: a source to remove that is not there or cannot be told apart, nothing left, a weight that
            is no positive number, or, where nothing is added, a weight of no source.
    """
    from engine.ingest.files import place
    from engine.ingest.run import Mix, check_names, check_weights

    report = _report(paths)
    gone, forgotten = _removed(report, change.remove)
    added = {place(spec.path) for spec in change.add}
    kept = {s.path for s in report.sources if s.path not in gone and place(s.path) not in added}
    if not kept and not change.add:
        raise IngestError("nothing would be left in the mix", hint="add a source first, or remove the folder")
    check_weights(change.weights)
    if not change.add:
        check_names(change.weights, {name for s in report.sources if s.path in kept for name in s.names})
    return Mix(frozenset(kept), change.weights, change.evaluation, frozenset(forgotten))


def _removed(report: "IngestReport", names: Sequence[str]) -> tuple[set[str], set[str]]:
    """Paths of the inputs, and of the evaluation inputs, that some names mean."""
    gone: set[str] = set()
    forgotten: set[str] = set()
    for name in names:
        found = {s.path for s in report.sources if name in (s.path, s.name) or set(s.names) == {name}}
        compared = {e.path for e in report.evaluations if name in (e.path, Path(e.path).name)}
        if not found and not compared:
            raise _unknown(name, report.sources)
        gone |= found
        forgotten |= compared
    return gone, forgotten


def _unknown(name: str, sources: "Sequence[SourceCounts]") -> IngestError:
    inside = [s.path for s in sources if name in s.names]
    if inside:
        return IngestError(
            f"`{name}` is one of several sources in {inside[0]}: the input can only be removed whole",
            hint=f'drop it with a rule, `drop where source == "{name}"`, or remove {inside[0]}',
        )
    known = sorted({n for s in sources for n in s.names} | {s.path for s in sources})
    return IngestError(f"there is no source `{name}` in the mix", hint="sources: " + ", ".join(known[:40]))


def ingest_again(paths: ProjectPaths, settings: Settings, progress: Progress) -> "IngestReport":
    """The pairs of a project as they are, without looking at the files that they came from."""
    return change_mix(paths, MixChange(), settings, progress)


def _report(paths: ProjectPaths) -> "IngestReport":
    from engine.ingest.report import read_report
    from engine.pipeline.prepare import require_pairs

    require_pairs(paths)
    return read_report(paths.pairs_dir)
