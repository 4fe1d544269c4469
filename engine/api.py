"""``Project``: everything that front ends and notebooks may ask of a project.

Nothing heavy is imported until a stage needs it. Reading the index and writing the journal goes through
``browser``; long work goes through one method per stage and reports to a ``Progress``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from engine.errors import StoreError
from engine.paths import ProjectPaths
from engine.pipeline.mix import source_specs as source_specs
from engine.progress import NullProgress, Progress
from engine.settings import Settings, load_settings
from engine.views import ConceptDetail, GridRow, PairDetail, SortKey, TableSpec, Target

if TYPE_CHECKING:
    from engine.browse import Browser
    from engine.compiler.compare import PlanDifference
    from engine.compiler.export import ExportReport
    from engine.compiler.records import Plan
    from engine.compiler.rows import PairRows
    from engine.compiler.transferred import TransferReport
    from engine.compiler.verbs import CompileResult
    from engine.ingest.run import IngestReport, Mix, SourcePreview, SourceSpec
    from engine.job_watch import Work
    from engine.pipeline.audit import AuditReport, ReportLine
    from engine.pipeline.coverage import CoverageMeter
    from engine.pipeline.entries import Entries, EntryFilter
    from engine.pipeline.garbage import Garbage
    from engine.pipeline.mix import MixChange, MixRow
    from engine.pipeline.outcome import NamedOutcome
    from engine.pipeline.prepare import Examined
    from engine.pipeline.shape import CompileOptions, Decisions
    from engine.pipeline.strict import StrictRow
    from engine.pipeline.train import Started
    from engine.pipeline.transfer import TransferOptions
    from engine.reading.run import ReadingReport
    from engine.rules.diagnostics import Diagnostic
    from engine.stats.auc import ArmResult
    from engine.stats.selftest import ContextsResult, NullResult, PlantResult
    from engine.strip_views import PairStrip


class Listing(NamedTuple):
    """Rows of one of the project's tables."""

    spec: TableSpec
    rows: tuple[GridRow, ...]
    n_rows: int
    """Rows that the filter selects."""
    n_total: int


def sample_folder() -> Path:
    """The sample data that ships with prosect: inside the package, or beside it in a checkout.

    Raises:
        StoreError: this installation carries none.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "sample_data", here.parent / "sample_data"):
        if (folder / "reader").is_dir():
            return folder
    raise StoreError(
        "this installation carries no sample data", hint="install prosect from its wheel or checkout"
    )


def preview_source(source: "SourceSpec", n: int = 10) -> "SourcePreview":
    """What a source looks like: guessed format, columns, the first pairs."""
    from engine.ingest.run import preview

    return preview(source, n)


def examine(
    project: Path | None,
    reader: str | None,
    *,
    layer: int | None = None,
    sae: str | None = None,
    n_pairs: int | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> "Examined":
    """This machine, and what reading with a reader would cost on it."""
    from engine.pipeline.audit import ReaderChoice
    from engine.pipeline.prepare import examine as look

    paths = ProjectPaths(project) if project is not None else None
    settings = load_settings(paths.settings if paths is not None else None, overrides)
    return look(paths, ReaderChoice(reader, layer, sae) if reader else None, n_pairs, settings)


def format_rules(path: Path, *, check_only: bool = False) -> bool:
    """Bring a rule file into canonical layout; True when it was, or would be, changed."""
    from engine.compiler.verbs import format_file

    return format_file(path, check_only=check_only)


def diagnose_text(path: Path) -> "tuple[str, tuple[Diagnostic, ...]]":
    """A rule file's text and its syntax errors; names are not checked without a project."""
    from engine.compiler.verbs import check_text, read_rules

    text = read_rules(path)
    return text, check_text(text, None)


def export_shaped(
    shaped: Path, out_dir: Path, target: str, *, replicate: int | None = None, seed: int = 0,
    bucket: bool = False,
) -> "ExportReport":  # fmt: skip
    """Write a shaped dataset for another trainer; refuses to lose anything."""
    from engine.compiler.export import ExportRequest, export

    return export(ExportRequest(shaped, out_dir, target, replicate, seed, bucket))


def project_of(folder: Path) -> ProjectPaths:
    """The project that DIR/shaped/HASH or DIR/runs/ID lies in. Raises ``TrainError`` where there is none."""
    from engine.pipeline.train import project_of as find

    return find(folder)


class Project:
    """A project folder; it need not exist before the first ``audit``."""

    def __init__(self, root: Path, *, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.paths = ProjectPaths(root)
        self.settings: Settings = load_settings(self.paths.settings, overrides)
        self._browser: Browser | None = None

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened."""
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    @property
    def browser(self) -> "Browser":
        """Read-only questions and the journal. Raises ``StoreError`` before the first audit."""
        if self._browser is None:
            from engine.browse import Browser

            if not self.paths.root.is_dir():
                raise StoreError(
                    f"there is no project at {self.paths.root}", hint="`prosect audit` makes one"
                )
            self._browser = Browser(self.paths, self.settings.review, self.settings.rules)
        return self._browser

    @property
    def work(self) -> "Work":
        """Long jobs of this project, also those of other processes."""
        from engine.job_watch import Work

        return Work(self.paths)

    def audit(
        self,
        sources: "Sequence[SourceSpec]",
        reader: str | None,
        *,
        layer: int | None = None,
        sae: str | None = None,
        mix: "Mix | None" = None,
        progress: Progress | None = None,
    ) -> "AuditReport":
        """Ingest, read, cluster, test and publish; goes on from what is there, also its pairs and reader."""
        from engine.pipeline.audit import ReaderChoice, audit

        choice = ReaderChoice(reader, layer, sae) if reader is not None else None
        return audit(self.paths, sources, choice, self.settings, progress or NullProgress(), mix)

    def ingest(
        self,
        sources: "Sequence[SourceSpec]",
        *,
        mix: "Mix | None" = None,
        progress: Progress | None = None,
    ) -> "tuple[tuple[ReportLine, ...], dict[str, Any]]":
        """Files to pairs only; the report in lines and whole."""
        from engine.ingest.run import ingest
        from engine.pipeline.audit import ingest_lines

        self.paths.root.mkdir(parents=True, exist_ok=True)
        report = ingest(sources, self.paths.pairs_dir, self.settings.ingest, progress or NullProgress(), mix)
        return ingest_lines(report), report.as_dict()

    def mix(self) -> "tuple[MixRow, ...]":
        """The sources that the pairs come from, with their weights."""
        from engine.pipeline.mix import mix_rows

        return mix_rows(self.paths)

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

    def listing(self, table: str, filter_text: str = "", sort: str = "", limit: int = 40) -> Listing:
        """The first rows of a table.

        Args:
            table: hypotheses, contexts or pairs.
            filter_text: as in the workstation's filter line.
            sort: columns, comma-separated, ``-`` in front for largest first; empty: the table's own order.
            limit: rows at most.
        """
        keys = [
            SortKey(k.strip().lstrip("-"), k.strip().startswith("-")) for k in sort.split(",") if k.strip()
        ]
        cursor = self.browser.open_table(table, filter_text, keys)
        rows: list[GridRow] = []
        while len(rows) < limit:
            page = cursor.rows(len(rows), min(limit - len(rows), 1000))
            rows += page
            if not page:
                break
        return Listing(cursor.spec, tuple(rows), cursor.n_rows, cursor.n_total)

    def warning(self) -> str | None:
        """What to know before any row is read: whether authorship or length alone explain the labels."""
        from engine.pipeline.audit import stored_warning

        return stored_warning(self.paths)

    def find(self, what: str) -> PairDetail | ConceptDetail:
        """A pair by number or id, or a concept by id or name; beginnings suffice where they are unique.

        Raises:
            StoreError: nothing or more than one thing is called so.
        """
        if what.isdigit():
            return self.browser.pair(int(what))
        return self.browser.find(what)

    def plan(self, rules: Path, *, control: bool = False) -> "Plan":
        """What a rule file would do. Raises ``RuleError`` with every mistake found, ``CompileError``."""
        from engine.pipeline.shape import plan_file

        return plan_file(self.paths, rules, self.decisions(), self.settings.rules, control=control)

    def rows_touched(self, rules: Path, statements: Sequence[str], limit: int = 20) -> "PairRows":
        """Pairs that all of these statements of a rule file touch, and what becomes of them."""
        from engine.pipeline.shape import rows_touched

        return rows_touched(
            self.paths, rules, self.decisions(), self.settings.rules, statements=statements, limit=limit
        )

    def rows_matching(self, condition: str, limit: int = 20) -> "PairRows":
        """Input pairs for which a condition in the language of rules holds."""
        from engine.pipeline.shape import rows_matching

        return rows_matching(self.paths, condition, self.decisions(), limit=limit)

    def compile(
        self, rules: Path, options: "CompileOptions | None" = None, *, progress: Progress | None = None
    ) -> "CompileResult":
        """Write the shaped dataset of a rule file; the same rules and index give the same folder."""
        from engine.pipeline.shape import CompileOptions, compile_rules

        chosen = options or CompileOptions()
        reporter = progress or NullProgress()
        return compile_rules(self.paths, rules, self.decisions(), self.settings.rules, chosen, reporter)

    def draft_rules(self, *, method: str = "matching", strength: float = 0.5) -> str:
        """The text of a rule file made from the verdicts in force."""
        from engine.pipeline.shape import draft_rules

        return draft_rules(self.paths, self.decisions(), method=method, strength=strength)

    def strip(self, pair: int, latents: Sequence[int]) -> "PairStrip":
        """A pair token by token with activations, read now unless cached; `browser.strips` does not wait."""
        from engine.pipeline.strips import read_strip

        return read_strip(self.paths, self.settings, pair, latents)

    def diagnose(self, rules: Path) -> "tuple[str, tuple[Diagnostic, ...]]":
        """A rule file's text and every error and warning in it, names included."""
        from engine.pipeline.shape import diagnose

        return diagnose(self.paths, rules, self.decisions())

    def compare(self, first: Path, second: Path) -> "PlanDifference":
        """What changes from one rule file to another, pair by pair and concept by concept."""
        from engine.pipeline.shape import compare

        return compare(self.paths, first, second, self.decisions(), self.settings.rules)

    def train(
        self, shaped_dir: Path, *, run_dir: Path | None = None, progress: Progress | None = None
    ) -> "Started":
        """Write the forecast, then train on a shaped dataset of this project, or go on with its run."""
        from engine.pipeline.train import start_run

        reporter, settings = progress or NullProgress(), self.settings
        return start_run(self.paths, shaped_dir, settings.training, reporter, run_dir, settings.reading)

    def outcome(self, run_dir: Path, *, progress: Progress | None = None) -> "NamedOutcome":
        """Sample held-out prompts before and after a run and compare with its forecast."""
        from engine.pipeline.outcome import measure_outcome

        return measure_outcome(self.paths, run_dir, self.settings, progress or NullProgress())

    def selftest_null(
        self, *, draws: int = 400, seed: int = 0, progress: Progress | None = None
    ) -> "list[NullResult]":
        """How often anything is called when nothing is taught, on this project's own readings."""
        from engine.pipeline.checks import selftest_null

        return selftest_null(self.paths, self.settings, progress or NullProgress(), draws=draws, seed=seed)

    def selftest_contexts(self, *, n_contexts: int = 8, seed: int = 0) -> "ContextsResult":
        """Is the context × concept test calibrated on randomly dealt contexts?"""
        from engine.pipeline.checks import selftest_contexts

        return selftest_contexts(self.paths, self.settings, n_contexts=n_contexts, seed=seed)

    def selftest_plant(
        self,
        concept: str,
        odds: Sequence[float],
        *,
        draws: int = 50,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "list[PlantResult]":
        """Power to find one concept, by the odds with which labels follow it."""
        from engine.pipeline.checks import selftest_plant

        ident = self.concept_target(concept).concept_id
        reporter = progress or NullProgress()
        return selftest_plant(
            self.paths, self.settings, reporter, concept_id=ident, odds=odds, draws=draws, seed=seed
        )

    def selftest_transfer(
        self, rules: Path, options: "TransferOptions", *, progress: Progress | None = None
    ) -> "TransferReport":
        """Does the matching of a rule file hold on prompt groups that it was not solved on?"""
        from engine.pipeline.transfer import check_transfer

        held, limits = self.decisions(), self.settings.rules
        return check_transfer(self.paths, rules, held, limits, options, progress or NullProgress())

    def strict(
        self, *, draws: int = 999, seed: int = 0, progress: Progress | None = None
    ) -> "list[StrictRow]":
        """How many calls stand under stricter rules than Benjamini–Hochberg."""
        from engine.pipeline.strict import strict

        return strict(self.paths, self.settings, progress or NullProgress(), draws=draws, seed=seed)

    def auc(self, *, progress: Progress | None = None) -> "list[ArmResult]":
        """How well each arm predicts held-out labels, baselines first."""
        from engine.pipeline.checks import auc

        return auc(self.paths, self.settings, progress or NullProgress())

    def coverage(self, *, progress: Progress | None = None) -> "CoverageMeter":
        """Share of held-out log-loss that the concepts judged so far account for."""
        from engine.pipeline.coverage import measure_coverage

        held = tuple(self.browser.verdicts().values())
        return measure_coverage(self.paths, self.settings, held, progress or NullProgress())

    def concept_target(self, what: str) -> Target:
        """A concept by name, id or start of an id, as something to decide on everywhere."""
        found = self.browser.find(what)
        if not isinstance(found, ConceptDetail):
            raise StoreError(f"`{what}` is a pair, not a concept", hint="see `prosect concepts`")
        return Target("concept", found.concept_id, found.concept_id)

    def decisions(self) -> "Decisions":
        """Verdicts and names as they stand."""
        from engine.pipeline.shape import Decisions

        held = self.browser.journal.state.verdicts
        entries = {key: entry.ident for key, entry in held.items()}
        return Decisions(tuple(self.browser.verdicts().values()), self.browser.names(), entries)
