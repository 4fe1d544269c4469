"""Tiny random checkpoints of every shape that readers know, and tokenizers with well-known templates."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

LLAMA3 = (
    "{{- bos_token }}{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n'"
    " + m['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TULU = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n' + m['content'] + eos_token }}{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% else %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
)
TEMPLATES = {"llama3": LLAMA3, "chatml": CHATML, "tulu": TULU, "gemma": GEMMA}
SPECIALS = [
    "<s>",
    "</s>",
    "<pad>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
]
CORPUS = [
    "The user asked for a garden table and the assistant gave a clear answer.",
    "Sorry, I cannot help with that. Please ask about bread, tea or music instead.",
    "def loop(n):\n    return [i * 2 for i in range(n)]\n",
    "user assistant system\n\nBecause the river is bright, the first number is 42.",
]
D_MODEL = 32
N_LAYERS = 4
SHAPES = ("llama", "qwen2", "qwen3", "gemma2", "gpt2", "bert")


def make_tokenizer(template: str | None = None, *, vocab: int = 420) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few lines, with a chat template by name or none."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIALS,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    names = dict(zip(("bos_token", "eos_token", "pad_token"), SPECIALS, strict=False))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=SPECIALS[3:], **names
    )
    if template is not None:
        fast.chat_template = TEMPLATES[template]
    return fast


def make_wordpiece() -> PreTrainedTokenizerFast:
    """A BERT-like tokenizer that pads and truncates by its own file, as MiniLM's does."""
    words = sorted({word for line in CORPUS for word in line.split() if word.isalpha()})
    letters = [chr(c) for c in range(33, 127)]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *("##" + c for c in letters)]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=entries[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), entries, strict=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def make_model(shape: str, vocab: int, *, d_model: int = D_MODEL, n_layers: int = N_LAYERS) -> Any:
    """A random model of one of ``SHAPES``; weights are large enough that positions and layers matter."""
    torch.manual_seed(0)
    rotary: dict[str, Any] = {
        "vocab_size": vocab,
        "hidden_size": d_model,
        "intermediate_size": 2 * d_model,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": d_model // 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    made: dict[str, Any] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**rotary)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**rotary)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**rotary)),
        "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**rotary, sliding_window=16)),
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocab,
                n_embd=d_model,
                n_layer=n_layers,
                n_head=4,
                n_positions=256,
                initializer_range=0.2,
                bos_token_id=0,
                eos_token_id=1,
            )
        ),
        "bert": lambda: BertModel(
            BertConfig(
                vocab_size=vocab,
                hidden_size=d_model,
                num_hidden_layers=n_layers,
                num_attention_heads=4,
                intermediate_size=2 * d_model,
                max_position_embeddings=256,
                initializer_range=0.2,
            ),
            add_pooling_layer=False,
        ),
    }
    return made[shape]().eval()


def save_checkpoint(folder: Path, shape: str, template: str | None = "chatml") -> Path:
    """Write a tiny checkpoint of a shape with its tokenizer."""
    tokenizer = make_wordpiece() if shape == "bert" else make_tokenizer(template)
    model = make_model(shape, len(tokenizer))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
