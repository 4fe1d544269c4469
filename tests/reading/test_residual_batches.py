"""The SAE check, SAE training, token masks and strips on a GPU's batches: what one text at a time gives."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import ModelError
from engine.models.blocks import inner_model
from engine.models.chat import EncodedText
from engine.progress import NullProgress
from engine.reading.check import measure
from engine.reading.packed import Row
from engine.reading.pair_file import PairFile
from engine.reading.peaks import token_peaks
from engine.reading.reader import Reader, open_reader
from engine.reading.residual_batches import (
    ResidualBatches,
    group_steps,
    in_order,
    own_residuals,
    own_tokens_per_pair,
)
from engine.reading.sae_training import train_sae
from engine.reading.spec import ReaderSpec
from engine.reading.stream import NEVER, Stream, neighbour
from engine.reading.tokens import pair_tokens
from engine.settings import SaeSettings
from tests.models.tiny import SHAPES
from tests.reading.readers import SETTINGS, make_rows, padded, padded_batches, pair_row, write_pairs
from tests.reading.test_run import LAYER, open_tiny

LONG = "Tell me about the garden table and the river. " * 6
"""A prompt beyond either sliding window."""
BUDGET = 1200
Own = list[tuple[str, torch.Tensor]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs that share prompts and responses, some long, one with an empty response."""
    rows = make_rows(12)
    rows += [pair_row(20 + i, LONG, "tea " * 3 * i + "x", "music and bread " * (4 - i)) for i in range(4)]
    rows.append(pair_row(30, "Say nothing", "", "Nothing."))
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.parquet", rows)


@contextmanager
def calls_of(reader: Reader) -> Iterator[list[torch.Size]]:
    """Sequences × longest of whatever goes through the model while the context lasts."""
    calls: list[torch.Size] = []

    def note(_module: Any, _args: Any, options: dict[str, Any]) -> None:
        calls.append(options["input_ids"].shape)

    handle = inner_model(reader.loaded.model).register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def n_tokens(calls: Sequence[torch.Size]) -> int:
    """Tokens that the model computed, padding included."""
    return sum(shape.numel() for shape in calls)


def own(path: Path, batches: ResidualBatches) -> Own:
    pairs = PairFile(path)
    return list(own_residuals(pairs, batches, 0, len(pairs)))


def assert_same(found: Own, expected: Own) -> None:
    assert [part for part, _ in found] == [part for part, _ in expected]
    for (_, x), (_, y) in zip(found, expected, strict=True):
        assert x.dtype == torch.float32
        torch.testing.assert_close(x, y, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("shape", [*SHAPES, "mistral"])
def test_vectors_of_batches_are_those_of_one_text_at_a_time_in_the_same_order(
    folders: Path, path: Path, shape: str
) -> None:
    reader = open_tiny(folders, shape)
    with calls_of(reader) as alone:
        expected = own(path, ResidualBatches(replace(reader.stream, min_shared=NEVER), 0))
    reader = padded(reader, BUDGET)
    with calls_of(reader) as together:
        assert_same(own(path, reader.batches), expected)
    assert all(len(shape) == 2 and shape[0] == 1 for shape in alone)
    assert len(together) < len(alone) / 4
    assert all(shape.numel() <= BUDGET for shape in together)
    if reader.is_causal:
        assert n_tokens(together) < n_tokens(alone)  # prompts once, and little padding
    reader.batches.stream = replace(reader.stream, packs=None)
    assert_same(own(path, reader.batches), expected)


@pytest.mark.parametrize("batch_tokens", [0, 20, BUDGET])
def test_pairs_are_reported_when_their_texts_have_been_given(
    folders: Path, path: Path, batch_tokens: int
) -> None:
    reader, pairs = open_tiny(folders), PairFile(path)
    batches = padded_batches(reader.stream, batch_tokens)
    done: list[int] = []
    given = [
        (part, sum(done)) for part, _ in own_residuals(pairs, batches, 1, 17, step=5, on_pairs=done.append)
    ]
    runs = list(group_steps(pairs.group_ids, 1, 17, 5))
    assert done == [len(run) for run in runs]
    assert sum(done) == 16
    assert sorted({n for _, n in given}) == [run.start - 1 for run in runs]
    each = [part for run in runs for part, _ in own_residuals(pairs, batches, run.start, run.stop)]
    assert [part for part, _ in given] == each


@pytest.mark.parametrize("size", [1, 3, 50])
def test_steps_end_with_a_group(size: int) -> None:
    groups = list("aaabbcdddd")
    runs = list(group_steps(groups, 0, 10, size))
    assert [i for run in runs for i in run] == list(range(10))
    assert all(len(run) >= size for run in runs[:-1])
    assert all(groups[run.stop - 1] != groups[run.stop] for run in runs[:-1])
    assert [len(run) for run in group_steps(groups, 1, 8, 2)] == [2, 2, 3]  # cut where the range is


def test_a_text_of_many_pairs_is_read_and_given_once(folders: Path, tmp_path: Path) -> None:
    """One answer meets 40 others to the same prompt, more than are taken at a time."""
    rows = [pair_row(i, "Tell me about tea", "It is warm.", f"It is number {i}.") for i in range(40)]
    pairs = PairFile(write_pairs(tmp_path / "shared.parquet", rows))
    reader = open_tiny(folders)
    for batches in (reader.batches, padded_batches(reader.stream, BUDGET)):
        given = list(own_residuals(pairs, batches, 0, len(pairs)))
        assert len(given) == 1 + 1 + 40  # prompt, the answer of all, and each other
    each = own_tokens_per_pair(pairs, reader.stream, 0)
    assert each == pytest.approx(sum(len(x) for _, x in given) / 40)


@pytest.mark.parametrize(("shape", "budget"), [("llama", 150), ("bert", 60)])
def test_a_text_longer_than_the_budget_is_a_batch_of_its_own(
    folders: Path, path: Path, shape: str, budget: int
) -> None:
    reader = open_tiny(folders, shape)
    expected = own(path, reader.batches)
    reader = padded(reader, budget)
    with calls_of(reader) as calls:
        assert_same(own(path, reader.batches), expected)
    assert any(shape.numel() > budget for shape in calls)
    assert all(shape[0] == 1 for shape in calls if shape.numel() > budget)
    assert any(shape[0] > 1 for shape in calls)


@pytest.mark.parametrize("shape", ["gemma2", "bert"])
def test_vectors_stay_the_same_when_memory_runs_out_and_batches_stay_small(
    folders: Path,
    path: Path,
    shape: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = open_tiny(folders, shape)
    expected = own(path, reader.batches)
    reader = padded(reader, batch_tokens=4000)
    refuse_over(monkeypatch, 500)
    with caplog.at_level(logging.WARNING):
        assert_same(own(path, reader.batches), expected)
    assert "out of memory with" in caplog.text
    assert 125 < reader.batches.batch_tokens <= 500
    caplog.clear()
    assert_same(own(path, reader.batches), expected)
    assert caplog.text == ""  # what did not fit once is not tried again
    refuse_over(monkeypatch, 30)
    with pytest.raises(ModelError, match="does not fit into memory"):
        own(path, reader.batches)


def refuse_over(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """Memory runs out when a batch has more than ``n`` tokens, padding included."""
    real = Stream.rows

    def rows(self: Stream, wanted: Sequence[Row]) -> list[list[torch.Tensor]]:
        if len(wanted) * max(row.n_tokens for row in wanted) > n:
            raise torch.OutOfMemoryError
        return real(self, wanted)

    monkeypatch.setattr(Stream, "rows", rows)


def test_results_that_come_early_wait_for_their_turn() -> None:
    batches = [([3, 0], "da"), ([2], "c"), ([1, 4], "be")]
    assert list(in_order(iter(batches))) == list("abcde")
    seen = in_order(iter(batches))
    assert next(seen) == "a"  # nothing waits that need not


@pytest.mark.parametrize("shape", ["gemma2", "bert"])
def test_the_sae_check_says_the_same_and_stops_at_the_same_text(
    folders: Path, path: Path, shape: str
) -> None:
    """Layer 0 of Gemma 2 has a sliding window, the layer beside it has none: each gets its own mask."""
    spec = ReaderSpec(str(folders / shape), 0, str(folders / "topk"))
    alone, rows = open_reader(spec, SETTINGS), padded(open_reader(spec, SETTINGS), 700)
    pairs = PairFile(path)
    one, other = (measure(pairs, reader, 600, NullProgress()) for reader in (alone, rows))
    assert 600 <= one.n_tokens == other.n_tokens
    assert one.by_part.keys() == other.by_part.keys()
    for part, numbers in one.by_part.items():
        assert other.by_part[part] == pytest.approx(numbers, rel=1e-3)
    assert list(one.neighbours) == ["0", "1"]
    assert other.neighbours == pytest.approx(one.neighbours, rel=1e-4)


def test_a_neighbour_with_attention_that_is_not_packed_gets_whole_texts(folders: Path) -> None:
    stream = padded(
        open_reader(ReaderSpec(str(folders / "gemma2"), 0, str(folders / "topk")), SETTINGS)
    ).stream
    assert stream.packs == ("sliding_attention",)
    with neighbour(stream, 1) as later:
        assert later is not None
        assert later.packs == ("sliding_attention", "full_attention")
    assert stream.spare is not None
    unknown = replace(stream, spare=replace(stream.spare, layer_type="linear_attention"))
    with neighbour(unknown, 1) as later:
        assert later is not None
        assert later.packs is None
    with neighbour(replace(stream, packs=None), 1) as later:
        assert later is not None
        assert later.packs is None  # a CPU tries nothing


def test_an_sae_is_trained_on_the_same_vectors_in_the_same_order(
    folders: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SaeSettings(n_latents=64, k=8, n_tokens=4_000, batch_tokens=128, buffer_bytes=4 * 32 * 600)
    spec = ReaderSpec(str(folders / "qwen3"), LAYER)
    pairs = write_pairs(tmp_path / "pairs.parquet", make_rows(60))
    alone = train_sae(pairs, spec, tmp_path / "alone", small, SETTINGS, NullProgress())
    monkeypatch.setattr(ResidualBatches, "of", lambda stream, _: padded_batches(stream, BUDGET))
    rows = train_sae(pairs, spec, tmp_path / "rows", small, SETTINGS, NullProgress())
    assert (rows.n_tokens, rows.n_distinct_tokens) == (alone.n_tokens, alone.n_distinct_tokens)
    assert rows.check.unexplained == pytest.approx(alone.check.unexplained, rel=1e-3)
    assert rows.check.l0 == alone.check.l0


def responses(path: Path, reader: Reader) -> list[EncodedText]:
    pairs = PairFile(path)
    return [
        reader.layout.encode(pair.prompt, side, max_tokens=reader.max_tokens)
        for pair in pairs.texts(0, len(pairs))
        for side in (pair.chosen, pair.rejected)
    ]


@pytest.mark.parametrize("shape", ["llama", "gemma2", "qwen2", "bert"])
def test_peaks_at_tokens_are_the_same_and_take_a_prompt_once(folders: Path, path: Path, shape: str) -> None:
    groups = [(1, 2, 3), (7,)]
    reader = open_tiny(folders, shape)
    texts = responses(path, reader)
    with calls_of(reader) as alone:
        expected = dict(token_peaks(reader, texts, groups))
    assert len(alone) == len(expected) == sum(len(text.response_own) > 0 for text in texts) < len(texts)
    for i, peaks in expected.items():  # on a CPU to the last bit those of the whole text
        own_tokens = torch.from_numpy(texts[i].response_own)
        acts = reader.encoder.dense(reader.residuals([texts[i].ids])[0][own_tokens])
        for group in groups:
            np.testing.assert_array_equal(peaks[group], acts[:, list(group)].amax(dim=1).numpy())
    reader = padded(reader, BUDGET)
    with calls_of(reader) as together:
        found = dict(token_peaks(reader, texts, groups))
    assert len(together) < len(alone) / 4
    if reader.is_causal:
        assert n_tokens(together) < n_tokens(alone)
    assert found.keys() == expected.keys()
    for i, peaks in expected.items():
        for group in groups:
            np.testing.assert_allclose(found[i][group], peaks[group], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("shape", ["llama", "gemma2", "qwen2", "bert"])
def test_every_activation_of_a_pair_is_the_same(folders: Path, path: Path, shape: str) -> None:
    reader = open_tiny(folders, shape)
    pairs = PairFile(path).texts(0, 17)
    expected = [pair_tokens(reader, pair) for pair in pairs]
    reader = padded(reader, BUDGET)
    for pair, spans in zip(pairs, expected, strict=True):
        with calls_of(reader) as calls:
            found = pair_tokens(reader, pair)
        assert len(calls) == 1
        assert list(found) == list(spans)
        for span, tokens in spans.items():
            assert found[span].tokens == tokens.tokens
            np.testing.assert_array_equal(found[span].token, tokens.token)
            np.testing.assert_array_equal(found[span].latent, tokens.latent)
            np.testing.assert_allclose(found[span].value, tokens.value, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("batch_tokens", [0, BUDGET])
def test_a_text_that_does_not_fit_into_memory_is_said_to_be_too_long(
    folders: Path, path: Path, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_tiny(folders)
    reader.batches.batch_tokens = batch_tokens

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 byte")

    monkeypatch.setattr(Stream, "residuals", full)
    with pytest.raises(ModelError, match="does not fit into memory") as caught:
        pair_tokens(reader, PairFile(path).texts(0, 1)[0])
    assert caught.value.hint == "lower reading.max_tokens"
    with pytest.raises(ModelError, match="does not fit into memory"):
        list(token_peaks(reader, responses(path, reader), [(1,)]))
    with pytest.raises(ModelError, match="does not fit into memory"):
        own(path, reader.batches)
