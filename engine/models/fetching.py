"""Where a checkpoint lies: a folder, or the hub's cache, filled with as many files as are wanted."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import ModelError
from engine.models.names import not_fetched, unknown_model
from engine.paths import is_path

_SMALL_FILES = ("*.json", "*.jinja", "*.model", "*.txt")
"""What is fetched from the hub: configuration and tokenizer …"""
_WEIGHTS = ("*.safetensors",)
"""… and weights. Never pickles, never code …"""
_NOT_FETCHED = ("original/*", "consolidated*", "onnx/*")
"""… and not the same weights once more in another format."""


def resolve_folder(path: str, revision: str | None = None, *, with_weights: bool = True) -> Path:
    """The folder that holds a checkpoint: itself, or the hub's snapshot, fetched if it has to be.

    Args:
        path: folder or hub id.
        revision: commit, tag or branch on the hub.
        with_weights: fetch the weights, too; else only configuration and tokenizer.

    Raises:
        ModelError: neither a folder nor a repository that can be reached, or not all of it is here and the
            rest cannot be reached.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if is_path(path) or folder.exists():
        raise ModelError(f"there is no model folder {path}", hint=unknown_model(path) or "check the path")
    if with_weights:
        return _fetch(path, revision, [*_SMALL_FILES, *_WEIGHTS])
    with _no_bars():
        return _fetch(path, revision, list(_SMALL_FILES))


def fetch_weights(path: str, revision: str | None, folder: Path, names: Iterable[str] | None) -> None:
    """Fetch files with weights of the very commit whose snapshot a folder is.

    Args:
        path: as it was resolved; of a folder nothing is fetched.
        revision: as it was resolved.
        folder: its snapshot.
        names: files; None: all weights.

    Raises:
        ModelError: they cannot be reached.
    """
    wanted = _to_fetch(path, folder, names)
    if not wanted:
        return
    # by the name that was asked for a client without a connection says so at once, by a commit it tries on
    if _fetch(path, revision, wanted) != folder:
        _fetch(path, folder.name, wanted)  # the branch has moved on meanwhile
    absent = [] if names is None else [name for name in wanted if not (folder / name).exists()]
    if absent:  # older clients return what there is without a connection
        raise ModelError(*not_fetched(path, None, FileNotFoundError(absent[0])))


def n_bytes_to_fetch(
    path: str, revision: str | None, folder: Path, names: Iterable[str] | None
) -> int | None:
    """Bytes that ``fetch_weights`` would fetch; None where the hub cannot be asked."""
    wanted = _to_fetch(path, folder, names)
    if not wanted:
        return 0
    from huggingface_hub import snapshot_download

    try:
        with _no_bars():
            files = snapshot_download(
                path, revision=revision, allow_patterns=wanted, ignore_patterns=list(_NOT_FETCHED),
                dry_run=True,
            )  # fmt: skip
    except Exception:  # noqa: BLE001 - whatever the hub's client and its transport raise without a connection
        return None
    sizes = [file.file_size or 0 for file in files if not file.is_cached]
    return sum(sizes)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the hub's progress bars, where next to nothing is fetched."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if had_bars:
            enable_progress_bars()


def _to_fetch(path: str, folder: Path, names: Iterable[str] | None) -> list[str]:
    """Files, or patterns of them, that are wanted of a snapshot and not there."""
    if not is_snapshot(path, folder):
        return []
    return list(_WEIGHTS) if names is None else [name for name in names if not (folder / name).exists()]


def is_snapshot(path: str, folder: Path) -> bool:
    """Does a folder lie in the hub's cache, for a hub id?"""
    return folder.parent.name == "snapshots" and folder != Path(path).expanduser()


def _fetch(path: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                path, revision=revision, allow_patterns=patterns, ignore_patterns=list(_NOT_FETCHED)
            )
        )
    except Exception as error:  # whatever the hub's client and its transports raise
        raise ModelError(*not_fetched(path, revision, error)) from error
