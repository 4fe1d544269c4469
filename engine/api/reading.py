"""From files to an index: ingest, mixes, reading, SAEs, and what can be thrown away."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.api.base import Base
from engine.progress import NullProgress, Progress

if TYPE_CHECKING:
    from engine.ingest.run import IngestReport, Mix, SourceSpec
    from engine.pipeline.audit import AuditReport, ReportLine
    from engine.pipeline.entries import Entries, EntryFilter
    from engine.pipeline.garbage import Garbage
    from engine.pipeline.mix import MixChange, MixRow
    from engine.reading.run import ReadingReport


class Reading(Base):
    """Stages that read the data."""

    def audit(
        self,
        sources: "Sequence[SourceSpec | str]",
        reader: str | None,
        *,
        layer: int | None = None,
        sae: str | None = None,
        mix: "Mix | None" = None,
        progress: Progress | None = None,
    ) -> "AuditReport":
        """Ingest, read, cluster, test and publish; goes on from what is there.

        Args:
            sources: inputs, ``FILE`` or ``NAME=FILE`` where they are texts; none: the project's own pairs.
            reader: folder, preset or checkpoint; None: the project's own.
            layer: block after which the residual stream is read, where the reader names none.
            sae: folder or ``release:id``, where the reader names none.
            mix: weights and evaluation sets.
            progress: where the stages report to; None: nowhere.
        """
        from engine.pipeline.audit import ReaderChoice, audit

        choice = ReaderChoice(reader, layer, sae) if reader is not None else None
        reporter = progress or NullProgress()
        report = audit(self.paths, _specs(sources), choice, self.settings, reporter, mix)
        if self._browser is not None:
            self._browser.reopen_if_changed()
        return report

    def ingest(
        self,
        sources: "Sequence[SourceSpec | str]",
        *,
        mix: "Mix | None" = None,
        progress: Progress | None = None,
    ) -> "tuple[tuple[ReportLine, ...], dict[str, Any]]":
        """Files to pairs only; the report in lines and whole."""
        from engine.ingest.run import ingest
        from engine.pipeline.audit import ingest_lines

        self.paths.root.mkdir(parents=True, exist_ok=True)
        specs, reporter = _specs(sources), progress or NullProgress()
        report = ingest(specs, self.paths.pairs_dir, self.settings.ingest, reporter, mix)
        return ingest_lines(report), report.as_dict()

    def mix(self) -> "tuple[MixRow, ...]":
        """The sources that the pairs come from, with their weights."""
        from engine.pipeline.mix import mix_rows

        return mix_rows(self.paths)

    def check_mix(self, change: "MixChange") -> None:
        """Raise what is wrong with a change of the mix before any file is looked at."""
        from engine.pipeline.mix import mix_after

        mix_after(self.paths, change)

    def change_mix(self, change: "MixChange", *, progress: Progress | None = None) -> "IngestReport":
        """Add, remove or weigh sources; the next ``audit`` without sources goes on from there."""
        from engine.pipeline.mix import change_mix

        return change_mix(self.paths, change, self.settings, progress or NullProgress())

    def ingest_report(self) -> "IngestReport":
        """What became of all rows, in counts that add up."""
        from engine.pipeline.entries import ingest_report

        return ingest_report(self.paths)

    def ingest_entries(self, wanted: "EntryFilter", limit: int | None = 40) -> "Entries":
        """Rows that ingest dropped, repaired or noted: the first ones, how many, what reasons mean."""
        from engine.pipeline.entries import read_entries

        return read_entries(self.paths, wanted, limit)

    def original_rows(self, entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
        """What stands in the files at the places of some entries."""
        from engine.pipeline.entries import original_rows

        return original_rows(entries, 4 * self.settings.ingest.max_text_bytes)

    def read(
        self,
        reader: str,
        *,
        layer: int | None = None,
        sae: str | None = None,
        progress: Progress | None = None,
    ) -> "ReadingReport":
        """Read the pairs without building an index; processes share the shards by RANK and WORLD_SIZE."""
        from engine.pipeline.audit import ReaderChoice
        from engine.pipeline.prepare import read_only

        return read_only(
            self.paths, ReaderChoice(reader, layer, sae), self.settings, progress or NullProgress()
        )

    def train_sae(self, model: str, layer: int, *, progress: Progress | None = None) -> dict[str, Any]:
        """Train an SAE on the pairs' own activations; the same settings give the same one back."""
        from engine.pipeline.prepare import train_sae

        return train_sae(self.paths, model, layer, self.settings, progress or NullProgress())

    def garbage(self, *, with_cache: bool = False) -> "list[Garbage]":
        """What nothing points to any more."""
        from engine.pipeline.garbage import find_garbage

        return find_garbage(self.paths, with_cache=with_cache)

    def remove(self, garbage: "list[Garbage]") -> int:
        """Remove garbage; bytes freed."""
        from engine.pipeline.garbage import remove_garbage

        return remove_garbage(garbage)


def _specs(sources: "Sequence[SourceSpec | str]") -> "list[SourceSpec]":
    """Inputs whose format is recognised may be given as texts."""
    from engine.pipeline.mix import source_specs

    return [spec for s in sources for spec in (source_specs([s]) if isinstance(s, str) else [s])]
