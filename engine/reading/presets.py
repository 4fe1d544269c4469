"""Well-known public pairs of checkpoint and SAE, as listed in sae-lens' own directory.

GPT-2 uses OpenAI's SAEs because they normalise their input, which makes them indifferent to the centring of
weights that other GPT-2 SAEs were trained under.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Preset:
    """A checkpoint, a layer and an SAE that belong together."""

    model: str
    """Hub id."""
    layer: int
    """Block after which the SAE reads."""
    release: str
    """Release in sae-lens' directory."""
    sae_id: str
    """Id inside the release."""


PRESETS: dict[str, Preset] = {
    "gpt2-small": Preset(
        "openai-community/gpt2", 8, "gpt2-small-resid-post-v5-32k", "blocks.8.hook_resid_post"
    ),
    "gemma-2-2b": Preset(
        "google/gemma-2-2b", 12, "gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical"
    ),
    "gemma-2-9b": Preset(
        "google/gemma-2-9b", 20, "gemma-scope-9b-pt-res-canonical", "layer_20/width_16k/canonical"
    ),
    "gemma-2-9b-it": Preset(
        "google/gemma-2-9b-it", 20, "gemma-scope-9b-it-res-canonical", "layer_20/width_16k/canonical"
    ),
    "llama-3.1-8b": Preset("meta-llama/Llama-3.1-8B", 15, "llama_scope_lxr_8x", "l15r_8x"),
    "llama-3.1-8b-instruct": Preset(
        "meta-llama/Llama-3.1-8B-Instruct", 19, "goodfire-llama-3.1-8b-instruct", "layer_19"
    ),
    "llama-3.3-70b-instruct": Preset(
        "meta-llama/Llama-3.3-70B-Instruct", 50, "goodfire-llama-3.3-70b-instruct", "layer_50"
    ),
    "qwen-2.5-7b-instruct": Preset(
        "Qwen/Qwen2.5-7B-Instruct", 15, "qwen2.5-7b-instruct-andyrdt", "resid_post_layer_15_trainer_1"
    ),
    "qwen-3-1.7b": Preset("Qwen/Qwen3-1.7B-Base", 14, "qwen-scope-3-1.7b-base-w32k-l50", "layer14"),
    "qwen-3-8b": Preset("Qwen/Qwen3-8B-Base", 18, "qwen-scope-3-8b-base-w64k-l50", "layer18"),
}
