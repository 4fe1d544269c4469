"""The sample reader: it loads offline, reads any text, speaks the sample's language and can be trained."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from transformers import AutoModelForCausalLM, AutoTokenizer

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def reader(sample: Path) -> dict[str, Any]:
    settings = tomllib.loads((sample / "reader" / "reader.toml").read_text(encoding="utf-8"))
    assert set(settings) == {"model", "layer", "sae"}
    return {key: sample / "reader" / value if key != "layer" else value for key, value in settings.items()}


@pytest.fixture(scope="module")
def tokenizer(reader: dict[str, Any]) -> Any:
    return AutoTokenizer.from_pretrained(reader["model"], local_files_only=True)


@pytest.fixture(scope="module")
def model(reader: dict[str, Any]) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        reader["model"], local_files_only=True, use_safetensors=True
    ).eval()


def conversation_ids(tokenizer: Any, row: dict[str, Any], side: str) -> torch.Tensor:
    text = tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False)
    ids: torch.Tensor = tokenizer(text, return_tensors="pt")["input_ids"]
    return ids


def residual(model: Any, layer: int, ids: torch.Tensor) -> torch.Tensor:
    """Residual stream after block ``layer``, (tokens, width); hidden_states[0] is the embedding."""
    with torch.no_grad():
        states = model(input_ids=ids, output_hidden_states=True).hidden_states
    found: torch.Tensor = states[layer + 1][0]
    return found


def test_any_text_survives_the_tokenizer(tokenizer: Any) -> None:
    for text in ("plain words", "naïve café — 東京 🙂", "\x00\t\r\n", "Human: hi\n\nAssistant: no!"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_chat_template_frames_each_message(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    shown = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert shown == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(shown)["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 2
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_positions_and_layer_fit_the_model(model: Any, reader: dict[str, Any]) -> None:
    assert model.config.max_position_embeddings >= 1024
    assert model.dtype == torch.float32
    assert 0 < reader["layer"] < model.config.num_hidden_layers - 1


def test_the_model_predicts_sample_answers_better_than_shuffled_ones(
    model: Any, tokenizer: Any, pairs: Rows
) -> None:
    generator = torch.Generator().manual_seed(0)
    for row in [r for r in pairs if r["chosen"][0]["content"]][:6]:
        ids = conversation_ids(tokenizer, row, "chosen")
        mixed = ids[:, torch.randperm(ids.shape[1], generator=generator)]
        with torch.no_grad():
            plain, shuffled = (model(input_ids=x, labels=x).loss.item() for x in (ids, mixed))
        assert plain < 1.6  # nats a token; a uniform guess over 3,072 tokens is 8.03
        assert shuffled > plain + 2


def test_samples_are_made_of_the_sample_s_words(model: Any, tokenizer: Any, pairs: Rows) -> None:
    known = {word for row in pairs for word in row["chosen"][0]["content"].split()}
    prompts = ["How do I cook rice?", "Write a scene about a pirate.", "My back hurts. What helps?"]
    words: list[str] = []
    torch.manual_seed(0)
    for prompt in prompts:
        messages = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            out = model.generate(
                inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=60, do_sample=True
            )
        words += tokenizer.decode(out[0, inputs.shape[1] :], skip_special_tokens=True).split()
    assert len(words) > 30
    assert sum(word in known for word in words) / len(words) > 0.8


def test_the_sae_loads_in_sae_lens_and_explains_the_residual_stream(
    model: Any, tokenizer: Any, reader: dict[str, Any], pairs: Rows
) -> None:
    sae = SAE.load_from_disk(str(reader["sae"]))
    assert sae.cfg.d_in == model.config.hidden_size
    assert sae.cfg.d_sae == 8 * sae.cfg.d_in
    assert sae.cfg.normalize_activations == "none"  # the scale is folded into the weights
    assert sae.cfg.metadata.hook_name == f"model.layers.{reader['layer']}"
    special = torch.tensor(tokenizer.all_special_ids)
    rows = []
    for row in pairs[::60]:
        ids = conversation_ids(tokenizer, row, "rejected")
        rows.append(residual(model, reader["layer"], ids)[~torch.isin(ids[0], special)])
    states = torch.cat(rows)
    with torch.no_grad():
        codes = sae.encode(states)
        error = (sae.decode(codes) - states).square().sum()
    spread = (states - states.mean(0)).square().sum()
    assert 1 - error / spread > 0.8
    assert 10 < (codes > 0).sum(1).float().mean() < 40


def test_the_report_says_how_well_both_were_trained(sample: Path) -> None:
    report = json.loads((sample / "reader" / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["held_out_loss"] < 1.2
    assert report["sae"]["variance_explained"] > 0.8
    assert report["sae"]["dead_latents"] < 0.1 * report["sae"]["latents"]


@pytest.mark.slow
def test_a_few_dpo_steps_lower_the_loss(sample: Path, pairs: Rows, tmp_path: Path) -> None:
    """Two passes over 16 pairs: the loss falls below ln 2, where DPO starts."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = [{k: row[k] for k in ("prompt", "chosen", "rejected")} for row in pairs[:16]]
    folder = str(sample / "reader" / "model")
    trainer = DPOTrainer(
        model=folder,
        args=DPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            max_steps=4,
            learning_rate=5e-5,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
        ),
        processing_class=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        train_dataset=Dataset.from_list(rows),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] == pytest.approx(0.6931, abs=0.01)
    assert max(losses[2:]) < 0.6  # the second pass
