"""From files to a published index: ingest → read → concepts, contexts → hypotheses → index.

Every stage is skipped when what it made before is still current, so the same command resumes after a kill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.paths import ProjectPaths
from engine.pipeline.index import build, published_pairs
from engine.progress import Progress
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.ingest.run import IngestReport, Mix, SourceSpec
    from engine.reading.reader import Reader
    from engine.reading.run import ReadingReport

EARLY_SHARES = (0.02, 0.1)
"""Shares of the shards after which an audit publishes an early index …"""
EARLY_FROM_PAIRS = 20_000
"""… when there are at least this many pairs; smaller audits are over before it would help."""


class ReportLine(NamedTuple):
    """One line of an audit's report."""

    what: str
    n: int
    remark: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit did and found."""

    root: str
    reader_hash: str
    index_hash: str
    ingest: dict[str, Any]
    reading: dict[str, Any]
    index: dict[str, Any]
    lines: tuple[ReportLine, ...]
    """The same in a form to read."""


@dataclass(frozen=True, slots=True)
class ReaderChoice:
    """The reader as the user named it."""

    text: str
    layer: int | None = None
    sae: str | None = None


def audit(
    paths: ProjectPaths,
    sources: "Sequence[SourceSpec]",
    choice: ReaderChoice | None,
    settings: Settings,
    progress: Progress,
    mix: "Mix | None" = None,
) -> AuditReport:
    """Run or resume an audit and publish its index; large ones publish early indexes on the way.

    Without sources the project's pairs are taken as they are, without a choice its reader.
    """
    from engine.concepts.surface import own_patterns
    from engine.ingest.run import ingest
    from engine.pipeline.mix import ingest_again
    from engine.pipeline.readers import open_noted, own_reader
    from engine.reading.names import check_names
    from engine.reading.spec import load_reader_spec

    own_patterns(settings.concepts.columns)  # a mistake there is said now, not after hours of reading
    if choice is None:
        spec = own_reader(paths)
        layer = "" if spec.layer is None else f" at layer {spec.layer}"
        progress.note(f"the project's own reader: {spec.model}{layer}, SAE {spec.sae}")
    else:
        spec = load_reader_spec(choice.text, layer=choice.layer, sae=choice.sae)
    check_names(spec)
    paths.root.mkdir(parents=True, exist_ok=True)
    if sources:
        ingested = ingest(sources, paths.pairs_dir, settings.ingest, progress, mix)
    else:
        ingested = ingest_again(paths, settings, progress)
    reader = open_noted(paths, spec, settings.reading, progress)
    read, index_hash, facts = _read_and_build(paths, reader, ingested.pairs, settings, progress)
    return AuditReport(
        root=str(paths.root),
        reader_hash=reader.reader_hash,
        index_hash=index_hash,
        ingest=ingested.as_dict(),
        reading=read.as_dict(),
        index=facts,
        lines=_lines(ingested, read, facts, settings),
    )


def _read_and_build(
    paths: ProjectPaths, reader: "Reader", n_pairs: int, settings: Settings, progress: Progress
) -> "tuple[ReadingReport, str, dict[str, Any]]":
    """Read shard by shard; any prefix of the shards is an unbiased sample, so early indexes are honest.

    An early index is published where none over as many pairs is: in a first audit, and again when a mix has
    grown so much that its first shards hold more than all that was published of the mix before.
    """
    from engine.reading.run import read_pairs

    reader_dir = paths.reader_dir(reader.reader_hash)
    n_shards = -(-n_pairs // settings.reading.shard_pairs)
    shares = EARLY_SHARES if n_pairs >= EARLY_FROM_PAIRS else ()
    earlier = []
    for share in shares:
        if published_pairs(paths, reader.reader_hash) >= share * n_pairs:
            continue
        early = read_pairs(
            paths.pairs,
            reader,
            reader_dir,
            settings.reading,
            progress,
            max_shards=max(round(share * n_shards), 1),
        )
        earlier.append(early)
        if early.n_prefix_pairs >= n_pairs:
            break
        build(paths, reader, settings, progress, max_pairs=early.n_prefix_pairs, n_pairs=n_pairs)
        progress.note(f"an index over the first {early.n_prefix_pairs:,} pairs is ready to open")
    read = read_pairs(paths.pairs, reader, reader_dir, settings.reading, progress).after(earlier)
    index_hash, facts = build(paths, reader, settings, progress, max_pairs=None, n_pairs=n_pairs)
    return read, index_hash, facts


def weight_lines(ingested: "IngestReport") -> list[ReportLine]:
    """Source by source what a weighted mix is made of; nothing where no pair weighs more than another."""
    total = sum(ingested.weight_by_source.values())
    if total == ingested.pairs:
        return []
    return [
        ReportLine(
            f"source {name}",
            n,
            f"weight {ingested.weights[name]:g}, {ingested.weight_by_source[name] / total:.1%} of the mix",
        )
        for name, n in ingested.pairs_by_source.items()
    ]


def ingest_lines(ingested: "IngestReport") -> tuple[ReportLine, ...]:
    """What ingest read, dropped, repaired and noted."""
    lines = [ReportLine("rows read", ingested.rows_read, _inputs(len(ingested.sources)))]
    for reason, n in ingested.dropped.items():
        lines.append(ReportLine(f"dropped: {reason}", n, "listed in pairs/report.parquet"))
    lines.append(ReportLine("pairs", ingested.pairs, f"in {ingested.groups:,} prompt groups"))
    lines += weight_lines(ingested)
    lines += [ReportLine(f"label {label}", n, "") for label, n in ingested.labels.items() if n]
    lines += [ReportLine(f"repaired: {reason}", n, "") for reason, n in ingested.repaired.items() if n]
    lines += [ReportLine(f"noted: {reason}", n, "") for reason, n in ingested.noted.items() if n]
    for known in ingested.evaluations:
        lines.append(ReportLine("compared with", known.prompts, f"prompts of {known.path}"))
    if ingested.evaluation_pairs or ingested.evaluations:
        lines.append(ReportLine("of an evaluation set", ingested.evaluation_pairs, "refused for training"))
    lines += [ReportLine("remark", 1, remark) for remark in ingested.remarks]
    return tuple(lines)


def _inputs(n: int) -> str:
    return "from 1 input" if n == 1 else f"from {n:,} inputs"


def _just_now(read: "ReadingReport") -> str:
    known = read.n_pairs_done - read.n_pairs_read
    before = f"{known:,} of {read.n_pairs_done:,} already read, " if known else ""
    return f"{before}{read.n_tokens:,} tokens read just now"


def _changed_shards(read: "ReadingReport") -> list[ReportLine]:
    if not read.n_shards_changed:
        return []
    return [ReportLine("shards read again", read.n_shards_changed, "changed on disk since being written")]


def _cut(facts: Mapping[str, Any]) -> list[ReportLine]:
    """Texts that were too long: latents and length know only what was read of them."""
    n = facts.get("n_truncated", 0)
    where = "latents and @length know what was read only: prosect pairs DIR -f truncated:yes"
    return [ReportLine("pairs with a text cut", n, where)] if n else []


def _lines(
    ingested: "IngestReport", read: "ReadingReport", facts: Mapping[str, Any], settings: Settings
) -> tuple[ReportLine, ...]:
    coverage = facts["coverage"]
    share = f"cover {coverage['share_pairs']:.0%} of pairs, {coverage['share_activation']:.0%} of activation"
    contexts = f"in {facts['n_contexts']:,} contexts and everywhere"
    warning = facts["stats"].get("warning")
    return (
        *((ReportLine("warning", 1, str(warning)),) if warning else ()),
        *ingest_lines(ingested),
        ReportLine("pairs with readings", read.n_pairs_done, _just_now(read)),
        *_changed_shards(read),
        *_cut(facts),
        ReportLine("readings", facts["n_rows"], "one per pair and latent that fires on either side"),
        ReportLine("concepts", facts["n_concepts"], share),
        ReportLine("hypotheses", facts["n_hypotheses"], contexts),
        *_too_few(facts, settings),
    )


def _too_few(facts: Mapping[str, Any], settings: Settings) -> list[ReportLine]:
    """Why a small file shows next to nothing, and what to set where that is wanted all the same."""
    said = []
    if not facts["coverage"]["latents_clustered"]:
        least = settings.concepts.min_pairs
        said.append(
            f"no latent fires in {least} pairs or more, so only columns are concepts: take more pairs, "
            "or --set concepts.min_pairs=N"
        )
    if facts["stats"]["n_groups"] < settings.stats.min_discordant:
        said.append(
            f"nothing is tested with fewer than {settings.stats.min_discordant} prompt groups that differ: "
            "take more pairs, or --set stats.min_discordant=N"
        )
    return [ReportLine("remark", 1, text) for text in said]
