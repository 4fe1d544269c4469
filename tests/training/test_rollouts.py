"""Sampling on the held-out fold, and log-probabilities of given responses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from engine.errors import TrainError
from engine.models.loading import LoadedModel, load_model
from engine.progress import NullProgress
from engine.records import pair_schema
from engine.training.checkpoint import load_start
from engine.training.encode import encode_pair, prompt_ids, read_tools
from engine.training.movement import score_held_out, score_rollouts
from engine.training.rollouts import held_out_prompts, read_rollouts, rollout_schema, sample_rollouts
from engine.training.run import train
from engine.training.sampling import end_of_turn_ids, sample, token_logps
from tests.training.conftest import FAST, TEMPLATE, make_rows

SETTINGS = replace(
    FAST, rollout_tokens=12, rollout_prompts=6, rollouts_per_prompt=2, rollout_batch=4, max_length=200
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pairs, every second one in the held-out fold; two of those share a prompt, one is a tie."""
    rows = make_rows(40, seed=7)
    for i, row in enumerate(rows):
        row |= {"fold": 19 if i % 2 else i % 19, "label": "chosen"}
    rows[3] |= {"prompt": rows[1]["prompt"], "group_id": rows[1]["group_id"]}
    rows[5]["label"] = "tie"
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), path)
    return path


@pytest.fixture(scope="module")
def loaded(llama: Path) -> LoadedModel:
    return load_model(str(llama), device="cpu")


def test_only_held_out_prompts_are_used_each_once(pairs: Path) -> None:
    found = held_out_prompts(pairs, 100)
    assert len(found) == 19  # 20 held-out pairs, of which two share a prompt
    assert all(int(p.pair_id[4:]) % 2 for p in found)
    assert held_out_prompts(pairs, 5) == found[:5]


def test_sampling_is_seeded_and_written_with_its_checkpoint(llama: Path, pairs: Path, tmp_path: Path) -> None:
    first = sample_rollouts(str(llama), pairs, tmp_path / "a.parquet", SETTINGS, NullProgress())
    again = sample_rollouts(str(llama), pairs, tmp_path / "b.parquet", SETTINGS, NullProgress())
    other = sample_rollouts(
        str(llama), pairs, tmp_path / "c.parquet", replace(SETTINGS, seed=1), NullProgress()
    )
    assert first.table.equals(again.table)
    assert not first.table.equals(other.table)
    assert first.table.num_rows == 12
    assert first.table.schema.equals(rollout_schema())
    assert first.table.column("prompt_number").to_pylist() == [i for i in range(6) for _ in range(2)]
    kept = read_rollouts(tmp_path / "a.parquet")
    assert (kept.checkpoint, kept.table.equals(first.table)) == (first.checkpoint, True)
    before = (tmp_path / "a.parquet").stat().st_mtime_ns
    sample_rollouts(str(llama), pairs, tmp_path / "a.parquet", SETTINGS, NullProgress())
    assert (tmp_path / "a.parquet").stat().st_mtime_ns == before
    responses = [r["content"] for row in first.table.column("response").to_pylist() for r in row]
    assert len(set(responses)) > 6
    assert all("<|im_end|>" not in text for text in responses)


def test_samples_follow_the_models_own_distribution(loaded: LoadedModel) -> None:
    """400 first tokens in left-padded batches against the softmax of the logits: χ² over the likeliest."""
    prompt = loaded.tokenizer.encode("please help")
    short = loaded.tokenizer.encode("the")
    drawn = sample(
        loaded.model,
        loaded.tokenizer,
        [prompt, short] * 400,
        max_tokens=1,
        temperature=0.3,
        seed=0,
        batch=100,
        progress=NullProgress(),
    )
    with torch.no_grad():
        p = (loaded.model(torch.tensor([prompt])).logits[0, -1] / 0.3).softmax(-1).numpy().astype(float)
    tokens = [s.ids[0] for s in drawn[::2] if s.ids]
    top = np.argsort(-p)[:20]
    observed = np.array([tokens.count(int(t)) for t in top])
    expected = p[top] * 400
    z = (observed.sum() - expected.sum()) / np.sqrt(expected.sum() * (1 - p[top].sum()))
    assert abs(z) < 4
    assert ((observed - expected) ** 2 / expected).sum() < 60  # χ²₂₀ exceeds 60 with p < 1e-5


def test_a_response_ends_where_the_turn_ends(loaded: LoadedModel) -> None:
    """A template's own end of turn counts even where tokenizer and checkpoint name another token."""
    ends = end_of_turn_ids(loaded.model, loaded.tokenizer)
    assert loaded.tokenizer.convert_tokens_to_ids("<|im_end|>") in ends
    loaded.tokenizer.eos_token = "<pad>"  # noqa: S105 - a token of a tokenizer
    try:
        assert loaded.tokenizer.convert_tokens_to_ids("<|im_end|>") in end_of_turn_ids(
            loaded.model, loaded.tokenizer
        )
    finally:
        loaded.tokenizer.eos_token = "<|im_end|>"  # noqa: S105


def test_token_log_probabilities_equal_a_full_forward_pass(checkpoints: dict[str, Path]) -> None:
    for folder in checkpoints.values():
        model = load_model(str(folder), device="cpu").model
        prompt, response = [5, 6, 7], [8, 9, 10, 11]
        with torch.no_grad():
            logp = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        expected = [float(logp[2 + i, token]) for i, token in enumerate(response)]
        assert token_logps(model, prompt, response).tolist() == pytest.approx(expected, abs=1e-5)
        assert token_logps(model, prompt, []).size == 0


def test_scores_are_zero_against_itself_and_move_after_training(
    llama: Path, shaped: Path, pairs: Path, tmp_path: Path
) -> None:
    start = str(llama)
    unmoved = score_held_out(start, start, pairs, SETTINGS, NullProgress())
    assert unmoved.column("chosen_start").to_pylist() == unmoved.column("chosen_tuned").to_pylist()
    assert unmoved.num_rows == 6
    report = train(shaped, start, tmp_path / "run", replace(FAST, learning_rate=1e-2), NullProgress())
    tuned = str(report.model_dir)
    moved = score_held_out(start, tuned, pairs, SETTINGS, NullProgress())
    assert moved.column("chosen_start").to_pylist() == unmoved.column("chosen_start").to_pylist()
    assert moved.column("chosen_tuned").to_pylist() != moved.column("chosen_start").to_pylist()
    rollouts = sample_rollouts(tuned, pairs, tmp_path / "tuned.parquet", SETTINGS, NullProgress())
    own = sample_rollouts(start, pairs, tmp_path / "start.parquet", SETTINGS, NullProgress())
    kl = score_rollouts(start, tuned, rollouts, SETTINGS, NullProgress()).column("kl").to_pylist()
    zero = score_rollouts(start, start, own, SETTINGS, NullProgress()).column("kl").to_pylist()
    assert min(kl) >= 0
    assert sum(kl) > 0
    assert zero == [0.0] * 12


def test_progress_of_held_out_pairs_counts_what_is_computed(llama: Path, pairs: Path) -> None:
    """Six pairs, two sides, two checkpoints."""
    stages: list[tuple[str, int | None, str]] = []
    done: list[int] = []

    class Watching(NullProgress):
        def start(self, stage: str, total: int | None, unit: str) -> None:
            stages.append((stage, total, unit))

        def advance(self, n: int = 1) -> None:
            done.append(n)

    score_held_out(str(llama), str(llama), pairs, SETTINGS, Watching())
    assert stages == [("held-out pairs", 24, "log-probabilities")]
    assert sum(done) == 24


def test_an_empty_fold_and_prompts_without_room_are_refused(llama: Path, pairs: Path, tmp_path: Path) -> None:
    table = pq.read_table(pairs)
    none = tmp_path / "none.parquet"
    pq.write_table(table.filter(pa.compute.not_equal(table.column("fold"), 19)), none)
    with pytest.raises(TrainError, match="held-out fold"):
        held_out_prompts(none, 10)
    with pytest.raises(TrainError, match="leaves room"):
        sample_rollouts(
            str(llama), pairs, tmp_path / "x.parquet", replace(SETTINGS, rollout_tokens=190), NullProgress()
        )
    (tmp_path / "bad.parquet").write_bytes(b"x")
    with pytest.raises(TrainError, match="cannot be read"):
        read_rollouts(tmp_path / "bad.parquet")
    with pytest.raises(TrainError, match="no rollouts"):
        read_rollouts(pairs)


WITH_TOOLS = (
    "{% if tools %}{% for t in tools %}{{ t['function']['name'] }} {% endfor %}{% endif %}" + TEMPLATE
)


def test_outcomes_see_the_tools_that_training_saw(llama: Path, tmp_path: Path) -> None:
    """Two prompts that differ in their tools are two, and both are encoded as a pair is for training."""
    checkpoint = tmp_path / "tools"
    shutil.copytree(llama, checkpoint)
    (checkpoint / "chat_template.jinja").write_text(WITH_TOOLS)
    tools = [json.dumps([{"type": "function", "function": {"name": n}}]) for n in ("bread", "recipe garden")]
    rows = make_rows(3)
    for row, offered in zip(rows, [*tools, None], strict=True):
        row |= {"fold": 19, "label": "chosen", "tools": offered, "prompt": rows[0]["prompt"]}
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), path)

    rollouts = sample_rollouts(str(checkpoint), path, tmp_path / "r.parquet", SETTINGS, NullProgress())
    start = load_start(checkpoint)
    wanted = {
        offered: prompt_ids(start.tokenizer, rows[0]["prompt"], read_tools(offered))
        for offered in (*tools, None)
    }
    assert len({tuple(ids) for ids in wanted.values()}) == 3
    found = zip(rollouts.tools(), rollouts.table.column("prompt_ids").to_pylist(), strict=True)
    assert dict(found) == wanted
    assert read_rollouts(tmp_path / "r.parquet").tools() == rollouts.tools()
    held = score_held_out(str(checkpoint), str(checkpoint), path, SETTINGS, NullProgress())
    loaded = load_model(str(checkpoint), device="cpu")
    pair = encode_pair(
        loaded.tokenizer, rows[0]["prompt"], rows[0]["chosen"], rows[0]["rejected"], read_tools(tools[0])
    )
    expected = float(token_logps(loaded.model, pair.prompt, pair.chosen).sum())
    assert held.column("chosen_start")[0].as_py() == pytest.approx(expected, rel=1e-5)
