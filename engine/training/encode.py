"""Messages to token ids, exactly as TRL would, with everything counted that TRL does in silence.

The response starts where the tokens of prompt + response part from those of the prompt alone with its
generation prompt; sequences longer than ``max_length`` lose their end. An inoculation is an instruction at
the end of the last user turn that only the policy sees: the reference reads the original prompt, and so
does everybody after training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from engine.errors import TrainError
from engine.progress import Progress
from engine.training.shaped import ShapedPairs

_BATCH = 256


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Token ids of one pair; a response is prompt + completion to the model."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    prompt_lost: int = 0
    """Tokens at the end of the prompt that the template renders differently once a response follows."""
    reference: list[int] | None = None
    """The prompt as the reference sees it, where that differs."""

    def cut(self, max_length: int) -> "EncodedPair":
        """Responses without what does not fit; policy and reference score the same tokens."""
        room = max_length - max(len(self.prompt), len(self.reference or ()))
        return replace(self, chosen=self.chosen[: max(room, 0)], rejected=self.rejected[: max(room, 0)])


@dataclass(frozen=True, slots=True)
class EncodedPairs:
    """All pairs as token ids, rows as in ``ShapedPairs``."""

    table: pa.Table
    """prompt_ids, reference_ids (the prompt as the reference sees it), chosen_ids, rejected_ids, weight,
    offset"""
    n_inoculated: int
    """Pairs of which the policy sees another prompt than the reference."""
    n_truncated: int
    """Pairs of which at least one response loses its end to ``max_length``."""
    n_prompt_lost: int
    """Pairs whose prompt, as trained on, differs from the prompt at inference."""


def check_tokenizer(tokenizer: Any, path: str) -> None:
    """Refuse a tokenizer that cannot turn messages into text.

    Raises:
        TrainError: no chat template, or no end-of-sequence token.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TrainError(
            f"the tokenizer of {path} has no chat template, so messages cannot become text",
            hint="start from a chat checkpoint, or save a chat_template.jinja beside its tokenizer",
        )
    if tokenizer.eos_token is None:
        raise TrainError(f"the tokenizer of {path} has no end-of-sequence token", hint="set eos_token in it")


def read_tools(tools: str | None) -> list[Any] | None:
    """Tool definitions as the chat template takes them, from the JSON of a pair; None where it has none."""
    found: list[Any] | None = json.loads(tools) if tools else None
    return found


def prompt_ids(
    tokenizer: Any, prompt: Sequence[Mapping[str, str]], tools: Sequence[Any] | None = None
) -> list[int]:
    """Token ids of a prompt with its generation prompt: what a model continues."""
    ids: list[int] = tokenizer.apply_chat_template(
        list(prompt), tokenize=True, return_dict=True, add_generation_prompt=True, tools=tools
    )["input_ids"]
    return ids


def encode_pair(
    tokenizer: Any,
    prompt: Sequence[Mapping[str, str]],
    chosen: Sequence[Mapping[str, str]],
    rejected: Sequence[Mapping[str, str]],
    tools: Sequence[Any] | None = None,
) -> EncodedPair:
    """Token ids of one pair, split where the response begins."""
    start = prompt_ids(tokenizer, prompt, tools)
    sides = [
        tokenizer.apply_chat_template([*prompt, *side], tokenize=True, return_dict=True, tools=tools)[
            "input_ids"
        ]
        for side in (chosen, rejected)
    ]
    cut = min(common_prefix(start, side) for side in sides)
    return EncodedPair(start[:cut], sides[0][cut:], sides[1][cut:], len(start) - cut)


def inoculate(prompt: Sequence[Mapping[str, str]], instruction: str) -> list[dict[str, str]]:
    """The prompt with an instruction at the end of its last user turn, after an empty line.

    Raises:
        TrainError: no user turn.
    """
    turns = [dict(turn) for turn in prompt]
    last = next((turn for turn in reversed(turns) if turn["role"] == "user"), None)
    if last is None:
        raise TrainError(
            "a prompt without user turn cannot be inoculated", hint="add `and prompt.turns > 0` to the rule"
        )
    last["content"] = f"{last['content']}\n\n{instruction}"
    return turns


def encode(pairs: ShapedPairs, tokenizer: Any, max_length: int, progress: Progress) -> EncodedPairs:
    """Token ids of every pair.

    Raises:
        TrainError: a prompt alone fills ``max_length`` (TRL would drop the pair in silence), or the template
            refuses a conversation.
        Cancelled: the user stopped.
    """
    progress.start("encode", pairs.n_pairs, "pairs")
    parts: list[pa.RecordBatch] = []
    n_truncated = n_prompt_lost = n_filled = n_inoculated = 0
    for batch in pairs.table.to_batches(max_chunksize=_BATCH):
        encoded = [_encode_row(tokenizer, row) for row in batch.to_pylist()]
        kept = [pair.cut(max_length) for pair in encoded]
        for pair, cut in zip(encoded, kept, strict=True):
            n_filled += not cut.chosen or not cut.rejected
            n_truncated += (len(cut.chosen), len(cut.rejected)) != (len(pair.chosen), len(pair.rejected))
            n_prompt_lost += pair.prompt_lost > 0
            n_inoculated += pair.reference is not None
        parts.append(_arrow(kept, batch))
        progress.advance(batch.num_rows)
    progress.finish()
    if n_filled:
        raise TrainError(
            f"{n_filled} of {pairs.n_pairs} prompts alone fill all {max_length} tokens",
            hint="raise training.max_length, or drop them with a rule on prompt.tokens",
        )
    return EncodedPairs(pa.Table.from_batches(parts), n_inoculated, n_truncated, n_prompt_lost)


def _arrow(encoded: Sequence[EncodedPair], batch: pa.RecordBatch) -> pa.RecordBatch:
    ids = pa.list_(pa.int32())
    columns = {
        "prompt_ids": pa.array([pair.prompt for pair in encoded], ids),
        "reference_ids": pa.array([pair.reference or pair.prompt for pair in encoded], ids),
        "chosen_ids": pa.array([pair.chosen for pair in encoded], ids),
        "rejected_ids": pa.array([pair.rejected for pair in encoded], ids),
    }
    columns |= {name: batch.column(name).cast(pa.float32()) for name in ("weight", "offset")}
    return pa.RecordBatch.from_pydict(columns)


def _encode_row(tokenizer: Any, row: Mapping[str, Any]) -> EncodedPair:
    from jinja2 import TemplateError

    tools = read_tools(row.get("tools"))
    prompt, sides = row["prompt"], (row["chosen"], row["rejected"])
    try:
        pair = encode_pair(tokenizer, prompt, *sides, tools)
        if not row.get("inoculation"):
            return pair
        seen = encode_pair(tokenizer, inoculate(prompt, row["inoculation"]), *sides, tools)
        if (seen.chosen, seen.rejected) != (pair.chosen, pair.rejected):
            raise TrainError(
                f"pair {row['pair_id']}: the instruction changes the tokens of the responses",
                hint="use a chat template whose turns end with a token of their own",
            )
        return replace(seen, reference=pair.prompt)
    except TemplateError as error:
        raise TrainError(
            f"pair {row['pair_id']}: the chat template refuses this conversation: {error}",
            hint="drop such pairs with a rule, or use a template that takes these roles",
        ) from error


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    n = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        n += 1
    return n
