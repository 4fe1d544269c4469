"""One row of a shaped dataset as each target writes it. A ``ValueError`` says what cannot be said there."""

from collections.abc import Callable, Sequence
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
        _explicit(row)
        | {"pair_id": row.pair_id, "weight": row.weight, "offset": row.offset}
        | ({"inoculation": row.inoculation} if row.inoculation is not None else {})
    )


def trl_row(row: Row) -> dict[str, Any]:
    """Explicit prompt, responses as message lists; TRL renders no conversation without a message."""
    if not row.prompt:
        raise ValueError("prompts without any message")
    return _explicit(row)


def _explicit(row: Row) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected}
    return made | ({"tools": row.tools} if row.tools is not None else {})


def trl_reward_row(row: Row) -> dict[str, Any]:
    """TRL's reward loss is −log σ(r_chosen − r_rejected − margin): the margin is our offset negated."""
    return trl_row(row) | {"margin": -row.offset if row.offset else 0.0}


_BEFORE = (
    "[[dummy_message]] user assistant system <|im_start|> <|im_end|> <|start_header_id|> <|end_header_id|>"
    " <|begin_of_text|> <|eot_id|> <|user|> <|assistant|> <|end|> <s>[INST] [/INST] <bos><start_of_turn>model"
    " You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    " Cutting Knowledge Date: December 2023 Today Date: 26 Jul 2024"
)
"""What may stand before a response in the text that axolotl searches for it."""


def axolotl_row(row: Row) -> dict[str, Any]:
    """``messages`` is the prompt; each response is one message.

    axolotl (0.19) renders a response behind a dummy user turn and takes what follows the first occurrence of
    its text. Ends are stripped here, since a template that trims would make it find nothing; a response that
    is empty or may occur in the marks before it would be cut in the wrong place, and is refused.
    """
    sides = [_single(messages) for messages in (row.chosen, row.rejected)]
    chosen, rejected = (m | {"content": m["content"].strip()} for m in sides)
    if chosen["content"] == rejected["content"]:
        raise ValueError("responses that differ in white space at their ends only")
    if any(m["content"] in _BEFORE for m in (chosen, rejected)):
        raise ValueError("responses that are empty or so short that they occur in a template's marks")
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


def changes_of(target: str, rows: Sequence[Row]) -> dict[str, int]:
    """What a target changes in the texts, with the number of pairs."""
    if target != "axolotl":
        return {}
    stripped = sum(
        any(m["content"] != m["content"].strip() for side in (row.chosen, row.rejected) for m in side)
        for row in rows
    )
    return {"white space at the ends of responses": stripped} if stripped else {}
