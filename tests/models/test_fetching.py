"""From the hub comes what a reading needs, and its fingerprint stays when the rest comes later."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import ModelError
from engine.models.fetching import fetch_weights, n_bytes_to_fetch, resolve_folder
from engine.models.identity import Identity, fingerprint_of, identify, is_still
from engine.models.loading import load_model, load_to_read
from engine.models.outline import outline_of
from engine.models.shortened import files_needed
from engine.reading.reader import open_reader
from engine.reading.spec import ReaderSpec
from engine.settings import ReadingSettings
from tests.models import kinds
from tests.models.hub import COMMIT, Hub, serve

NAME = "acme/river"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Llama of four blocks in fifteen files."""
    folder = kinds.save(tmp_path / "there", lambda: kinds.make("Llama"), shard="16KB")
    with serve(folder, NAME, tmp_path / "cache", monkeypatch) as found:
        yield found


def all_files(hub: Hub) -> set[str]:
    return {file.name for file in hub.folder.glob("*.safetensors")}


def needed(folder: Path, layer: int) -> tuple[str, ...]:
    found = files_needed(folder, outline_of(folder), layer)
    assert found is not None
    return found


def test_only_files_with_what_is_read_are_fetched(hub: Hub) -> None:
    folder = resolve_folder(NAME, with_weights=False)
    assert folder.name == COMMIT
    assert hub.weights() == set()
    files = needed(folder, 0)
    size = sum((hub.folder / file).stat().st_size for file in files)
    assert n_bytes_to_fetch(NAME, None, folder, files) == size
    first = load_to_read(NAME, 0, device="cpu")
    assert first.whole_because is None
    assert hub.weights() == set(files) < all_files(hub)
    assert n_bytes_to_fetch(NAME, None, folder, files) == 0
    hub.fetched.clear()
    load_to_read(NAME, 1, device="cpu")  # one block more
    assert hub.weights() == set(needed(folder, 1)) - set(files)
    assert load_to_read(NAME, 0, device="cpu").fingerprint == first.fingerprint
    whole = load_model(NAME, device="cpu")
    assert hub.weights() | set(files) == all_files(hub)
    assert whole.fingerprint == fingerprint_of(hub.folder)


def test_readings_stay_valid_when_the_rest_of_a_checkpoint_comes_or_goes(hub: Hub) -> None:
    early, later = load_to_read(NAME, 0, device="cpu"), load_to_read(NAME, 2, device="cpu")
    known = {one.fingerprint: one.files for one in (early, later)}
    whole = resolve_folder(NAME)
    assert load_to_read(NAME, 0, device="cpu", known=known).fingerprint == early.fingerprint
    assert load_to_read(NAME, 2, device="cpu", known=known).fingerprint == later.fingerprint
    for one in (early, later):
        assert is_still(whole, one.fingerprint, one.files)  # what training asks
        assert not is_still(whole, one.fingerprint, {**one.files, "config.json": "other"})
    full = load_to_read(NAME, 0, device="cpu")
    assert full.fingerprint == fingerprint_of(hub.folder) != early.fingerprint
    gone = next(iter(all_files(hub) - set(needed(whole, 0))))
    (whole / gone).unlink()
    assert load_to_read(NAME, 0, device="cpu").fingerprint == early.fingerprint
    again = load_to_read(NAME, 0, device="cpu", known={full.fingerprint: full.files})
    assert (again.fingerprint, again.files) == (full.fingerprint, full.files)


def test_other_bytes_are_another_checkpoint_whatever_is_known(hub: Hub) -> None:
    folder = resolve_folder(NAME)
    files = needed(folder, 0)
    before = identify(folder, files, {})
    part = Identity(
        "part", {k: before.files[k] for k in (*files, "config.json", "model.safetensors.index.json")}
    )
    known = {before.fingerprint: before.files, part.fingerprint: part.files}
    assert identify(folder, files, known) == part
    assert identify(folder, None, known) == before
    later = folder / max(all_files(hub) - set(files))
    content = later.read_bytes()
    later.unlink()
    later.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert identify(folder, files, {before.fingerprint: before.files}).fingerprint == fingerprint_of(folder)
    assert identify(folder, files, known) == part  # what it covers is as it was
    first = folder / files[0]
    content = first.read_bytes()
    first.unlink()
    first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert identify(folder, files, known).fingerprint == fingerprint_of(folder)
    assert not is_still(folder, part.fingerprint, part.files)


@pytest.mark.parametrize("how", ["offline", "refused", "down"])
def test_without_a_connection_what_is_there_is_read_and_the_rest_is_said(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    before = load_to_read(NAME, 0, device="cpu")
    hub.is_down = True
    if how == "offline":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    elif how == "refused":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert load_to_read(NAME, 0, device="cpu").fingerprint == before.fingerprint
    for fetch in (partial(load_to_read, layer=2), load_model):
        with pytest.raises(ModelError, match="in the hub's cache, but not all of it") as failure:
            fetch(NAME, device="cpu")
        assert "fetch it with a connection" in str(failure.value.hint)
    folder = resolve_folder(NAME, with_weights=False)
    assert n_bytes_to_fetch(NAME, None, folder, needed(folder, 2)) is None


def test_a_download_that_breaks_off_is_said_and_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between its attempts
    hub.breaks_off_at = 1000
    with pytest.raises(ModelError, match="fetching acme/river from the hub failed") as failure:
        load_to_read(NAME, 0, device="cpu")
    assert "goes on when started again" in str(failure.value.hint)
    hub.breaks_off_at = None
    assert load_to_read(NAME, 0, device="cpu").whole_because is None


def test_a_kind_that_cannot_be_shortened_is_fetched_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = kinds.save(tmp_path / "there", lambda: kinds.make("Zamba2"), shard="30KB")
    with serve(there, NAME, tmp_path / "cache", monkeypatch) as hub:
        loaded = load_to_read(NAME, 0, device="cpu")
        assert loaded.whole_because is not None
        assert hub.weights() == all_files(hub)
        assert loaded.fingerprint == fingerprint_of(there)


def test_an_sae_of_another_width_is_said_before_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    save_file({"directions": torch.eye(48)}, tmp_path / "directions.safetensors")
    spec = ReaderSpec(NAME, 1, str(tmp_path / "directions.safetensors"))
    with pytest.raises(ModelError, match="expects a residual stream of width 48, acme/river has 32"):
        open_reader(spec, ReadingSettings(device="cpu"))
    with pytest.raises(ModelError, match="there is no layer 9"):
        load_to_read(NAME, 9, device="cpu")
    assert hub.weights() == set()


def test_of_a_folder_nothing_is_fetched(tmp_path: Path) -> None:
    folder = kinds.save(tmp_path / "snapshots" / "model", lambda: kinds.make("Llama"))
    fetch_weights(str(folder), None, folder, None)
    assert n_bytes_to_fetch(str(folder), None, folder, None) == 0
