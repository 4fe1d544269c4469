"""One of several processes that read a large source: ``python -m engine.ingest.worker JOB``.

A process of its own rather than a forked one: the caller may hold threads, a terminal or a GPU. It reads its
pieces exactly as the caller would, leaves spool, keys, entries and counts in its folder, and prints the rows
it has read so far, one number per batch. Exit status 3 with ``error.json`` is an ``IngestError``.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.errors import IngestError
from engine.ingest.collect import Collected, Collector, Piece
from engine.ingest.files import DataFile
from engine.ingest.formats.generic import mapped_format
from engine.ingest.formats.registry import named
from engine.ingest.formats.shape import Shape
from engine.ingest.json_values import Part
from engine.ingest.report import Entries
from engine.ingest.source import OpenSource, SourceSpec
from engine.ingest.spool import Spool
from engine.progress import NullProgress

FAILED = 3


class _Counted(NullProgress):
    """Prints every advance, for the parent to add up."""

    def advance(self, n: int = 1) -> None:
        sys.stdout.write(f"{n}\n")
        sys.stdout.flush()


def describe(opened: OpenSource, pieces: list[Piece], folder: Path, max_text_bytes: int) -> dict[str, Any]:
    """A job as JSON."""
    spec = opened.spec
    return {
        "folder": str(folder),
        "path": spec.path,
        "name": spec.name,
        "mapping": dict(spec.mapping),
        "format": opened.format.name,
        "renames": dict(opened.renames),
        "places": list(opened.places),
        "max_text_bytes": max_text_bytes,
        "pieces": [[str(p.file.path), p.file.shown, p.file.source, p.part] for p in pieces],
    }


def work(job: dict[str, Any]) -> None:
    """Do a job and leave its results in its folder."""
    folder = Path(job["folder"])
    pieces = [
        Piece(DataFile(Path(path), shown, source), None if part is None else Part(*part))
        for path, shown, source, part in job["pieces"]
    ]
    form = mapped_format(job["mapping"])
    if job["format"] != "map":
        form = replace(named(job["format"]), mapped=frozenset(job["renames"]))
    files = tuple(dict.fromkeys(p.file for p in pieces))
    spec = SourceSpec(job["path"], job["name"], job["format"], job["mapping"])
    opened = OpenSource(spec, files, form, job["renames"], tuple(job["places"]), (), (), Shape({}, {}))
    collected = Collected(Spool(folder), Entries(), job["max_text_bytes"])
    tallies = Collector(opened, collected, _Counted(), pieces).run()
    collected.spool.close()
    collected.keys.save(folder / "keys.npz")
    collected.entries.write(folder / "entries.parquet")
    result = {
        "sources": list(collected.sources),
        "files": list(collected.files),
        "labels": collected.labels,
        "tallies": {name: asdict(tally) for name, tally in tallies.items()},
        "spool": [str(p) for p in collected.spool.paths],
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def main() -> int:
    """Read the job file named on the command line and do it."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    try:
        work(job)
    except IngestError as error:
        said = {"message": error.message, "hint": error.hint}
        (Path(job["folder"]) / "error.json").write_text(json.dumps(said), encoding="utf-8")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
