"""The shaped loss against a hand-written oracle, and against TRL's own trainer."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from torch.nn import functional
from trl import DPOTrainer

from engine.errors import TrainError
from engine.progress import NullProgress
from engine.training.checkpoint import load_start
from engine.training.encode import encode
from engine.training.losses import DIFFERENCE_LOSSES, PAIR_LOSSES, SMOOTHED, check_loss
from engine.training.offline import offline
from engine.training.reference import ReferenceCache
from engine.training.run import train
from engine.training.shaped import read_shaped
from engine.training.trainer import ShapedCollator, ShapedDPOTrainer, training_arguments
from tests.training.conftest import FAST

EPSILON = 0.1


def build(
    checkpoint: Path, shaped: Path, tmp_path: Path, loss_type: str, beta: float = 0.1
) -> ShapedDPOTrainer:
    """A trainer whose policy was pushed away from the reference, so that no term is at its zero."""
    start = load_start(checkpoint)
    settings = replace(FAST, loss_type=loss_type, beta=beta, label_smoothing=EPSILON)
    pairs = read_shaped(shaped, 0)
    encoded = encode(pairs, start.tokenizer, settings.max_length, NullProgress())
    trainer = ShapedDPOTrainer(
        cache=ReferenceCache(tmp_path / "cache"),
        has_offsets=True,
        progress=NullProgress(),
        model=start.model,
        args=training_arguments(tmp_path / "out", settings, device_type="cpu"),
        data_collator=ShapedCollator(
            pad_token_id=start.tokenizer.pad_token_id, max_length=settings.max_length
        ),
        train_dataset=Dataset(encoded.table),
        processing_class=start.tokenizer,
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    trainer.model.train()
    return trainer


def oracle(
    trainer: ShapedDPOTrainer, batch: dict[str, Tensor], loss_type: str, beta: float
) -> tuple[Tensor, Tensor]:
    """Per-pair loss L(β·Δθ + m), written from the formulas with plain logits, and its weighted mean."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)[:, 1:]
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    logp = logits[:, :-1].log_softmax(-1).gather(2, labels.clamp(min=0)[..., None])[..., 0]
    chosen, rejected = (logp * (labels != -100)).sum(1).chunk(2)
    n_chosen, n_rejected = batch["completion_mask"].sum(1).chunk(2)
    c, r = chosen - batch["ref_chosen_logps"], rejected - batch["ref_rejected_logps"]
    m = batch["offset"]
    argument = beta * (c - r) + m
    per_token = beta * (c / n_chosen - r / n_rejected) + m
    formulas: dict[str, Callable[[], Tensor]] = {
        "sigmoid": lambda: torch.log(1 + torch.exp(-argument)),
        "hinge": lambda: torch.clamp(1 - argument, min=0),
        "ipo": lambda: (per_token / beta - 1 / (2 * beta)) ** 2,
        "sigmoid_norm": lambda: torch.log(1 + torch.exp(-per_token)),
        "robust": lambda: (
            (
                (1 - EPSILON) * torch.log(1 + torch.exp(-argument))
                - EPSILON * torch.log(1 + torch.exp(argument))
            )
            / (1 - 2 * EPSILON)
        ),
        "apo_zero": lambda: 1 - torch.sigmoid(beta * c) + torch.sigmoid(beta * r),
    }
    losses = formulas[loss_type]()
    return losses, (batch["weight"] * losses).mean()


@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge", "ipo", "robust", "sigmoid_norm", "apo_zero"])
def test_gradients_equal_a_hand_written_oracle_with_weights_and_offsets(
    llama: Path, shaped: Path, tmp_path: Path, loss_type: str
) -> None:
    beta = 0.3
    with offline():
        trainer = build(llama, shaped, tmp_path, loss_type, beta)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    if loss_type == "apo_zero":
        batch["offset"] = torch.zeros(8)
    assert len(set(batch["weight"].tolist())) > 1

    loss = trainer.compute_loss(trainer.model, dict(batch))
    loss.backward()
    found = torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).clone()
    trainer.model.zero_grad()
    losses, weighted = oracle(trainer, batch, loss_type, beta)
    weighted.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])

    assert ((found - expected).norm() / expected.norm()).item() < 1e-5
    assert loss.item() == pytest.approx(losses.mean().item(), rel=1e-4)
    logged = trainer._metrics["train"]
    assert logged["loss/weighted"][0] == pytest.approx(weighted.item(), rel=1e-4)


@pytest.mark.parametrize("loss_type", PAIR_LOSSES)
def test_the_logged_pair_losses_average_to_the_loss_of_trl(
    llama: Path, plain: Path, tmp_path: Path, loss_type: str
) -> None:
    with offline():
        trainer = build(llama, plain, tmp_path, loss_type)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    loss = trainer.compute_loss(trainer.model, dict(batch))
    assert trainer._metrics["train"]["loss/weighted"][0] == pytest.approx(loss.item(), rel=1e-5)


def test_rewards_and_accuracies_are_logged_without_the_offset(
    llama: Path, shaped: Path, tmp_path: Path
) -> None:
    with offline():
        trainer = build(llama, shaped, tmp_path, "sigmoid")
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
    trainer.compute_loss(trainer.model, dict(batch))
    with_offset = {k: v[-1] for k, v in trainer._metrics["train"].items() if k.startswith("rewards/")}
    trainer._metrics["train"].clear()
    trainer.compute_loss(trainer.model, batch | {"offset": torch.zeros(8)})
    without = {k: v[-1] for k, v in trainer._metrics["train"].items() if k.startswith("rewards/")}
    assert bool(batch["offset"].any())
    assert with_offset == pytest.approx(without, abs=1e-6)


def stock_weights(checkpoint: Path, shaped: Path, tmp_path: Path) -> dict[str, Tensor]:
    """Weights after TRL's own trainer, given messages, with the same configuration."""
    start = load_start(checkpoint)
    table = read_shaped(shaped, FAST.seed).table.select(["prompt", "chosen", "rejected"])
    trainer = DPOTrainer(
        model=start.model,
        args=training_arguments(tmp_path / "stock", FAST, device_type="cpu"),
        train_dataset=Dataset(table),
        processing_class=start.tokenizer,
    )
    trainer.train()
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen"])
def test_weight_one_and_offset_zero_are_stock_dpo_to_the_bit(
    checkpoints: dict[str, Path], plain: Path, tmp_path: Path, kind: str
) -> None:
    with offline():
        expected = stock_weights(checkpoints[kind], plain, tmp_path)
    report = train(plain, str(checkpoints[kind]), tmp_path / "run", FAST, NullProgress())
    found: Any = load_start(report.model_dir).model
    start: Any = load_start(checkpoints[kind]).model
    for name, parameter in found.named_parameters():
        assert torch.equal(parameter, expected[name]), name
    moved = [not torch.equal(a, b) for a, b in zip(found.parameters(), start.parameters(), strict=True)]
    assert any(moved)


@pytest.mark.parametrize("loss_type", [x for x in PAIR_LOSSES if x not in SMOOTHED])
def test_label_smoothing_that_would_do_nothing_is_refused(loss_type: str) -> None:
    with pytest.raises(TrainError, match="no use for label smoothing"):
        check_loss(loss_type, 0.1, has_offsets=False)


def test_a_positive_offset_takes_pressure_off_a_pair() -> None:
    """dL/d(βΔθ) = −σ(−(βΔθ + m)): at Δθ = 0 it is −1/2 without an offset and −σ(−2) = −0.119 with m = 2."""
    argument = torch.zeros(1, requires_grad=True)
    (-functional.logsigmoid(argument + 2.0)).sum().backward()  # type: ignore[no-untyped-call]  # torch
    assert argument.grad is not None
    assert float(argument.grad) == pytest.approx(-0.1192, abs=1e-4)


@pytest.mark.parametrize("loss_type", ["aot", "aot_unpaired", "sft", "nonsense"])
def test_losses_that_mix_pairs_are_refused(loss_type: str) -> None:
    with pytest.raises(TrainError, match=loss_type):
        check_loss(loss_type, 0.0, has_offsets=False)


@pytest.mark.parametrize("loss_type", sorted(set(PAIR_LOSSES) - set(DIFFERENCE_LOSSES)))
def test_offsets_are_refused_for_losses_of_single_sides(loss_type: str) -> None:
    check_loss(loss_type, 0.0, has_offsets=False)
    with pytest.raises(TrainError, match="offsets"):
        check_loss(loss_type, 0.0, has_offsets=True)


@pytest.mark.parametrize(
    ("loss_type", "smoothing", "is_fine"),
    [
        ("robust", 0.0, True), ("robust", 0.49, True), ("robust", 0.5, False), ("robust", -0.1, False),
        ("exo_pair", 0.001, True), ("exo_pair", 0.0, False), ("exo_pair", 1.0, False), ("hinge", 0.0, True),
    ],
)  # fmt: skip
def test_label_smoothing_has_the_bounds_of_its_formula(
    loss_type: str, smoothing: float, is_fine: bool
) -> None:
    """*Robust* divides by 1 − 2ε; *exo_pair* takes the logarithms of ε and 1 − ε."""
    if is_fine:
        check_loss(loss_type, smoothing, has_offsets=False)
    else:
        with pytest.raises(TrainError, match="needs label smoothing"):
            check_loss(loss_type, smoothing, has_offsets=False)
