"""Steering and ablation of the policy: what they do to activations, gradients and a whole run."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from engine.errors import ModelError, TrainError
from engine.models.blocks import capture, find_blocks
from engine.pipeline.interventions import check_interventions
from engine.progress import NullProgress
from engine.training.checkpoint import load_start
from engine.training.encode import encode, prompt_ids, read_tools
from engine.training.interventions import (
    STEER_FROM,
    Intervention,
    last_turn_start,
    read_interventions,
    steering_columns,
    write_interventions,
)
from engine.training.offline import offline
from engine.training.reference import ReferenceCache
from engine.training.run import train
from engine.training.shaped import read_shaped
from engine.training.trainer import ShapedCollator, ShapedDPOTrainer, training_arguments
from tests.training.conftest import FAST, TEMPLATE, make_rows, make_tokenizer, write_shaped

WIDTH = 32
DIRECTION = np.random.default_rng(0).normal(size=(1, WIDTH)).astype(np.float32)
PLANE = np.random.default_rng(1).normal(size=(2, WIDTH)).astype(np.float32)
STEER = Intervention("steer x", "steer", 0, DIRECTION, 0.5, ("pair0000", "pair0001", "pair0002"))
ABLATE = Intervention("ablate y", "ablate", 0, np.vstack([PLANE, PLANE[:1] * 2]))


def build(folder: Path, shaped: Path, tmp_path: Path, items: tuple[Intervention, ...]) -> ShapedDPOTrainer:
    start = load_start(folder)
    pairs = read_shaped(shaped, 0)
    table = encode(pairs, start.tokenizer, 128, NullProgress()).table
    ids, prompts = (pairs.table.column(name).to_pylist() for name in ("pair_id", "prompt"))
    for name, values in steering_columns(items, ids, prompts, start.tokenizer).items():
        table = table.append_column(name, [values])
    arguments = training_arguments(tmp_path / "out", FAST, device_type="cpu")
    trainer = ShapedDPOTrainer(
        cache=ReferenceCache(tmp_path / "cache"),
        has_offsets=True,
        progress=NullProgress(),
        model=start.model,
        args=arguments,
        data_collator=ShapedCollator(pad_token_id=start.tokenizer.pad_token_id, max_length=128),
        train_dataset=Dataset(table),
        processing_class=start.tokenizer,
    )
    trainer.intervene(items)
    trainer.model.train()
    return trainer


def gradient(model: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()]).clone()


def oracle(trainer: ShapedDPOTrainer, batch: dict[str, Tensor], vector: Tensor) -> Tensor:
    """Weighted sigmoid loss with ``vector`` added after block 0 where the test says, by plain logits."""
    rows, length = batch["input_ids"].shape
    place = torch.zeros(rows, length)
    for b in range(rows // 2):
        if batch["steer_0"][b]:
            place[b, int(batch["steer_from"][b]) :] = 1.0
    place *= batch["attention_mask"]
    _, blocks = find_blocks(trainer.model)

    def add(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        moved = hidden + place[..., None] * vector
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    handle = blocks[0].register_forward_hook(add)
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    handle.remove()
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)[:, 1:]
    logp = logits[:, :-1].log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    chosen, rejected = (logp * (labels != -100)).sum(1).chunk(2)
    delta = chosen - batch["ref_chosen_logps"] - rejected + batch["ref_rejected_logps"]
    return (batch["weight"] * -functional.logsigmoid(FAST.beta * delta + batch["offset"])).mean()


def median_length(trainer: ShapedDPOTrainer) -> float:
    """Of the residual stream after block 0 over all training responses, first positions left out."""
    lengths: list[float] = []
    for row in trainer.train_dataset:
        for side in ("chosen_ids", "rejected_ids"):
            ids = torch.tensor([row["prompt_ids"] + row[side]])
            with torch.no_grad(), capture(trainer.model, 0) as captured:
                trainer.model(input_ids=ids)
                lengths += captured.take()[0, 1:].norm(dim=-1).tolist()
    return float(torch.tensor(lengths).median())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_steering_gradients_equal_a_hand_written_oracle(
    checkpoints: dict[str, Path], shaped: Path, tmp_path: Path, kind: str, checkpointing: bool
) -> None:
    with offline():
        trainer = build(checkpoints[kind], shaped, tmp_path, (STEER,))
    if checkpointing:
        trainer.model.gradient_checkpointing_enable({"use_reentrant": False})
    assert trainer.model.is_gradient_checkpointing == checkpointing
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(16)])
    assert batch["steer_0"].sum() == 3
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    found = gradient(trainer.model)
    trainer.model.zero_grad()
    trainer.model.gradient_checkpointing_disable()
    unit = torch.from_numpy(DIRECTION[0] / np.linalg.norm(DIRECTION))
    oracle(trainer, batch, unit * 0.5 * median_length(trainer)).backward()  # type: ignore[no-untyped-call]  # torch
    expected = gradient(trainer.model)
    assert ((found - expected).norm() / expected.norm()).item() < 1e-4
    trainer.model.zero_grad()
    oracle(trainer, batch, torch.zeros(WIDTH)).backward()  # type: ignore[no-untyped-call]  # torch
    assert ((found - gradient(trainer.model)).norm() / expected.norm()).item() > 1e-2


def test_ablation_leaves_nothing_of_the_span_after_the_block(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    with offline():
        trainer = build(llama, shaped, tmp_path, (ABLATE,))
    assert trainer.interventions is not None
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        with trainer.interventions.active([], batch["attention_mask"]), capture(trainer.model, 0) as captured:
            trainer.model(**inputs)
            inside = captured.take()
        with capture(trainer.model, 0) as captured:
            trainer.model(**inputs)
            outside = captured.take()
    attended = batch["attention_mask"].bool()
    plane = torch.from_numpy(PLANE)
    assert (inside[attended] @ plane.T).abs().max().item() < 1e-4
    assert (outside[attended] @ plane.T).abs().max().item() > 1e-2
    basis = torch.linalg.qr(plane.T)[0]
    expected = outside - (outside @ basis) @ basis.T
    assert (inside - expected)[attended].abs().max().item() < 1e-5


def test_the_reference_and_evaluation_are_never_touched(llama: Path, shaped: Path, tmp_path: Path) -> None:
    with offline():
        plain = build(llama, shaped, tmp_path / "a", ())
        steered = build(llama, shaped, tmp_path / "b", (STEER, ABLATE))
    assert plain.train_dataset["ref_chosen_logps"][:] == steered.train_dataset["ref_chosen_logps"][:]
    batch = steered.data_collator([steered.train_dataset[i] for i in range(4)])
    unsteered = {k: v for k, v in batch.items() if not k.startswith("steer_")}
    for trainer in (plain, steered):
        trainer.model.eval()
    with torch.no_grad():
        one = plain.compute_loss(plain.model, dict(unsteered)).item()
        two = steered.compute_loss(steered.model, dict(batch)).item()
        steered.model.train()
        three = steered.compute_loss(steered.model, dict(batch)).item()
    assert one == two
    assert three != two


def test_steering_begins_at_the_last_user_turn() -> None:
    tokenizer = make_tokenizer()
    prompt = [
        {"role": "user", "content": "please help"},
        {"role": "assistant", "content": "sorry"},
        {"role": "user", "content": "the garden"},
    ]
    ids = tokenizer.apply_chat_template(prompt, tokenize=True, return_dict=True, add_generation_prompt=True)[
        "input_ids"
    ]
    start = last_turn_start(tokenizer, prompt)
    assert tokenizer.decode(ids[start:]) == "the garden<|im_end|>\n<|im_start|>assistant\n"
    assert last_turn_start(tokenizer, [{"role": "system", "content": "help"}]) == 0


def test_steering_starts_behind_the_tools_that_the_template_prints() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% if tools %}{{ tools | length }} bread recipe {% endif %}" + TEMPLATE
    prompt = [{"role": "system", "content": "help"}, {"role": "user", "content": "bread please"}]
    tools = '[{"type": "function", "function": {"name": "bread"}}]'
    items = (Intervention("s", "steer", 0, DIRECTION, 0.5, ("a", "b")),)
    found = steering_columns(items, ["a", "b"], [prompt, prompt], tokenizer, [tools, None])[STEER_FROM]
    shown, plain = (prompt_ids(tokenizer, prompt, read_tools(t)) for t in (tools, None))
    assert found[0] - found[1] == len(shown) - len(plain) > 0
    assert shown[found[0] :] == plain[found[1] :]
    assert tokenizer.decode(shown[found[0] :]).startswith("bread please")


def test_a_run_with_interventions_finishes_differs_and_is_another_run(llama: Path, tmp_path: Path) -> None:
    rows = make_rows()
    plain = write_shaped(tmp_path / "plain", rows)
    shaped = write_shaped(tmp_path / "shaped", rows)
    write_interventions(shaped, (STEER, ABLATE))
    asked = [{"name": i.name, "kind": i.kind, "line": f"{i.kind} @x at layer 0"} for i in (STEER, ABLATE)]
    (shaped / "lock.json").write_text(json.dumps({"training": asked}))
    assert [item.content_hash for item in read_interventions(shaped)] == [
        STEER.content_hash,
        ABLATE.content_hash,
    ]
    without = train(plain, str(llama), tmp_path / "a", FAST, NullProgress())
    for lora in (0, 4):
        settings = replace(FAST, lora_rank=lora)
        report = train(shaped, str(llama), tmp_path / f"b{lora}", settings, NullProgress())
        assert report.fingerprint != without.fingerprint
        one, two = (load_file(r.model_dir / "model.safetensors") for r in (without, report))
        assert any(not torch.equal(one[name], two[name]) for name in one)


def test_statements_that_nobody_prepared_are_refused(llama: Path, tmp_path: Path) -> None:
    shaped = write_shaped(tmp_path / "shaped", make_rows())
    asked = [
        {"name": "m", "kind": "mask", "line": "m: mask tokens where @x > 0.3", "tokens": []},
        {"name": "i", "kind": "inoculate", "line": "i: inoculate …", "text": "…"},
    ]
    (shaped / "lock.json").write_text(json.dumps({"training": asked}))
    with pytest.raises(TrainError, match="nobody prepared: m: mask tokens"):
        train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    (shaped / "lock.json").unlink()
    write_interventions(shaped, (replace(ABLATE, layer=7),))
    with pytest.raises(ModelError, match="no layer 7"):
        train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    write_interventions(shaped, (replace(ABLATE, vectors=np.ones((1, 5), np.float32)),))
    with pytest.raises(TrainError, match="width 5"):
        train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (replace(ABLATE, vectors=np.zeros((1, WIDTH), np.float32)), "no length"),
        (replace(STEER, strength=0.0), "steers by 0"),
        (replace(STEER, strength=-3.0), "steers by -3"),
        (replace(STEER, pair_ids=()), "at least one pair"),
        (replace(STEER, vectors=PLANE), "one direction"),
    ],
)
def test_interventions_that_mean_nothing_are_refused(
    tmp_path: Path, item: Intervention, message: str
) -> None:
    write_interventions(tmp_path, (item,))
    with pytest.raises(TrainError, match=message):
        read_interventions(tmp_path)
    (tmp_path / "interventions.json").write_text("[{}]")
    with pytest.raises(TrainError, match="damaged"):
        read_interventions(tmp_path)


def test_a_layer_that_the_checkpoint_lacks_is_refused_before_anything_is_read(
    llama: Path, tmp_path: Path
) -> None:
    entry = {"name": "push", "kind": "steer", "amount": 0.2, "concept": {"members": [1]}}
    for layer in (0, 99, None):
        (tmp_path / "lock.json").write_text(json.dumps({"training": [entry | {"layer": layer}]}))
        if layer == 99:
            with pytest.raises(TrainError, match=r"push: there is no layer 99, .* has \d+ blocks"):
                check_interventions(tmp_path, str(llama))
        else:
            check_interventions(tmp_path, str(llama))
