"""A large source read by one process per core; the result is what one process would have made of it."""

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from engine.errors import IngestError
from engine.ingest.collect import Collected, Piece
from engine.ingest.readers import parts_of
from engine.ingest.report import Tally
from engine.ingest.source import OpenSource
from engine.ingest.worker import describe
from engine.machine import cores
from engine.progress import Progress

MIN_BYTES = 256 << 20
"""Sources smaller than this are read by the calling process: starting others takes a second or two."""
MAX_WORKERS = 4


def n_workers(opened: OpenSource) -> int:
    """How many processes a source is worth; 1: the calling process alone."""
    size = sum(f.path.stat().st_size for f in opened.files)
    if size < MIN_BYTES or cores() < 2 or opened.format.is_per_answer:
        return 1
    return min(cores(), MAX_WORKERS, len(pieces_of(opened, MAX_WORKERS)))


def pieces_of(opened: OpenSource, n: int) -> list[Piece]:
    """The source in pieces; files that cannot be divided are a piece each."""
    pieces = []
    for file in opened.files:
        pieces += [Piece(file, part) for part in parts_of(file.path, n)] or [Piece(file, None)]
    return pieces


def collect_in_parallel(
    opened: OpenSource, into: Collected, scratch: Path, n: int, progress: Progress
) -> dict[str, Tally]:
    """Read a source with ``n`` processes into what was collected so far; counts by file.

    Raises:
        IngestError: a worker met one.
        Cancelled: the user stopped it; no worker is left behind.
    """
    pieces = pieces_of(opened, n)
    size = [p.file.path.stat().st_size if p.part is None else p.part.end - p.part.start for p in pieces]
    shares: list[list[Piece]] = [[] for _ in range(n)]
    load = [0] * n
    for i in sorted(range(len(pieces)), key=lambda i: -size[i]):
        lightest = load.index(min(load))
        shares[lightest].append(pieces[i])
        load[lightest] += size[i]
    folders = []
    workers = []
    try:
        for number, share in enumerate(shares):
            folder = scratch / f"worker-{len(into.files)}-{number}"
            folder.mkdir()
            folders.append(folder)
            workers.append(_start(opened, share, folder, into))
        _follow(workers, progress)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
            if worker.stdout is not None:
                worker.stdout.close()
    tallies = {f.shown: Tally() for f in opened.files}
    _raise_failure(folders)
    for folder in folders:
        _merge(folder, into, tallies)
    return tallies


def _start(opened: OpenSource, share: list[Piece], folder: Path, into: Collected) -> "subprocess.Popen[str]":
    job = describe(opened, share, folder, into.max_text_bytes)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with (folder / "stderr.txt").open("w", encoding="utf-8") as stderr:
        return subprocess.Popen(  # noqa: S603 - our own module, our own interpreter
            [sys.executable, "-m", "engine.ingest.worker", str(folder / "job.json")],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )


def _follow(workers: "list[subprocess.Popen[str]]", progress: Progress) -> None:
    """Report rows until every worker has ended; a failed one raises."""
    counted: queue.SimpleQueue[int] = queue.SimpleQueue()

    def listen(worker: "subprocess.Popen[str]") -> None:
        if worker.stdout is not None:
            for line in worker.stdout:
                counted.put(int(line))

    listeners = [threading.Thread(target=listen, args=(w,), daemon=True) for w in workers]
    for listener in listeners:
        listener.start()
    while any(listener.is_alive() for listener in listeners) or not counted.empty():
        if any(worker.poll() for worker in workers):
            return  # one has failed: what the others find is not needed any more
        try:
            progress.advance(counted.get(timeout=0.2))
        except queue.Empty:
            progress.advance(0)
    for worker in workers:
        worker.wait()


def _merge(folder: Path, into: Collected, tallies: dict[str, Tally]) -> None:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    sources = np.array([into.number_of(s) for s in result["sources"]], np.int32)
    files = np.array([into.files.setdefault(f, len(into.files)) for f in result["files"]], np.int32)
    into.keys.extend(folder / "keys.npz", sources, files)
    into.entries.extend(pq.read_table(folder / "entries.parquet"))
    into.spool.attach([Path(p) for p in result["spool"]])
    for label, n in result["labels"].items():
        into.labels[label] = into.labels.get(label, 0) + n
    for name, counts in result["tallies"].items():
        for f in fields(Tally):
            setattr(tallies[name], f.name, getattr(tallies[name], f.name) + counts[f.name])


def _raise_failure(folders: list[Path]) -> None:
    """Raise what a worker raised; the others may have been killed for it."""
    for folder in folders:
        if (folder / "error.json").exists():
            said = json.loads((folder / "error.json").read_text(encoding="utf-8"))
            raise IngestError(said["message"], hint=said["hint"])
    for folder in folders:
        if not (folder / "result.json").exists():
            last = (folder / "stderr.txt").read_text(encoding="utf-8", errors="replace").strip()[-500:]
            raise IngestError(
                f"a reading process ended early: {last or 'killed'}", hint="is memory or disk full?"
            )
