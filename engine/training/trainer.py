"""Weighted DPO with offsets: TRL's own trainer with the terms of L = −w·log σ(β·Δθ + m) added.

No loss code of TRL is copied. A pair's weight scales the gradient of its log-probabilities and leaves
their values alone, so every loss with one term per pair is weighted exactly; an offset is folded into the
reference log-probability of the chosen side. With w = 1 and m = 0 both do nothing, to the bit.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from engine.errors import TrainError
from engine.progress import Progress
from engine.training.interventions import NORM_PAIRS, Intervention, Interventions, steered_places
from engine.training.losses import offset_in_reference, pair_losses
from engine.training.masks import KEEP, SIDES
from engine.training.reference import ReferenceCache, response_key
from engine.training.saving import saving
from engine.training.steps import SHARE

_SHAPING = ("weight", "offset")
_STEERING = "steer_"
"""Columns that begin so tell where steering acts."""
_SAVE_EVERY_PAIRS = 2_000


@dataclass
class ShapedCollator(DataCollatorForPreference):  # type: ignore[misc]  # trl ships no types
    """TRL's collator, plus weight, offset and share in its step of each pair, shape (B,) float32.

    Response tokens that a mask leaves out are 0 in ``completion_mask``, so neither policy nor reference sums
    them; of a filler all are.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Pad a batch of encoded pairs."""
        batch: dict[str, Any] = super().torch_call(examples)
        for name in _SHAPING:
            batch[name] = torch.tensor([example[name] for example in examples], dtype=torch.float32)
        batch[SHARE] = torch.tensor([example.get(SHARE, 1.0) for example in examples])
        for name in (name for name in examples[0] if name.startswith(_STEERING)):
            batch[name] = torch.tensor([example[name] for example in examples])
        for first, side in zip((0, len(examples)), SIDES, strict=True):
            for i, example in enumerate(examples):
                keep = example.get(KEEP + side)
                if keep is not None:
                    start = len(example["prompt_ids"])
                    batch["completion_mask"][first + i, start : start + len(keep)] *= torch.tensor(keep)
        batch["completion_mask"] *= (batch[SHARE] > 0).long().repeat(2)[:, None]
        return batch


class _WeightedPolicy:
    """Stands in for the policy: log-probabilities keep their values, gradients are scaled by w."""

    def __init__(self, model: Callable[..., Any], weight: Tensor) -> None:
        self._model = model
        self._weight = weight
        self.log_probs: Tensor | None = None  # (2B, T−1), detached, chosen rows first

    def __call__(self, **inputs: Any) -> Any:
        outputs = self._model(**inputs)
        exact = outputs.log_probs
        held = exact.detach()
        weight = torch.cat([self._weight, self._weight]).to(exact.dtype)[:, None]
        # exact − held is 0 in value, so the forward pass is that of the unweighted loss to the bit
        outputs.log_probs = held + weight * (exact - held)
        self.log_probs = held
        return outputs


class ShapedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # trl ships no types
    """DPOTrainer for encoded pairs with weights, offsets and cached reference log-probabilities.

    Args:
        cache: reference log-probabilities; completed and saved while the trainer is built.
        has_offsets: some pair of the whole run has m ≠ 0, so rewards must be corrected before logging.
        progress: told about the reference pass.
        arguments: those of ``DPOTrainer``; the data set has the columns of ``EncodedPairs.table``.
    """

    def __init__(
        self, *, cache: ReferenceCache, has_offsets: bool, progress: Progress, **arguments: Any
    ) -> None:
        self._cache = cache
        self._has_offsets = has_offsets
        self._progress = progress
        self.interventions: Interventions | None = None
        """Set after building: the reference pass, which belongs to building, must be of the plain start."""
        self.n_computed = 0
        """Pairs whose reference log-probabilities were not in the cache."""
        super().__init__(**arguments)
        self._is_uneven = any(share != 1 for share in _shares(self.train_dataset))

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        """Pairs arrive encoded and counted; TRL would tokenise again and drop rows in silence."""
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        steering = [name for name in self.train_dataset.column_names if name.startswith(_STEERING)]
        known = set(self._signature_columns)
        wanted = (*_SHAPING, SHARE, *steering, *(KEEP + side for side in SIDES))
        self._signature_columns += [name for name in wanted if name not in known]

    def _save_checkpoint(self, *arguments: Any, **named: Any) -> None:
        """A save that fails is one that could not be written, whatever the library calls it."""
        with saving():
            super()._save_checkpoint(*arguments, **named)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """That of transformers, whose warm-up begins at a rate of 0: an only step would move nothing."""
        if num_training_steps == 1:
            self.args.warmup_steps = 0
        return super().create_scheduler(num_training_steps, optimizer)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """A run is described by its manifest, not by a card in every save."""

    def _precompute_ref_logps(self, dataset: Dataset, _name: str, batch_size: int) -> Dataset:
        """The data set with ref_chosen_logps and ref_rejected_logps, from the cache where known."""
        # the reference reads the original prompt also where the policy sees another one
        plain = dataset.remove_columns("prompt_ids").rename_column("reference_ids", "prompt_ids")
        n_pairs = sum(share > 0 for share in _shares(dataset))  # fillers stand behind all pairs
        keys = [self._keys(row) for row in plain.select(range(n_pairs))]
        missing = self._cache.missing(keys)
        self.n_computed = len(missing)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        self._compute_references(plain, keys, missing[rank::world], batch_size)
        self.accelerator.wait_for_everyone()
        if world > 1:
            self._cache.load()
        nothing = [0.0] * (len(dataset) - n_pairs)
        columns = ([self._cache[key] for key in side] for side in zip(*keys, strict=True))
        for column, values in zip(("ref_chosen_logps", "ref_rejected_logps"), columns, strict=True):
            dataset = dataset.add_column(column, values + nothing)
        return dataset

    def _keys(self, row: Mapping[str, Any]) -> tuple[bytes, bytes]:
        chosen, rejected = (
            response_key(row["prompt_ids"], row[f"{side}_ids"], self.args.max_length, row.get(KEEP + side))
            for side in SIDES
        )
        return chosen, rejected

    def _compute_references(
        self, dataset: Dataset, keys: Sequence[tuple[bytes, bytes]], numbers: Sequence[int], batch_size: int
    ) -> None:
        self._progress.start("reference log-probabilities", len(numbers), "pairs")
        # under FSDP the policy is not sharded before training, so TRL keeps a reference model until then
        model = self.ref_model or self.model.to(self.accelerator.device)
        unsaved = 0
        try:
            for start in range(0, len(numbers), batch_size):
                batch = numbers[start : start + batch_size]
                inputs = self.data_collator([dataset[i] for i in batch])
                inputs = {name: tensor.to(self.accelerator.device) for name, tensor in inputs.items()}
                chosen, rejected = self.compute_ref_log_probs(model, inputs)
                sides = zip(batch, chosen.tolist(), rejected.tolist(), strict=True)
                self._cache.add({k: v for i, c, r in sides for k, v in zip(keys[i], (c, r), strict=True)})
                unsaved += len(batch)
                if unsaved >= _SAVE_EVERY_PAIRS:
                    self._cache.save()
                    unsaved = 0
                self._progress.advance(len(batch))
        finally:
            self._cache.save()
        self._progress.finish()

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of chosen and rejected responses under the start, each (B,)."""
        plain = {name: tensor for name, tensor in inputs.items() if not _is_ours(name)}
        chosen, rejected = super().compute_ref_log_probs(model, plain)
        return chosen, rejected

    def _compute_loss(self, model: Any, inputs: Mapping[str, Tensor], return_outputs: bool) -> Any:
        weight, offset, acting = inputs["weight"], inputs["offset"], self._acting(inputs)
        share = inputs[SHARE]
        inputs = {name: tensor for name, tensor in inputs.items() if not _is_ours(name)}
        tokens = tuple(mask.sum(1) for mask in inputs["completion_mask"].chunk(2))
        shift = offset_in_reference(self.loss_types[0], self.beta, offset, tokens[0])
        reference = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        inputs["ref_chosen_logps"] = reference[0] - shift
        policy = _WeightedPolicy(model, weight * share)
        with acting:
            result = super()._compute_loss(policy, inputs, return_outputs)
        if policy.log_probs is None:
            raise TrainError("TRL did not ask the policy for log-probabilities", hint="install trl 1.16")
        with torch.no_grad():
            logps = policy.log_probs.sum(1).chunk(2)
            ratios = logps[0] - reference[0], logps[1] - reference[1]
            losses = pair_losses(
                self.loss_types[0],
                ratios[0] + shift,
                ratios[1],
                (tokens[0], tokens[1]),
                self.beta,
                self.label_smoothing,
            )
            self._log_shaping(share, weight * losses, weight, logps, ratios)
            if not self._is_uneven or not self.model.training:
                return result
            self._count_tokens_of_pairs(inputs["attention_mask"], share)
            unevenness = (share * losses).mean() - losses.mean()
        return result + unevenness  # the value that is logged; its gradient is right already

    def _acting(self, inputs: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Inside it the policy is steered and ablated; evaluation never is."""
        if self.interventions is None or not self.model.training:
            return nullcontext()
        places = steered_places(inputs, self.interventions.n_steerings)
        return self.interventions.active(places, inputs["attention_mask"])

    def intervene(self, items: Sequence[Intervention]) -> None:
        """Place interventions in the policy, scaled on the first pairs. Call before the first step."""
        if not items:
            return
        n_pairs = sum(share > 0 for share in _shares(self.train_dataset))
        rows = [self.train_dataset[i] for i in range(min(NORM_PAIRS, n_pairs))]
        device = self.accelerator.device
        batches = [{k: v.to(device) for k, v in self.data_collator([row]).items()} for row in rows]
        policy = self.accelerator.unwrap_model(self.model).to(device)
        policy = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
        self.interventions = Interventions.place(items, policy, batches)

    def _log_shaping(
        self,
        share: Tensor,
        losses: Tensor,
        weight: Tensor,
        logps: Sequence[Tensor],
        ratios: Sequence[Tensor],
    ) -> None:
        """Log the weighted loss; put rewards without m, and means over pairs, in place of TRL's own."""
        metrics = self._metrics["train" if self.model.training else "eval"]

        def mean(values: Tensor) -> float:
            return float(self.accelerator.gather(share * values).mean().item())

        metrics["loss/weighted"].append(mean(losses))
        metrics["weight"].append(mean(weight))
        if not self._has_offsets and not self._is_uneven:
            return
        chosen, rejected = (self.beta * ratio for ratio in ratios)
        pure = {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "rewards/margins": chosen - rejected,
        }
        if self._is_uneven:
            pure |= {"logps/chosen": logps[0], "logps/rejected": logps[1]}
        for name, values in pure.items():
            metrics[name][-1] = mean(values)

    def go_on_counting(self, save: Path) -> None:
        """Take the tokens seen up to a save from its log: TRL counts those of one process's life."""
        logs = json.loads((save / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        seen = [log["num_tokens"] for log in logs if "num_tokens" in log]
        self._total_train_tokens = int(seen[-1]) if seen else 0

    def _count_tokens_of_pairs(self, attention: Tensor, share: Tensor) -> None:
        """Take the fillers' tokens out of those that were seen."""
        if self.accelerator.num_processes == 1 or not self.model.training:
            return
        filler = (attention.sum(1) * (share == 0).repeat(2)).sum()
        self._total_train_tokens -= int(self.accelerator.gather(filler).sum().item())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]


def _is_ours(name: str) -> bool:
    return name in _SHAPING or name == SHARE or name.startswith(_STEERING)


def _shares(dataset: Dataset) -> list[float]:
    """Each row's share in its step; 1 where nobody said."""
    return list(dataset[SHARE]) if SHARE in dataset.column_names else [1.0] * len(dataset)


def check_batches(settings: Any) -> int:
    """Pairs per forward pass.

    Raises:
        TrainError: they do not divide those of a step.
    """
    micro: int = settings.micro_batch_pairs or settings.batch_pairs
    if settings.batch_pairs % micro:
        raise TrainError(
            f"batch_pairs {settings.batch_pairs} is no multiple of micro_batch_pairs {micro}",
            hint="choose a divisor, so that every step sees the same number of pairs",
        )
    return micro


def training_arguments(output: Path, settings: Any, *, device_type: str) -> DPOConfig:
    """TRL's configuration for one run; what differs from TRL's defaults is listed in the training docs."""
    micro = check_batches(settings)
    on_gpu = device_type == "cuda"
    return DPOConfig(
        output_dir=str(output),
        beta=settings.beta,
        loss_type=[settings.loss_type],
        label_smoothing=settings.label_smoothing,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup_ratio,  # a number below 1 is a share of the steps
        num_train_epochs=1,
        max_steps=settings.steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=settings.batch_pairs // micro,
        max_length=settings.max_length,
        precompute_ref_log_probs=True,
        # one pair at a time on a CPU: then a value never depends on which pairs happened to be beside it
        precompute_ref_batch_size=micro if on_gpu else 1,
        train_sampling_strategy="sequential",
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=device_type == "cpu",
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        gradient_checkpointing=on_gpu,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_strategy="steps",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )
