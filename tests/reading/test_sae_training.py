"""Training an SAE on the pairs' own activations."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import Cancelled, ModelError
from engine.progress import CancelToken, NullProgress
from engine.reading import sae_training
from engine.reading.pair_file import PairFile
from engine.reading.reader import open_reader
from engine.reading.residual_batches import own_residuals
from engine.reading.run import read_pairs
from engine.reading.sae_training import held_pairs, train_sae
from engine.reading.spec import ReaderSpec
from engine.settings import SaeSettings
from tests.models.tiny import D_MODEL, save_checkpoint
from tests.reading.readers import SETTINGS, make_rows, pair_row, write_pairs

SMALL = SaeSettings(n_latents=128, k=8, n_tokens=60_000, batch_tokens=256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    save_checkpoint(root / "model", "llama", "chatml")
    write_pairs(root / "pairs.parquet", make_rows(120))
    return root


def test_a_trained_sae_explains_unseen_pairs_and_reads(folder: Path, tmp_path: Path) -> None:
    spec = ReaderSpec(str(folder / "model"), 2)
    report = train_sae(folder / "pairs.parquet", spec, tmp_path / "sae", SMALL, SETTINGS, NullProgress())
    assert (report.layer, report.width, report.n_latents) == (2, D_MODEL, 128)
    assert report.n_tokens == 60_000 // 256 * 256
    assert 0 < report.n_distinct_tokens < report.n_tokens
    assert report.check.unexplained is not None
    assert report.check.unexplained < 0.35  # 8 of 128 latents for 32 dimensions
    assert report.check.l0 == pytest.approx(8, abs=0.5)
    assert report.check.problems == ()
    # The folder is all that reading needs: layer and L0 are in it.
    reader = open_reader(ReaderSpec(str(folder / "model"), None, str(tmp_path / "sae")), SETTINGS)
    assert reader.layer == 2
    checked = replace(SETTINGS, check_tokens=2000)
    done = read_pairs(folder / "pairs.parquet", reader, tmp_path / "r", checked, NullProgress())
    assert done.is_complete


def test_a_buffer_smaller_than_the_pairs_goes_through_them_in_parts(folder: Path, tmp_path: Path) -> None:
    tight = replace(SMALL, n_tokens=8_000, buffer_bytes=4 * D_MODEL * 1_000)
    whole = replace(SMALL, n_tokens=8_000)
    spec = ReaderSpec(str(folder / "model"), 2)
    parts = train_sae(folder / "pairs.parquet", spec, tmp_path / "a", tight, SETTINGS, NullProgress())
    once = train_sae(folder / "pairs.parquet", spec, tmp_path / "b", whole, SETTINGS, NullProgress())
    assert parts.n_distinct_tokens == once.n_distinct_tokens > 1_000


@pytest.mark.parametrize("buffer_tokens", [400, 1_000_000])
def test_no_more_text_is_read_than_training_sees(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer_tokens: int
) -> None:
    lengths: list[int] = []

    def counted(*args: Any, **options: Any) -> Iterator[tuple[str, torch.Tensor]]:
        for owner, vectors in own_residuals(*args, **options):
            lengths.append(len(vectors))
            yield owner, vectors

    monkeypatch.setattr(sae_training, "own_residuals", counted)
    short = replace(SMALL, n_tokens=1_000, batch_tokens=100, buffer_bytes=4 * D_MODEL * buffer_tokens)
    spec = ReaderSpec(str(folder / "model"), 2)
    report = train_sae(folder / "pairs.parquet", spec, tmp_path / "sae", short, SETTINGS, NullProgress())
    assert report.n_tokens == 1_000
    # Three buffers of 400, one of 1,000; each ends with a whole text.
    assert 1_000 <= sum(lengths) <= 1_200 + 3 * max(lengths)
    assert report.n_distinct_tokens == sum(lengths)


def test_held_out_pairs_are_whole_groups(folder: Path) -> None:
    pairs = PairFile(folder / "pairs.parquet")
    n = held_pairs(pairs)
    assert 16 <= n <= 60
    assert pairs.group_ids[n] != pairs.group_ids[n - 1]


def test_more_latents_that_fire_than_there_are_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    spec = ReaderSpec("no/such-model", 2)
    few = replace(SMALL, n_latents=16, k=32)
    with pytest.raises(ModelError, match="32 of 16 latents cannot fire") as failure:
        train_sae(folder / "pairs.parquet", spec, tmp_path / "sae", few, SETTINGS, NullProgress())
    assert failure.value.hint == "lower --k, or raise --latents"


def test_too_little_text_a_missing_layer_and_a_stop_are_clear(folder: Path, tmp_path: Path) -> None:
    one = write_pairs(tmp_path / "one.parquet", [pair_row(0, "tea", "a", "b")])
    spec = ReaderSpec(str(folder / "model"), 2)
    with pytest.raises(ModelError, match="too few to train an SAE on"):
        train_sae(one, spec, tmp_path / "sae", SMALL, SETTINGS, NullProgress())
    with pytest.raises(ModelError, match="for one layer"):
        train_sae(one, ReaderSpec(str(folder / "model")), tmp_path / "sae", SMALL, SETTINGS, NullProgress())
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        train_sae(folder / "pairs.parquet", spec, tmp_path / "sae", SMALL, SETTINGS, NullProgress(cancel))
    assert not (tmp_path / "sae").exists()
