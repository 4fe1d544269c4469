"""Did the model move at all? Log-probabilities of held-out pairs and of rollouts under two checkpoints.

Only numbers per pair and per response are made here; their means and intervals are the outcome's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import TrainError
from engine.models.blocks import max_positions_of
from engine.models.fetching import resolve_folder
from engine.models.loading import LoadedModel
from engine.progress import Progress
from engine.records import Label
from engine.settings import TrainingSettings
from engine.training.encode import encode_pair, read_tools
from engine.training.offline import offline
from engine.training.rollouts import TOOLS, Rollouts, held_out_table, load_chat
from engine.training.sampling import token_logps

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST = 80.0
"""e to this is the largest ratio that enters the divergence, which stays finite but useless beyond it."""


def score_held_out(
    start: str, tuned: str, pairs_path: Path, settings: TrainingSettings, progress: Progress
) -> pa.Table:
    """Log-probabilities of held-out chosen and rejected responses under two checkpoints.

    Returns:
        group_id, chosen_tokens, rejected_tokens, and chosen_start, chosen_tuned, rejected_start,
        rejected_tuned: sums over the response's tokens in nats. The first ``rollout_prompts`` labelled pairs,
        without those that exceed ``max_length``.

    Raises:
        TrainError: no held-out pairs, or checkpoints with different tokens.
    """
    table = held_out_table(pairs_path, ["group_id", "label", "prompt", "chosen", "rejected"])
    table = table.filter(pc.equal(table.column("label"), Label.CHOSEN.value)).slice(
        0, settings.rollout_prompts
    )
    rows = table.to_pylist()
    encoded: list[Any] = []
    columns: dict[str, list[Any]] = {}

    def each(loaded: LoadedModel, name: str) -> None:
        if not encoded:
            fits = min(settings.max_length, max_positions_of(loaded.model) or settings.max_length)
            for row in rows:
                pair = encode_pair(
                    loaded.tokenizer,
                    row["prompt"],
                    row["chosen"],
                    row["rejected"],
                    read_tools(row.get(TOOLS)),
                )
                if len(pair.prompt) + max(len(pair.chosen), len(pair.rejected)) <= fits:
                    encoded.append((row["group_id"], pair))
            # two sides under two checkpoints
            progress.start("held-out pairs", 4 * len(encoded), "log-probabilities")
        sides: dict[str, list[float]] = {f"chosen_{name}": [], f"rejected_{name}": []}
        for _, pair in encoded:
            for side, ids in (("chosen", pair.chosen), ("rejected", pair.rejected)):
                logps = token_logps(loaded.model, pair.prompt, ids)
                sides[f"{side}_{name}"].append(float(logps.sum(dtype=np.float64)))
                progress.advance()
        columns.update(sides)

    _with_both(start, tuned, settings.device, each)
    progress.finish()
    tokens = {
        "group_id": [group for group, _ in encoded],
        "chosen_tokens": [len(pair.chosen) for _, pair in encoded],
        "rejected_tokens": [len(pair.rejected) for _, pair in encoded],
    }
    return pa.table(tokens | columns)


def score_rollouts(
    start: str, tuned: str, rollouts: Rollouts, settings: TrainingSettings, progress: Progress
) -> pa.Table:
    """How far apart two checkpoints are on what the tuned one says.

    Args:
        start: the checkpoint before.
        tuned: the checkpoint after; ``rollouts`` must be its own.
        rollouts: sampled from ``tuned`` at temperature 1.
        settings: only the device.
        progress: told about the stage "divergence".

    Returns:
        group_id, n_tokens and kl: per response Σ_t (e^d − 1 − d), d = log π_start − log π_tuned of the
        sampled token t. Each term is ≥ 0 and has the KL(tuned ‖ start) of the next token as its mean over
        draws, so the sum estimates the KL of a response; the token that ends it is not scored.
    """
    rows = rollouts.table.select(["prompt_ids", "response_ids"]).to_pylist()
    logps: dict[str, list[NDArray[np.float32]]] = {}
    progress.start("divergence", 2 * len(rows), "log-probabilities")

    def each(loaded: LoadedModel, name: str) -> None:
        logps[name] = []
        for row in rows:
            logps[name].append(token_logps(loaded.model, row["prompt_ids"], row["response_ids"]))
            progress.advance()

    _with_both(start, tuned, settings.device, each)
    progress.finish()
    pairs = zip(logps["start"], logps["tuned"], strict=True)
    differences = [np.minimum(a.astype(np.float64) - b, _LARGEST) for a, b in pairs]
    return pa.table(
        {
            "group_id": rollouts.table.column("group_id"),
            "n_tokens": [len(d) for d in differences],
            "kl": [float(np.sum(np.expm1(d) - d)) for d in differences],
        }
    )


def log_ratios(
    start: str, tuned: str, rollouts: Rollouts, settings: TrainingSettings, progress: Progress
) -> "NDArray[np.float64]":
    """(R,) log-probability of each response under ``tuned`` − under ``start``, over all its tokens, nats."""
    rows = rollouts.table.select(["prompt_ids", "response_ids"]).to_pylist()
    sums: dict[str, list[float]] = {}
    progress.start("log-ratios", 2 * len(rows), "responses")

    def each(loaded: LoadedModel, name: str) -> None:
        sums[name] = []
        for row in rows:
            logps = token_logps(loaded.model, row["prompt_ids"], row["response_ids"])
            sums[name].append(float(logps.sum(dtype=np.float64)))
            progress.advance()

    _with_both(start, tuned, settings.device, each)
    progress.finish()
    return np.subtract(np.array(sums["tuned"], np.float64), np.array(sums["start"], np.float64))


def _with_both(start: str, tuned: str, device: str, each: Callable[[LoadedModel, str], None]) -> None:
    """Call with one checkpoint after the other, so that only one is in memory."""
    folders = {"start": resolve_folder(start), "tuned": resolve_folder(tuned)}
    vocabulary: dict[str, int] | None = None
    with offline():
        for name, folder in folders.items():
            loaded = load_chat(folder, device)
            if vocabulary is not None and loaded.tokenizer.get_vocab() != vocabulary:
                raise TrainError(
                    f"{start} and {tuned} have different tokens: their log-probabilities do not compare",
                    hint="compare a tuned checkpoint with the one it started from",
                )
            vocabulary = loaded.tokenizer.get_vocab()
            each(loaded, name)
