"""What a checkpoint says on prompts that it was never trained on.

Rollouts of two checkpoints on the same prompts of the held-out fold, read by the same reader, are what the
outcome compares.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import TrainError
from engine.manifest import hash_json
from engine.models.blocks import max_positions_of
from engine.models.fetching import resolve_folder
from engine.models.loading import LoadedModel, load_model
from engine.progress import Progress
from engine.records import HELD_OUT_FOLD, Message, message_type
from engine.settings import TrainingSettings
from engine.training.encode import check_tokenizer, prompt_ids, read_tools
from engine.training.offline import offline
from engine.training.sampling import sample

ROLLOUT_VERSION = 1
TOOLS = "tools"
"""Column: JSON of the tools that a prompt offers. It is there only where any prompt offers some."""


def rollout_schema(*, has_tools: bool = False) -> pa.Schema:
    """Columns of a rollouts file: one row per sampled response, prompts together, samples ascending."""
    ids = pa.list_(pa.int32())
    tools = [(TOOLS, pa.string())] if has_tools else []
    return pa.schema(
        [
            ("prompt_number", pa.int32()),
            ("sample", pa.int32()),
            ("pair_id", pa.string()),
            ("group_id", pa.string()),
            ("prompt", message_type()),
            ("response", message_type()),
            ("prompt_ids", ids),
            ("response_ids", ids),
            ("is_complete", pa.bool_()),
            *tools,
        ]
    )


@dataclass(frozen=True, slots=True)
class HeldOutPrompt:
    """A distinct prompt of the held-out fold."""

    pair_id: str
    """The first pair that has it."""
    group_id: str
    prompt: tuple[Message, ...]
    tools: str | None = None
    """JSON of the tools that it offers: another prompt with other tools."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Sampled responses of one checkpoint; row i answers prompt ``prompt_number[i]``."""

    path: Path
    table: pa.Table
    """Columns of ``rollout_schema``."""
    checkpoint: str
    """Fingerprint of the weights that were sampled from."""
    n_too_long: int
    """Prompts left out because they and a response would not fit the model."""

    def items(self) -> list[tuple[tuple[Message, ...], tuple[Message, ...]]]:
        """(prompt, response) of every row, as the reader takes them."""
        rows = self.table.select(["prompt", "response"]).to_pylist()
        return [(_messages(row["prompt"]), _messages(row["response"])) for row in rows]

    def tools(self) -> list[str | None]:
        """JSON of the tools that each row's prompt offers."""
        names, n_rows = self.table.column_names, self.table.num_rows
        return self.table.column(TOOLS).to_pylist() if TOOLS in names else [None] * n_rows


def held_out_prompts(pairs_path: Path, limit: int) -> list[HeldOutPrompt]:
    """The first distinct prompts of fold 19; pairs lie in random order of groups, so they are a fair sample.

    The same messages with other tools are another prompt.

    Raises:
        TrainError: the fold is empty.
    """
    table = held_out_table(pairs_path, ["pair_id", "group_id", "prompt"])
    found: dict[tuple[tuple[Message, ...], str | None], HeldOutPrompt] = {}
    for row in table.to_pylist():
        prompt, tools = _messages(row["prompt"]), row.get(TOOLS) or None
        if (prompt, tools) not in found:
            found[prompt, tools] = HeldOutPrompt(row["pair_id"], row["group_id"], prompt, tools)
        if len(found) == limit:
            break
    return list(found.values())


def sample_rollouts(
    model_path: str, pairs_path: Path, out_path: Path, settings: TrainingSettings, progress: Progress
) -> Rollouts:
    """Sample responses to held-out prompts and write them; a file that is current is returned as it is.

    Args:
        model_path: checkpoint to sample from.
        pairs_path: pairs/pairs.parquet.
        out_path: parquet file to write.
        settings: rollout_* and the seed and device.
        progress: told about the stage "rollouts".

    Raises:
        TrainError: no held-out prompts, or none that fits.
        ModelError: the checkpoint cannot be loaded.
        Cancelled: stopped; nothing is written.
    """
    prompts = held_out_prompts(pairs_path, settings.rollout_prompts)
    folder = resolve_folder(model_path)
    with offline():
        loaded = load_chat(folder, settings.device)
        identity = hash_json([ROLLOUT_VERSION, loaded.fingerprint, _identity(prompts, settings)])
        if (kept := _read_if_current(out_path, identity)) is not None:
            return kept
        encoded = [prompt_ids(loaded.tokenizer, _plain(p.prompt), read_tools(p.tools)) for p in prompts]
        room = _room(loaded, settings)
        fitting = [i for i, ids in enumerate(encoded) if len(ids) <= room]
        if not fitting:
            raise TrainError(
                f"none of {len(prompts)} held-out prompts leaves room for {settings.rollout_tokens} tokens",
                hint="lower training.rollout_tokens",
            )
        rows = [(i, k) for i in fitting for k in range(settings.rollouts_per_prompt)]
        progress.start("rollouts", len(rows), "responses")
        sampled = sample(
            loaded.model,
            loaded.tokenizer,
            [encoded[i] for i, _ in rows],
            max_tokens=settings.rollout_tokens,
            temperature=settings.rollout_temperature,
            seed=settings.seed,
            batch=settings.rollout_batch,
            progress=progress,
        )
    progress.finish()
    records = [
        {
            "prompt_number": i,
            "sample": k,
            "pair_id": prompts[i].pair_id,
            "group_id": prompts[i].group_id,
            "prompt": _plain(prompts[i].prompt),
            "response": [{"role": "assistant", "content": _decode(loaded.tokenizer, drawn.ids)}],
            "prompt_ids": encoded[i],
            "response_ids": drawn.ids,
            "is_complete": drawn.is_complete,
            TOOLS: prompts[i].tools,
        }
        for (i, k), drawn in zip(rows, sampled, strict=True)
    ]
    schema = rollout_schema(has_tools=any(p.tools for p in prompts))
    table = pa.Table.from_pylist(records, schema=schema)
    n_too_long = len(prompts) - len(fitting)
    facts = {"identity": identity, "checkpoint": loaded.fingerprint, "n_too_long": str(n_too_long)}
    _write(table.replace_schema_metadata(facts), out_path)
    return Rollouts(out_path, table, loaded.fingerprint, n_too_long)


def read_rollouts(path: Path) -> Rollouts:
    """Rollouts written before.

    Raises:
        TrainError: no such file, or another kind of file.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise TrainError(f"{path} cannot be read: {error}", hint="sample the rollouts again") from error
    facts = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    names = rollout_schema(has_tools=TOOLS in table.column_names).names
    if "checkpoint" not in facts or table.column_names != names:
        raise TrainError(f"{path} holds no rollouts", hint="sample the rollouts again")
    return Rollouts(path, table.replace_schema_metadata(None), facts["checkpoint"], int(facts["n_too_long"]))


def load_chat(folder: Path, device: str) -> LoadedModel:
    """A causal checkpoint that can continue messages, in float32: bfloat16 would round small updates away.

    Raises:
        TrainError: an encoder, or a tokenizer without chat template.
    """
    loaded = load_model(str(folder), device=device, dtype="float32")
    if not loaded.is_causal:
        raise TrainError(
            f"{folder} is an encoder and cannot write responses", hint="give a causal language model"
        )
    check_tokenizer(loaded.tokenizer, str(folder))
    if loaded.tokenizer.pad_token is None:
        loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
    return loaded


def held_out_table(pairs_path: Path, columns: list[str]) -> pa.Table:
    """The held-out pairs, in file order, with their tools. Raises ``TrainError`` where there are none."""
    columns = [*columns, *(name for name in pq.read_schema(pairs_path).names if name == TOOLS)]
    table = pq.read_table(pairs_path, columns=columns, filters=[("fold", "=", HELD_OUT_FOLD)])
    if table.num_rows == 0:
        raise TrainError(
            f"no pair of {pairs_path} is in the held-out fold {HELD_OUT_FOLD}",
            hint="an outcome needs some 200 pairs or more in all, of which a twentieth is held out",
        )
    return table


def _room(loaded: LoadedModel, settings: TrainingSettings) -> int:
    positions = max_positions_of(loaded.model)
    return min(settings.max_length, positions or settings.max_length) - settings.rollout_tokens


def _identity(prompts: Sequence[HeldOutPrompt], settings: TrainingSettings) -> list[Any]:
    chosen = (
        settings.seed,
        settings.rollouts_per_prompt,
        settings.rollout_tokens,
        settings.rollout_temperature,
        settings.rollout_batch,
        settings.max_length,
    )
    return [
        list(chosen),
        [[p.pair_id, _plain(p.prompt), *([p.tools] if p.tools else [])] for p in prompts],
    ]


def _read_if_current(path: Path, identity: str) -> Rollouts | None:
    if not path.exists():
        return None
    metadata = pq.read_schema(path).metadata or {}
    return read_rollouts(path) if metadata.get(b"identity") == identity.encode() else None


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    text: str = tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


def _messages(rows: Sequence[dict[str, str]]) -> tuple[Message, ...]:
    return tuple(Message(row["role"], row["content"]) for row in rows)


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]
