"""SAEs and directions, brought into the one form that the fast encoders compute with.

Every encoder here is ``h = normalise(x) @ weight + bias``, then either a threshold per latent (ReLU,
JumpReLU, gated, BatchTopK at inference, directions) or the k largest per token (TopK). Decoder bias, decoder
norms and gates are folded into weight, bias and threshold; kinds that cannot be folded keep sae-lens' own
``encode``.
"""

import re
import warnings
import zipfile
import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from engine.errors import ModelError
from engine.manifest import hash_bytes, hash_json
from engine.reading.names import check_sae_name
from engine.reading.sae_files import (
    AGAIN,
    check_folder,
    check_shapes,
    opened,
    reason,
    refuse_file,
    require_finite,
    stored_factor,
)

_LOADING = (
    OSError, ValueError, KeyError, IndexError, RuntimeError, TypeError, AttributeError, SafetensorError,
)  # fmt: skip
"""What sae-lens and its loaders raise for files that are not what they expect."""


class Normalisation(StrEnum):
    """What happens to a residual vector before the encoder sees it."""

    NONE = "none"
    LAYER_NORM = "layer_norm"
    """Minus its mean, by its standard deviation (sae-lens: n − 1, plus 1e-5)."""
    CONSTANT_NORM = "constant_norm_rescale"
    """Scaled to norm √width."""


@dataclass(frozen=True, slots=True)
class Sae:
    """An SAE or a matrix of directions, folded; L latents, width D, all tensors float32 on the CPU."""

    name: str
    """As asked for."""
    architecture: str
    """As sae-lens calls it, or ``directions``."""
    weight: torch.Tensor  # (D, L)
    bias: torch.Tensor  # (L,)
    threshold: torch.Tensor | None
    """(L,), ≥ 0: a latent fires where h exceeds it and its activation is h itself; None for TopK."""
    k: int | None
    """Latents that may fire per token; None for thresholds."""
    normalisation: Normalisation
    decoder: torch.Tensor | None
    """(L, D) such that ``activations @ decoder + decoder_bias`` reconstructs ``normalise(x)``; None for
    directions."""
    decoder_bias: torch.Tensor | None  # (D,)
    fingerprint: str
    fallback: Any = None
    """The sae-lens SAE itself where its encoder cannot be folded; weight and bias are then empty."""
    hook_layer: int | None = None
    """Block whose output the SAE was trained on, if it says."""
    expected_l0: float | None = None
    model_name: str | None = None
    """Model that the SAE was trained on, if it says."""

    @property
    def width(self) -> int:
        """D"""
        return self.weight.shape[0]

    @property
    def n_latents(self) -> int:
        """L"""
        return self.weight.shape[1]


def load_sae(name: str, *, norm_scaling_factor: float | None = None) -> Sae:
    """Load an SAE or directions.

    Args:
        name: a folder in sae-lens format, a folder with Gemma Scope's ``params.npz``, a ``.safetensors`` file
            with a matrix of directions, or ``release:id`` of sae-lens' directory.
        norm_scaling_factor: input scale for folders with ``expected_average_only_in`` that do not carry it.

    Raises:
        ModelError: nothing there, damaged, or not an SAE of the residual stream.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".safetensors":
        return _directions(path)
    if (path / "params.npz").is_file():
        return _gemma_scope(path)
    if path.is_dir():
        return _from_sae_lens(name, _load_folder(path, norm_scaling_factor))
    if path.is_file():
        refuse_file(path)
    check_sae_name(name)
    release, _, sae_id = name.partition(":")
    return _from_sae_lens(name, *_load_release(release, sae_id))


def _directions(path: Path) -> Sae:
    with opened(path) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    matrix = tensors.get("directions", next(iter(tensors.values())) if len(tensors) == 1 else None)
    if matrix is None or matrix.ndim not in (1, 2) or not matrix.numel():
        raise ModelError(
            f"{path} holds no matrix of directions",
            hint="store a tensor `directions` of shape (directions, width), and `bias` if wanted",
        )
    weight = matrix.reshape(-1, matrix.shape[-1]).float().T.contiguous()
    bias = tensors.get("bias", torch.zeros(weight.shape[1])).float().reshape(-1)
    if len(bias) != weight.shape[1]:
        raise ModelError(
            f"{path} holds {weight.shape[1]} directions and {len(bias)} biases",
            hint="store one bias per direction, or none",
        )
    silent = int((weight == 0).all(dim=0).sum())
    if silent:
        raise ModelError(f"{path}: {silent} of {weight.shape[1]} directions are zero", hint="leave them out")
    threshold = torch.zeros(len(bias))
    kind = Normalisation.NONE
    return _finish(Sae(str(path), "directions", weight, bias, threshold, None, kind, None, None, ""))


def _gemma_scope(path: Path) -> Sae:
    file = path / "params.npz"
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            raw = {key: torch.from_numpy(np.array(held[key], dtype=np.float32)) for key in held.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        is_pickle = "pickle" in str(error)
        raise ModelError(
            f"{file} is not a Gemma Scope SAE: "
            + ("it is a pickle, which can run code and is never loaded" if is_pickle else reason(error)),
            hint="it must hold W_enc, b_enc, threshold, W_dec, b_dec without pickles"
            if is_pickle
            else "fetch it again",
        ) from error
    missing = [name for name in ("W_enc", "b_enc", "threshold", "W_dec", "b_dec") if name not in raw]
    if missing or raw["b_enc"].ndim != 1 or raw["b_dec"].ndim != 1:
        said = f"it lacks {', '.join(missing)}" if missing else "its biases are no vectors"
        raise ModelError(f"{file} is not a Gemma Scope SAE: {said}", hint="fetch it again")
    check_shapes(str(file), {k: tuple(t.shape) for k, t in raw.items()}, len(raw["b_dec"]), len(raw["b_enc"]))
    threshold, kind = raw["threshold"].clamp(min=0), Normalisation.NONE
    weight, bias, decoder, decoder_bias = raw["W_enc"], raw["b_enc"], raw["W_dec"], raw["b_dec"]
    return _finish(Sae(str(path), "jumprelu", weight, bias, threshold, None, kind, decoder, decoder_bias, ""))


def _load_folder(path: Path, factor: float | None) -> Any:
    check_folder(path)
    sae_lens = import_sae_lens()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sae = sae_lens.SAE.load_from_disk(path, device="cpu", dtype="float32")
        except _LOADING as error:
            raise ModelError(
                f"the SAE in {path} cannot be loaded: {reason(error)}",
                hint=f"it may be of another sae-lens than {sae_lens.__version__}; else {AGAIN}",
            ) from error
    if sae.cfg.normalize_activations == "expected_average_only_in":
        known = stored_factor(path), sae.cfg.metadata.get("norm_scaling_factor")
        found = next((value for value in (factor, *known) if value is not None), None)
        if found is None:
            raise ModelError(
                f"the SAE in {path} expects inputs scaled to a mean norm of √{sae.cfg.d_in}, and the folder"
                " does not say by which factor",
                hint="set norm_scaling_factor in reader.toml: √width / mean norm on the SAE's training data",
            )
        sae.fold_activation_norm_scaling_factor(float(found))
    return sae


def _load_release(release: str, sae_id: str) -> tuple[Any, float | None]:
    sae_lens = import_sae_lens()
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sae = sae_lens.SAE.from_pretrained(release, sae_id, device="cpu", dtype="float32")
        except _LOADING as error:
            raise ModelError(
                f"the SAE {release}:{sae_id} cannot be loaded: {reason(error)}",
                hint="check release and id in sae-lens' directory, and the connection",
            ) from error
    if sae.cfg.normalize_activations == "expected_average_only_in":
        raise ModelError(
            f"sae-lens knows no input scale for {release}:{sae_id}",
            hint="download it, and set norm_scaling_factor in a reader.toml",
        )
    listed = get_pretrained_saes_directory().get(release)
    expected = (listed.expected_l0 or {}).get(sae_id) if listed is not None else None
    return sae, float(expected) if expected else None


def import_sae_lens() -> Any:
    """The library, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sae_lens  # four seconds: only when an SAE is loaded
    return sae_lens


def _from_sae_lens(name: str, sae: Any, expected_l0: float | None = None) -> Sae:
    config, architecture = sae.cfg, str(sae.cfg.architecture())
    layer = _hook_layer(name, config.metadata.get("hook_name"))
    if config.reshape_activations != "none" or "transcoder" in architecture:
        raise ModelError(f"{name} does not read the residual stream", hint="use an SAE of hook_resid_post")
    sae.requires_grad_(False)
    require_finite(name, dict(sae.state_dict()))
    k_value = config.metadata.get("l0") or expected_l0
    described = {
        "hook_layer": layer,
        "expected_l0": None if k_value is None else float(k_value),
        "model_name": config.metadata.get("model_name"),
    }
    normalises = str(config.normalize_activations)
    foldable = architecture in ("standard", "jumprelu", "gated", "topk") and normalises in list(Normalisation)
    if not foldable:
        empty = torch.zeros(config.d_in, config.d_sae, device="meta")
        held = Sae(
            name, architecture, empty, torch.zeros(0), None, None, Normalisation.NONE, None, None, "", sae
        )
        weights = {key: value.detach() for key, value in sae.state_dict().items()}
        return replace(held, fingerprint=_hash_tensors(architecture, weights), **described)
    folded = _fold(name, sae, architecture, Normalisation(normalises))
    if folded.k is not None and described["expected_l0"] is None:
        described["expected_l0"] = float(folded.k)
    return replace(_finish(folded), **described)


def _fold(name: str, sae: Any, architecture: str, normalisation: Normalisation) -> Sae:
    """Bring an encoder into the form of the module's docstring; exact up to rounding."""
    weight, decoder, decoder_bias = (t.detach().float() for t in (sae.W_enc, sae.W_dec, sae.b_dec))
    threshold: torch.Tensor | None = torch.zeros(weight.shape[1])
    k: int | None = None
    if architecture == "gated":
        # gate p > −b_gate and magnitude relu(p·e^r + b_mag), with p = x @ W: in h = p·e^r + b_mag both are
        # thresholds, and the gate's is b_mag − b_gate·e^r.
        stretch = sae.r_mag.detach().float().exp()
        weight = weight * stretch
        bias = sae.b_mag.detach().float()
        threshold = (bias - sae.b_gate.detach().float() * stretch).clamp(min=0)
    else:
        bias = sae.b_enc.detach().float()
        if architecture == "jumprelu":
            threshold = sae.threshold.detach().float().clamp(min=0)
        if architecture == "topk":
            threshold, k = None, int(sae.cfg.k)
            if sae.cfg.rescale_acts_by_decoder_norm:
                norms = decoder.norm(dim=-1)
                weight, bias = weight * norms, bias * norms
                decoder = decoder / norms.clamp(min=1e-8)[:, None]
    if sae.cfg.apply_b_dec_to_input:
        bias = bias - decoder_bias @ weight
    return Sae(
        name, architecture, weight.contiguous(), bias, threshold, k, normalisation, decoder, decoder_bias, ""
    )


def _finish(sae: Sae) -> Sae:
    """Check that weights are numbers, and add the fingerprint."""
    tensors = {"weight": sae.weight, "bias": sae.bias}
    if sae.threshold is not None:
        tensors["threshold"] = sae.threshold
    more = {"W_enc": sae.weight, "W_dec": sae.decoder, "b_dec": sae.decoder_bias}
    require_finite(sae.name, more | {name: tensors.get(name) for name in ("bias", "threshold")})
    return replace(sae, fingerprint=_hash_tensors(f"{sae.architecture} {sae.k} {sae.normalisation}", tensors))


def _hash_tensors(kind: str, tensors: dict[str, torch.Tensor]) -> str:
    parts = {
        key: hash_bytes(value.contiguous().cpu().view(torch.uint8).numpy().tobytes())
        for key, value in tensors.items()
    }
    return hash_json([kind, parts])


def _hook_layer(name: str, hook: Any) -> int | None:
    """Block whose output a hook point names; an input of block ℓ is the output of ℓ − 1."""
    if hook is None or hook == "":
        return None
    found = re.search(r"(?:blocks|layers|layer|h)\.(\d+)(?:\.(.*))?$", str(hook))
    if found is None:
        raise ModelError(
            f"{name} reads {hook}, which is not the residual stream after a block",
            hint="use an SAE of hook_resid_post; if this is one, set hook_name in its cfg.json to"
            " blocks.N.hook_resid_post",
        )
    place = found[2] or "hook_resid_post"
    if place == "hook_resid_post":
        return int(found[1])
    if place == "hook_resid_pre" and int(found[1]) > 0:
        return int(found[1]) - 1
    raise ModelError(f"{name} reads {hook}, not the residual stream", hint="use an SAE of hook_resid_post")
