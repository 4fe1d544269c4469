"""Small files and one-line ingests for these tests."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from engine.ingest.run import IngestReport, Mix, SourceSpec, ingest
from engine.progress import NullProgress
from engine.settings import IngestSettings

Json = dict[str, Any]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A JSON lines file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(
    *sources: Path | SourceSpec, out: Path, settings: IngestSettings | None = None, mix: Mix | None = None
) -> IngestReport:
    """Ingest files or specs; every report must add up."""
    specs = [s if isinstance(s, SourceSpec) else SourceSpec(str(s)) for s in sources]
    report = ingest(specs, out, settings or IngestSettings(), NullProgress(), mix)
    assert report.adds_up
    return report


def pairs_of(out: Path) -> list[Json]:
    """All pairs that were written."""
    rows: list[Json] = pq.read_table(out / "pairs.parquet").to_pylist()
    return rows


def entries_of(out: Path, reason: str | None = None) -> list[Json]:
    """Entries of the report."""
    rows: list[Json] = pq.read_table(out / "report.parquet").to_pylist()
    return [r for r in rows if reason in (None, r["reason"])]


def only_pair(rows: Iterable[Mapping[str, Any]], folder: Path, **spec: Any) -> Json:
    """The single pair that some rows make."""
    file = write_jsonl(folder / "data.jsonl", rows)
    run(SourceSpec(str(file), **spec), out=folder / "out")
    (pair,) = pairs_of(folder / "out")
    return pair


def said(turns: list[Json]) -> list[tuple[str, str]]:
    """Turns as (role, content)."""
    return [(t["role"], t["content"]) for t in turns]


def user(text: str) -> Json:
    """A user message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Json:
    """An assistant message."""
    return {"role": "assistant", "content": text}


def plain_row(i: int, **more: Any) -> Json:
    """An explicit row of its own."""
    return {"prompt": f"question {i}", "chosen": f"good answer {i}", "rejected": f"bad answer {i}", **more}
