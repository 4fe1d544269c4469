"""A prompt and its responses in one row of a padded batch: the same readings, fewer tokens."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.errors import ModelError
from engine.progress import NullProgress
from engine.reading.batches import plan_rows
from engine.reading.jobs import Job, Want, prompt_length
from engine.reading.packed import Row
from engine.reading.pair_file import PairFile
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_pairs
from engine.reading.spec import ReaderSpec
from engine.reading.stream import Stream, with_packing
from tests.models.tiny import SHAPES
from tests.reading.readers import SETTINGS, make_rows, padded, write_pairs
from tests.reading.test_run import LAYER, open_tiny, rows_of

CAUSAL = tuple(shape for shape in SHAPES if shape != "bert")


def tokens(seed: int, n: int) -> Any:
    return np.random.default_rng(seed).integers(3, 300, size=n)


def whole(stream: Stream, row: Row) -> list[torch.Tensor]:
    return [stream.residuals([np.concatenate([row.prompt, r])])[0] for r in row.responses]


@pytest.mark.parametrize("shape", [*CAUSAL, "mistral"])
def test_texts_in_a_row_have_the_residuals_that_they_have_alone(folders: Path, shape: str) -> None:
    stream = with_packing(open_tiny(folders, shape).stream)
    assert stream.packs is not None
    rows = [
        Row(tokens(0, 40), (tokens(1, 30), tokens(2, 3), tokens(3, 55))),  # beyond either window
        Row(tokens(4, 2), (tokens(5, 25), tokens(6, 25))),
        Row(tokens(7, 9), (tokens(8, 0), tokens(9, 1))),
        Row(tokens(10, 0), (tokens(11, 60),)),
    ]
    for row, found in zip(rows, stream.rows(rows), strict=True):
        for expected, text in zip(whole(stream, row), found, strict=True):
            torch.testing.assert_close(text, expected, atol=2e-4, rtol=1e-3)


def distinct_tokens(reader: Reader, path: Path) -> int:
    """Every prompt once, and what follows it once per distinct response."""
    pairs = PairFile(path)
    counts: dict[Any, int] = {}
    for text in pairs.texts(0, len(pairs)):
        for response in (text.chosen, text.rejected):
            encoded = reader.layout.encode(text.prompt, response)
            n_prompt = prompt_length(encoded, reader.layout)
            counts[text.prompt] = n_prompt
            counts[text.prompt, response] = len(encoded.ids) - n_prompt
    return sum(counts.values())


@pytest.mark.parametrize("shape", [*CAUSAL, "mistral"])
def test_padded_batches_share_prompts_and_read_what_one_sequence_at_a_time_reads(
    folders: Path, tmp_path: Path, shape: str
) -> None:
    path = write_pairs(tmp_path / "p.parquet", make_rows(24))
    alone, rows = open_tiny(folders, shape), padded(open_tiny(folders, shape))
    apart = padded(open_tiny(folders, shape))
    apart.batches.stream = replace(apart.stream, packs=None)
    reports = [
        read_pairs(path, reader, tmp_path / name, SETTINGS, NullProgress())
        for name, reader in (("alone", alone), ("rows", rows), ("apart", apart))
    ]
    assert reports[1].n_tokens == distinct_tokens(rows, path)
    assert reports[1].n_tokens < reports[2].n_tokens
    assert rows.describe()["prompt_once_by"] == "rows of a prompt and its responses"
    assert apart.describe()["prompt_once_by"] is None
    for a, b in zip(rows_of(tmp_path / "alone"), rows_of(tmp_path / "rows"), strict=True):
        for name, value in a.items():
            if name.endswith(("_max", "_last")):
                np.testing.assert_allclose(b[name], value, rtol=2e-3, atol=1e-3, err_msg=name)
            elif name.endswith("_n"):  # an activation at the threshold may round to either side of it
                off = np.abs(np.subtract(b[name], value))
                assert off.max(initial=0) <= 1, name
                assert off.sum() <= 0.01 * max(len(off), 100), name
            elif name.endswith("_sum"):
                n = name.removesuffix("_sum") + "_n"
                same = np.equal(b[n], a[n])
                ours, theirs = np.array(b[name])[same], np.array(value)[same]
                np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-3, err_msg=name)
            else:
                assert b[name] == value, name


def test_a_model_that_takes_a_mask_otherwise_reads_prompts_with_every_response(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma 2 with masks that forget the window: found on a few tokens, though its own window is longer."""
    stream = open_tiny(folders, "gemma2").stream
    monkeypatch.setattr("engine.reading.packed.SLIDING", "nothing slides")
    monkeypatch.setattr(
        "engine.reading.stream.attention_kinds", lambda _: ("full_attention", "sliding_attention")
    )
    assert with_packing(stream).packs is None
    config: Any = stream.loaded.model.config
    assert config.sliding_window == 16


def test_a_kind_of_attention_that_is_not_known_is_not_packed(folders: Path) -> None:
    stream = open_tiny(folders, "qwen3").stream
    config: Any = stream.loaded.model.config
    config.layer_types = ["full_attention", "linear_attention"]
    assert with_packing(stream).packs is None


def job(prompt: Sequence[int], response: Sequence[int]) -> Job:
    ids = np.array([*prompt, *response])
    return Job(ids, (Want(tuple(ids), np.arange(len(prompt), len(ids)), False),), len(prompt))


def test_rows_hold_neighbours_with_the_same_prompt_up_to_a_length() -> None:
    jobs = [job([5, 6], [7]), job([5, 6], [8, 9]), job([5, 7], [7]), job([5, 7], [1] * 5), job([], [3, 4])]
    assert plan_rows(jobs, 100) == [[0, 1], [2, 3], [4]]
    assert plan_rows(jobs, 5) == [[0, 1], [2], [3], [4]]
    assert plan_rows([job([], [1]), job([], [1])], 5) == [[0], [1]]


def test_batches_that_do_not_fit_are_planned_again_in_half_once(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch too large does not make every later one fail, and what is read stays the same."""
    prompt = list(range(5, 15))
    jobs = [job(prompt, [20 + i] * 12) for i in range(6)] + [job([9, i], [30] * 20) for i in range(10, 26)]
    expected = open_tiny(folders).read(jobs)
    reader = padded(open_tiny(folders), batch_tokens=1000)
    real, refused = reader.stream.rows, []

    def rows(_self: Stream, wanted: Sequence[Row]) -> Any:
        if len(wanted) * max(row.n_tokens for row in wanted) > 150:
            refused.append(len(wanted))
            raise RuntimeError("CUDA error: out of memory")
        return real(wanted)

    monkeypatch.setattr(Stream, "rows", rows)
    done: list[int] = []
    found = reader.read(jobs, done.append)
    assert sum(done) == len(jobs)
    assert len(refused) <= 3
    assert reader.batches.batch_tokens > 60
    for key, reading in expected.items():
        np.testing.assert_array_equal(found[key].pooled.latent, reading.pooled.latent)
    with pytest.raises(ModelError, match="does not fit into memory"):
        reader.read([job([5], [6] * 170)])


def test_on_a_cpu_rows_are_not_tried_at_opening(folders: Path) -> None:
    reader = open_reader(ReaderSpec(str(folders / "llama"), LAYER, str(folders / "topk")), SETTINGS)
    assert reader.stream.packs is None
    assert reader.describe()["prompt_once_by"] == "memory of the prompt"
