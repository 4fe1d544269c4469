"""A misspelt reader is said at once with the nearest names, offline and before any pair is touched."""

import errno
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engine.api import Project, source_specs
from engine.errors import ModelError
from engine.models.fetching import resolve_folder
from engine.models.names import cached_models, check_model, nearest, nearest_paths
from engine.progress import NullProgress
from engine.reading.names import check_names, check_sae_name
from engine.reading.spec import ReaderSpec, load_reader_spec

SCOPE = "gemma-scope-2b-pt-res-canonical"


class Silent(NullProgress):
    """Fails where a stage begins."""

    def start(self, stage: str, total: int | None, unit: str) -> None:  # noqa: ARG002 - the protocol's
        raise AssertionError(f"{stage} began")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache with two checkpoints, one of which was never fetched to the end."""
    root = tmp_path / "hub"
    snapshot = root / "models--acme--River-7B-Instruct" / "snapshots" / "0"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0")
    (root / "models--acme--Garden" / "snapshots").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return root


def test_the_nearest_cached_checkpoints_are_offered(cache: Path) -> None:
    assert cached_models() == ["acme/River-7B-Instruct"]
    for wrong in ("acme/River-7b-instruct", "acme/Rivr-7B-Instruct", "acne/River-7B-Instruct"):
        with pytest.raises(ModelError, match="neither a folder here nor in the hub's cache") as failure:
            check_model(wrong)
        assert failure.value.hint == "did you mean acme/River-7B-Instruct?"
    for known in ((), ("other/thing", "other/think")):  # a name that is right is not another's misspelling
        with pytest.raises(ModelError) as failure:
            check_model("other/thing", also=known)
    assert failure.value.hint == "check the name, or fetch it where there is a connection"


def test_what_the_hub_refuses_is_said_for_what_it_is(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusal(kind: type[HfHubHTTPError]) -> HfHubHTTPError:
        return kind("no", response=Mock(headers={}))

    cases: list[tuple[Exception, str, str]] = [
        (
            refusal(GatedRepoError),
            "those only who accepted its terms",
            "huggingface.co/acme/Tundra, then log in",
        ),
        (refusal(RepositoryNotFoundError), "the hub has no acme/Tundra, or it is private", "hf auth login"),
        (refusal(RevisionNotFoundError), "acme/Tundra has no revision v9", "commit, tag or branch"),
        (OSError("something went wrong"), "fetching it from the hub failed: something went", "connection"),
        (PermissionError(errno.EACCES, "Permission denied"), "acme/Tundra cannot be kept: .*hub", "HF_HOME"),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written to", "HF_HOME"),
        (OSError(errno.ENOSPC, "No space left"), "no room on the disk for acme/Tundra", "set HF_HOME"),
    ]
    for error, message, hint in cases:
        monkeypatch.setattr("huggingface_hub.snapshot_download", Mock(side_effect=error))
        with pytest.raises(ModelError, match=message) as failure:
            resolve_folder("acme/Tundra", "v9")
        assert hint in str(failure.value.hint)
    monkeypatch.setattr("huggingface_hub.snapshot_download", Mock(side_effect=FileNotFoundError))
    with pytest.raises(ModelError, match="in the hub's cache, but not revision v9"):
        resolve_folder("acme/River-7B-Instruct", "v9")
    check_model("acme/River-7B-Instruct", "v9")  # it may be there when it is fetched


def test_the_nearest_folders_are_offered(tmp_path: Path) -> None:
    (tmp_path / "runs" / "river" / "model").mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    right = str(tmp_path / "runs" / "river" / "model")
    for wrong in ("runs/river/modle", "runs/rivr/model", "rums/river/model"):
        with pytest.raises(ModelError, match="there is no model folder") as failure:
            check_model(str(tmp_path / wrong))
        assert failure.value.hint == f"did you mean {right}?"
    assert nearest_paths(tmp_path / "xyzxyz") == []


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (f"{SCOPE[:-1]}:layer_12/width_16k/canonical", "there is no SAE release", SCOPE),
        (
            f"{SCOPE}:layer_12/width_16/canonical",
            f"{SCOPE} has no SAE layer_12/width_16/canonical",
            f"did you mean {SCOPE}:layer_12/width_16k/canonical",
        ),
        (SCOPE, f"{SCOPE} is a release of", "layer_0/width_16k/canonical"),
        ("gema-scope-2b-pt-res-canonical", "there is no SAE folder or release", SCOPE),
        ("nobody/nothing:x", "neither a folder here nor in the hub's cache", "check the name"),
    ],
)
def test_releases_and_ids_come_from_sae_lens_directory(
    cache: Path, name: str, message: str, hint: str
) -> None:
    with pytest.raises(ModelError, match=message) as failure:
        check_sae_name(name)
    assert hint in str(failure.value.hint)


def test_a_name_that_is_there_passes(cache: Path, tmp_path: Path) -> None:
    check_model("acme/River-7B-Instruct")
    check_names(ReaderSpec(str(tmp_path), 3, f"{SCOPE}:layer_12/width_16k/canonical"))


def test_a_misspelt_preset_or_reader_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no preset and no folder gemma-2-2") as failure:
        load_reader_spec("gemma-2-2")
    assert "gemma-2-2b" in str(failure.value.hint)
    (tmp_path / "reader" / "sae").mkdir(parents=True)
    (tmp_path / "reader" / "reader.toml").write_text('model = "m"\nlayer = 2\nsae = "sea"\n')
    with pytest.raises(ModelError, match="there is no folder") as failure:
        load_reader_spec(str(tmp_path / "raeder"))
    assert failure.value.hint == f"did you mean {tmp_path / 'reader'}?"
    with pytest.raises(ModelError, match="there is no sae sea beside it") as failure:
        load_reader_spec(str(tmp_path / "reader"))
    assert failure.value.hint == "did you mean sae?"


def test_an_audit_ends_before_it_begins(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    sources = source_specs([str(tmp_path / "pairs.jsonl")])
    for model, sae in (("acme/Rivr-7B-Instruct", str(tmp_path)), (str(tmp_path), f"{SCOPE}s:x")):
        with Project(tmp_path / "audit") as project, pytest.raises(ModelError):
            project.audit(sources, model, layer=1, sae=sae, progress=Silent())
    assert not (tmp_path / "audit").exists()


def test_case_owners_and_distance_are_weighed() -> None:
    known = ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", "google/gemma-2-2b"]
    assert nearest("llama-3.1-8b", known, hub=True)[0] == "meta-llama/Llama-3.1-8B"
    assert nearest("gemma-2-2b-it", known, hub=True) == ["google/gemma-2-2b"]
    assert nearest("google/gemma-2-2b", known, hub=True) == []  # itself is no help
