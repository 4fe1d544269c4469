"""Shards to arrays to tables, against dense matrices."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.errors import StoreError
from engine.progress import NullProgress
from engine.records import Span, message_type, pair_schema, reading_schema
from engine.store import tables
from engine.store.arrays import build_arrays, load_truncated, open_arrays
from engine.store.build import build_index
from engine.store.connection import Store
from engine.store.shard_files import locate_shards
from engine.store.tables import acts_table, last_acts_table, pairs_table, plain_texts, prompt_acts_table

N_LATENTS = 23
Dense = dict[str, NDArray[Any]]
"""Per span and kind a (P, L) matrix: ``chosen_max`` …"""


def make_dense(n_pairs: int, seed: int, density: float = 0.2) -> Dense:
    rng = np.random.default_rng(seed)
    dense: Dense = {}
    for span in Span:
        fires = rng.random((n_pairs, N_LATENTS)) < density
        dense[f"{span}_n"] = (fires * rng.integers(1, 9, fires.shape)).astype(np.uint16)
        dense[f"{span}_max"] = (fires * rng.random(fires.shape)).astype(np.float32)
        dense[f"{span}_sum"] = (dense[f"{span}_max"] * 2).astype(np.float32)
        dense[f"{span}_peak"] = (fires * rng.integers(0, 50, fires.shape)).astype(np.uint16)
        dense[f"{span}_last"] = (dense[f"{span}_max"] * (rng.random(fires.shape) < 0.3)).astype(np.float32)
    return dense


def write_world(folder: Path, dense: Dense, cuts: list[int]) -> tuple[Path, Path]:
    """pairs.parquet and shards with the given boundaries."""
    n = len(dense["chosen_n"])
    rows = []
    for i in range(n):
        row: dict[str, Any] = dict.fromkeys(pair_schema().names)
        row |= {
            "pair_id": f"{i:032x}",
            "content_id": f"{i:032x}",
            "copy": 0,
            "source": "beta" if i % 3 else "alpha",
            "prompt": [{"role": "user", "content": f"prompt {i // 2}"}],
            "chosen": [{"role": "assistant", "content": f"chosen {i}"}],
            "rejected": [{"role": "assistant", "content": f"rejected {i}"}],
            "label": "chosen" if i % 5 else "tie",
            "group_id": f"{i // 2:032x}",
            "fold": i // 2 % 20,
            "model_chosen": "m1" if i % 2 else None,
            "is_evaluation": False,
            "meta": "{}",
        }
        rows.append(row)
    pairs = folder / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=pair_schema()), pairs, row_group_size=5)
    (folder / "shards").mkdir(exist_ok=True)
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, n], strict=True)):
        records = [_record(dense, i) for i in range(start, stop)]
        table = pa.Table.from_pylist(records, schema=reading_schema())
        pq.write_table(table, folder / "shards" / f"{number:06d}-{start}.parquet")
    return folder / "shards", pairs


def _record(dense: Dense, i: int) -> dict[str, Any]:
    record: dict[str, Any] = {"pair_id": f"{i:032x}"}
    for span in Span:
        at = np.flatnonzero(dense[f"{span}_n"][i])
        record |= {f"{span}_tokens": 10 + i, f"{span}_truncated": i % 4 == 0, f"{span}_latent": at.tolist()}
        record |= {f"{span}_{k}": dense[f"{span}_{k}"][i][at].tolist() for k in (*FIELDS, "last")}
    return record


FIELDS = {"max": "act_max", "n": "n_fired", "sum": "act_sum", "peak": "peak"}


@given(
    n=st.integers(1, 17),
    seed=st.integers(0, 10_000),
    density=st.sampled_from([0.0, 0.05, 0.4, 1.0]),
    data=st.data(),
)
@settings(max_examples=25)
def test_both_orders_hold_exactly_the_dense_matrices(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, density: float, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("world")
    dense = make_dense(n, seed, density)
    cuts = data.draw(
        st.lists(st.integers(1, n - 1), unique=True, max_size=3).map(sorted) if n > 1 else st.just([])
    )
    shards, pairs = write_world(folder, dense, cuts)
    assert build_arrays(shards, pairs, folder / "arrays", N_LATENTS, NullProgress()) == n
    readings = open_arrays(folder / "arrays")
    union = (dense["chosen_n"] > 0) | (dense["rejected_n"] > 0)
    p_csr, l_csr = np.nonzero(union)
    l_csc, p_csc = np.nonzero(union.T)
    np.testing.assert_array_equal(readings.by_pair.latent, l_csr)
    np.testing.assert_array_equal(np.diff(readings.by_pair.indptr), union.sum(axis=1))
    np.testing.assert_array_equal(readings.by_latent.pair, p_csc)
    np.testing.assert_array_equal(np.diff(readings.by_latent.indptr), union.sum(axis=0))
    p_prompt, l_prompt = np.nonzero(dense["prompt_n"])
    np.testing.assert_array_equal(readings.prompts.latent, l_prompt)
    for kind, field in FIELDS.items():
        for span, by_pair, by_latent in (
            (Span.CHOSEN, readings.by_pair.chosen, readings.by_latent.chosen),
            (Span.REJECTED, readings.by_pair.rejected, readings.by_latent.rejected),
        ):
            expected = dense[f"{span}_{kind}"]
            np.testing.assert_array_equal(getattr(by_pair, field), expected[p_csr, l_csr])
            np.testing.assert_array_equal(getattr(by_latent, field), expected[p_csc, l_csc])
        prompt = getattr(readings.prompts.values, field)
        np.testing.assert_array_equal(prompt, dense[f"prompt_{kind}"][p_prompt, l_prompt])
    last = readings.last
    assert last is not None
    l_last, p_last = np.nonzero(((dense["chosen_last"] > 0) | (dense["rejected_last"] > 0)).T)
    np.testing.assert_array_equal(np.repeat(np.arange(N_LATENTS), np.diff(last.indptr)), l_last)
    np.testing.assert_array_equal(last.pair, p_last)
    np.testing.assert_array_equal(last.chosen, dense["chosen_last"][p_last, l_last])
    np.testing.assert_array_equal(last.rejected, dense["rejected_last"][p_last, l_last])


def test_pairs_are_coded_in_their_own_order(tmp_path: Path) -> None:
    shards, pairs = write_world(tmp_path, make_dense(9, 1), [4])
    build_arrays(shards, pairs, tmp_path / "arrays", N_LATENTS, NullProgress())
    arrays = open_arrays(tmp_path / "arrays").pairs
    assert arrays.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert arrays.is_signed.tolist() == [False, True, True, True, True, False, True, True, True]
    assert [arrays.source_names[c] for c in arrays.source[:3]] == ["alpha", "beta", "beta"]
    assert arrays.model_chosen[:2].tolist() == [-1, 0]
    assert arrays.model_names == ("m1",)
    assert arrays.chosen_tokens.tolist() == list(range(10, 19))
    assert load_truncated(tmp_path / "arrays")[Span.PROMPT].tolist() == [i % 4 == 0 for i in range(9)]


def test_a_first_sample_ends_where_readings_end(tmp_path: Path) -> None:
    dense = make_dense(12, 2)
    shards, pairs = write_world(tmp_path, dense, [4, 8])
    (shards / "000001-4.parquet").unlink()
    assert build_arrays(shards, pairs, tmp_path / "a", N_LATENTS, NullProgress()) == 4
    assert open_arrays(tmp_path / "a").n_pairs == 4
    assert build_arrays(shards, pairs, tmp_path / "b", N_LATENTS, NullProgress(), max_pairs=3) == 3


def test_shards_of_an_older_plan_do_no_harm(tmp_path: Path) -> None:
    """Files left over from before a source was added hold the same pairs in other runs."""
    dense = make_dense(10, 3)
    shards, pairs = write_world(tmp_path, dense, [5])
    stray = [_record(dense, i) for i in (2, 3, 7)] + [{**_record(dense, 1), "pair_id": "f" * 32}]
    pq.write_table(pa.Table.from_pylist(stray, schema=reading_schema()), shards / "000009-old.parquet")
    build_arrays(shards, pairs, tmp_path / "a", N_LATENTS, NullProgress())
    union = (dense["chosen_n"] > 0) | (dense["rejected_n"] > 0)
    assert len(open_arrays(tmp_path / "a").by_pair.latent) == union.sum()


def test_damage_is_named(tmp_path: Path) -> None:
    shards, pairs = write_world(tmp_path, make_dense(6, 4), [3])
    with pytest.raises(StoreError, match="latents beyond 5"):
        build_arrays(shards, pairs, tmp_path / "a", 5, NullProgress())
    assert not (tmp_path / "a").exists()
    (shards / "000000-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"000000-0\.parquet is damaged"):
        build_arrays(shards, pairs, tmp_path / "a", N_LATENTS, NullProgress())
    with pytest.raises(StoreError, match="no readings"):
        build_arrays(tmp_path / "none", pairs, tmp_path / "a", N_LATENTS, NullProgress())
    with pytest.raises(StoreError, match="no readable arrays"):
        open_arrays(tmp_path / "a")


def test_the_index_answers_what_the_arrays_hold(tmp_path: Path) -> None:
    dense = make_dense(11, 5)
    shards, pairs = write_world(tmp_path, dense, [6])
    build_arrays(shards, pairs, tmp_path / "a", N_LATENTS, NullProgress())
    readings = open_arrays(tmp_path / "a")
    written = {
        "acts": acts_table(readings),
        "prompt_acts": prompt_acts_table(readings),
        "last_acts": last_acts_table(readings),
        "pairs": pairs_table(pairs, readings.pairs, load_truncated(tmp_path / "a")),
    }
    build_index(tmp_path / "index.duckdb", written, {})
    with Store(tmp_path / "index.duckdb") as store:
        for pair, latent, top, n in store.rows("SELECT pair, latent, chosen_max, rejected_n FROM acts"):
            assert (top, n) == (dense["chosen_max"][pair, latent], dense["rejected_n"][pair, latent])
        assert store.value("SELECT count(*) FROM prompt_acts") == (dense["prompt_n"] > 0).sum()
        for pair, latent, peak in store.rows("SELECT pair, latent, prompt_peak FROM prompt_acts"):
            assert peak == dense["prompt_peak"][pair, latent]
        found = store.rows("SELECT pair, latent, chosen, rejected FROM last_acts")
        assert len(found) == ((dense["chosen_last"] > 0) | (dense["rejected_last"] > 0)).sum()
        for pair, latent, chosen, rejected in found:
            assert chosen == dense["chosen_last"][pair, latent]
            assert rejected == dense["rejected_last"][pair, latent]
        row = store.row(
            "SELECT pair_id, prompt_text, chosen_text, group_index, chosen_tokens, prompt_turns,"
            " prompt_truncated, fold FROM pairs WHERE pair = 8"
        )
        assert row == (f"{8:032x}", "prompt 4", "chosen 8", 4, 18, 1, True, 4)
        assert store.value("SELECT count(*) FROM pairs") == 11


@pytest.mark.parametrize(("a_batch", "a_pass"), [(1, 1), (3, 10), (7, 25), (1000, 1000)])
def test_rows_are_the_same_in_any_number_of_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_batch: int, a_pass: int
) -> None:
    """Small passes cut between latents, small batches inside of one."""
    monkeypatch.setattr(tables, "_ROWS_A_BATCH", a_batch)
    monkeypatch.setattr(tables, "_ROWS_A_PASS", a_pass)
    monkeypatch.setattr(tables, "_PAIRS_A_BATCH", a_batch)
    dense = make_dense(11, 6)
    shards, pairs = write_world(tmp_path, dense, [6])
    build_arrays(shards, pairs, tmp_path / "a", N_LATENTS, NullProgress())
    readings = open_arrays(tmp_path / "a")
    latent, pair = np.nonzero(((dense["chosen_n"] > 0) | (dense["rejected_n"] > 0)).T)
    acts = acts_table(readings).read_all()
    assert acts["latent"].to_pylist() == latent.tolist()
    assert acts["pair"].to_pylist() == pair.tolist()
    assert acts["rejected_sum"].to_pylist() == dense["rejected_sum"][pair, latent].tolist()
    latent, pair = np.nonzero(dense["prompt_n"].T)
    prompts = prompt_acts_table(readings).read_all()
    assert prompts["latent"].to_pylist() == latent.tolist()
    assert prompts["pair"].to_pylist() == pair.tolist()
    for kind in FIELDS:
        assert prompts[f"prompt_{kind}"].to_pylist() == dense[f"prompt_{kind}"][pair, latent].tolist()
    rows = pairs_table(pairs, readings.pairs, load_truncated(tmp_path / "a")).read_all()
    assert rows["pair"].to_pylist() == list(range(11))
    assert rows["chosen_text"].to_pylist() == [f"chosen {i}" for i in range(11)]
    assert rows["chosen_tokens"].to_pylist() == list(range(10, 21))


def test_plain_text_marks_turns_only_where_there_are_several() -> None:
    several = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    unsaid = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None}]
    column = pa.chunked_array(
        [pa.array([[{"role": "user", "content": "Hi"}], several, [], None, unsaid], message_type())]
    )
    marked = "system: Be brief.\n\nuser: Hi"
    assert plain_texts(column).to_pylist() == ["Hi", marked, "", "", "user: Hi\n\nassistant: "]
    assert plain_texts(column.slice(1, 2)).to_pylist() == [marked, ""]


def test_shards_of_an_earlier_mix_beside_those_of_this_one_hide_no_pairs(tmp_path: Path) -> None:
    """Old shards cut the pairs otherwise: one reaches over a boundary of the new ones, one lies inside."""
    dense = make_dense(30, 0)
    shards, pairs = write_world(tmp_path, dense, [10, 20])
    for start, stop in ((0, 15), (17, 19)):
        table = pa.Table.from_pylist([_record(dense, i) for i in range(start, stop)], schema=reading_schema())
        pq.write_table(table, shards / f"{start:06d}-old.parquet")
    ids = pq.read_table(pairs, columns=["pair_id"])["pair_id"].to_pylist()
    assert [(r.start, r.stop) for r in locate_shards(shards, ids)] == [(0, 15), (15, 20), (20, 30)]
    assert [(r.start, r.stop) for r in locate_shards(shards, ids, 17)] == [(0, 15), (15, 17)]
    assert build_arrays(shards, pairs, tmp_path / "arrays", N_LATENTS, NullProgress()) == 30
    tokens = np.load(tmp_path / "arrays" / "chosen_tokens.npy")
    assert tokens.tolist() == [10 + i for i in range(30)]
