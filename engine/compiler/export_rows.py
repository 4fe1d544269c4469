"""One row of a shaped dataset as each target writes it. A ``ValueError`` says what cannot be said there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Row:
    """What exports read of a row of train.parquet."""

    pair_id: str
    prompt: Messages
    chosen: Messages
    rejected: Messages
    weight: float
    offset: float
    tools: str | None
    inoculation: str | None


def prosect_row(row: Row) -> dict[str, Any]:
    """Our own columns: TRL's conversational form beside weight and offset."""
    return (
        trl_row(row)
        | {"pair_id": row.pair_id, "weight": row.weight, "offset": row.offset}
        | ({"inoculation": row.inoculation} if row.inoculation is not None else {})
    )


def trl_row(row: Row) -> dict[str, Any]:
    """Explicit prompt, responses as message lists."""
    made: dict[str, Any] = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return made | ({"tools": row.tools} if row.tools is not None else {})


def trl_reward_row(row: Row) -> dict[str, Any]:
    """TRL's reward loss is −log σ(r_chosen − r_rejected − margin): the margin is our offset negated."""
    return trl_row(row) | {"margin": -row.offset if row.offset else 0.0}


def axolotl_row(row: Row) -> dict[str, Any]:
    """``messages`` is the prompt; each response is one message, whose right end axolotl strips."""
    chosen, rejected = _single(row.chosen), _single(row.rejected)
    if chosen["content"] != chosen["content"].rstrip() or rejected["content"] != rejected["content"].rstrip():
        chosen, rejected = (m | {"content": m["content"].rstrip()} for m in (chosen, rejected))
        if chosen["content"] == rejected["content"]:
            raise ValueError("responses that differ in trailing white space only")
    return {"messages": row.prompt, "chosen": chosen, "rejected": rejected}


def llama_factory_row(row: Row) -> dict[str, Any]:
    """sharegpt: human and gpt take turns, the prompt ends with human, the system text stands apart."""
    system = ""
    prompt = row.prompt
    if prompt and prompt[0]["role"] == "system":
        system, prompt = prompt[0]["content"], prompt[1:]
    names = {"user": "human", "assistant": "gpt"}
    turns = []
    for number, message in enumerate(prompt):
        wanted = "user" if number % 2 == 0 else "assistant"
        if message["role"] != wanted:
            raise ValueError("prompts whose user and assistant do not take turns")
        turns.append({"from": names[message["role"]], "value": message["content"]})
    if len(turns) % 2 == 0:
        raise ValueError("prompts that do not end with the user")
    sides = {
        name: {"from": "gpt", "value": _single(messages)["content"]}
        for name, messages in (("chosen", row.chosen), ("rejected", row.rejected))
    }
    return {"conversations": turns, "system": system} | sides


def open_instruct_row(row: Row) -> dict[str, Any]:
    """Whole conversations; only the last turn may differ."""
    return {
        "chosen": [*row.prompt, _single(row.chosen)],
        "rejected": [*row.prompt, _single(row.rejected)],
    }


def _single(messages: Messages) -> dict[str, str]:
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise ValueError("responses of several messages")
    return messages[0]


ROW_WRITERS: dict[str, Callable[[Row], dict[str, Any]]] = {
    "prosect": prosect_row,
    "trl": trl_row,
    "trl-reward": trl_reward_row,
    "axolotl": axolotl_row,
    "llama-factory": llama_factory_row,
    "open-instruct": open_instruct_row,
}
