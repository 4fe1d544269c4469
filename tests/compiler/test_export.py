"""Exports: golden rows per target, and an error wherever something would be lost."""

import inspect
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.compiler.buckets import buckets
from engine.compiler.emit import compile_plan
from engine.compiler.export import TARGETS, ExportRequest, _made, export
from engine.compiler.export_rows import ROW_WRITERS, Row, changes_of
from engine.compiler.plan import make_plan
from engine.errors import CompileError, TrainError
from engine.store.connection import Store
from engine.training.shaped import read_shaped
from tests.worlds import World

GOLDEN = Path(__file__).parent / "golden"
ROW = Row(
    pair_id="00ab",
    prompt=[
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Tea?"},
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "Grün, „heiß“\n"},
    ],
    chosen=[{"role": "assistant", "content": "Here you are.\n"}],
    rejected=[{"role": "assistant", "content": "No."}],
    weight=1.5,
    offset=0.25,
    tools=None,
    inoculation=None,
)


def compiled(world: World, store: Store, root: Path, rules: str) -> Path:
    plan = make_plan(store, "prosect rules 1\n" + rules)
    return compile_plan(store, plan, world.paths.pairs, root / "shaped").folder


@pytest.mark.parametrize("target", TARGETS)
def test_a_row_is_written_as_the_target_documents_it(target: str) -> None:
    golden = json.loads((GOLDEN / f"{target}.json").read_text(encoding="utf-8"))
    assert ROW_WRITERS[target](ROW) == golden


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "prosect"])
def test_weights_are_never_lost_silently(world: World, store: Store, tmp_path: Path, target: str) -> None:
    shaped = compiled(world, store, tmp_path, 'weight *= 0.5 where source == "alpha"\n')
    with pytest.raises(CompileError, match="weights"):
        export(ExportRequest(shaped, tmp_path / "out", target))
    assert not (tmp_path / "out").exists()
    report = export(ExportRequest(shaped, tmp_path / "out", target, replicate=4))
    assert report.n_rows > report.n_pairs


@pytest.mark.parametrize("target", ["trl", "axolotl", "llama-factory", "open-instruct"])
def test_offsets_are_refused_where_nothing_carries_them(
    world: World, store: Store, tmp_path: Path, target: str
) -> None:
    shaped = compiled(world, store, tmp_path, 'soften context("tea") by 0.5\n')
    with pytest.raises(CompileError, match="offsets of"):
        export(ExportRequest(shaped, tmp_path / "out", target, replicate=2))


def test_what_only_our_trainer_does_is_refused_elsewhere(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'steer @"concept 1" by 0.3 at layer 2\n')
    with pytest.raises(CompileError, match="steer"):
        export(ExportRequest(shaped, tmp_path / "out", "trl"))


def test_the_reward_margin_is_the_negated_offset(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'soften context("tea") by 0.5\n')
    export(ExportRequest(shaped, tmp_path / "out", "trl-reward"))
    offsets = pq.read_table(shaped / "train.parquet").column("offset").to_pylist()
    margins = pq.read_table(tmp_path / "out/train.parquet").column("margin").to_pylist()
    assert margins == [-m for m in offsets]
    assert set(offsets) == {0.0, 0.5}


@given(difference=st.floats(-5, 5), offset=st.floats(-5, 5))
def test_trl_subtracts_the_margin_so_both_losses_agree(difference: float, offset: float) -> None:
    margin = ROW_WRITERS["trl-reward"](replace(ROW, offset=offset))["margin"]
    ours = math.log1p(math.exp(-(difference + offset)))
    theirs = math.log1p(math.exp(-(difference - margin)))
    assert ours == pytest.approx(theirs, abs=1e-12)


@pytest.mark.slow
def test_the_installed_trl_subtracts_the_margin() -> None:
    trl = pytest.importorskip("trl")
    source = inspect.getsource(trl.RewardTrainer)
    assert 'rewards_chosen - rewards_rejected - inputs["margin"]' in source


@pytest.mark.slow
def test_the_installed_trl_takes_the_rows_as_conversations() -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    assert data_utils.is_conversational(ROW_WRITERS["trl"](ROW))


def test_replication_is_reproducible_and_unbiased(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'weight *= 0.3 where source == "alpha"\n')
    first = export(ExportRequest(shaped, tmp_path / "a", "trl", replicate=3))
    second = export(ExportRequest(shaped, tmp_path / "b", "trl", replicate=3))
    assert first == second
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()
    # weights have mean 1, so 3 copies per unit of weight give 3 n rows, each pair off by less than one
    assert abs(first.n_rows - 3 * first.n_pairs) < 3 * math.sqrt(first.n_pairs)


def test_plain_pairs_reach_every_target(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'drop where source == "alpha"\n')
    expected = pq.read_table(shaped / "train.parquet").num_rows
    for target in TARGETS:
        report = export(ExportRequest(shaped, tmp_path / target, target))
        assert report.n_rows == expected
        facts = json.loads((tmp_path / target / "export.json").read_text())
        assert sorted(facts["hashes"]) == sorted(report.files)


@pytest.mark.parametrize(
    ("changed", "target", "problem"),
    [
        ({"chosen": ROW.chosen * 2}, "open-instruct", "several messages"),
        ({"chosen": ROW.chosen * 2}, "axolotl", "several messages"),
        ({"prompt": ROW.prompt[:3]}, "llama-factory", "end with the user"),
        ({"prompt": [*ROW.prompt, ROW.prompt[-1]]}, "llama-factory", "take turns"),
        ({"prompt": []}, "trl", "prompts without any message"),
        ({"prompt": []}, "trl-reward", "prompts without any message"),
        ({"rejected": [{"role": "assistant", "content": " Here you are."}]}, "axolotl", "white space"),
        ({"rejected": [{"role": "assistant", "content": "user"}]}, "axolotl", "so short"),
        ({"chosen": [{"role": "assistant", "content": " \n"}]}, "axolotl", "empty"),
    ],
)
def test_rows_that_a_target_cannot_say_are_named(changed: dict[str, Any], target: str, problem: str) -> None:
    values = {name: getattr(ROW, name) for name in Row.__slots__} | changed
    with pytest.raises(ValueError, match=problem):
        ROW_WRITERS[target](Row(**values))


def test_the_rule_that_drops_what_a_target_cannot_say_is_written_out(
    world: World, store: Store, tmp_path: Path
) -> None:
    shaped = compiled(world, store, tmp_path, "")
    table = pq.read_table(shaped / "train.parquet").to_pylist()
    table[2]["prompt"] = []
    rows = [Row(**{name: row.get(name) for name in Row.__slots__}) for row in table]
    with pytest.raises(CompileError, match=r"without any message \(1 row\)") as refused:
        _made("trl", rows)
    assert f'`drop where id in ["{table[2]["pair_id"]}"]`' in str(refused.value.hint)


def test_an_unknown_target_and_an_unfinished_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="no target"):
        export(ExportRequest(tmp_path, tmp_path, "word"))
    with pytest.raises(CompileError, match="no finished"):
        export(ExportRequest(tmp_path, tmp_path, "trl"))


def test_stripped_white_space_is_counted(world: World, store: Store, tmp_path: Path) -> None:
    spaced = replace(ROW, chosen=[{"role": "assistant", "content": " Here."}])
    assert changes_of("axolotl", [ROW, spaced, replace(ROW, chosen=ROW.rejected)]) == {
        "white space at the ends of responses": 2  # ROW's own chosen ends with a line break
    }
    assert changes_of("trl", [spaced]) == {}
    shaped = compiled(world, store, tmp_path, 'drop where source == "alpha"\n')
    assert export(ExportRequest(shaped, tmp_path / "out", "axolotl")).changed == {}


def weighted(weights: list[float]) -> list[Row]:
    return [replace(ROW, pair_id=f"{i:04x}", weight=w) for i, w in enumerate(weights)]


def test_buckets_take_what_their_weight_says() -> None:
    """40 pairs of weight 2, 100 of 1, 60 of 0.5: all, half and a quarter of them."""
    rows = weighted([2.0] * 40 + [1.0] * 100 + [0.5] * 60)
    parts = buckets(rows, seed=3)
    assert [(len(p.rows), p.n_taken) for p in parts] == [(40, 40), (100, 50), (60, 15)]
    for part in parts:
        # what open-instruct does with a share; text as in mixer.txt
        assert int(float(f"{part.proportion:.8f}") * len(part.rows)) == part.n_taken
    assert [r.pair_id for r in buckets(rows[::-1], seed=3)[1].rows] == [r.pair_id for r in parts[1].rows]
    assert [r.pair_id for r in buckets(rows, seed=4)[1].rows] != [r.pair_id for r in parts[1].rows]


@given(st.lists(st.floats(0.01, 10), min_size=20, max_size=300))
def test_many_weights_share_files_and_keep_their_total(weights: list[float]) -> None:
    parts = buckets(weighted(weights), seed=0)
    assert sum(len(p.rows) for p in parts) == len(weights)
    for part in parts:
        own = [r.weight for r in part.rows]
        assert len({round(w, 6) for w in own}) == 1 or max(own) / min(own) <= 1.1 + 1e-6
        assert 1 <= part.n_taken <= len(part.rows)
        assert int(float(f"{part.proportion:.8f}") * len(part.rows)) == part.n_taken


def test_up_to_twelve_weights_have_a_file_each_and_noise_is_no_weight() -> None:
    few = [1 - k / 100 for k in range(12)]
    assert [len(p.rows) for p in buckets(weighted([w + e for w in few for e in (0, 1e-9)]), seed=0)] == [
        2
    ] * 12
    assert [len(p.rows) for p in buckets(weighted([*few, 0.5]), seed=0)] == [10, 2, 1]  # 0.91 > 1/1.1 > 0.90


def test_what_is_taken_of_each_file_adds_up_to_the_weights() -> None:
    """Weights 1 and 0.99 share the first file, which sets the scale; 0.3 and 0.29 are taken at their mean."""
    weights = [1.0, 0.99] * 20 + [0.3, 0.29] * 50 + [0.01 * k for k in range(1, 12)]
    parts = buckets(weighted(weights), seed=0)
    assert (len(parts[0].rows), parts[0].n_taken) == (40, 40)
    assert (len(parts[1].rows), parts[1].n_taken) == (100, round(100 * 0.295 / 0.995))


def test_open_instruct_gets_one_file_per_weight(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'weight *= 0.5 where source == "alpha"\n')
    report = export(ExportRequest(shaped, tmp_path / "out", "open-instruct", bucket=True))
    assert report.files == ("mixer.txt", "train-000.jsonl", "train-001.jsonl")
    mixer = (tmp_path / "out/mixer.txt").read_text().split()
    counts = [len((tmp_path / "out" / n).read_text().splitlines()) for n in report.files[1:]]
    assert sum(counts) == report.n_pairs
    shares = dict(zip(mixer[2::3], map(float, mixer[3::3]), strict=True))
    assert shares["train-000.jsonl"] == 1.0
    assert abs(int(shares["train-001.jsonl"] * counts[1]) - counts[1] / 2) <= 0.5
    with pytest.raises(CompileError, match="mix files"):
        export(ExportRequest(shaped, tmp_path / "no", "axolotl", bucket=True))


def test_an_export_never_overwrites_what_prosect_made(world: World, store: Store, tmp_path: Path) -> None:
    shaped = compiled(world, store, tmp_path, 'drop where source == "alpha"\n')
    before = {p.name: p.read_bytes() for p in shaped.iterdir()}
    for out in (shaped, shaped.parent / ".." / "shaped" / shaped.name):
        with pytest.raises(CompileError, match="holds what prosect has made") as caught:
            export(ExportRequest(shaped, out, "prosect"))
        assert "a folder of its own" in str(caught.value.hint)
    assert {p.name: p.read_bytes() for p in shaped.iterdir()} == before


def test_a_dataset_that_was_changed_is_not_exported_and_is_compiled_anew(
    world: World, store: Store, tmp_path: Path
) -> None:
    rules = 'drop where source == "alpha"\n'
    shaped = compiled(world, store, tmp_path, rules)
    whole = (shaped / "train.parquet").read_bytes()
    (shaped / "README.md").write_text("a card of our own", encoding="utf-8")
    export(ExportRequest(shaped, tmp_path / "out", "trl"))
    pq.write_table(pq.read_table(shaped / "train.parquet").slice(0, 5), shaped / "train.parquet")
    with pytest.raises(CompileError, match=r"not as it was compiled: train\.parquet") as caught:
        export(ExportRequest(shaped, tmp_path / "out", "trl"))
    assert "prosect compile" in str(caught.value.hint)
    with pytest.raises(TrainError, match="not as it was compiled"):
        read_shaped(shaped, 0)
    assert compiled(world, store, tmp_path, rules) == shaped
    assert (shaped / "train.parquet").read_bytes() == whole


def test_files_of_an_earlier_export_do_not_stay_beside_the_new_ones(
    world: World, store: Store, tmp_path: Path
) -> None:
    two = compiled(world, store, tmp_path, 'weight *= 0.5 where source == "alpha"\n')
    one = compiled(world, store, tmp_path, 'drop where source == "alpha"\n')
    out = tmp_path / "out"
    first = export(ExportRequest(two, out, "open-instruct", bucket=True))
    (out / "notes.txt").write_text("ours", encoding="utf-8")
    second = export(ExportRequest(one, out, "open-instruct", bucket=True))
    assert set(second.files) < set(first.files)
    assert {p.name for p in out.iterdir()} == {*second.files, "export.json", "notes.txt"}
