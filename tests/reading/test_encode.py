"""The fast encode path against sae-lens and dense pooling."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import ModelError
from engine.reading.encode import Encoder, Pooled, _pool_over, _pool_top
from engine.reading.sae import Normalisation, Sae, load_sae
from tests.models.tiny import D_MODEL
from tests.reading.readers import N_LATENTS, SAE_KINDS, make_sae, save_sae

CPU = torch.device("cpu")
BOUNDS = [0, 5, 5, 17, 18, 40]  # the second span is empty
NORMALISATIONS = ("none", "layer_norm", "constant_norm_rescale")


def stream(n: int = 40) -> torch.Tensor:
    """Residual vectors with a mean far from zero, as real ones have."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, D_MODEL, generator=generator) + 0.5


def dense_pool(acts: torch.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """The plain way: every latent of every token."""
    a = acts.detach().double().numpy()
    fires = (a > 0).any(axis=0)
    return {
        "latent": np.flatnonzero(fires),
        "act_max": a.max(axis=0)[fires],
        "n_fired": (a > 0).sum(axis=0)[fires],
        "act_sum": a.sum(axis=0)[fires],
        "peak": a.argmax(axis=0)[fires],
        "act_last": a[-1, fires],
    }


def assert_equal(pooled: Pooled, acts: torch.Tensor) -> None:
    if len(acts) == 0:
        assert len(pooled.latent) == 0
        return
    expected = dense_pool(acts)
    for name in ("latent", "n_fired", "peak"):
        np.testing.assert_array_equal(getattr(pooled, name), expected[name], err_msg=name)
    for name in ("act_max", "act_sum", "act_last"):
        np.testing.assert_allclose(getattr(pooled, name), expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("applies_b_dec", [True, False])
@pytest.mark.parametrize("kind", SAE_KINDS)
def test_readings_equal_sae_lens_encode_and_dense_pooling(
    tmp_path: Path, kind: str, applies_b_dec: bool, normalisation: str
) -> None:
    config: dict[str, Any] = {"apply_b_dec_to_input": applies_b_dec, "normalize_activations": normalisation}
    folder = save_sae(tmp_path / "sae", kind, **config)
    sae = load_sae(str(folder))
    assert sae.fallback is None
    x, encoder = stream(), Encoder(sae, CPU)
    with torch.no_grad():
        acts = make_sae(kind, **config).encode(x)
    torch.testing.assert_close(encoder.dense(x), acts, atol=2e-5, rtol=1e-4)
    pooled = encoder.pool(x, BOUNDS)
    assert len(pooled) == len(BOUNDS) - 1
    for reading, start, end in zip(pooled, BOUNDS, BOUNDS[1:], strict=False):
        assert_equal(reading, acts[start:end])


def assert_same(one: Pooled, other: Pooled) -> None:
    for name in ("latent", "n_fired", "peak"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in ("act_max", "act_sum", "act_last"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", SAE_KINDS)
def test_the_compiled_pooling_equals_the_one_for_other_devices(tmp_path: Path, kind: str) -> None:
    encoder = Encoder(load_sae(str(save_sae(tmp_path / "sae", kind))), CPU)
    h, threshold = encoder.pre_activations(stream()), encoder.sae.threshold
    if threshold is not None:
        general = _pool_over(h, threshold, BOUNDS)
    else:
        general = _pool_top(encoder._top(h), BOUNDS, N_LATENTS)
    for compiled, other in zip(encoder.pool(stream(), BOUNDS), general, strict=True):
        assert_same(compiled, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("k", "block"), [(1, 64), (5, 2048), (64, 320), (299, 2048), (400, 128)])
def test_the_k_largest_of_many_latents_are_found_block_by_block(
    monkeypatch: pytest.MonkeyPatch, k: int, block: int, dtype: torch.dtype
) -> None:
    """Every value above the k-th fires; of equals at the k-th place, which torch leaves open, the lowest do.

    Rounded products have many equals. Some tokens have fewer than k values above zero.
    """
    monkeypatch.setattr("engine.reading.encode.BLOCK_LATENTS", block)
    monkeypatch.setattr("engine.reading.encode_cpu._WORTH_A_THREAD", 1)
    generator = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(16, 300, generator=generator), torch.randn(300, generator=generator)
    weight[:, 200:250] = weight[:, 100:150]  # equals in every token
    bias[200:250] = bias[100:150]
    sae = Sae("s", "topk", weight, bias, None, k, Normalisation.NONE, None, None, "")
    encoder = Encoder(sae, CPU, dtype)
    x = torch.randn(50, 16, generator=generator)
    h = encoder.pre_activations(x)
    kept = min(k, 300)
    order = np.argsort(-h.numpy(), axis=1, kind="stable")[:, :kept]
    expected = np.zeros((50, 300), np.float32)
    np.put_along_axis(expected, order, np.take_along_axis(h.numpy(), order, 1).clip(min=0), 1)
    theirs = torch.zeros_like(h).scatter_(1, *reversed(torch.topk(h, kept))).relu()
    np.testing.assert_array_equal(np.sort(expected, axis=1), theirs.sort(dim=1).values.numpy())
    np.testing.assert_array_equal(encoder.dense(x).numpy(), expected)
    for reading, start, end in zip(encoder.pool(x, [0, 20, 20, 50]), (0, 20, 20), (20, 20, 50), strict=True):
        assert_equal(reading, torch.from_numpy(expected[start:end]))


def test_spans_are_the_same_however_tokens_and_latents_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder(load_sae(str(save_sae(tmp_path / "sae", "jumprelu"))), CPU)
    whole = encoder.pool(stream(), BOUNDS)
    monkeypatch.setattr("engine.reading.encode.MAX_CHUNK_BYTES", 4 * N_LATENTS * 6)
    monkeypatch.setattr("engine.reading.encode.BLOCK_LATENTS", 64)
    encoder = Encoder(encoder.sae, CPU)
    for a, b in zip(whole, encoder.pool(stream(), BOUNDS), strict=True):
        np.testing.assert_array_equal(a.latent, b.latent)
        np.testing.assert_allclose(a.act_sum, b.act_sum, rtol=1e-5)


def test_a_batch_topk_sae_reads_with_its_fixed_threshold(tmp_path: Path) -> None:
    """sae-lens saves BatchTopK as JumpReLU with the threshold learnt in training."""
    import sae_lens

    config = sae_lens.BatchTopKTrainingSAEConfig(d_in=D_MODEL, d_sae=N_LATENTS, k=6, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = sae_lens.BatchTopKTrainingSAE(config)
        training.topk_threshold.fill_(0.8)
        training.save_inference_model(tmp_path / "sae")
    sae = load_sae(str(tmp_path / "sae"))
    assert sae.architecture == "jumprelu"
    with torch.no_grad():
        acts = sae_lens.SAE.load_from_disk(tmp_path / "sae").encode(stream())
    for reading, start, end in zip(
        Encoder(sae, CPU).pool(stream(), BOUNDS), BOUNDS, BOUNDS[1:], strict=False
    ):
        assert_equal(reading, acts[start:end])


def test_an_unknown_architecture_keeps_sae_lens_own_encode(tmp_path: Path) -> None:
    folder = save_sae(tmp_path / "sae", "matching_pursuit")
    sae = load_sae(str(folder))
    assert sae.fallback is not None
    encoder = Encoder(sae, CPU)
    with torch.no_grad():
        acts = sae.fallback.encode(stream())
        readings = encoder.pool(stream(), BOUNDS)
    for reading, start, end in zip(readings, BOUNDS, BOUNDS[1:], strict=False):
        assert_equal(reading, acts[start:end])


def test_an_input_scale_is_folded_or_asked_for(tmp_path: Path) -> None:
    folder = save_sae(tmp_path / "sae", "standard", normalize_activations="expected_average_only_in")
    with pytest.raises(ModelError, match="by which factor"):
        load_sae(str(folder))
    plain = load_sae(str(save_sae(tmp_path / "plain", "standard", apply_b_dec_to_input=False)))
    scaled = save_sae(
        tmp_path / "scaled",
        "standard",
        normalize_activations="expected_average_only_in",
        apply_b_dec_to_input=False,
    )
    folded = load_sae(str(scaled), norm_scaling_factor=2.0)
    # x scaled by 2 before the encoder: the same as twice the weights.
    torch.testing.assert_close(
        Encoder(folded, CPU).pre_activations(stream()), Encoder(plain, CPU).pre_activations(2 * stream())
    )
    (scaled / "activation_scaler.json").write_text('{"scaling_factor": 2.0}')
    assert load_sae(str(scaled)).fingerprint == folded.fingerprint


def test_directions_read_as_rectified_projections(tmp_path: Path) -> None:
    directions = torch.randn(3, D_MODEL, generator=torch.Generator().manual_seed(1))
    save_file({"directions": directions, "bias": torch.tensor([0.0, -1.0, 0.5])}, tmp_path / "d.safetensors")
    encoder = Encoder(load_sae(str(tmp_path / "d.safetensors")), CPU)
    expected = (stream() @ directions.T + torch.tensor([0.0, -1.0, 0.5])).relu()
    torch.testing.assert_close(encoder.dense(stream()), expected)
    assert_equal(encoder.pool(stream(), [0, 40])[0], expected)


def test_gemma_scope_files_are_read_without_pickles(tmp_path: Path) -> None:
    sae = make_sae("jumprelu", apply_b_dec_to_input=False)
    folder = tmp_path / "average_l0_50"
    folder.mkdir()
    names = ("W_enc", "b_enc", "threshold", "W_dec", "b_dec")
    np.savez(folder / "params.npz", **{n: getattr(sae, n).detach().numpy() for n in names})
    with torch.no_grad():
        torch.testing.assert_close(Encoder(load_sae(str(folder)), CPU).dense(stream()), sae.encode(stream()))
    np.savez(folder / "params.npz", W_enc=np.array([object()], dtype=object))
    with pytest.raises(ModelError, match="not a Gemma Scope SAE"):
        load_sae(str(folder))


def test_bfloat16_products_stay_close_and_use_float32_thresholds(tmp_path: Path) -> None:
    sae = load_sae(str(save_sae(tmp_path / "sae", "jumprelu")))
    exact, rough = Encoder(sae, CPU).dense(stream()), Encoder(sae, CPU, torch.bfloat16).dense(stream())
    on = (exact > 0) & (rough > 0)
    agreement = on.sum() / ((exact > 0) | (rough > 0)).sum()
    assert agreement > 0.97
    assert float(((rough - exact).abs()[on] / exact[on]).median()) < 0.01


@pytest.mark.parametrize(
    ("hook", "layer"),
    [
        ("blocks.5.hook_resid_post", 5),
        ("blocks.5.hook_resid_pre", 4),
        ("model.layers.7", 7),
        ("transformer.h.3", 3),
        ("", None),
    ],
)
def test_the_layer_is_read_off_the_hook(tmp_path: Path, hook: str, layer: int | None) -> None:
    folder = save_sae(tmp_path / "sae", "standard", metadata={"hook_name": hook})
    assert load_sae(str(folder)).hook_layer == layer


def test_saes_that_read_something_else_are_refused(tmp_path: Path) -> None:
    folder = save_sae(tmp_path / "sae", "standard", metadata={"hook_name": "blocks.5.hook_mlp_out"})
    with pytest.raises(ModelError, match="not the residual stream"):
        load_sae(str(folder))
    with pytest.raises(ModelError, match="no SAE folder"):
        load_sae(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no cfg\.json"):
        load_sae(str(tmp_path / "empty"))


def test_the_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    first = load_sae(str(save_sae(tmp_path / "a", "standard"))).fingerprint
    assert load_sae(str(save_sae(tmp_path / "b", "standard"))).fingerprint == first
    assert load_sae(str(save_sae(tmp_path / "c", "jumprelu"))).fingerprint != first


@pytest.mark.parametrize("kind", SAE_KINDS)
def test_pooling_a_rounded_product_equals_pooling_its_dense_activations(tmp_path: Path, kind: str) -> None:
    """Latents are chosen before they are widened; nothing else changes."""
    encoder = Encoder(load_sae(str(save_sae(tmp_path / "sae", kind))), CPU, torch.bfloat16)
    dense = encoder.dense(stream())
    for reading, start, end in zip(encoder.pool(stream(), BOUNDS), BOUNDS, BOUNDS[1:], strict=False):
        assert_equal(reading, dense[start:end])
