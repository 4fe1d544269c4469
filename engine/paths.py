"""Where everything of a project lies on disk. Pure names: nothing here reads, writes or creates.

The tree is explained in engine/docs/architecture.md.
"""

from dataclasses import dataclass
from pathlib import Path


def is_path(text: str) -> bool:
    """True for a name that can only mean a place on disk: no hub id ``org/name`` and no word looks so."""
    return text.startswith(("/", ".", "~")) or text.endswith("/") or text.count("/") > 1


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The folders and files of one project."""

    root: Path

    @property
    def settings(self) -> Path:
        """Settings of every stage, all optional."""
        return self.root / "prosect.toml"

    @property
    def pairs_dir(self) -> Path:
        """Ingested pairs, their report and manifest."""
        return self.root / "pairs"

    @property
    def pairs(self) -> Path:
        """The ingested pairs, sorted by (group_id, pair_id): records.PAIR_FIELDS."""
        return self.pairs_dir / "pairs.parquet"

    @property
    def journal(self) -> Path:
        """Append-only log of verdicts and names: the truth about decisions."""
        return self.root / "journal.jsonl"

    @property
    def proposals(self) -> Path:
        """Append-only log of names that language models proposed, with how far they were recognised."""
        return self.root / "names.jsonl"

    @property
    def labels(self) -> Path:
        """Append-only log of labels of latents that were imported, one line per file."""
        return self.root / "labels.jsonl"

    @property
    def rules_dir(self) -> Path:
        """Rule files and their locks."""
        return self.root / "rules"

    @property
    def current(self) -> Path:
        """JSON pointer to the published index of each reader, renamed atomically."""
        return self.root / "current"

    @property
    def sae_dir(self) -> Path:
        """SAEs trained on the pairs, one folder each: a reader that ``--reader`` takes."""
        return self.root / "sae"

    @property
    def shaped_dir(self) -> Path:
        """Shaped datasets, one content-addressed folder each."""
        return self.root / "shaped"

    @property
    def plans_dir(self) -> Path:
        """Plans by content hash."""
        return self.root / "plans"

    @property
    def forecasts_dir(self) -> Path:
        """Forecasts by content hash, written before training."""
        return self.root / "forecasts"

    @property
    def selftests_dir(self) -> Path:
        """Results of self-tests."""
        return self.root / "selftests"

    @property
    def runs_dir(self) -> Path:
        """Training runs."""
        return self.root / "runs"

    @property
    def jobs_dir(self) -> Path:
        """What long work says of itself: one small folder per job."""
        return self.root / "jobs"

    @property
    def cache_dir(self) -> Path:
        """What can be lost: reference log-probabilities, token strips; undo steps of rule files."""
        return self.root / "cache"

    def reader_dir(self, reader_hash: str) -> Path:
        """Readings of one reader: shards, residuals, manifest."""
        return self.root / "readings" / reader_hash

    def index(self, index_hash: str) -> Path:
        """A published, immutable DuckDB index."""
        return self.root / f"index-{index_hash}.duckdb"

    def arrays(self, index_hash: str) -> Path:
        """The same readings as memory-mapped CSR and CSC arrays."""
        return self.root / f"arrays-{index_hash}"
