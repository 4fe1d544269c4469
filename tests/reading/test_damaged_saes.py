"""SAE folders that are not whole, or of something else: refused with what, where and the next step."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import ModelError
from engine.reading.reader import open_reader
from engine.reading.sae import load_sae
from engine.reading.spec import ReaderSpec
from tests.models.tiny import D_MODEL
from tests.reading.readers import N_LATENTS, SETTINGS, make_sae, save_sae

WEIGHTS = "sae_weights.safetensors"
NAN, INF = float("nan"), float("inf")
V6 = {"sae_lens_version": "6.0.0"}
Harm = Callable[[Path], None]


def config(**changes: Any) -> Harm:
    """Change or (with ``...``) remove keys of cfg.json."""

    def harm(folder: Path) -> None:
        held = json.loads((folder / "cfg.json").read_text()) | changes
        (folder / "cfg.json").write_text(json.dumps({k: v for k, v in held.items() if v is not ...}))

    return harm


def text(name: str, content: bytes) -> Harm:
    def harm(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return harm


def gone(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def weights(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Harm:
    def harm(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        tensors[name] = change(tensors[name].clone()).contiguous()
        (folder / WEIGHTS).unlink()
        save_file(tensors, folder / WEIGHTS)

    return harm


def spoilt(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor.view(-1)[3] = value
        return tensor

    return change


def both(*harms: Harm) -> Harm:
    def harm(folder: Path) -> None:
        for one in harms:
            one(folder)

    return harm


CASES: list[tuple[str, Harm, str, str]] = [
    ("jumprelu", gone("cfg.json"), r"has no cfg\.json", "save_model"),
    ("jumprelu", gone(WEIGHTS), "has no sae_weights", "fetch or train"),
    ("jumprelu", text("cfg.json", b'{"d_in": 32,'), r"cfg\.json is not JSON: .* line 1", "fetch or train"),
    ("jumprelu", text("cfg.json", b"[1, 2]"), r"cfg\.json holds no JSON object", "fetch or train"),
    ("jumprelu", text("cfg.json", b"\xff\xfe"), r"cfg\.json is not JSON", "fetch or train"),
    ("jumprelu", config(d_in=...), r"cfg\.json: d_in is missing", "fetch or train"),
    ("jumprelu", config(d_in="32"), "d_in is '32', not a whole number", "fetch or train"),
    ("jumprelu", config(metadata="x"), "metadata is no object", "fetch or train"),
    ("jumprelu", config(architecture="hyperrelu"), "'hyperrelu' is not known", "another sae-lens"),
    ("jumprelu", config(d_in=48), r"W_enc has shape \[32, 96\], and \[48, 96\]", "fetch or train"),
    ("jumprelu", config(d_sae=100), r"W_enc has shape \[32, 96\], and \[32, 100\]", "fetch or train"),
    ("jumprelu", weights("W_enc", lambda t: t.T), r"W_enc has shape \[96, 32\]", "store W_enc.T"),
    ("jumprelu", weights("W_dec", lambda t: t.T), r"W_dec has shape \[32, 96\]", "store W_dec.T"),
    ("jumprelu", weights("b_dec", lambda t: t[:31]), r"b_dec has shape \[31\]", "fetch or train"),
    ("jumprelu", weights("W_enc", lambda t: t.to(torch.int8)), "W_enc holds I8 values", "unquantised"),
    ("jumprelu", cut, r"sae_weights\.safetensors is damaged or cut short", "fetch or train"),
    ("jumprelu", text(WEIGHTS, b""), r"sae_weights\.safetensors is damaged or cut", "fetch or train"),
    ("jumprelu", text(WEIGHTS, b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS", "git lfs pull"),
    ("jumprelu", weights("W_enc", spoilt(NAN)), "1 of 3,072 values of W_enc are no finite", "fetch or train"),
    ("jumprelu", weights("W_dec", spoilt(INF)), "1 of 3,072 values of W_dec are no finite", "fetch or train"),
    ("topk", weights("W_dec", spoilt(NAN)), "1 of 3,072 values of W_dec are no finite", "fetch or train"),
    ("jumprelu", weights("b_dec", spoilt(NAN)), "1 of 32 values of b_dec are no finite", "fetch or train"),
    ("jumprelu", weights("threshold", spoilt(NAN)), "1 of 96 values of threshold", "fetch or train"),
    ("jumprelu", weights("W_enc", torch.zeros_like), "W_enc holds nothing but zeros", "fetch or train"),
    ("topk", config(k=...), r"cfg\.json: k is missing", "correct it"),
    ("topk", config(k=0), "k is 0; a TopK SAE needs a whole number from 1 to 96", "correct it"),
    ("topk", config(k="8"), "k is '8'", "correct it"),
    (
        "jumprelu",
        both(
            config(normalize_activations="expected_average_only_in"),
            text("activation_scaler.json", b'{"scaling_factor": "big"}'),
        ),
        "scaling_factor is 'big', not a number above 0",
        "norm_scaling_factor",
    ),
    (
        "jumprelu",
        config(metadata=V6 | {"hook_name": "hook_embed"}),
        "reads hook_embed, which is not",
        "resid_post",
    ),
    ("jumprelu", config(metadata=V6 | {"hook_name": 5}), "reads 5, which is not the residual", "resid_post"),
    (
        "jumprelu",
        config(metadata=V6 | {"hook_name": "blocks.1.hook_resid_mid"}),
        "reads blocks.1",
        "resid_post",
    ),
]


@pytest.mark.parametrize(("kind", "harm", "message", "hint"), CASES, ids=[c[2][:40] for c in CASES])
def test_a_damaged_folder_is_refused_for_what_it_is(
    tmp_path: Path, kind: str, harm: Harm, message: str, hint: str
) -> None:
    folder = save_sae(tmp_path / "sae", kind)
    harm(folder)
    with pytest.raises(ModelError, match=message) as failure:
        load_sae(str(folder))
    assert str(folder) in failure.value.message
    assert hint in str(failure.value.hint)


def test_latents_that_never_fire_by_an_infinite_threshold_are_allowed(tmp_path: Path) -> None:
    folder = save_sae(tmp_path / "sae", "jumprelu")
    weights("threshold", spoilt(INF))(folder)
    assert load_sae(str(folder)).n_latents == N_LATENTS


def scope(folder: Path, **changes: Any) -> Path:
    """A folder with Gemma Scope's file, some arrays changed or (with ``...``) left out."""
    sae = make_sae("jumprelu", apply_b_dec_to_input=False)
    names = ("W_enc", "b_enc", "threshold", "W_dec", "b_dec")
    arrays = {n: getattr(sae, n).detach().numpy() for n in names} | changes
    folder.mkdir()
    np.savez(folder / "params.npz", **{k: v for k, v in arrays.items() if v is not ...})
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W_enc": np.array([object()], dtype=object)}, "it is a pickle, which can run code"),
        ({"b_dec": ...}, "it lacks b_dec"),
        ({"W_enc": np.zeros((N_LATENTS, D_MODEL), np.float32)}, r"W_enc has shape \[96, 32\]"),
        ({"W_dec": np.zeros((D_MODEL, N_LATENTS), np.float32)}, r"W_dec has shape \[32, 96\]"),
        ({"W_dec": np.full((N_LATENTS, D_MODEL), NAN, np.float32)}, "values of W_dec are no finite"),
        ({"threshold": np.zeros(95, np.float32)}, r"threshold has shape \[95\]"),
        ({"threshold": np.float32(0.3)}, r"threshold has shape \[\]"),
    ],
)
def test_a_damaged_gemma_scope_file_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_sae(str(scope(tmp_path / "scope", **changes)))


def test_files_that_are_cut_short_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    folder = scope(tmp_path / "scope")
    whole = (folder / "params.npz").read_bytes()
    for data in (whole[:4000], b"", b"hello" * 30, pickle.dumps({"W_enc": 1})):
        (folder / "params.npz").write_bytes(data)
        with pytest.raises(ModelError, match=r"params\.npz is not a Gemma Scope SAE"):
            load_sae(str(folder))
    with pytest.raises(ModelError, match="is no SAE") as failure:
        load_sae(str(folder / "params.npz"))
    assert failure.value.hint == f"give the folder it lies in: {folder}"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "ae.pt").write_bytes(b"x")
    for path in (tmp_path / "other", tmp_path / "other" / "ae.pt"):
        with pytest.raises(ModelError, match=r"pickle.*which can run code and is never loaded"):
            load_sae(str(path))


def test_a_folder_of_saes_names_them(tmp_path: Path) -> None:
    inner = save_sae(tmp_path / "saes" / "layer_1", "standard")
    with pytest.raises(ModelError, match="is no SAE, but holds 1") as failure:
        load_sae(str(tmp_path / "saes"))
    assert failure.value.hint == f"give one of them: {inner}"


def test_directions_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "d.safetensors"
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        ({"directions": torch.zeros(0, 4)}, "no matrix of directions"),
        ({"directions": torch.ones(3, 4), "bias": torch.zeros(2)}, "3 directions and 2 biases"),
        ({"directions": torch.eye(3, 4) * torch.tensor([[1.0], [0.0], [1.0]])}, "1 of 3 directions are zero"),
        ({"directions": torch.full((3, 4), NAN)}, "no finite numbers"),
    ]
    for tensors, message in cases:
        save_file(tensors, file)
        with pytest.raises(ModelError, match=message):
            load_sae(str(file))
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ModelError, match="damaged or cut short"):
        load_sae(str(file))


def test_a_transposed_matrix_is_told_from_another_models(folders: Path, tmp_path: Path) -> None:
    for shape, hint in (((3, 31), "trained on another model"), ((D_MODEL, 3), "transposed")):
        save_file({"directions": torch.ones(shape)}, tmp_path / "d.safetensors")
        with pytest.raises(ModelError, match="expects a residual stream of width") as failure:
            open_reader(ReaderSpec(str(folders / "llama"), 1, str(tmp_path / "d.safetensors")), SETTINGS)
        assert hint in str(failure.value.hint)


def test_a_checkpoint_is_no_sae(folders: Path) -> None:
    with pytest.raises(ModelError, match="is a checkpoint, not an SAE"):
        load_sae(str(folders / "llama"))
