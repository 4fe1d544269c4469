"""Token strips of single pairs: read with the index's own reader, kept in the cache.

``python -m engine.pipeline.strips DIR READER INDEX`` serves them: one JSON request a line on stdin, one JSON
answer a line on stdout, until stdin ends. A failure is an answer, too. The model is loaded at the first
request that the cache cannot answer; a request without a pair loads it at once. What was read of a pair is
kept whole, every latent on every token, so that another concept of the same pair costs nothing. While the
process lives it is a job of the project, since it holds a model in memory; it goes without a trace.

    {"pair": 12, "latents": [7, 40]}
    {"pair": 12, "latents": [7, 40], "spans": [{"span": "prompt", "tokens": ["Hi", …], "row": [0],
     "token": [3], "value": [1.5], "is_truncated": false}, …]}
    {"pair": 12, "latents": [7, 40], "error": "…", "hint": "…"}
"""

import io
import json
import logging
import os
import shlex
import signal
import sys
import threading
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ModelError, ProsectError, StoreError
from engine.jobs import Tracked, sweep
from engine.manifest import hash_json, write_atomic
from engine.paths import ProjectPaths
from engine.progress import NullProgress, Progress
from engine.records import Span
from engine.settings import Settings
from engine.settings_file import load_settings
from engine.store.build import current_index
from engine.store.connection import Store
from engine.views.jobs import PASSING
from engine.views.strips import PairStrip, Spikes, pair_strip

if TYPE_CHECKING:
    from engine.reading.pair_file import PairFile, PairTexts
    from engine.reading.reader import Reader

log = logging.getLogger(__name__)

CACHE_VERSION = 2
"""Raised when the same reader and texts would give another file."""
_NICE = 5
"""A serving process gives way to the workstation."""


class StripSource:
    """Strips of one index's pairs.

    Args:
        paths: the project.
        settings: device and dtype of the reader.
        reader_hash: which reader's.
        index_hash: which index numbers the pairs.
    """

    def __init__(self, paths: ProjectPaths, settings: Settings, reader_hash: str, index_hash: str) -> None:
        self._paths, self._settings = paths, settings
        self._reader_hash, self._index = reader_hash, paths.index(index_hash)
        self._reader: Reader | None = None
        self._pairs: PairFile | None = None

    def warm(self) -> "Reader":
        """Load the reader.

        Raises:
            ModelError: its checkpoint or SAE is gone or has changed.
        """
        if self._reader is None:
            from engine.pipeline.readers import reopen

            self._reader = reopen(self._paths, self._reader_hash, self._settings.reading)
        return self._reader

    def spikes(self, pair: int, latents: Sequence[int]) -> list[Spikes]:
        """Where some latents fire in a pair: prompt, chosen, rejected.

        Args:
            pair: number of the pair in the index.
            latents: numbers of latents, in the order wanted.

        Raises:
            StoreError: there is no such pair.
            ModelError: a latent that the SAE does not have, or a reader that cannot be opened.
        """
        texts = self._texts(pair)
        messages = [
            [[m.role, m.content] for m in span] for span in (texts.prompt, texts.chosen, texts.rejected)
        ]
        name = hash_json([CACHE_VERSION, messages, texts.tools])
        path = self._paths.cache_dir / "strips" / self._reader_hash / f"{name}.npz"
        kept = _load(path)
        if kept is None:
            kept = self._read(texts)
            _save(path, kept)
        n_latents = int(kept["n_latents"])
        wrong = [latent for latent in latents if not 0 <= latent < n_latents]
        if wrong:
            raise ModelError(f"there is no latent {wrong[0]}: the SAE has {n_latents}")
        return [_select(kept, span, latents) for span in Span]

    def _texts(self, pair: int) -> "PairTexts":
        """A pair's texts by its id, since an ingest after the audit may have renumbered the pairs."""
        from engine.reading.pair_file import PairFile

        with Store(self._index) as store:
            pair_id = store.value("SELECT pair_id FROM pairs WHERE pair = ?", [pair])
        if pair_id is None:
            raise StoreError(f"there is no pair {pair}")
        if self._pairs is None:
            self._pairs = PairFile(self._paths.pairs)
        ids = self._pairs.pair_ids
        if pair >= len(ids) or ids[pair] != pair_id:
            if pair_id not in ids:
                raise StoreError(
                    f"pair {pair} is no longer among the ingested pairs", hint="run `prosect audit` again"
                )
            pair = ids.index(pair_id)
        return self._pairs.texts(pair, pair + 1)[0]

    def _read(self, texts: "PairTexts") -> dict[str, NDArray[Any]]:
        from engine.reading.tokens import pair_tokens

        reader = self.warm()
        kept: dict[str, NDArray[Any]] = {"n_latents": np.array(reader.n_latents)}
        for span, read in pair_tokens(reader, texts).items():
            kept |= {
                f"{span}_tokens": np.frombuffer(json.dumps(read.tokens).encode(), np.uint8),
                f"{span}_token": read.token,
                f"{span}_latent": read.latent,
                f"{span}_value": read.value,
                f"{span}_truncated": np.array(read.is_truncated),
            }
        return kept


def _select(kept: Mapping[str, NDArray[Any]], span: Span, latents: Sequence[int]) -> Spikes:
    row_of = {latent: row for row, latent in enumerate(latents)}
    found = kept[f"{span}_latent"]
    at = np.flatnonzero(np.isin(found, np.array(list(row_of), dtype=found.dtype)))
    return Spikes(
        span=span.value,
        tokens=json.loads(kept[f"{span}_tokens"].tobytes()),
        row=[row_of[int(latent)] for latent in found[at]],
        token=kept[f"{span}_token"][at].tolist(),
        value=kept[f"{span}_value"][at].tolist(),
        is_truncated=bool(kept[f"{span}_truncated"]),
    )


def _load(path: Path) -> dict[str, NDArray[Any]] | None:
    """What was kept of a pair; None if nothing, or something damaged."""
    try:
        with path.open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _save(path: Path, kept: Mapping[str, NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **kept)
    try:
        write_atomic(path, buffer.getvalue())
    except StoreError as error:  # a full disk costs only the cache
        log.warning("%s", error.message)


def read_strip(paths: ProjectPaths, settings: Settings, pair: int, latents: Sequence[int]) -> PairStrip:
    """One pair of the default index, read in this process. Raises as ``StripSource.spikes``."""
    published = current_index(paths)
    source = StripSource(paths, settings, published.reader_hash, published.index_hash)
    return pair_strip(pair, latents, source.spikes(pair, latents))


def serve(source: StripSource, requests: IO[str], answers: IO[str], progress: Progress | None = None) -> None:
    """Answer requests line by line until they end.

    Raises:
        Cancelled: ``progress`` says that somebody asked to stop.
    """
    said = progress or NullProgress()
    said.start("wait for a pair", None, "")
    for line in requests:
        asked = json.loads(line)
        answer: dict[str, Any] = asked
        said.start(f"read pair {asked['pair']}" if "pair" in asked else "load the model", None, "")
        try:
            if "pair" in asked:
                spikes = source.spikes(asked["pair"], asked["latents"])
                answer = asked | {"spans": [asdict(s) for s in spikes]}
            else:
                source.warm()
        except ProsectError as error:
            answer = asked | {"error": error.message, "hint": error.hint}
        except Exception as error:  # the process must outlive a pair that it cannot read
            log.exception("no strip")
            answer = asked | {"error": f"{type(error).__name__}: {error}", "hint": None}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        said.advance()
        said.start("wait for a pair", None, "")


def _end_on_signals(job: Tracked) -> None:
    """End without a trace on a signal, also while the main thread is busy with a model."""
    heard, said = os.pipe()
    os.set_blocking(said, False)
    signal.set_wakeup_fd(said)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        number = os.read(heard, 1)[0]
        try:
            job.vanish()
        finally:
            os._exit(128 + number)

    threading.Thread(target=wait, name="signals", daemon=True).start()


def main(arguments: Sequence[str]) -> int:
    """Serve strips of DIR's index INDEX, read with READER, on stdin and stdout."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.nice(_NICE)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not land among the answers
    paths = ProjectPaths(Path(arguments[0]))
    try:
        source = StripSource(paths, load_settings(paths.settings), *arguments[1:3])
    except ProsectError as error:
        answers.write(json.dumps({"error": error.message, "hint": error.hint}) + "\n")
        answers.flush()
        return 1
    sweep(paths.jobs_dir)
    command = shlex.join(["prosect", "open", str(paths.root)])
    job = Tracked(NullProgress(), paths, PASSING, "tokens of pairs that are looked at", command=command)
    _end_on_signals(job)
    try:
        serve(source, sys.stdin, answers, job)
    finally:
        job.vanish()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
