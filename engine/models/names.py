"""Is there a checkpoint of this name, and if not, which names are nearly it? Nothing is loaded to tell.

Looked through are folders beside the place that a path points to, and the hub's cache on this machine; the
hub itself is asked only whether a repository is there.
"""

import difflib
import errno
from collections.abc import Iterable
from pathlib import Path

from engine.errors import ModelError
from engine.paths import is_path

_ALIKE = 0.6
"""Twice the common letters over all letters, from which a name may have been meant."""
_BESIDE = 0.1
"""How much less alike than the nearest a name may be that is offered beside it."""
_CACHED = "models--"


def meant(names: Iterable[str], otherwise: str | None = None) -> str | None:
    """``did you mean a, b?``; ``otherwise`` without names."""
    found = ", ".join(names)
    return f"did you mean {found}?" if found else otherwise


def nearest(word: str, known: Iterable[str], n: int = 3, *, hub: bool = False) -> list[str]:
    """Other names that are nearly a word, nearest first.

    Args:
        word: what was asked for.
        known: what there is.
        n: names to return at most.
        hub: these are hub ids, of which the part behind the owner may be alike by itself.
    """
    scored: dict[str, float] = {}
    for name in dict.fromkeys(known):
        alike = max(_alike(a, b) for a, b in _forms(word, name, hub=hub)) if name != word else 0.0
        if alike >= _ALIKE:
            scored[name] = alike
    best = max(scored.values(), default=0.0)
    close = [name for name, alike in scored.items() if alike >= best - _BESIDE]
    return sorted(close, key=lambda name: (-scored[name], name))[:n]


def _forms(word: str, name: str, *, hub: bool) -> list[tuple[str, str]]:
    whole = (word.lower(), name.lower())
    return [whole, (whole[0].rpartition("/")[2], whole[1].rpartition("/")[2])] if hub else [whole]


def _alike(a: str, b: str) -> float:
    matcher = difflib.SequenceMatcher(None, a, b)
    return matcher.ratio() if matcher.quick_ratio() >= _ALIKE else 0.0  # a bound that costs little


def nearest_paths(path: Path, n: int = 3) -> list[str]:
    """Paths that differ from one that is not there in a folder's or file's name."""
    path = path.expanduser()
    rest: list[str] = []
    while not path.parent.is_dir() and path.parent != path:
        rest, path = [path.name, *rest], path.parent
    try:
        names = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return []
    there = [path.with_name(name).joinpath(*rest) for name in nearest(path.name, names, 12)]
    whole = [str(found) for found in there if found.exists()]
    return whole[:n] if whole else [str(path.with_name(name)) for name in nearest(path.name, names, n)]


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _has_some(path: str, revision: str) -> bool:
    """Does the hub's cache hold anything of a commit, tag or branch?"""
    folder = _hub_cache() / (_CACHED + path.replace("/", "--"))
    name = folder / "refs" / revision
    commit = name.read_text(encoding="utf-8").strip() if name.is_file() else revision
    return any(folder.glob(f"snapshots/{commit}/*"))


def cached_models() -> list[str]:
    """Hub ids of the checkpoints that are in the hub's cache here."""
    folders = _hub_cache().glob(f"{_CACHED}*")
    found = [f.name.removeprefix(_CACHED).replace("--", "/") for f in folders if any(f.glob("snapshots/*/*"))]
    return sorted(found)


def unknown_model(path: str, also: Iterable[str] = ()) -> str | None:
    """A hint with the nearest names of a checkpoint that is not there; None without any.

    Args:
        path: what was asked for.
        also: other names that are known, of presets for example.
    """
    folders, also = nearest_paths(Path(path)), list(also)
    if is_path(path):
        return meant(folders)
    if path in also:
        return None  # the name is right
    return meant([*nearest(path, [*cached_models(), *also], hub=True), *folders][:3])


def not_fetched(path: str, revision: str | None, error: Exception) -> tuple[str, str]:
    """What is said of a hub id that could not be fetched, and what to do.

    Args:
        path: what was asked for.
        revision: the commit, tag or branch of it; None: the main branch.
        error: of the hub's client.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, HFValidationError):
        return f"{path} is neither a folder nor a hub id", unknown_model(path) or "check the path"
    if isinstance(error, GatedRepoError):
        return f"the hub gives {path} to those only who accepted its terms", (
            f"accept them at https://huggingface.co/{path}, then log in with `hf auth login`"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{path} has no revision {revision}", "give a commit, tag or branch of it"
    if isinstance(error, RepositoryNotFoundError):
        return f"the hub has no {path}, or it is private", unknown_model(path) or _PRIVATE
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"there is no room on the disk for {path}", (
            f"make room where {_hub_cache()} lies, or set HF_HOME to a folder on another disk; {_GOES_ON}"
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be kept: {_hub_cache()} cannot be written to", (
            "make it writable, or set HF_HOME to a folder that is"
        )
    if path in cached_models() and isinstance(error, FileNotFoundError):
        is_begun = revision is None or _has_some(path, revision)
        what = "all of it" if is_begun else f"revision {revision}"
        return f"{path} is in the hub's cache, but not {what}", f"fetch it with a connection; {_GOES_ON}"
    reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
    if path in cached_models():
        return f"fetching {path} from the hub failed: {reason}", f"check the connection; {_GOES_ON}"
    said = f"{path} is not a folder here, and fetching it from the hub failed: {reason}"
    return said, unknown_model(path) or f"check the name and the connection; {_GOES_ON}"


_GOES_ON = "an interrupted download goes on when started again"
_PRIVATE = "check the name; for a private repository log in with `hf auth login`"


def check_model(path: str, revision: str | None = None, also: Iterable[str] = ()) -> None:
    """Look whether a checkpoint can be there, without fetching it.

    Args:
        path: a folder or a hub id.
        revision: commit, tag or branch on the hub.
        also: names to offer beside folders and what is cached.

    Raises:
        ModelError: no such folder, no such repository, or none in the cache and no connection.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return
    if is_path(path) or folder.exists():
        what = (
            f"{path} is a file, not a model folder" if folder.exists() else f"there is no model folder {path}"
        )
        raise ModelError(what, hint=unknown_model(path) or "check the path")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        kept = try_to_load_from_cache(path, "config.json", revision=revision)
    except HFValidationError as error:
        raise ModelError(
            f"{path} is neither a folder nor a hub id", hint=unknown_model(path, also) or "check the path"
        ) from error
    if not isinstance(kept, str) and path not in cached_models():  # else another revision is meant
        check_repository(path, unknown_model(path, also))


def check_repository(name: str, hint: str | None) -> None:
    """Ask the hub whether it has a repository that is not in the cache.

    Args:
        name: hub id.
        hint: nearest names, for the error.

    Raises:
        ModelError: it has none, or cannot be reached.
    """
    from huggingface_hub import constants, repo_exists

    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"{name} is neither a folder here nor in the hub's cache, and HF_HUB_OFFLINE is set",
            hint=hint or "check the name, or fetch it where there is a connection",
        )
    try:
        is_there = repo_exists(name)
    except Exception as error:  # whatever the hub's client and its transport raise without a connection
        raise ModelError(
            f"{name} is not a folder here, and the hub cannot be asked for it: {type(error).__name__}",
            hint=hint or "check the name and the connection",
        ) from error
    if not is_there:
        raise ModelError(
            f"the hub has no {name}, or it is private",
            hint=hint or _PRIVATE,
        )
