"""Tiny random checkpoints of many kinds, each with what is peculiar to its blocks switched on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

from tests.models.tiny import make_tokenizer

N = len(make_tokenizer("chatml"))
SIZES: dict[str, Any] = {
    "vocab_size": N, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
    "initializer_range": 0.2, "pad_token_id": 2,
}  # fmt: skip
HEADS = SIZES | {"head_dim": 8}
EVEN = SIZES | {"num_key_value_heads": 4}
ENCODER = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
WINDOW = {"sliding_window": 11}
EXPERTS = {"num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2}
SHARED = {"shared_expert_intermediate_size": 16}
DEEPSEEK = {
    "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "first_k_dense_replace": 1, "kv_lora_rank": 16, "q_lora_rank": 16,
    "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
}  # fmt: skip
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8}
OLD = {"vocab_size": N, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 512}
_PLAIN = (
    "Llama", "Mistral", "Qwen2", "Olmo", "Olmo2", "StableLm", "Starcoder2", "Phi", "Arcee", "Nemotron",
    "Cohere", "Persimmon", "Phi3",
)  # fmt: skip
PLAIN = dict.fromkeys(_PLAIN, SIZES)
"""Families whose blocks are all alike."""

MIXED: dict[str, dict[str, Any]] = {
    "Gemma2": HEADS | WINDOW | {"query_pre_attn_scalar": 8},
    "Gemma3": HEADS | WINDOW | {"sliding_window_pattern": 2, "query_pre_attn_scalar": 8},
    "Qwen3": HEADS | {"use_sliding_window": True, "sliding_window": 11, "max_window_layers": 1},
    "SmolLM3": SIZES | {"no_rope_layer_interval": 2},
    "Exaone4": SIZES | WINDOW | {"sliding_window_pattern": 2},
    "Olmo3": SIZES | WINDOW,
    "Cohere2": SIZES | WINDOW | {"sliding_window_pattern": 2},
    "GptOss": HEADS | WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Granite": SIZES | {"residual_multiplier": 0.22},
    "Mixtral": SIZES | {"num_local_experts": 4},
    "Olmoe": SIZES | EXPERTS,
    "Qwen2Moe": SIZES | EXPERTS | SHARED,
    "Qwen3Moe": HEADS | EXPERTS | {"mlp_only_layers": [1]},
    "DeepseekV2": EVEN | DEEPSEEK,
    "DeepseekV3": EVEN | DEEPSEEK,
    "Glm4Moe": HEADS | {k: v for k, v in DEEPSEEK.items() if "rank" not in k},
    "GPT2": OLD,
    "GPTJ": OLD | {"rotary_dim": 4},
    "GPTBigCode": OLD,
    "GPTNeo": {
        "vocab_size": N, "hidden_size": 32, "num_layers": 4, "num_heads": 4, "window_size": 11,
        "attention_types": [[["global", "local"], 2]],
    },
    "GPTNeoX": ENCODER,
    "Falcon": {"vocab_size": N, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4},
    "Bloom": {"vocab_size": N, "hidden_size": 32, "n_layer": 4, "n_head": 4},
    "OPT": ENCODER | {"ffn_dim": 64, "word_embed_proj_dim": 16},
    "Mpt": {"vocab_size": N, "d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 512},
    "Mamba": {"vocab_size": N, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 8},
    "FalconH1": SIZES | MAMBA | {"mamba_d_ssm": 32, "mamba_n_heads": 4},
    "Bamba": SIZES | MAMBA | {"attn_layer_indices": [1, 3]},
    "Zamba2": EVEN | {
        "num_hidden_layers": 6, "mamba_d_state": 8, "n_mamba_heads": 8, "mamba_ngroups": 1,
        "num_mem_blocks": 1, "layers_block_type": ["mamba", "hybrid"] * 3, "adapter_rank": 4,
        "attention_head_dim": 16, "attention_hidden_size": 64,
    },
    "RecurrentGemma": SIZES | {"lru_width": 32, "num_hidden_layers": 6, "attention_window_size": 16},
    "Qwen3Next": HEADS | EXPERTS | SHARED | {
        "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention"] * 2,
    },
    "GraniteMoeHybrid": SIZES | MAMBA | {
        "layer_types": ["mamba", "attention"] * 2, "num_local_experts": 0, "shared_intermediate_size": 64,
    },
}  # fmt: skip
"""Families whose blocks differ from place to place, or whose tensors are put together at loading."""

ENCODERS: dict[str, dict[str, Any]] = {
    "Bert": ENCODER,
    "Roberta": ENCODER,
    "Electra": ENCODER | {"embedding_size": 16},
    "MPNet": ENCODER,
    "DebertaV2": ENCODER | {
        "relative_attention": True, "position_buckets": 16, "pos_att_type": ["c2p", "p2c"],
    },
    "DistilBert": {"vocab_size": N, "dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 64},
    "ModernBert": ENCODER | {
        "bos_token_id": 0, "eos_token_id": 1, "cls_token_id": 0, "sep_token_id": 1,
        "global_attn_every_n_layers": 2, "local_attention": 16,
    },
}  # fmt: skip


def make(name: str) -> Any:
    """A model of a family by its name, random weights, always the same."""
    torch.manual_seed(0)
    if name in ENCODERS:
        return getattr(hf, f"{name}Model")(getattr(hf, f"{name}Config")(**ENCODERS[name])).eval()
    options = PLAIN.get(name) or MIXED[name]
    config = f"{name}{'Text' if name == 'Gemma3' else ''}Config"
    head = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    return getattr(hf, f"{name}{head}")(getattr(hf, config)(**options)).eval()


def save(folder: Path, build: Callable[[], Any], shard: str = "5GB") -> Path:
    """Write a model with a tokenizer, in files of about a size."""
    torch.manual_seed(0)
    build().save_pretrained(folder, max_shard_size=shard)
    make_tokenizer("chatml").save_pretrained(folder)
    return folder
