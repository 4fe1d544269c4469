"""What the trainer is asked to do, as plain values in the lock of a shaped dataset.

Which pairs an entry applies to is in the data: those whose ``rules`` hold the entry's name.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import CompileError
from engine.records import MAX_STRENGTH
from engine.rules.checked import CheckedFile
from engine.rules.terms import Apply, Concept, Constant, Reading, Term


def training_entries(checked: CheckedFile) -> list[dict[str, Any]]:
    """One entry per steer, ablate, mask and inoculate, in order of name.

    Keys: ``name``, ``kind``, ``line`` (as written); steer and ablate: ``concept`` (kind, id, members),
    ``layer``, ``amount`` (α in units of the median norm of the residual; steer only); mask: ``tokens``, the
    condition on a token's own activations as nested lists ``["<", a, b]``, ``["and", …]``, ``["or", …]``,
    ``["not", a]``, ``["activation", [latents]]`` or a number; inoculate: ``text``.
    """
    out: list[dict[str, Any]] = []
    for item in checked.training:
        entry: dict[str, Any] = {"name": item.name, "kind": item.kind}
        entry["line"] = " ".join(checked.text[item.place.start : item.place.end].split())
        if item.concept is not None:
            entry |= {"concept": concept_entry(item.concept), "layer": item.layer}
        if item.kind == "steer":
            entry["amount"] = item.amount
        if item.tokens is not None:
            entry["tokens"] = token_condition(item.tokens)
        out.append(entry)
    for rule in checked.rules:
        action = rule.action("inoculate")
        if action is not None:
            line = " ".join(checked.text[rule.place.start : rule.place.end].split())
            out.append({"name": rule.name, "kind": "inoculate", "line": line, "text": action.text})
    return sorted(out, key=lambda e: e["name"])


def refuse_impossible(
    checked: CheckedFile,
    touched: Mapping[str, NDArray[np.bool_]],
    kept: NDArray[np.bool_],
    n_blocks: int | None,
) -> None:
    """Refuse training statements that no run could carry out.

    Args:
        checked: the rule file.
        touched: statement to the pairs that it is about, (P,).
        kept: pairs that are trained on, (P,).
        n_blocks: of the reader's checkpoint, whose directions they use; None: not known.

    Raises:
        CompileError: steering by nothing or too far, steering of no pair, or a layer that is not there.
    """
    for item in checked.training:
        line = " ".join(checked.text[item.place.start : item.place.end].split())
        if item.kind == "steer" and not 0 < abs(item.amount) <= MAX_STRENGTH:
            raise CompileError(
                f"`{line}` steers by {item.amount:g} median lengths",
                hint=f"choose a strength other than 0 within ±{MAX_STRENGTH:g}",
            )
        if item.kind == "steer" and item.name in touched and not np.any(touched[item.name] & kept):
            raise CompileError(
                f"`{line}` steers none of the pairs that are kept",
                hint="take it out, or give it a condition that kept pairs meet",
            )
        layer = item.layer if item.kind in ("steer", "ablate") else None
        if n_blocks is not None and layer is not None and not 0 <= layer < n_blocks:
            raise CompileError(
                f"`{line}`: there is no layer {layer}, the reader has {n_blocks} blocks",
                hint=f"layers are counted from 0 to {n_blocks - 1}",
            )


def concept_entry(concept: Concept) -> dict[str, Any]:
    """A concept as plain values."""
    return {"kind": concept.kind, "id": concept.concept_id, "members": list(concept.members)}


def token_condition(term: Term) -> Any:
    """A condition on tokens as nested lists."""
    match term:
        case Constant():
            return term.value
        case Reading():
            return ["activation", list(term.concept.members)]
        case Apply():
            return [term.operator, *(token_condition(a) for a in term.arguments)]
        case _:
            raise TypeError(f"{term!r} does not belong to a token")


def latents_of(condition: Any) -> set[tuple[int, ...]]:
    """The sets of latents whose activations a token condition reads."""
    if not isinstance(condition, list):
        return set()
    if condition[0] == "activation":
        return {tuple(int(latent) for latent in condition[1])}
    return {group for part in condition[1:] for group in latents_of(part)}


def token_truth(
    condition: Any, activation: Mapping[tuple[int, ...], NDArray[np.floating]]
) -> NDArray[np.bool_]:
    """Which of T tokens a token condition holds for, as the lock has it.

    Args:
        condition: nested lists, see ``training_entries``.
        activation: set of latents to the largest activation among them at each token, (T,); 0 where silent.
    """
    n = len(next(iter(activation.values()), ()))
    return np.broadcast_to(_at_tokens(condition, activation).astype(bool), (n,))


def _at_tokens(term: Any, activation: Mapping[tuple[int, ...], NDArray[np.floating]]) -> NDArray[Any]:
    if not isinstance(term, list):
        return np.asarray(term)
    operator, *rest = term
    if operator == "activation":
        return activation[tuple(int(latent) for latent in rest[0])].astype(np.float64)
    values = [_at_tokens(part, activation) for part in rest]
    with np.errstate(divide="ignore", invalid="ignore"):
        return _apply(operator, values)


def _apply(operator: str, values: list[NDArray[Any]]) -> NDArray[Any]:
    """One operator. Missing values (a division by 0, anything not finite) make a comparison false."""
    first, last = values[0], values[-1]
    known = reduce(np.logical_and, [np.isfinite(v) for v in values])
    simple: dict[str, Any] = {
        "and": lambda: reduce(np.logical_and, values),
        "or": lambda: reduce(np.logical_or, values),
        "not": lambda: ~first.astype(bool),
        "neg": lambda: -first,
        "+": lambda: first + last,
        "-": lambda: first - last,
        "*": lambda: first * last,
        "/": lambda: np.where(last == 0, np.nan, first / last),
        "<": lambda: known & (first < last),
        "<=": lambda: known & (first <= last),
        "==": lambda: known & (first == last),
        "in": lambda: reduce(
            np.logical_or, [np.isfinite(first) & (first == v) for v in values[1:]], np.zeros((), bool)
        ),
    }
    found: NDArray[Any] = np.asarray(simple[operator]())
    return found
