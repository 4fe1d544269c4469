"""Remember how a reader was made, so that rollouts can be read by the very same one later."""

import json
import shlex
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ModelError, StoreError
from engine.manifest import write_json
from engine.paths import ProjectPaths
from engine.progress import Progress
from engine.safe_text import one_line
from engine.settings import ReadingSettings
from engine.store.build import read_current

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.reading.spec import ReaderSpec

_SPEC = "spec.json"
_READER = "reader.json"


def save_spec(reader_dir: Path, spec: "ReaderSpec") -> None:
    """Write what the reader was made of; folders as absolute paths."""
    write_json(
        reader_dir / _SPEC, asdict(replace(spec, model=_absolute(spec.model), sae=_absolute(spec.sae or "")))
    )


def read_spec(paths: ProjectPaths, reader_hash: str) -> "ReaderSpec":
    """What the reader of an index was made of.

    Raises:
        ModelError: the record is missing or damaged.
    """
    from engine.reading.spec import ReaderSpec

    path = paths.reader_dir(reader_hash) / _SPEC
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        spec = ReaderSpec(**{f.name: raw[f.name] for f in fields(ReaderSpec)})
        return replace(spec, sae=_own_sae(paths, spec.sae))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is missing or damaged", hint="run the same `prosect audit` again"
        ) from error


def own_reader(paths: ProjectPaths) -> "ReaderSpec":
    """The reader that a project goes on with: its index's, else the only one that it holds anything of.

    Before the first index that is a reader whose readings are there, or an SAE trained on the pairs.

    Raises:
        StoreError: there is none, or there are several to choose from.
    """
    pointer = read_current(paths)
    if pointer is not None:
        return read_spec(paths, pointer["default"])
    found = _begun(paths)
    if not found:
        raise StoreError(
            f"{paths.root} has no reader yet", hint=f"name one: `prosect audit {paths.root} --reader R`"
        )
    if len(found) > 1:
        raise StoreError(
            f"{paths.root} has {len(found)} readers to choose from",
            hint="name one:\n" + "\n".join(f"  {_command(paths.root, spec)}" for spec in found),
        )
    return found[0]


def _command(root: Path, spec: "ReaderSpec") -> str:
    """What audits a project with a reader."""
    layer = [] if spec.layer is None else ["--layer", str(spec.layer)]
    return shlex.join(
        ["prosect", "audit", str(root), "--reader", spec.model, *layer, "--sae", spec.sae or ""]
    )


def _begun(paths: ProjectPaths) -> "list[ReaderSpec]":
    """Readers with readings, then SAEs trained here that none of them uses."""
    from engine.reading.spec import READER_FILE, load_reader_spec

    folders = sorted((paths.root / "readings").glob("*/" + _SPEC))
    found = [read_spec(paths, file.parent.name) for file in folders]
    used = {_absolute(spec.sae or "") for spec in found}
    trained = (file.parent for file in sorted(paths.sae_dir.glob("*/" + READER_FILE)))
    return [*found, *(load_reader_spec(str(f)) for f in trained if str(f.resolve()) not in used)]


def known_checkpoints(paths: ProjectPaths) -> dict[str, dict[str, str]]:
    """Fingerprints of the checkpoints that have read here, with the files that they cover.

    An older record has no files in it: its checkpoint is known by the fingerprint alone.
    """
    known = {}
    for file in sorted((paths.root / "readings").glob("*/" + _READER)):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            known[str(said["model_fingerprint"])] = dict(said.get("model_files", {}))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return known


def open_noted(
    paths: ProjectPaths, spec: "ReaderSpec", settings: ReadingSettings, progress: Progress
) -> "Reader":
    """Open a reader for a project and remember how it was made; say what there is to know of its loading.

    Raises:
        ModelError: its checkpoint or SAE cannot be loaded, or they do not fit.
    """
    from engine.reading.reader import open_reader

    reader = open_reader(spec, settings, known_checkpoints(paths))
    for note in reader.loaded.notes:
        progress.note(one_line(f"{spec.model}: {note}"))
    save_spec(paths.reader_dir(reader.reader_hash), reader.spec)
    return reader


def reopen(paths: ProjectPaths, reader_hash: str, settings: ReadingSettings) -> "Reader":
    """The reader of an index, loaded again.

    Raises:
        ModelError: its checkpoint or SAE is gone or has changed.
    """
    from engine.reading.reader import open_reader

    spec = read_spec(paths, reader_hash)
    reader = open_reader(spec, settings, known_checkpoints(paths))
    if reader.reader_hash != reader_hash:
        raise ModelError(
            f"{spec.model} or its SAE is not what read these pairs"
            f" (now {reader.reader_hash}, then {reader_hash})",
            hint="restore the files, or audit again with the new ones",
        )
    return reader


def _own_sae(paths: ProjectPaths, recorded: str | None) -> str | None:
    """An SAE that was trained in the project, where the project is now: it may have been moved or copied."""
    path = Path(recorded or "")
    own = (paths.sae_dir / path.name).resolve()
    return str(own) if recorded and path.parent.name == paths.sae_dir.name and own.is_dir() else recorded


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path and Path(path).exists() else path
