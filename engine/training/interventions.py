"""What training changes inside the policy: steering and ablation of directions after a block.

    steer    h ← h + α·s·v     on chosen responses of the selected pairs, from the last user turn on
    ablate   h ← h − V Vᵀ h    at every position of every pair

h is the residual stream after block ℓ, v a unit direction, V an orthonormal basis of the span of several,
s the median ‖h‖ at that place in the starting checkpoint, so that α is a share of the usual length. Only the
policy is changed, only while its loss is computed: the reference log-probabilities are those of the plain
start, and the saved checkpoint carries no hook. α > 0 makes the concept easy on the chosen side, so less of
it is learnt (suppresses); α < 0 amplifies.

Hooks sit on the outputs of whole blocks, which activation checkpointing does not run twice.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from engine.errors import TrainError
from engine.manifest import hash_bytes, hash_json, write_json
from engine.models.blocks import capture, check_layer, find_blocks, width_of
from engine.records import MAX_STRENGTH
from engine.training.checkpoint import readable
from engine.training.encode import common_prefix, prompt_ids, read_tools

FILE = "interventions.json"
VECTORS = "interventions.safetensors"
NORM_PAIRS = 32
"""Pairs, the first of the order, that the median ‖h‖ is measured on."""
STEER_FROM = "steer_from"
"""Column: first position that steering acts on."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One thing done to the policy while it trains."""

    name: str
    kind: Literal["steer", "ablate"]
    layer: int
    """Block whose output is changed, from 0."""
    vectors: NDArray[np.float32]
    """(K, D) directions, not zero; steering takes exactly one."""
    strength: float = 0.0
    """α of steering, in units of the median ‖h‖; 0 for ablation."""
    pair_ids: tuple[str, ...] = ()
    """Pairs whose chosen side is steered."""

    @property
    def content_hash(self) -> str:
        """Hash of everything that determines what it does."""
        facts = [self.kind, self.layer, self.strength, sorted(self.pair_ids), list(self.vectors.shape)]
        return hash_json([*facts, hash_bytes(self.vectors.astype("<f4").tobytes())])


def write_interventions(shaped_dir: Path, interventions: Sequence[Intervention]) -> None:
    """Put interventions beside a shaped dataset."""
    vectors = {str(i): np.asarray(item.vectors, np.float32) for i, item in enumerate(interventions)}
    save_file(vectors, shaped_dir / VECTORS)
    rows = [
        {
            "name": item.name,
            "kind": item.kind,
            "layer": item.layer,
            "strength": item.strength,
            "pair_ids": list(item.pair_ids),
        }
        for item in interventions
    ]
    write_json(shaped_dir / FILE, rows)
    readable(shaped_dir, FILE)


def read_interventions(shaped_dir: Path) -> tuple[Intervention, ...]:
    """The interventions of a shaped dataset; none where no file says so.

    Raises:
        TrainError: a damaged file, a direction of length zero, or a strength out of range.
    """
    if not (shaped_dir / FILE).exists():
        return ()
    try:
        rows = json.loads((shaped_dir / FILE).read_text(encoding="utf-8"))
        vectors = load_file(shaped_dir / VECTORS)
        found = tuple(
            Intervention(
                row["name"],
                row["kind"],
                row["layer"],
                np.atleast_2d(vectors[str(i)]).astype(np.float32),
                float(row["strength"]),
                tuple(row["pair_ids"]),
            )
            for i, row in enumerate(rows)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{shaped_dir / FILE} is damaged", hint="compile the dataset again") from error
    for item in found:
        _check(item)
    return found


def refuse_unknown_methods(shaped_dir: Path, prepared: Collection[str]) -> None:
    """Refuse a dataset whose rules ask the trainer for something that nobody prepared.

    Args:
        shaped_dir: the dataset.
        prepared: names of the statements that have an intervention or a mask.

    Raises:
        TrainError: the lock names another training statement.
    """
    lock = shaped_dir / "lock.json"
    if not lock.exists():
        return
    try:
        entries = json.loads(lock.read_text(encoding="utf-8")).get("training", [])
        # An inoculation is a column of the data; everything else has to be prepared.
        missing = [
            str(entry["line"])
            for entry in entries
            if entry["kind"] != "inoculate" and entry["name"] not in prepared
        ]
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise TrainError(f"{lock} is damaged", hint="compile the dataset again") from error
    if missing:
        raise TrainError(
            "the rules ask for what nobody prepared: " + "; ".join(missing),
            hint="remove these statements, or use `suppress … by matching` or an offset instead",
        )


def _check(item: Intervention) -> None:
    if item.kind not in ("steer", "ablate"):
        raise TrainError(f"`{item.name}`: there is no intervention `{item.kind}`", hint="steer, ablate")
    norms = np.linalg.norm(item.vectors, axis=1)
    if not np.all(np.isfinite(norms)) or np.any(norms == 0):
        raise TrainError(f"`{item.name}` has a direction of no length", hint="choose another concept")
    if item.kind == "steer":
        if len(item.vectors) != 1 or not item.pair_ids:
            raise TrainError(
                f"`{item.name}` needs one direction and at least one pair", hint="look at the plan"
            )
        if not 0 < abs(item.strength) <= MAX_STRENGTH:
            raise TrainError(
                f"`{item.name}` steers by {item.strength:g} median lengths",
                hint=f"choose a strength other than 0 within ±{MAX_STRENGTH:g}",
            )


@dataclass(frozen=True, slots=True)
class _Placed:
    item: Intervention
    basis: Tensor
    """steer: (1, D), α·s·v; ablate: (K', D), orthonormal rows"""


class Interventions:
    """Interventions placed in a policy; they act inside ``active`` only."""

    def __init__(self, model: Any, placed: Sequence[_Placed]) -> None:
        self._model = model
        self._placed = placed

    @classmethod
    def place(
        cls, items: Sequence[Intervention], model: Any, batches: Sequence[Mapping[str, Tensor]]
    ) -> "Interventions":
        """Scale directions by the median ‖h‖ of the starting checkpoint over ``batches``.

        Args:
            items: what to do.
            model: the policy before its first step, on its device; base model where LoRA wraps it.
            batches: input_ids and attention_mask on the same device.

        Raises:
            TrainError: directions of another width.
            ModelError: no such block.
        """
        check_fits(items, model)
        placed = []
        for item in items:
            device = batches[0]["input_ids"].device
            if item.kind == "steer":
                scale = item.strength * _median_length(model, item.layer, batches)
                basis = torch.from_numpy(item.vectors / np.linalg.norm(item.vectors)) * scale
            else:
                basis = _orthonormal(item.vectors)
            placed.append(_Placed(item, basis.to(device)))
        return cls(model, placed)

    @property
    def n_steerings(self) -> int:
        """How many of them steer."""
        return sum(placed.item.kind == "steer" for placed in self._placed)

    @contextmanager
    def active(self, chosen: Sequence[Tensor], mask: Tensor) -> Iterator[None]:
        """Change the policy while the context lasts.

        Args:
            chosen: per steering, in order, where it acts: (2B, T) of 0 and 1.
            mask: attention mask, (2B, T).
        """
        _, blocks = find_blocks(self._model)
        where = iter(chosen)
        with ExitStack() as stack:
            for placed in self._placed:
                place = next(where) if placed.item.kind == "steer" else mask
                hook = _Hook(placed, place)
                handle = blocks[placed.item.layer].register_forward_hook(hook)
                stack.callback(handle.remove)
            yield


def check_fits(items: Sequence[Intervention], model: Any) -> None:
    """Whether a model has the blocks and the width that interventions are made for.

    Raises:
        TrainError: directions of another width.
        ModelError: no such block.
    """
    if not items:
        return
    _, blocks = find_blocks(model)
    for item in items:
        check_layer(item.layer, len(blocks))
        if item.vectors.shape[1] != width_of(model):
            raise TrainError(
                f"`{item.name}` is of width {item.vectors.shape[1]}, the model of {width_of(model)}",
                hint="directions belong to the checkpoint that they were read from",
            )


class _Hook:
    def __init__(self, placed: _Placed, place: Tensor) -> None:
        self._placed = placed
        self._place = place

    def __call__(self, _module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output  # (2B, T, D)
        basis = self._placed.basis.to(hidden.dtype)
        place = self._place[..., None].to(hidden.dtype)
        if self._placed.item.kind == "steer":
            changed = hidden + place * basis[0]
        else:
            changed = hidden - place * ((hidden @ basis.T) @ basis)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


def _orthonormal(vectors: NDArray[np.float32]) -> Tensor:
    """Orthonormal basis of the span, (K', D); directions that add nothing are left out."""
    _, sizes, rows = np.linalg.svd(vectors.astype(np.float64), full_matrices=False)
    return torch.from_numpy(rows[sizes > 1e-6 * sizes[0]].astype(np.float32))


def _median_length(model: Any, layer: int, batches: Sequence[Mapping[str, Tensor]]) -> float:
    """Median ‖h‖ over attended positions but the first of each sequence, which many models use as a sink."""
    lengths = []
    with torch.no_grad(), capture(model, layer) as captured:
        for batch in batches:
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
            norms = captured.take().float().norm(dim=-1)  # (2B, T)
            attended = batch["attention_mask"].bool()
            attended[:, 0] = False
            lengths.append(norms[attended])
    return float(torch.cat(lengths).median())


def steering_columns(
    items: Sequence[Intervention],
    pair_ids: Sequence[str],
    prompts: Sequence[Any],
    tokenizer: Any,
    tools: Sequence[str | None] = (),
) -> dict[str, list[int]]:
    """Which pairs are steered and from where on, as columns of the encoded pairs; none without steering.

    Args:
        items: all interventions.
        pair_ids: of the rows.
        prompts: messages of the rows, as the policy sees them.
        tokenizer: of the policy.
        tools: JSON of the tools that each prompt offers, as training shows them; empty: none does.

    Returns:
        steer_0, steer_1 … (0 or 1 per row, one column per steering in order) and steer_from.
    """
    steerings = [set(item.pair_ids) for item in items if item.kind == "steer"]
    if not steerings:
        return {}
    columns = {f"steer_{k}": [int(i in chosen) for i in pair_ids] for k, chosen in enumerate(steerings)}
    columns[STEER_FROM] = [
        last_turn_start(tokenizer, prompt, read_tools(offered))
        if any(i in chosen for chosen in steerings)
        else 0
        for i, prompt, offered in zip(pair_ids, prompts, tools or [None] * len(pair_ids), strict=True)
    ]
    return columns


def last_turn_start(
    tokenizer: Any, prompt: Sequence[Mapping[str, str]], tools: Sequence[Any] | None = None
) -> int:
    """Position of the first token of the last user turn's text; 0 in a prompt without user turn."""
    place = next((i for i in reversed(range(len(prompt))) if prompt[i]["role"] == "user"), None)
    if place is None:
        return 0
    other = "b" if prompt[place]["content"].startswith("a") else "a"
    changed = [*prompt[:place], {"role": "user", "content": other}, *prompt[place + 1 :]]
    return common_prefix(prompt_ids(tokenizer, prompt, tools), prompt_ids(tokenizer, changed, tools))


def steered_places(inputs: Mapping[str, Tensor], n_steerings: int) -> list[Tensor]:
    """Per steering, where it acts: (2B, T) of 0 and 1; chosen rows of its pairs, last user turn and later."""
    mask = inputs["attention_mask"]
    position = torch.arange(mask.shape[1], device=mask.device)
    places = []
    for k in range(n_steerings):
        is_late = position >= inputs[STEER_FROM][:, None]  # (B, T)
        on_chosen = is_late * inputs[f"steer_{k}"][:, None]
        places.append(torch.cat([on_chosen, torch.zeros_like(on_chosen)]) * mask)
    return places
