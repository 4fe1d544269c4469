"""Ids, duplicates, groups and folds: what stays the same when rows, files and sources move about."""

import gzip
import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import Cancelled, IngestError
from engine.ingest.grouping import Groups, assign_folds, fold_of
from engine.ingest.keys import KeyColumns, Keys
from engine.ingest.run import Mix, SourceSpec, ingest
from engine.manifest import read_manifest
from engine.progress import CancelToken, NullProgress
from engine.records import pair_schema
from engine.settings import IngestSettings
from tests.ingest.tables import Json, entries_of, pairs_of, plain_row, run, write_jsonl

WHERE = ("source_file", "source_row")


def without_place(pairs: list[Json]) -> list[Json]:
    return [{k: v for k, v in p.items() if k not in WHERE} for p in pairs]


def test_pairs_have_the_declared_schema_and_order(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(i) for i in range(40)])
    run(file, out=tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "pairs.parquet")
    assert table.schema.equals(pair_schema())
    keys = [(p["group_id"], p["pair_id"]) for p in pairs_of(tmp_path / "out")]
    assert keys == sorted(keys)
    assert all(len(g) == 32 and len(p) == 32 for g, p in keys)
    assert len(set(keys)) == 40


def test_exact_duplicates_are_kept_numbered_and_counted(tmp_path: Path) -> None:
    rows = [plain_row(1), plain_row(2), plain_row(1), plain_row(1, rating=3)]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    pairs = [p for p in pairs_of(tmp_path / "out") if p["prompt"][0]["content"] == "question 1"]
    assert sorted(p["copy"] for p in pairs) == [0, 1, 2]
    assert len({p["content_id"] for p in pairs}) == 1
    assert len({p["pair_id"] for p in pairs}) == 3
    assert report.noted == {"exact_duplicate": 2}


def test_the_same_pair_in_two_sources_has_two_ids_and_one_content(tmp_path: Path) -> None:
    a = write_jsonl(tmp_path / "a.jsonl", [plain_row(1)])
    b = write_jsonl(tmp_path / "b.jsonl", [plain_row(1)])
    report = run(a, b, out=tmp_path / "out")
    one, two = pairs_of(tmp_path / "out")
    assert one["content_id"] == two["content_id"]
    assert one["pair_id"] != two["pair_id"]
    assert one["group_id"] == two["group_id"]
    assert report.pairs_by_source == {"a": 1, "b": 1}


def test_groups_are_connected_through_prompts_and_conversations(tmp_path: Path) -> None:
    """p1–c1–p2–c2–p3 is one component; p4 shares neither."""
    links = [("p1", "c1"), ("p2", "c1"), ("p2", "c2"), ("p3", "c2"), ("p4", "c9"), ("p4", None)]
    rows = [
        {"prompt": p, "chosen": f"a{i}", "rejected": f"b{i}", "conversation_id": c}
        for i, (p, c) in enumerate(links)
    ]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    groups: dict[str, set[str]] = {}
    for pair in pairs_of(tmp_path / "out"):
        groups.setdefault(pair["group_id"], set()).add(pair["prompt"][0]["content"])
    assert sorted(map(sorted, groups.values())) == [["p1", "p2", "p3"], ["p4"]]
    assert report.groups == 2


def test_group_id_is_the_smallest_prompt_hash_and_fold_its_md5(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(i) for i in range(30)])
    run(file, out=tmp_path / "out")
    for pair in pairs_of(tmp_path / "out"):
        text = pair["prompt"][0]["content"].encode()
        expected = hashlib.blake2b(b"user %d\n" % len(text) + text, digest_size=16).hexdigest()
        assert pair["group_id"] == expected
        assert pair["fold"] == int(hashlib.md5(f"prosect:{expected}".encode()).hexdigest(), 16) % 20  # noqa: S324


def test_ids_are_hashes_that_anybody_can_compute_again(tmp_path: Path) -> None:
    """Verdicts, ledgers and shaped data name pairs by them: they must not change with the code."""

    def digest(*parts: bytes) -> bytes:
        return hashlib.blake2b(b"".join(parts), digest_size=16).digest()

    row = {"prompt": "why?", "chosen": "because", "rejected": "größer"}
    run(write_jsonl(tmp_path / "s.jsonl", [row, row]), out=tmp_path / "out")
    sides = [digest(b"user 4\nwhy?"), digest(b"assistant 7\nbecause"), digest("assistant 8\ngrößer".encode())]
    content = digest(*sides, b"chosen")
    for pair in pairs_of(tmp_path / "out"):
        copy = int(pair["copy"]).to_bytes(4, "big")
        assert pair["content_id"] == content.hex()
        assert pair["pair_id"] == digest(b"\0\0\0\1s", content, copy).hex()
    assert sorted(p["copy"] for p in pairs_of(tmp_path / "out")) == [0, 1]


def test_pairs_without_prompt_do_not_form_one_giant_group(tmp_path: Path) -> None:
    rows = [{"chosen": f"alpha{i}", "rejected": f"beta{i}"} for i in range(5)]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert report.groups == 5
    assert report.noted == {"no_prompt": 5}


rows_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.sampled_from(["p1", "p2", "p3", "é"]),
            "chosen": st.sampled_from(["a", "b", "c"]),
            "rejected": st.sampled_from(["a", "b", "", "d"]),
            "conversation_id": st.sampled_from([None, "c1", "c2"]),
            "rating": st.integers(0, 2),
        }
    ),
    min_size=1,
    max_size=12,
).filter(lambda rows: any(r["rejected"] not in ("", r["chosen"]) for r in rows))


@settings(max_examples=25)
@given(rows=rows_strategy, data=st.data())
def test_order_of_rows_and_files_never_matters(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(rows))
    folder = tmp_path_factory.mktemp("order")
    one = SourceSpec(str(write_jsonl(folder / "z.jsonl", rows)), name="s")
    first = run(one, out=folder / "out1")
    a = SourceSpec(str(write_jsonl(folder / "b.jsonl", shuffled)), name="s")
    second = run(a, out=folder / "out2")
    assert without_place(pairs_of(folder / "out1")) == without_place(pairs_of(folder / "out2"))
    assert (first.dropped, first.noted, first.folds) == (second.dropped, second.noted, second.folds)


def test_one_file_or_three_makes_no_difference(tmp_path: Path) -> None:
    rows = [plain_row(i % 7, rating=i % 3) for i in range(21)]
    whole = write_jsonl(tmp_path / "whole" / "s.jsonl", rows)
    for i in range(3):
        write_jsonl(tmp_path / "parts" / f"{2 - i}.jsonl", rows[i::3])
    run(SourceSpec(str(whole), name="s"), out=tmp_path / "out1")
    run(SourceSpec(str(tmp_path / "parts"), name="s"), out=tmp_path / "out2")
    assert without_place(pairs_of(tmp_path / "out1")) == without_place(pairs_of(tmp_path / "out2"))


def test_swapped_labels_give_exchanged_sides(tmp_path: Path) -> None:
    rows: list[Json] = [
        {
            "prompt": f"p{i}",
            "response_A": f"x{i}",
            "response_B": f"y{i}",
            "label": i % 2,
            "model_A": "m",
            "model_B": "n",
        }
        for i in range(6)
    ]
    swapped = [r | {"label": 1 - int(r["label"])} for r in rows]
    run(write_jsonl(tmp_path / "1" / "x.jsonl", rows), out=tmp_path / "out1")
    run(write_jsonl(tmp_path / "2" / "x.jsonl", swapped), out=tmp_path / "out2")
    left = {p["source_row"]: p for p in pairs_of(tmp_path / "out1")}
    for right in pairs_of(tmp_path / "out2"):
        one = left[right["source_row"]]
        assert (one["chosen"], one["rejected"]) == (right["rejected"], right["chosen"])
        assert (one["model_chosen"], one["model_rejected"]) == (
            right["model_rejected"],
            right["model_chosen"],
        )
        assert {one["chosen_was"], right["chosen_was"]} == {"a", "b"}
        assert one["group_id"] == right["group_id"]


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(i) for i in range(5)])
    first = run(file, out=tmp_path / "out")
    before = (tmp_path / "out" / "pairs.parquet").stat().st_mtime_ns
    assert run(file, out=tmp_path / "out") == first
    assert (tmp_path / "out" / "pairs.parquet").stat().st_mtime_ns == before
    manifest = read_manifest(tmp_path / "out")
    assert manifest is not None
    assert manifest.facts["pairs"] == 5
    write_jsonl(file, [plain_row(i) for i in range(6)])
    assert run(file, out=tmp_path / "out").pairs == 6


def test_unfinished_work_leaves_no_scratch_and_no_manifest(tmp_path: Path) -> None:
    good = write_jsonl(tmp_path / "a.jsonl", [plain_row(1)])
    bad = write_jsonl(tmp_path / "b.jsonl", [{"prompt": "p", "chosen": "", "rejected": ""}])
    (tmp_path / "out" / ".scratch-999999999").mkdir(parents=True)
    with pytest.raises(IngestError, match="none of 1 rows"):
        run(good, bad, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_two_ingests_do_not_write_to_one_folder(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    (tmp_path / "out" / ".scratch-1").mkdir(parents=True)  # process 1 always runs
    with pytest.raises(IngestError, match="another process"):
        run(file, out=tmp_path / "out")


def test_a_conversation_id_that_is_none_is_remarked_on(tmp_path: Path) -> None:
    rows = [plain_row(i, conversation_id="0") for i in range(60)]
    report = run(write_jsonl(tmp_path / "x.jsonl", rows), out=tmp_path / "out")
    assert (report.groups, report.largest_group) == (1, 60)
    assert "one group holds 60 of 60 pairs" in report.remarks[0]


def test_a_cancelled_ingest_leaves_the_last_one_as_it_was(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    run(file, out=tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    token = CancelToken()
    token.cancel()
    write_jsonl(file, [plain_row(2)])
    with pytest.raises(Cancelled):
        ingest([SourceSpec(str(file))], tmp_path / "out", IngestSettings(), NullProgress(token))
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    (tmp_path / "out").write_text("a file stands here", encoding="utf-8")
    with pytest.raises(IngestError, match="cannot write to"):
        run(file, out=tmp_path / "out" / "pairs")


def _fold_pools() -> tuple[list[int], list[int]]:
    """Numbers of plain rows whose prompt is in the held-out fold, and of others."""
    held: list[int] = []
    others: list[int] = []
    for i in range(200):
        text = f"question {i}".encode()
        group = hashlib.blake2b(b"user %d\n" % len(text) + text, digest_size=16).hexdigest()
        fold = int(hashlib.md5(f"prosect:{group}".encode()).hexdigest(), 16) % 20  # noqa: S324
        (held if fold == 19 else others).append(i)
    return held, others


def test_a_later_source_that_joins_groups_moves_them_to_the_held_out_fold(tmp_path: Path) -> None:
    held, others = _fold_pools()
    numbers = [held[0], *others[:6]]
    a = write_jsonl(tmp_path / "a.jsonl", [plain_row(i, conversation_id=None) for i in numbers])
    out = tmp_path / "out"
    run(SourceSpec(str(a), name="s"), out=out)
    before = {p["prompt"][0]["content"]: p["fold"] for p in pairs_of(out)}
    joining = [plain_row(i, conversation_id="one") | {"chosen": "new"} for i in (held[0], others[0])]
    joining += [plain_row(i, conversation_id="two") | {"chosen": "new"} for i in others[1:4]]
    b = write_jsonl(tmp_path / "b.jsonl", joining)
    report = run(SourceSpec(str(a), name="s"), SourceSpec(str(b), name="s"), out=out)
    after = {p["prompt"][0]["content"]: p["fold"] for p in pairs_of(out)}
    assert after[f"question {others[0]}"] == 19
    lowest = min(before[f"question {i}"] for i in others[1:4])
    assert {after[f"question {i}"] for i in others[1:4]} == {lowest}
    assert {after[f"question {i}"] for i in others[4:6]} == {before[f"question {i}"] for i in others[4:6]}
    moved = Counter(
        e["source_row"] if "source_row" in e else e["detail"] for e in entries_of(out, "fold_moved")
    )
    assert sum(moved.values()) == report.noted["fold_moved"]
    run(SourceSpec(str(a), name="s"), out=out)  # taking the source away again must not free held-out prompts
    final = {p["prompt"][0]["content"]: p["fold"] for p in pairs_of(out)}
    assert final == {k: after[k] for k in final}


class Stages(NullProgress):
    """Remembers the names of stages."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def start(self, stage: str, total: int | None, unit: str) -> None:  # noqa: ARG002 - the protocol's
        self.seen.append(stage.rsplit("/", 1)[0].split(" ")[0] + " " + stage.rsplit("/", 1)[-1])


def test_unchanged_sources_are_not_read_again_and_change_nothing(tmp_path: Path) -> None:
    bench = {
        "prompt": "question 1",
        "chosen": "x",
        "rejected": "y",
        "chosen_model": "m",
        "rejected_model": "n",
    }
    rows: list[Json] = [plain_row(i % 6, rating=i % 2, conversation_id=f"c{i % 4}") for i in range(12)]
    rows += [
        {"prompt": "", "chosen": "no", "rejected": "prompt"},
        {"prompt": "p", "chosen": "", "rejected": "x"},
    ]
    a = write_jsonl(tmp_path / "a.jsonl", rows)
    b = write_jsonl(tmp_path / "b.jsonl", [plain_row(i) | {"chosen": "other"} for i in range(4, 9)])
    e = write_jsonl(tmp_path / "e.jsonl", [bench | {"subset": "s", "id": 1}])
    run(a, b, out=tmp_path / "grown")
    specs = [SourceSpec(str(a)), SourceSpec(str(e))]
    stages = Stages()
    grown = ingest(specs, tmp_path / "grown", IngestSettings(), stages)
    assert [s for s in stages.seen if s.split()[0] in ("keep", "ingest")] == [
        "keep a.jsonl",
        "ingest e.jsonl",
    ]
    fresh = run(*specs, out=tmp_path / "fresh")
    assert grown == fresh
    assert pairs_of(tmp_path / "grown") == pairs_of(tmp_path / "fresh")
    assert entries_of(tmp_path / "grown") == entries_of(tmp_path / "fresh")
    assert fresh.noted["exact_duplicate"] > 0
    assert fresh.noted["evaluation_overlap"] > 0


@pytest.mark.parametrize(
    "kind",
    [
        "jsonl",
        pytest.param("parquet", marks=pytest.mark.slow),
        pytest.param("several", marks=pytest.mark.slow),
    ],
)
def test_several_processes_make_what_one_makes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Json] = [plain_row(i % 37, rating=i % 2, conversation_id=f"c{i % 50}") for i in range(120)]
    rows[5]["chosen"] = ""
    rows[60]["chosen"] = "a\0b"
    rows[119] = {"prompt": "é" * 500, "chosen": "last", "rejected": "row"}
    file = tmp_path / f"x.{kind}"
    if kind == "several":
        for i in range(3):
            write_jsonl(tmp_path / "several" / f"{i}.jsonl", rows[i::3])
        file = tmp_path / "several"
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=13)
    else:
        lines = [json.dumps(row).encode() for row in rows]
        file.write_bytes(b"\n".join([*lines[:70], b"", b"{broken", *lines[70:]]))
    one = run(file, out=tmp_path / "one")
    monkeypatch.setattr("engine.ingest.parallel.MIN_BYTES", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    many = run(file, out=tmp_path / "many")
    assert many == one
    assert pairs_of(tmp_path / "many") == pairs_of(tmp_path / "one")
    assert entries_of(tmp_path / "many") == entries_of(tmp_path / "one")


def test_an_error_in_another_process_is_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.ingest.parallel.MIN_BYTES", 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    write_jsonl(tmp_path / "set" / "a.jsonl", [plain_row(i) for i in range(9)])
    (tmp_path / "set" / "b.jsonl.gz").write_bytes(gzip.compress(os.urandom(9999))[:5000])
    with pytest.raises(IngestError, match="cannot be read to its end"):
        run(tmp_path / "set", out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_salt_is_refused_once_folds_are_frozen(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    run(file, out=tmp_path / "out")
    with pytest.raises(IngestError, match="fold_salt 'prosect'"):
        run(file, out=tmp_path / "out", settings=IngestSettings(fold_salt="other"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0], 0),  # frozen, whatever its hash says
        ([7], 7),
        ([5, 0], 0),
        ([7, 3], 3),
        ([0, 19], 19),  # what was held out stays held out
        ([None, 6], 6),  # a new prompt follows the ones it is joined with
        ([None, None], None),
    ],
)
def test_joined_prompts_get_one_of_the_folds_they_had(before: list[int | None], after: int | None) -> None:
    prompts = np.arange(2 * len(before), dtype=np.uint64).reshape(-1, 2) + np.uint64(5)
    raw = prompts.astype(">u8").tobytes()
    frozen = {raw[16 * i : 16 * i + 16]: fold for i, fold in enumerate(before) if fold is not None}
    one = np.zeros(len(before), np.int64)
    found = assign_folds(Groups(prompts, one, one), "prosect", frozen)
    drawn = fold_of("prosect", raw[:16].hex())
    assert drawn not in (0, 3, 6, 7, 19)
    expected = drawn if after is None else after
    assert found.fold_of_prompt.tolist() == [expected] * len(before)
    assert found.previous.tolist() == [-1 if fold is None else fold for fold in before]
    assert found.moved.tolist() == [fold not in (None, expected) for fold in before]


def test_damaged_folds_are_refused_and_never_drawn_anew(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1)])
    run(file, out=tmp_path / "out")
    folds = tmp_path / "out" / "folds.parquet"
    whole = folds.read_bytes()
    write_jsonl(tmp_path / "x.jsonl", [plain_row(1), plain_row(2)])  # otherwise nothing is read again
    for damaged in (b"PAR1 no", whole[:-20]):
        folds.write_bytes(damaged)
        with pytest.raises(IngestError, match=r"folds\.parquet is damaged"):
            run(file, out=tmp_path / "out")
        assert folds.read_bytes() == damaged


def test_numbers_of_metadata_come_through_and_those_that_are_none_are_missing(tmp_path: Path) -> None:
    """Parquet holds what JSON has no word for; one such number must not cost the others."""
    rows = [plain_row(1) | {"score": 4.5, "parts": [0.25, float("nan"), 7.0], "far": float("-inf")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    run(tmp_path / "x.parquet", out=tmp_path / "out")
    (pair,) = pairs_of(tmp_path / "out")
    meta = json.loads(pair["meta"])
    assert (meta["score"], meta["parts"], meta.get("far")) == (4.5, [0.25, None, 7], None)


def test_keys_that_another_process_read_get_this_process_s_numbers(tmp_path: Path) -> None:
    theirs, ours = KeyColumns(), KeyColumns()
    for row, (source, file) in enumerate([(1, 0), (0, 1)]):
        keys = Keys(bytes([row]) * 16, bytes([row]) * 32, b"r" * 16, b"c" * 16)
        theirs.add(keys, source=source, file=file, row=row, size=9, weight=0.5, is_evaluation=bool(row))
    theirs.save(tmp_path / "keys.npz")
    ours.extend(tmp_path / "keys.npz", np.array([10, 11], np.int32), np.array([20, 21], np.int32))
    assert (list(ours.source), list(ours.file)) == ([11, 10], [20, 21])
    assert (list(ours.row), list(ours.weight), list(ours.is_evaluation)) == ([0, 1], [0.5, 0.5], [0, 1])
    assert (ours.prompt, ours.content) == (theirs.prompt, theirs.content)


def test_report_json_is_what_the_call_returns(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [plain_row(1), {"prompt": "p"}])
    report = run(SourceSpec(str(file), name="s"), out=tmp_path / "out", mix=Mix(weights={"s": 0.5}))
    stored = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(report.as_dict()))
    assert stored["weights"] == {"s": 0.5}
