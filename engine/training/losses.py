"""Which losses can be weighted, which can take an offset, and each pair's own loss for the log.

TRL computes the loss that is trained on; ``pair_losses`` repeats the per-pair formulas because TRL only
returns their mean, and is used for the logged ``loss/weighted`` alone. Tests hold the two equal.
"""

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import TrainError

DIFFERENCE_LOSSES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "exo_pair", "discopop")
"""See the two sides only through their difference, so an offset folded into the reference is exact."""
PAIR_LOSSES = (*DIFFERENCE_LOSSES, "apo_zero", "apo_down", "nca_pair", "bco_pair", "sppo_hard")
"""One term per pair, so a pair's gradient can be scaled by its weight."""
SMOOTHED = ("robust", "exo_pair")
"""Take a share of wrong labels."""
LENGTH_NORMALISED = ("sigmoid_norm", "ipo")
"""Divide each side's log-ratio by its token count, so the folded offset is multiplied by it."""
DISCOPOP_TAU = 0.05
"""TRL's default."""


def check_loss(loss_type: str, label_smoothing: float, *, has_offsets: bool) -> None:
    """Refuse a loss that weights or offsets would not be exact for.

    Raises:
        TrainError: unknown loss, one that mixes pairs, offsets with a loss of single sides, or a label
            smoothing that the loss cannot use.
    """
    if loss_type not in PAIR_LOSSES:
        known = ", ".join(PAIR_LOSSES)
        reason = "sorts or mixes pairs, so a pair's weight would reach other pairs"
        detail = reason if loss_type.startswith("aot") or loss_type == "sft" else "is not known"
        raise TrainError(f"loss `{loss_type}` {detail}", hint=f"set training.loss_type to one of: {known}")
    if has_offsets and loss_type not in DIFFERENCE_LOSSES:
        raise TrainError(
            f"loss `{loss_type}` looks at each side by itself and cannot honour this dataset's offsets",
            hint="use " + ", ".join(DIFFERENCE_LOSSES) + ", or compile without offset rules",
        )
    if loss_type == "exo_pair" and not 0 < label_smoothing < 1:
        raise TrainError(
            "loss `exo_pair` needs label smoothing above 0", hint="set training.label_smoothing = 0.001"
        )
    if loss_type == "robust" and not 0 <= label_smoothing < 0.5:
        raise TrainError(
            f"loss `robust` needs label smoothing in [0, 0.5), not {label_smoothing}",
            hint="it is the share of labels believed to be wrong",
        )
    if label_smoothing and loss_type not in SMOOTHED:
        raise TrainError(
            f"loss `{loss_type}` has no use for label smoothing",
            hint="set training.label_smoothing = 0, or training.loss_type to one of: " + ", ".join(SMOOTHED),
        )


def offset_in_reference(loss_type: str, beta: float, offset: Tensor, chosen_tokens: Tensor) -> Tensor:
    """What to subtract from the chosen reference log-probability so that the loss sees β·Δθ + m.

    Args:
        loss_type: one of ``DIFFERENCE_LOSSES``.
        beta: β > 0.
        offset: m, shape (B,); positive weakens what the pair teaches.
        chosen_tokens: tokens of the chosen response that are trained on, shape (B,).

    Returns:
        m/β, times the chosen token count for length-normalised losses, shape (B,). For ``ipo`` the argument
        of the square is shifted by m/β.
    """
    shift = offset / beta
    return shift * chosen_tokens.clamp(min=1) if loss_type in LENGTH_NORMALISED else shift


def pair_losses(
    loss_type: str,
    chosen: Tensor,
    rejected: Tensor,
    tokens: tuple[Tensor, Tensor],
    beta: float,
    smoothing: float,
) -> Tensor:
    """Loss of every pair, as TRL 1.16 defines it (reverse KL).

    Args:
        loss_type: one of ``PAIR_LOSSES``.
        chosen: log π − log π_ref of the chosen response, offsets folded in, shape (B,).
        rejected: the same of the rejected response.
        tokens: response tokens of chosen and of rejected, each (B,).
        beta: β.
        smoothing: ε of ``robust`` and ``exo_pair``.

    Returns:
        Shape (B,).
    """
    if loss_type in LENGTH_NORMALISED:
        delta = chosen / tokens[0].clamp(min=1) - rejected / tokens[1].clamp(min=1)
        if loss_type == "ipo":
            return (delta - 1 / (2 * beta)) ** 2
        return -functional.logsigmoid(beta * delta)
    if loss_type in DIFFERENCE_LOSSES:
        return _difference_loss(loss_type, beta * (chosen - rejected), smoothing)
    return _two_sided_loss(loss_type, chosen, rejected, beta)


def _difference_loss(loss_type: str, logits: Tensor, smoothing: float) -> Tensor:
    log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    if loss_type == "sigmoid":
        return -log_p
    if loss_type == "hinge":
        return torch.relu(1 - logits)
    if loss_type == "robust":
        return (-(1 - smoothing) * log_p + smoothing * log_q) / (1 - 2 * smoothing)
    if loss_type == "exo_pair":
        epsilon = torch.tensor(smoothing, device=logits.device)
        p, q = log_p.exp(), log_q.exp()
        return p * (log_p - torch.log1p(-epsilon)) + q * (log_q - torch.log(epsilon))
    blend = torch.sigmoid(logits / DISCOPOP_TAU)
    return -log_p * (1 - blend) + torch.exp(-logits) * blend


def _two_sided_loss(loss_type: str, chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    c, r = beta * chosen, beta * rejected
    if loss_type == "apo_zero":
        return 1 - torch.sigmoid(c) + torch.sigmoid(r)
    if loss_type == "apo_down":
        return torch.sigmoid(c) + 1 - torch.sigmoid(c - r)
    if loss_type == "nca_pair":
        return -functional.logsigmoid(c) - 0.5 * functional.logsigmoid(-c) - 0.5 * functional.logsigmoid(-r)
    if loss_type == "bco_pair":
        return -functional.logsigmoid(c) - functional.logsigmoid(-r)
    return (chosen - 0.5 / beta) ** 2 + (rejected + 0.5 / beta) ** 2
