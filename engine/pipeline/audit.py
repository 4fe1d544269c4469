"""From files to a published index: ingest → read → concepts, contexts → hypotheses → index.

Every stage is skipped when what it made before is still current, so the same command resumes after a kill.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.manifest import fingerprint, hash_file, read_manifest
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.settings import Settings
from engine.store.build import Published, build_index, current_index, ingest_of, publish, read_current
from engine.store.stale import index_settings

if TYPE_CHECKING:
    from engine.arrays import Readings
    from engine.concepts.contexts import ContextSet
    from engine.concepts.discover import ConceptSet
    from engine.ingest.run import IngestReport, Mix, SourceSpec
    from engine.reading.reader import Reader
    from engine.reading.run import ReadingReport
    from engine.stats.run import StatsTables

INDEX_VERSION = 7
"""Raised when the same readings would give another index."""
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
    from engine.pipeline.readers import own_reader, save_spec
    from engine.reading.names import check_names
    from engine.reading.reader import open_reader
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
    reader = open_reader(spec, settings.reading)
    save_spec(paths.reader_dir(reader.reader_hash), reader.spec)
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
        if _published_pairs(paths, reader.reader_hash) >= share * n_pairs:
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


def build(
    paths: ProjectPaths,
    reader: "Reader",
    settings: Settings,
    progress: Progress,
    *,
    max_pairs: int | None,
    n_pairs: int,
) -> tuple[str, dict[str, Any]]:
    """Concepts, contexts and hypotheses of one reader's readings as a published index.

    Args:
        paths: the project.
        reader: whose readings to take.
        settings: of concepts and statistics.
        progress: told about every step.
        max_pairs: only the first so many pairs, while an audit is under way; None: all.
        n_pairs: pairs of the project.

    Returns:
        the index hash and the facts stored in its ``meta`` table.
    """
    print_ = _index_fingerprint(paths, paths.reader_dir(reader.reader_hash), settings, max_pairs)
    index_hash = print_[:16]
    if _is_published(paths, reader.reader_hash, index_hash):
        facts = _stored_facts(paths.index(index_hash))
    else:
        facts = _build_new(paths, reader, settings, progress, index_hash, max_pairs, n_pairs)
    # Also where the index stays: another ingest may have led to the same pairs.
    share, file_says = facts["share_read"], index_settings(paths)
    publish(paths, Published(reader.reader_hash, index_hash, share, ingest_of(paths), file_says))
    return index_hash, facts


def _index_fingerprint(
    paths: ProjectPaths, reader_dir: Path, settings: Settings, max_pairs: int | None
) -> str:
    read = read_manifest(reader_dir) if max_pairs is None else None
    inputs = {"pairs": hash_file(paths.pairs), "reader": reader_dir.name}
    if read is not None:
        inputs["readings"] = read.fingerprint
    chosen = {"concepts": asdict(settings.concepts), "stats": asdict(settings.stats), "max_pairs": max_pairs}
    return fingerprint("index", INDEX_VERSION, inputs, chosen)


def _published_pairs(paths: ProjectPaths, reader_hash: str) -> int:
    """Pairs of the reader's published index, of whatever mix; 0 without one."""
    entry = (read_current(paths) or {"readers": {}})["readers"].get(reader_hash)
    if entry is None or not paths.index(entry["index"]).exists():
        return 0
    return int(_stored_facts(paths.index(entry["index"]))["n_pairs"])


def _is_published(paths: ProjectPaths, reader_hash: str, index_hash: str) -> bool:
    pointer = read_current(paths) or {"readers": {}}
    entry = pointer["readers"].get(reader_hash)
    return entry is not None and entry["index"] == index_hash and paths.index(index_hash).exists()


def _stored_facts(index: Path) -> dict[str, Any]:
    import json

    from engine.store.connection import Store

    with Store(index) as store:
        return {
            key: json.loads(value) for key, value in store.rows("SELECT key, value FROM meta ORDER BY key")
        }


def stored_warning(paths: ProjectPaths) -> str | None:
    """The statistics' own warning about the published index, None if there is none."""
    facts = _stored_facts(paths.index(current_index(paths).index_hash))
    warning = facts.get("stats", {}).get("warning")
    return str(warning) if warning else None


def _build_new(
    paths: ProjectPaths,
    reader: "Reader",
    settings: Settings,
    progress: Progress,
    index_hash: str,
    max_pairs: int | None,
    n_pairs: int,
) -> dict[str, Any]:
    from engine.concepts.contexts import find_contexts
    from engine.concepts.discover import discover
    from engine.concepts.texts import PairTexts
    from engine.pipeline.texts import TokenReader, read_messages
    from engine.stats.null import mix_weights
    from engine.stats.run import StatsInput, estimate
    from engine.store.arrays import build_arrays, load_truncated, open_arrays
    from engine.store.tables import pair_texts, pairs_table

    arrays = paths.arrays(index_hash)
    shards = paths.reader_dir(reader.reader_hash) / "shards"
    build_arrays(shards, paths.pairs, arrays, reader.n_latents, progress, max_pairs=max_pairs)
    readings = open_arrays(arrays)
    texts = PairTexts(*pair_texts(paths.pairs, readings.n_pairs))
    tokens = TokenReader(read_messages(paths.pairs, readings.n_pairs), reader.layout, reader.max_tokens)
    concepts = discover(readings, texts, tokens, settings.concepts, progress, reader_hash=reader.reader_hash)
    contexts = find_contexts(readings, concepts, settings.concepts, progress, texts=texts)
    units = StatsInput(
        concepts=concepts.disparity,
        concept_ids=concepts.ids,
        latents=concepts.latent_disparity,
        concept_of=concepts.concept_of,
        members=[concept.latents for concept in concepts.concepts],
        prompt_counts=concepts.prompt_counts,
        contexts=contexts.sets,
        topic=contexts.topic,
        columns={column.name: column.delta for column in concepts.columns},
        weights=mix_weights(readings.pairs),
    )
    tables = estimate(readings, units, settings.stats, progress)
    facts = _facts(reader, readings, concepts, contexts, tables)
    facts["share_read"] = readings.n_pairs / n_pairs if n_pairs else 1.0
    pairs = pairs_table(paths.pairs, readings.pairs, load_truncated(arrays))
    written = _tables(readings, pairs, concepts, contexts, tables)
    build_index(paths.index(index_hash), written, facts, progress)
    return facts


def _tables(
    readings: "Readings", pairs: Any, concepts: "ConceptSet", contexts: "ContextSet", tables: "StatsTables"
) -> Mapping[str, Any]:
    from engine.concepts.tables import (
        concepts_table,
        context_pairs_table,
        contexts_table,
        members_table,
        scores_table,
    )
    from engine.store.tables import acts_table, by_evidence, last_acts_table, prompt_acts_table

    return {
        "pairs": pairs,
        "acts": acts_table(readings),
        "prompt_acts": prompt_acts_table(readings),
        "last_acts": last_acts_table(readings),
        "latents": tables.latents,
        "concepts": concepts_table(concepts),
        "concept_members": members_table(concepts),
        "concept_scores": scores_table(concepts),
        "contexts": contexts_table(contexts, readings),
        "context_pairs": context_pairs_table(contexts),
        "hypotheses": by_evidence(tables.hypotheses),
        **tables.scrutiny,
    }


def _facts(
    reader: "Reader",
    readings: "Readings",
    concepts: "ConceptSet",
    contexts: "ContextSet",
    tables: "StatsTables",
) -> dict[str, Any]:
    return {
        "reader": reader.describe(),
        "n_pairs": readings.n_pairs,
        "n_signed": int(readings.pairs.is_signed.sum()),
        "n_latents": readings.n_latents,
        "n_rows": len(readings.by_latent.pair),
        "n_concepts": len(concepts.concepts),
        "n_contexts": contexts.sets.n_sets,
        "n_hypotheses": tables.hypotheses.num_rows,
        "coverage": asdict(concepts.coverage),
        "stats": tables.facts,
    }


def weight_lines(ingested: "IngestReport") -> list[ReportLine]:
    """Source by source what a weighted mix is made of; nothing where no pair weighs more than another."""
    total = sum(ingested.weight_by_source.values())
    if total == ingested.pairs:
        return []
    return [
        ReportLine(
            f"  source {name}",
            n,
            f"weight {ingested.weights[name]:g}, {ingested.weight_by_source[name] / total:.1%} of the mix",
        )
        for name, n in ingested.pairs_by_source.items()
    ]


def ingest_lines(ingested: "IngestReport") -> tuple[ReportLine, ...]:
    """What ingest read, dropped, repaired and noted."""
    lines = [ReportLine("rows read", ingested.rows_read, _inputs(len(ingested.sources)))]
    for reason, n in ingested.dropped.items():
        lines.append(ReportLine(f"  dropped: {reason}", n, "listed in pairs/report.parquet"))
    lines.append(ReportLine("pairs", ingested.pairs, f"in {ingested.groups:,} prompt groups"))
    lines += weight_lines(ingested)
    lines += [ReportLine(f"  label {label}", n, "") for label, n in ingested.labels.items() if n]
    lines += [ReportLine(f"  repaired: {reason}", n, "") for reason, n in ingested.repaired.items() if n]
    lines += [ReportLine(f"  noted: {reason}", n, "") for reason, n in ingested.noted.items() if n]
    for known in ingested.evaluations:
        lines.append(ReportLine("  compared with", known.prompts, f"prompts of {known.path}"))
    if ingested.evaluation_pairs or ingested.evaluations:
        lines.append(ReportLine("  of an evaluation set", ingested.evaluation_pairs, "refused for training"))
    lines += [ReportLine("  remark", 1, remark) for remark in ingested.remarks]
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
    return [ReportLine("  shards read again", read.n_shards_changed, "changed on disk since being written")]


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
    return [ReportLine("  remark", 1, text) for text in said]
