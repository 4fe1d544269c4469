"""What the trainer is asked to do, as plain values in the lock of a shaped dataset.

Which pairs an entry applies to is in the data: those whose ``rules`` hold the entry's name.
"""

from typing import Any

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
