"""The SAE check, reader specifications and batches."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ModelError
from engine.progress import NullProgress
from engine.reading.batches import plan_batches
from engine.reading.check import check_sae
from engine.reading.encode import Pooled
from engine.reading.jobs import plan_work
from engine.reading.pair_file import PairFile
from engine.reading.presets import PRESETS
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_pairs
from engine.reading.spec import ReaderSpec, load_reader_spec
from tests.models.tiny import D_MODEL, save_checkpoint
from tests.reading.readers import SETTINGS, make_rows, make_sae, save_sae, write_pairs

CHECKED = replace(SETTINGS, check_tokens=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reader")
    save_checkpoint(root / "model", "llama", "chatml")
    save_sae(root / "poor", "topk")
    # A perfect SAE: two latents per dimension, one for each sign, so that decoding gives back the input.
    perfect = make_sae("standard", n_latents=2 * D_MODEL, apply_b_dec_to_input=True)
    eye = torch.eye(D_MODEL)
    perfect.W_enc.data = torch.cat([eye, -eye], dim=1)
    perfect.W_dec.data = torch.cat([eye, -eye], dim=0)
    perfect.b_enc.data.zero_()
    perfect.save_model(root / "perfect")
    write_pairs(root / "pairs.parquet", make_rows(20))
    return root


def open_with(folder: Path, sae: str, **spec: float) -> Reader:
    wanted = ReaderSpec(str(folder / "model"), 1, str(folder / sae), **spec)  # type: ignore[arg-type]
    return open_reader(wanted, SETTINGS)


def test_a_perfect_sae_leaves_nothing_unexplained(folder: Path, tmp_path: Path) -> None:
    pairs = PairFile(folder / "pairs.parquet")
    check = check_sae(pairs, open_with(folder, "perfect"), tmp_path, CHECKED, NullProgress())
    assert check is not None
    assert check.problems == ()
    assert check.unexplained == pytest.approx(0.0, abs=1e-6)
    assert check.l0 == pytest.approx(D_MODEL)  # one of the two latents of every dimension
    assert 400 <= check.n_tokens < 500
    assert set(check.by_part) <= {
        f"{s}/{side}" for s in ("alpha", "beta") for side in ("prompt", "chosen", "rejected")
    }
    assert json.loads((tmp_path / "sae_check.json").read_text())["n_tokens"] == check.n_tokens


def test_the_numbers_are_those_of_a_direct_computation(folder: Path, tmp_path: Path) -> None:
    reader = open_with(folder, "poor")
    pairs = PairFile(folder / "pairs.parquet")
    everything = replace(CHECKED, check_tokens=10**6, accept_poor_sae=True)
    check = check_sae(pairs, reader, tmp_path, everything, NullProgress())
    assert check is not None
    parts = []
    for start in range(0, 20, 16):  # the check deduplicates texts among 16 pairs
        for job in plan_work(pairs.texts(start, min(start + 16, 20)), reader.layout, reader.max_tokens).jobs:
            stream = reader.residuals([job.ids])[0]
            parts += [stream[torch.from_numpy(want.own)] for want in job.wants]
    x = torch.cat(parts)
    with torch.no_grad():
        sae = make_sae("topk")
        acts = sae.encode(x)
        error = (x - sae.decode(acts)).double().square().sum()
        spread = (x - x.mean(dim=0)).double().square().sum()
    assert check.n_tokens == len(x)
    assert check.unexplained == pytest.approx(float(error / spread), rel=1e-4)
    assert check.l0 == pytest.approx(float((acts > 0).sum() / len(x)))
    assert check.mean_norm == pytest.approx(float(x.norm(dim=-1).mean()), rel=1e-5)
    assert check.dead_share == pytest.approx(float((acts == 0).all(dim=0).float().mean()))


def test_neighbouring_layers_are_looked_at_and_the_model_is_left_as_it_was(
    folder: Path, tmp_path: Path
) -> None:
    reader = open_with(folder, "poor")
    pairs = PairFile(folder / "pairs.parquet")
    jobs = plan_work(pairs.texts(0, 3), reader.layout, reader.max_tokens).jobs
    before = reader.read(jobs)
    accepted = replace(CHECKED, accept_poor_sae=True)
    check = check_sae(pairs, reader, tmp_path, accepted, NullProgress())
    assert check is not None
    assert list(check.neighbours) == ["0", "1", "2"]
    later = open_reader(ReaderSpec(str(folder / "model"), 2, str(folder / "poor")), SETTINGS)
    there = check_sae(pairs, later, tmp_path / "later", accepted, NullProgress())
    assert there is not None
    assert there.neighbours["2"] == pytest.approx(check.neighbours["2"], rel=1e-4)
    assert there.neighbours["1"] == pytest.approx(check.neighbours["1"], rel=1e-4)
    after = reader.read(jobs)
    assert all((after[k].pooled.act_max == before[k].pooled.act_max).all() for k in before)


def test_rough_arithmetic_is_compared_with_float32(folder: Path, tmp_path: Path) -> None:
    rough = replace(CHECKED, sae_dtype="bfloat16", accept_poor_sae=True)
    reader = open_reader(ReaderSpec(str(folder / "model"), 1, str(folder / "perfect")), rough)
    check = check_sae(PairFile(folder / "pairs.parquet"), reader, tmp_path, rough, NullProgress())
    assert check is not None
    assert check.disagreement is not None
    assert 0 <= check.disagreement < 0.02


def test_a_poor_sae_stops_the_run_unless_accepted(folder: Path, tmp_path: Path) -> None:
    reader, pairs = open_with(folder, "poor"), folder / "pairs.parquet"
    with pytest.raises(ModelError, match="variance is left unexplained"):
        read_pairs(pairs, reader, tmp_path, CHECKED, NullProgress())
    assert not list((tmp_path / "shards").glob("*"))
    accepted = replace(CHECKED, accept_poor_sae=True)
    assert read_pairs(pairs, reader, tmp_path, accepted, NullProgress()).is_complete


def test_an_l0_far_from_the_documented_one_is_a_problem(folder: Path, tmp_path: Path) -> None:
    pairs = PairFile(folder / "pairs.parquet")
    with pytest.raises(ModelError, match="latents fire per token, documented are 5"):
        check_sae(pairs, open_with(folder, "perfect", expected_l0=5.0), tmp_path, CHECKED, NullProgress())


def test_a_reader_folder_names_its_parts_relative_to_itself(folder: Path, tmp_path: Path) -> None:
    (folder / "reader.toml").write_text('model = "model"\nlayer = 2\nsae = "perfect"\nmax_tokens = 99\n')
    spec = load_reader_spec(str(folder))
    assert (spec.model, spec.layer, spec.sae) == (str(folder / "model"), 2, str(folder / "perfect"))
    assert open_reader(spec, SETTINGS).max_tokens == 99
    assert load_reader_spec(str(folder), layer=3).layer == 3
    (tmp_path / "reader.toml").write_text('model = "m"\nlayers = 2\n')
    with pytest.raises(ModelError, match="unknown keys: layers"):
        load_reader_spec(str(tmp_path))
    (tmp_path / "reader.toml").write_text('model = "m"\nlayer = "two"\n')
    with pytest.raises(ModelError, match="layer must be a whole number from 0 on"):
        load_reader_spec(str(tmp_path))


def test_presets_are_listed_in_sae_lens_own_directory() -> None:
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    for preset in PRESETS.values():
        assert preset.sae_id in directory[preset.release].saes_map
    spec = load_reader_spec("gemma-2-2b")
    assert (spec.model, spec.layer) == ("google/gemma-2-2b", 12)
    with pytest.raises(ModelError, match="has no SAE"):
        load_reader_spec("some/model")


@pytest.mark.parametrize("text", ["/nosuch/folder", "./nosuch", "~/nosuch/reader", "a/b/c", "nosuch/"])
def test_a_reader_that_can_only_be_a_folder_must_be_there(text: str) -> None:
    with pytest.raises(ModelError, match=f"there is no folder {text}"):
        load_reader_spec(text, layer=1, sae="sae")


def test_a_file_is_no_reader(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.bin is a file"):
        load_reader_spec(str(tmp_path / "model.bin"))


@given(lengths=st.lists(st.integers(0, 300), max_size=60), budget=st.integers(0, 1000))
def test_batches_hold_every_sequence_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= budget
    longest = [max(lengths[i] for i in batch) for batch in batches]
    if budget:
        assert longest == sorted(longest, reverse=True)


def test_a_batch_that_does_not_fit_is_halved_and_resumed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = open_with(folder, "poor")
    pairs = PairFile(folder / "pairs.parquet")
    jobs = plan_work(pairs.texts(0, 6), reader.layout, reader.max_tokens).jobs
    expected = reader.read(jobs)
    whole = reader.encoder.pool
    tried: list[int] = []

    def fits_two(x: torch.Tensor, bounds: Sequence[int]) -> list[Pooled]:
        """Memory may run out behind the model, too."""
        tried.append(len(bounds) - 1)
        if tried[-1] > 2:
            raise torch.OutOfMemoryError
        return whole(x, bounds)

    monkeypatch.setattr(reader.encoder, "pool", fits_two)
    reader.batches.batch_tokens = 1 << 20
    found = reader.read(jobs)
    assert max(tried) == sum(len(job.wants) for job in jobs)
    assert found.keys() == expected.keys()
    for key in expected:
        np.testing.assert_array_equal(found[key].pooled.latent, expected[key].pooled.latent)
    monkeypatch.setattr(reader.encoder, "pool", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(ModelError, match="does not fit into memory"):
        reader.read(jobs[:1])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sae = 3", "sae must be a text, not 3"),
        ('expected_l0 = "x"', "expected_l0 must be a number from 0 on"),
        ("max_tokens = -5", "max_tokens must be a whole number from 1 on"),
        ("max_tokens = 0", "max_tokens must be a whole number from 1 on"),
        ("layer = 1.5", "layer must be a whole number from 0 on"),
        ("norm_scaling_factor = inf", "norm_scaling_factor must be a number from 0 on"),
        ("layer = true", "layer must be a whole number from 0 on"),
    ],
)
def test_a_slip_in_a_reader_folder_is_said_before_anything_is_loaded(
    tmp_path: Path, line: str, said: str
) -> None:
    (tmp_path / "reader.toml").write_text(f'model = "m"\n{line}\n')
    with pytest.raises(ModelError, match=said):
        load_reader_spec(str(tmp_path), sae="s")


def test_a_model_that_gives_no_numbers_is_said_and_not_read(folder: Path, tmp_path: Path) -> None:
    pairs, reader = PairFile(folder / "pairs.parquet"), open_with(folder, "perfect")
    for parameter in reader.stream.loaded.model.parameters():
        parameter.data.view(-1)[0] = float("nan")
    with pytest.raises(ModelError, match="no finite numbers"):
        check_sae(pairs, reader, tmp_path, replace(CHECKED, accept_poor_sae=True), NullProgress())


def test_another_decoder_is_checked_anew(folder: Path, tmp_path: Path) -> None:
    """Readings do not depend on it, and stay; what was found about the SAE does."""
    pairs, reader = PairFile(folder / "pairs.parquet"), open_with(folder, "perfect")
    check = check_sae(pairs, reader, tmp_path, CHECKED, NullProgress())
    assert check is not None
    decoder = reader.sae.decoder
    assert decoder is not None
    decoder.zero_()
    with pytest.raises(ModelError, match="left unexplained"):
        check_sae(pairs, reader, tmp_path, CHECKED, NullProgress())
