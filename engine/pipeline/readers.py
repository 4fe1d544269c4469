"""Remember how a reader was made, so that rollouts can be read by the very same one later."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ModelError
from engine.manifest import write_json
from engine.paths import ProjectPaths
from engine.settings import ReadingSettings

if TYPE_CHECKING:
    from engine.reading.reader import Reader
    from engine.reading.spec import ReaderSpec

_SPEC = "spec.json"


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
        return ReaderSpec(**{f.name: raw[f.name] for f in fields(ReaderSpec)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is missing or damaged", hint="run the same `prosect audit` again"
        ) from error


def reopen(paths: ProjectPaths, reader_hash: str, settings: ReadingSettings) -> "Reader":
    """The reader of an index, loaded again.

    Raises:
        ModelError: its checkpoint or SAE is gone or has changed.
    """
    from engine.reading.reader import open_reader

    spec = read_spec(paths, reader_hash)
    reader = open_reader(spec, settings)
    if reader.reader_hash != reader_hash:
        raise ModelError(
            f"{spec.model} or its SAE is not what read these pairs"
            f" (now {reader.reader_hash}, then {reader_hash})",
            hint="restore the files, or audit again with the new ones",
        )
    return reader


def _absolute(path: str) -> str:
    return str(Path(path).resolve()) if path and Path(path).exists() else path
