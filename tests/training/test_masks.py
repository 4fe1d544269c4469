"""Masked tokens: found in the text, left out of policy and reference, and nothing else changes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from engine.errors import TrainError
from engine.models.chat import ChatLayout
from engine.progress import NullProgress
from engine.records import Message
from engine.training.checkpoint import load_start
from engine.training.encode import encode
from engine.training.masks import (
    Masks,
    Span,
    content_spans,
    keep_columns,
    masks_made_for,
    read_masks,
    write_masks,
)
from engine.training.offline import offline
from engine.training.reference import ReferenceCache, response_key
from engine.training.run import train
from engine.training.shaped import read_shaped
from engine.training.trainer import ShapedCollator, ShapedDPOTrainer, training_arguments
from tests.training.conftest import FAST, make_rows, make_tokenizer, write_shaped

WORD = "sorry"


def word_masks(rows: list[dict[str, Any]]) -> Masks:
    """Every ``sorry`` of every response, by looking for the word in the text."""
    spans: dict[tuple[str, str], tuple[Span, ...]] = {}
    for row in rows:
        for side in ("chosen", "rejected"):
            text = row[side][0]["content"]
            found = [i for i in range(len(text)) if text.startswith(WORD, i)]
            if found:
                spans[row["pair_id"], side] = tuple(Span(0, i, i + len(WORD)) for i in found)
    return Masks(("m",), spans)


def build(folder: Path, shaped: Path, tmp_path: Path, masks: Masks, loss: str) -> ShapedDPOTrainer:
    start = load_start(folder)
    pairs = read_shaped(shaped, 0)
    table = encode(pairs, start.tokenizer, 128, NullProgress()).table
    rows = pairs.table.to_pylist()
    for name, values in keep_columns(masks, rows, table, start.tokenizer).columns.items():
        table = table.append_column(name, pa.array(values, pa.list_(pa.int8())))
    cache = ReferenceCache(tmp_path / "cache")
    cache.load()
    arguments = training_arguments(tmp_path / "out", replace(FAST, loss_type=loss), device_type="cpu")
    trainer = ShapedDPOTrainer(
        cache=cache,
        has_offsets=True,
        progress=NullProgress(),
        model=start.model,
        args=arguments,
        data_collator=ShapedCollator(pad_token_id=start.tokenizer.pad_token_id, max_length=128),
        train_dataset=Dataset(table),
        processing_class=start.tokenizer,
    )
    trainer.model.train()
    return trainer


def response_logps(model: Any, tokenizer: Any, row: dict[str, Any], side: str, *, masked: bool) -> Tensor:
    """Log-probabilities of a response's counted tokens, token by token from its text: an independent way."""
    prompt = tokenizer.apply_chat_template(
        row["prompt"], tokenize=True, return_dict=True, add_generation_prompt=True
    )["input_ids"]
    whole = tokenizer.apply_chat_template([*row["prompt"], *row[side]], tokenize=True, return_dict=True)[
        "input_ids"
    ]
    logits = model(input_ids=torch.tensor([whole])).logits[0]
    values = []
    text_so_far = ""
    content = row[side][0]["content"]
    for at in range(len(prompt), len(whole)):
        piece = tokenizer.decode([whole[at]])
        start, end = len(text_so_far), len(text_so_far) + len(piece)
        text_so_far += piece
        hidden = any(
            content.startswith(WORD, i) and start < i + len(WORD) and i < end for i in range(len(content))
        )
        if not (masked and hidden):
            values.append(logits[at - 1].log_softmax(-1)[whole[at]])
    return torch.stack(values)


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm"])
def test_gradients_equal_sums_over_the_tokens_that_are_left(
    llama: Path, shaped: Path, tmp_path: Path, loss: str
) -> None:
    masks = word_masks(make_rows())
    assert len(masks.spans) > 10
    with offline():
        trainer = build(llama, shaped, tmp_path, masks, loss)
    rows = read_shaped(shaped, 0).table.to_pylist()[:6]
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(6)])
    trainer.compute_loss(trainer.model, dict(batch)).backward()
    found = torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).clone()
    trainer.model.zero_grad()

    def expected(*, masked: bool) -> Tensor:
        losses = []
        for row in rows:
            sides = []
            for side in ("chosen", "rejected"):
                logps = response_logps(trainer.model, make_tokenizer(), row, side, masked=masked)
                ratio = logps.sum() - logps.detach().sum()  # policy and reference are still the same model
                sides.append(ratio / len(logps) if loss == "sigmoid_norm" else ratio)
            argument = FAST.beta * (sides[0] - sides[1]) + row["offset"]
            losses.append(row["weight"] * -functional.logsigmoid(argument))
        trainer.model.zero_grad()
        torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]  # torch
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).clone()

    exact, unmasked = expected(masked=True), expected(masked=False)
    assert ((found - exact).norm() / exact.norm()).item() < 1e-4
    assert ((found - unmasked).norm() / exact.norm()).item() > 1e-2


def test_the_reference_leaves_out_the_same_tokens(llama: Path, shaped: Path, tmp_path: Path) -> None:
    masks = word_masks(make_rows())
    with offline():
        masked = build(llama, shaped, tmp_path / "a", masks, "sigmoid")
        plain = build(llama, shaped, tmp_path / "a", Masks((), {}), "sigmoid")
    assert plain.n_computed == sum(
        any((row["pair_id"], side) in masks.spans for side in ("chosen", "rejected")) for row in make_rows()
    )  # a response without a mask shares its cached value with runs that mask nothing
    rows = read_shaped(shaped, 0).table.to_pylist()
    for i, row in enumerate(rows):
        with torch.no_grad():
            exact = response_logps(masked.model.eval(), make_tokenizer(), row, "chosen", masked=True).sum()
        assert masked.train_dataset[i]["ref_chosen_logps"] == pytest.approx(float(exact), abs=1e-3)


def test_masked_tokens_are_those_of_the_text(shaped: Path) -> None:
    tokenizer = make_tokenizer()
    pairs = read_shaped(shaped, 0)
    rows = pairs.table.to_pylist()
    table = encode(pairs, tokenizer, 128, NullProgress()).table
    masks = word_masks(rows)
    kept = keep_columns(masks, rows, table, tokenizer)
    n_words = sum(len(spans) for spans in masks.spans.values())
    assert kept.n_tokens >= n_words
    for row, ids, keep in zip(
        rows, table.column("chosen_ids").to_pylist(), kept.columns["keep_chosen"], strict=True
    ):
        has_word = WORD in row["chosen"][0]["content"]
        assert (keep is not None) == has_word
        if keep is not None:
            left = tokenizer.decode([i for i, k in zip(ids, keep, strict=True) if k])
            assert WORD not in left
            assert left.endswith("<|im_end|>\n")


def test_characters_of_tokens_and_tokens_of_characters_agree() -> None:
    tokenizer = make_tokenizer()
    layout = ChatLayout.of(tokenizer, is_causal=True)
    prompt = [Message("user", "please")]
    response = [Message("assistant", "  sorry the sorry"), Message("assistant", "garden sorry")]
    text = layout.encode(prompt, response)
    hit = [
        int(i)
        for i in text.response_own
        if text.token_text(int(i)).strip() and "sorry" in text.token_text(int(i))
    ]
    spans = content_spans(text, 1, response, hit)
    assert [response[s.message].content[s.start : s.end].strip() for s in spans] == [WORD] * 3
    assert [s.message for s in spans] == [0, 0, 1]
    # two tokens that touch become one span
    first_two = [int(i) for i in text.response_own[:2]]
    assert len(content_spans(text, 1, response, first_two)) == 1


def test_a_response_without_text_left_is_counted(shaped: Path) -> None:
    tokenizer = make_tokenizer()
    pairs = read_shaped(shaped, 0)
    rows = pairs.table.to_pylist()
    table = encode(pairs, tokenizer, 128, NullProgress()).table
    whole = Masks(("m",), {(rows[0]["pair_id"], "chosen"): (Span(0, 0, 10_000),)})
    kept = keep_columns(whole, rows, table, tokenizer)
    assert kept.n_empty == 1
    keep = kept.columns["keep_chosen"][0]
    assert keep is not None
    assert tokenizer.decode(
        [i for i, k in zip(table.column("chosen_ids")[0].as_py(), keep, strict=True) if k]
    ) == ("<|im_end|>\n")


def test_masks_survive_the_disk_and_a_damaged_file_is_refused(tmp_path: Path) -> None:
    assert read_masks(tmp_path) == Masks((), {})
    assert masks_made_for(tmp_path) is None
    spans = {("p", "chosen"): (Span(0, 1, 4), Span(1, 0, 2)), ("p", "rejected"): (Span(0, 0, 1),)}
    masks = Masks(("a", "b"), spans, frozenset({"p", "silent"}), {0: 2, 7: 1})
    write_masks(tmp_path, masks, "this")
    assert read_masks(tmp_path) == masks
    ids = {pair_id for pair_id, _ in masks.spans}
    assert read_masks(tmp_path).content_hash(ids) == masks.content_hash(ids)
    assert masks_made_for(tmp_path) == "this"
    write_masks(tmp_path, Masks(("a",), {}), "nothing to mask")
    assert read_masks(tmp_path) == Masks(("a",), {})
    (tmp_path / "masks.parquet").write_bytes(b"no parquet")
    with pytest.raises(TrainError, match="damaged"):
        read_masks(tmp_path)


def test_masks_of_a_short_run_are_known_to_be_those_of_its_first_pairs() -> None:
    part = Masks(("m",), {("a", "chosen"): (Span(0, 0, 1),)}, frozenset({"a", "b"}), {0: 2})
    assert part.are_known(0, 2, 10)
    assert not part.are_known(0, 3, 10)
    assert not part.are_known(1, 1, 10)  # another seed has another order
    assert part.are_known(1, 2, 2)  # all pairs were read
    assert Masks(("m",), {}).are_known(5, 10, 10)
    more = Masks(("m",), dict(part.spans) | {("c", "chosen"): (Span(0, 0, 1),)}, frozenset("abc"), {0: 3})
    assert more.content_hash({"a", "b"}) == part.content_hash({"a", "b"})  # reading on changes no begun run
    assert more.content_hash({"a", "b", "c"}) != part.content_hash({"a", "b", "c"})


def test_masked_responses_have_cached_values_of_their_own() -> None:
    plain = response_key([1], [2, 3], 9)
    assert response_key([1], [2, 3], 9, [1, 1]) == plain
    assert response_key([1], [2, 3], 9, [1, 0]) != plain


def test_a_run_with_masks_is_another_run_and_needs_them(llama: Path, tmp_path: Path) -> None:
    rows = make_rows()
    plain = write_shaped(tmp_path / "plain", rows)
    shaped = write_shaped(tmp_path / "shaped", rows)
    asked = [{"name": "m", "kind": "mask", "line": "m: mask tokens where @x > 0.3", "tokens": []}]
    (shaped / "lock.json").write_text(json.dumps({"training": asked}))
    with pytest.raises(TrainError, match="nobody prepared: m: mask tokens"):
        train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    write_masks(shaped, replace(word_masks(rows), covers={FAST.seed: 1}), "words")
    with pytest.raises(TrainError, match="known for fewer pairs"):
        train(shaped, str(llama), tmp_path / "run", FAST, NullProgress())
    write_masks(shaped, word_masks(rows), "words")
    one = train(plain, str(llama), tmp_path / "a", FAST, NullProgress())
    two = train(shaped, str(llama), tmp_path / "b", FAST, NullProgress())
    assert one.fingerprint != two.fingerprint
    weights = [load_file(r.model_dir / "model.safetensors") for r in (one, two)]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
