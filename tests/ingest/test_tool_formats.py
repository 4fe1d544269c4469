"""What other tools write is read, and what we export for them can be ingested again with nothing lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.compiler.export import TARGETS
from engine.compiler.export_rows import ROW_WRITERS, Row
from engine.errors import IngestError
from engine.ingest.run import SourceSpec
from tests.ingest.tables import (
    Json,
    assistant,
    entries_of,
    only_pair,
    pairs_of,
    plain_row,
    run,
    said,
    user,
    write_jsonl,
)

X, Y = assistant("x"), assistant("y")
SYSTEM = {"role": "system", "content": "be kind"}


def row(i: int, *, system: bool) -> Row:
    """A kept pair as exports read it."""
    prompt = [user("hi"), assistant("Which?"), user(f"Tea {i}? „Grün“\n")]
    return Row(
        pair_id=f"{i:04x}",
        prompt=[SYSTEM, *prompt] if system else prompt,
        chosen=[assistant(f"Here {i}.\n\n- one")],
        rejected=[assistant("No.")],
        weight=0.5 + i,
        offset=0.25 * i,
        tools=None,
        inoculation=None,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_an_export_can_be_ingested_again_with_nothing_lost(target: str, tmp_path: Path) -> None:
    rows = [row(i, system=bool(i % 2)) for i in range(6)]
    write_jsonl(tmp_path / "x" / "train.jsonl", [ROW_WRITERS[target](r) for r in rows])
    report = run(tmp_path / "x", out=tmp_path / "out")
    assert (report.pairs, report.dropped, report.repaired) == (6, {}, {})
    pairs = {p["source_row"]: p for p in pairs_of(tmp_path / "out")}
    for i, r in enumerate(rows):
        for span in ("prompt", "chosen", "rejected"):
            assert said(pairs[i][span]) == said(getattr(r, span)), (target, span)
        meta = json.loads(pairs[i]["meta"])
        if target == "prosect":
            assert pairs[i]["base_weight"] == r.weight
            assert (meta["pair_id"], meta["offset"]) == (r.pair_id, r.offset)
        elif target == "trl-reward":
            assert meta["margin"] == -r.offset


def test_an_export_folder_is_read_once_and_without_its_records(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [ROW_WRITERS["prosect"](row(i, system=False)) for i in range(3)]
    write_jsonl(tmp_path / "x" / "train.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x" / "train.parquet")
    for name in ("export.json", "lock.json", "plan.json", "build.json"):
        (tmp_path / "x" / name).write_text("{}", encoding="utf-8")
    (tmp_path / "x" / "ledger.parquet").write_bytes(b"not a table of pairs")
    report = run(tmp_path / "x", out=tmp_path / "out")
    assert (report.rows_read, report.pairs) == (3, 3)
    assert [Path(f.file).name for s in report.sources for f in s.files] == ["train.parquet"]
    assert "left out" in report.sources[0].remarks[0]


CASES: list[tuple[str, Json, Json]] = [
    ("axolotl", {"messages": [SYSTEM, user("q")], "chosen": X, "rejected": Y}, {"prompt": ["be kind", "q"]}),
    (
        "alpaca-pairs",
        {"instruction": "do", "input": "this", "chosen": "x", "rejected": "y"},
        {"prompt": ["do\nthis"]},
    ),
    (
        "alpaca-pairs",
        {
            "instruction": "q",
            "input": "",
            "history": [["a", "b"]],
            "system": "s",
            "chosen": "x",
            "rejected": "y",
        },
        {"prompt": ["s", "a", "b", "q"]},
    ),
    (
        "responses",
        {"instruction": "q", "chosen_response": "x", "rejected_response": "y", "chosen_avg_rating": 5.0}
        | {"rejected_avg_rating": 2.5, "chosen_model": "m", "source": "evol"},
        {"prompt": ["q"], "score_chosen": 5.0, "score_rejected": 2.5, "model_chosen": "m", "source": "evol"},
    ),
    (
        "responses",
        {
            "prompt": "q",
            "chosen_response": "x",
            "rejected_response": "y",
            "chosen_reward": 1,
            "rejected_reward": 0,
        },
        {"prompt": ["q"], "score_chosen": 1.0, "score_rejected": 0.0},
    ),
    ("ms-swift", {"messages": [user("q"), X], "rejected_response": "y"}, {"prompt": ["q"]}),
    (
        "ms-swift",
        {"messages": [user("q"), X], "rejected_messages": [user("q"), Y], "tools": '[{"name": "t"}]'},
        {"prompt": ["q"], "tools": '[{"name": "t"}]'},
    ),
    (
        "distilabel",
        {"instruction": "q", "generations": ["y", "x"], "ratings": [2, 4], "generation_models": ["n", "m"]},
        {"prompt": ["q"], "score_chosen": 4.0, "model_chosen": "m", "strength": 2.0},
    ),
    (
        "trl-conversational",  # what distilabel's FormatTextGenerationDPO leaves beside them
        {"instruction": "q", "generations": ["y", "x"], "ratings": [2, 4], "prompt": "q", "prompt_id": "7"}
        | {"chosen": [user("q"), X], "rejected": [user("q"), Y], "chosen_rating": 4, "rejected_rating": 2},
        {"prompt": ["q"], "score_chosen": 4.0, "conversation_id": "7"},
    ),
    (
        "label-studio",
        {
            "id": 1,
            "data": {"prompt": "q", "answer1": "y", "answer2": "x", "topic": "tea"},
            "annotations": [
                {"was_cancelled": True, "result": []},
                {
                    "completed_by": {"email": "a@b.c"},
                    "result": [{"type": "pairwise", "value": {"selected": "right"}}],
                },
            ],
        },
        {"prompt": ["q"], "chosen_was": "b", "annotator": "a@b.c"},
    ),
    (
        "label-studio",
        {"prompt": "q", "answer1": "x", "answer2": "y", "pw": "left"},
        {"prompt": ["q"], "chosen_was": "a"},
    ),
    (
        "alpaca-eval",  # AlpacaFarm
        {"instruction": "do", "input": "this", "output_1": "y", "output_2": "x", "preference": 2},
        {"prompt": ["do\nthis"], "chosen_was": "b"},
    ),
]


@pytest.mark.parametrize(
    ("name", "given", "expected"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_rows_of_other_tools_are_understood(name: str, given: Json, expected: Json, tmp_path: Path) -> None:
    pair = only_pair([given], tmp_path)
    stored: dict[str, Any] = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert stored["sources"][0]["format"] == name
    assert [m["content"] for m in pair["prompt"]] == expected.pop("prompt")
    assert (pair["chosen"], pair["rejected"], pair["label"]) == ([X], [Y], "chosen")
    assert {k: pair[k] for k in expected} == expected


def test_a_task_that_nobody_annotated_is_kept_without_label(tmp_path: Path) -> None:
    task = {"id": 1, "data": {"prompt": "q", "answer1": "x", "answer2": "y"}, "annotations": []}
    assert only_pair([task], tmp_path)["label"] == "none"
    assert len(entries_of(tmp_path / "out", "no_label")) == 1


CARD = """---
configs:
- config_name: preference
  default: true
  data_files:
  - split: train
    path: preference/train.jsonl
  - split: validation
    path: preference/validation.jsonl
- config_name: edit
  data_files: edit/*.jsonl
---
# A dataset
"""


def a_hub_folder(root: Path) -> Path:
    """A folder as the hub lays it out: several tables, described in the card."""
    write_jsonl(root / "preference" / "train.jsonl", [plain_row(i) for i in range(4)])
    write_jsonl(root / "preference" / "validation.jsonl", [plain_row(i) for i in range(10, 12)])
    write_jsonl(root / "edit" / "train.jsonl", [{"before": "a", "after": "b"}])
    (root / "README.md").write_text(CARD, encoding="utf-8")
    return root


def test_the_card_of_a_dataset_says_which_of_its_tables_are_read(tmp_path: Path) -> None:
    folder = a_hub_folder(tmp_path / "set")
    report = run(folder, out=tmp_path / "out")
    assert report.pairs == 4
    assert report.sources[0].remarks == (
        f"{folder}: read preference, left out edit (use {folder}#edit)",
        f"{folder}: read split train, left out validation (use {folder}#all for all)",
    )
    assert run(SourceSpec(f"{folder}#preference/validation"), out=tmp_path / "out2").pairs == 2
    assert run(SourceSpec(f"{folder}#validation"), out=tmp_path / "out3").pairs == 2
    with pytest.raises(IngestError, match="no known format has these columns"):
        run(SourceSpec(f"{folder}#edit"), out=tmp_path / "out4")
    with pytest.raises(IngestError, match="there is no such split") as caught:
        run(SourceSpec(f"{folder}#dev"), out=tmp_path / "out5")
    assert "train, validation" in str(caught.value.hint)
    assert "preference, edit" in str(caught.value.hint)


def test_several_tables_without_a_default_are_asked_for(tmp_path: Path) -> None:
    folder = a_hub_folder(tmp_path / "set")
    (folder / "README.md").write_text(CARD.replace("  default: true\n", ""), encoding="utf-8")
    with pytest.raises(IngestError, match="several tables") as caught:
        run(folder, out=tmp_path / "out")
    assert f"{folder}#preference" in str(caught.value.hint)


@pytest.mark.parametrize(
    "card", ["---\nconfigs: [\n---\n", "---\nconfigs: 7\n---\n", "no card", "---\na: b\n---\n"]
)
def test_a_card_that_says_nothing_is_passed_over(card: str, tmp_path: Path) -> None:
    folder = write_jsonl(tmp_path / "set" / "train.jsonl", [plain_row(1)]).parent
    (folder / "README.md").write_text(card, encoding="utf-8")
    assert run(folder, out=tmp_path / "out").pairs == 1


def test_a_default_annotator_that_is_no_name_is_none(tmp_path: Path) -> None:
    row = {"prompt": "q", "response_a": "x", "response_b": "y", "default_annotator": ["ann"]}
    pair = only_pair([row | {"annotations": {"bob": {"pref": "b"}}}], tmp_path, format="annotated-pairs")
    assert (said(pair["chosen"]), pair["annotator"]) == ([("assistant", "y")], "bob")
