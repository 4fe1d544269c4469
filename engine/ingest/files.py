"""Which files a source means: one file, a folder, a glob, a local Hugging Face folder or a hub name."""

import difflib
import glob
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import IngestError
from engine.ingest.card import pick_table, split_by_card, tables_of

SUFFIXES = (
    *(".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst"),
    *(".json", ".json.gz", ".json.zst", ".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst"),
    *(".parquet", ".arrow", ".feather"),
)
_BOOKKEEPING = frozenset(
    {
        *("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json"),
        *("export.json", "lock.json", "plan.json", "build.json", "ledger.parquet"),
    }
)
_OWN = ("export.json", "ledger.parquet")
"""A folder with one of these is a shaped dataset of ours, or an export of one: the same rows in two kinds."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*\Z")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\Z")


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a source."""

    path: Path
    shown: str
    """How the pairs and the report name it: as the user wrote it, with / between folders."""
    source: str
    """The name its pairs get where neither the user nor the row names a source."""


@dataclass(frozen=True, slots=True)
class Located:
    """The files of one source, and what was left aside."""

    files: tuple[DataFile, ...]
    remarks: tuple[str, ...] = ()
    """Splits that were left out, the revision of a download: shown and kept in the report."""


def place(text: str) -> str:
    """A path as one of its spellings, with its split; any other text as it is.

    Links to folders are followed, links to files are not: equal files of a download are links to one.
    """
    base, mark, split = text.partition("#") if not Path(text).exists() else (text, "", "")
    path = Path(base).expanduser()
    if not path.exists():
        return text
    whole = path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    return f"{whole}{mark}{split}"


def stem(path: Path) -> str:
    """File name without data suffix and shard number."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            name = name[: -len(suffix)]
            break
    return _SHARD.sub("", name)


def locate(text: str) -> Located:
    """Files of a source path, in name order.

    ``path#split`` takes one split of a folder or hub dataset, ``path#all`` every split.

    Raises:
        IngestError: nothing there, nothing readable there, or an unknown split.
    """
    base, _, split = text.partition("#") if not Path(text).exists() else (text, "", "")
    path = Path(base).expanduser()
    if path.is_file():
        _check_suffix(path)
        return Located((DataFile(path, path.as_posix(), stem(path)),))
    if path.is_dir():
        if _is_project(path):
            raise IngestError(
                f"{text} is a project of prosect, no dataset",
                hint=f"`prosect mix list {text}` lists the files that its pairs come from",
            )
        return _folder(path, path.as_posix(), path.resolve().name, split)
    if glob.has_magic(base):
        found = sorted(Path(p) for p in glob.glob(str(path), recursive=True))  # noqa: PTH207 - user's pattern
        files = [p for p in found if p.is_file() and p.name.endswith(SUFFIXES)]
        if not files:
            raise IngestError(f"{text}: no data file matches", hint="quote the pattern; " + _kinds())
        return Located(tuple(DataFile(p, p.as_posix(), stem(p)) for p in files))
    if os.path.lexists(path):
        raise IngestError(f"{text} is no regular file or folder, or a link to nowhere", hint=_kinds())
    if _HUB_NAME.match(base.split("@")[0]) and not base.endswith(SUFFIXES):
        from engine.ingest.hub import download  # the hub client takes a second to import

        folder, revision = download(base)
        located = _folder(folder, base, base.split("@")[0].split("/")[1], split)
        return Located(located.files, (f"{base}: revision {revision}", *located.remarks))
    raise IngestError(f"{text}: no such file or folder", hint=_near(path) or _kinds())


def _near(path: Path) -> str:
    """A file of nearly the same name beside where the path points; empty without one."""
    try:
        close = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], 1)
    except OSError:
        return ""
    return f"did you mean {path.with_name(close[0]).as_posix()}?" if close else ""


def _kinds() -> str:
    return (
        "give a file ("
        + ", ".join(s for s in SUFFIXES if s.count(".") == 1)
        + ", also .gz and .zst)"
        + (", a folder, a glob in quotes, or a hub name such as owner/name")
    )


_OTHERS = {
    ("xlsx", "xls", "ods", "numbers"): "save the sheet as csv (UTF-8)",
    ("pkl", "pickle", "pt", "joblib"): "a pickle can run code: save the table as parquet or JSON lines",
    (
        "zip",
        "tar",
        "tgz",
        "7z",
        "rar",
        "bz2",
        "xz",
        "lz4",
    ): "unpack it first; .gz and .zst are read as they are",
    ("db", "sqlite", "sqlite3", "duckdb"): "export the table as parquet or csv",
    ("npy", "npz", "h5", "hdf5", "tfrecord", "orc", "avro"): "save the rows as parquet or JSON lines",
    ("txt", "log", "md", "yaml", "yml", "xml", "html"): "is it JSON lines, csv or tsv? then name it so",
}
"""What to do with files that people have and ingest does not read, by the end of their names."""


def _check_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIXES):
        hint = next((said for ends, said in _OTHERS.items() if path.suffix[1:].lower() in ends), _kinds())
        raise IngestError(f"{path}: not a kind of file that can be read", hint=hint)


def _folder(folder: Path, shown: str, name: str, asked: str) -> Located:
    table, split, about = pick_table(tables_of(folder), shown, asked)
    by_split: dict[str, list[Path]] = {}
    projects: list[Path] = []
    below = sorted(_below(folder, shown, projects))
    about += tuple(
        f"{shown}: left out {p.relative_to(folder).as_posix()}: a project of prosect"
        for p in sorted(projects)
    )
    for path in below:
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or not path.name.endswith(SUFFIXES):
            continue
        if not path.is_file():
            about += (f"{shown}: left out {inside.as_posix()}: no regular file, or a link to nowhere",)
            continue
        if path.name in _BOOKKEEPING or path.name.startswith("cache-"):
            continue
        part = "" if table is None else split_by_card(table, inside)
        if part is not None:
            by_split.setdefault(part or _split_of(inside, path), []).append(path)
    if not by_split:
        names = [p.relative_to(folder).as_posix() for p in below if not p.name.startswith(".")]
        holds = f"it holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}; " if names else ""
        raise IngestError(f"{shown}: no data files in this folder", hint=holds + _kinds())
    about += _once(folder, shown, by_split)
    try:
        taken, remarks = _pick_splits(by_split, shown, split)
    except IngestError as error:
        others = ", ".join(t.name for t in tables_of(folder))
        raise IngestError(
            error.message, hint=f"{error.hint}" + (f"; tables: {others}" if others else "")
        ) from error
    files = [
        DataFile(p, f"{shown.rstrip('/')}/{p.relative_to(folder).as_posix()}", name)
        for s in taken
        for p in by_split[s]
    ]
    return Located(tuple(sorted(files, key=lambda f: f.shown)), (*about, *remarks))


def _is_project(folder: Path) -> bool:
    """Ingest has written pairs into this folder: what else lies there is no dataset."""
    return (folder / "pairs" / "folds.parquet").is_file()


def _below(folder: Path, shown: str, projects: list[Path]) -> Iterator[Path]:
    """Everything below a folder that is no folder; links to folders are not followed.

    Nor are projects: they are appended to ``projects``.
    """

    def refuse(error: OSError) -> None:
        raise IngestError(
            f"{shown}: {error.filename} cannot be read: {error.strerror}", hint="chmod +rx, or ask its owner"
        ) from error

    for root, folders, names in os.walk(folder, onerror=refuse):
        inside = [Path(root) / name for name in folders if _is_project(Path(root) / name)]
        projects += inside
        folders[:] = [name for name in folders if Path(root) / name not in inside]
        yield from (Path(root) / name for name in names)


def _once(folder: Path, shown: str, by_split: dict[str, list[Path]]) -> tuple[str, ...]:
    """Leave the second kind of the same rows out of a shaped dataset or an export; says so."""
    if not any((folder / name).exists() for name in _OWN):
        return ()
    remarks = []
    for paths in by_split.values():
        whole = [p for p in paths if p.suffix == ".parquet"]
        if whole and len(paths) > len(whole):
            left = ", ".join(p.name for p in paths if p not in whole)
            remarks.append(f"{shown}: read {whole[0].name}, left out {left}: the same rows")
            paths[:] = whole
    return tuple(remarks)


def _split_of(inside: Path, path: Path) -> str:
    """Split by the layout of the hub (data/train-00000-of-00001) or of save_to_disk (train/data-00000…)."""
    if (path.parent / "state.json").exists():
        return _saved_split(path)
    name = stem(inside)
    if (name in ("data", "") or name.isdigit()) and len(inside.parts) > 1:  # also refs/convert/parquet
        return inside.parts[-2]
    return name


def _saved_split(path: Path) -> str:
    try:
        state = json.loads((path.parent / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {}
    said = state.get("_split") if isinstance(state, dict) else None
    return said if isinstance(said, str) else path.parent.name


_IS_SPLIT = re.compile(r"(train|test|validation|valid|val|dev|eval|raw|filtered)(_\w+|-\w+)?\Z")


def _pick_splits(
    by_split: dict[str, list[Path]], shown: str, split: str
) -> tuple[list[str], tuple[str, ...]]:
    """Splits to read: the named one, else the training split and what is no split, else everything.

    Folders of a dataset often hold the same rows again as test, sft or generation splits; what is left out
    is said.
    """
    names = sorted(by_split)
    if split == "all":
        return names, ()
    if split:
        if split not in by_split:
            raise IngestError(f"{shown}#{split}: there is no such split", hint="splits: " + ", ".join(names))
        return [split], ()
    for wanted in ("train_prefs", "train", "filtered"):
        left = [n for n in names if n != wanted and _IS_SPLIT.match(n)]
        if wanted in names and left:
            taken = [n for n in names if n not in left]
            remark = f"read split {', '.join(taken)}, left out {', '.join(left)} (use {shown}#all for all)"
            return taken, (f"{shown}: {remark}",)
    return names, ()
